//! Passwords: behind a colon, or asked for without showing them.

use std::io::{self, IsTerminal, Read};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use super::fault::{BAD_ARGUMENTS, Failure};
use crate::terminal::{print, say};

/// A user as NAME or NAME:PASSWORD; the missing password is asked for.
pub(super) async fn of(prompt: &str, user: &str) -> Result<(String, String), Failure> {
    match user.split_once(':') {
        Some((name, password)) => Ok((name.to_owned(), password.to_owned())),
        None => Ok((user.to_owned(), ask(prompt).await?)),
    }
}

/// Asks for a password: a line of standard input, not echoed where that is a terminal. No line is an empty password.
pub(super) async fn ask(prompt: &str) -> Result<String, Failure> {
    print(prompt);
    let silence = Silence::begin();
    let (sender, line) = tokio::sync::oneshot::channel();
    // A thread of its own: nothing but the end of the process ends a read of the terminal.
    std::thread::spawn(move || sender.send(read_line()));
    let line = tokio::select! {
        line = line => line,
        _ = tokio::signal::ctrl_c() => {
            drop(silence);
            return Err(Failure { text: "\nCTRL-C".to_owned(), code: BAD_ARGUMENTS });
        }
    };
    drop(silence);
    say("");
    let line = line.unwrap_or_else(|_| Err(io::Error::other("no answer")));
    line.map_err(|error| {
        Failure::arguments(format!(
            "Error reading password: failed during password entry: {error}"
        ))
    })
}

/// Up to the line's end and not a byte further; what follows is for whoever reads next.
pub(super) fn read_line() -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while io::stdin().lock().read(&mut byte)? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    let line = String::from_utf8(line).map_err(io::Error::other)?;
    Ok(line.trim().to_owned())
}

/// The terminal without echo, until dropped.
struct Silence(Option<Termios>);

impl Silence {
    fn begin() -> Silence {
        let stdin = io::stdin();
        let before = stdin.is_terminal().then(|| tcgetattr(&stdin).ok()).flatten();
        if let Some(before) = &before {
            let mut silent = before.clone();
            silent.local_flags.remove(LocalFlags::ECHO);
            // A terminal that cannot be silenced shows the password; etcdctl asks all the same.
            tcsetattr(&stdin, SetArg::TCSAFLUSH, &silent).ok();
        }
        Silence(before)
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            tcsetattr(io::stdin(), SetArg::TCSANOW, before).ok();
        }
    }
}
