//! Standard output and error.
//!
//! The danger: a reader that goes away (`etcdctl ls | head -1`) must end us quietly, and must not look like a fault.

use std::io::{self, IsTerminal, Write};

/// The exit status of a process that SIGPIPE ended, as a shell sees it.
const READER_GONE: i32 = 141;

/// From now on a line printed by whatever means for a reader that is gone ends this process as SIGPIPE ends others. Rust
/// programs ignore that signal, so that a lost connection is an error to handle; std's `println!` then panics.
///
/// For programs that print and end. A program that serves must outlive the readers of its output, and not call this.
pub fn end_with_the_reader() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload_as_str().unwrap_or_default();
        if said.starts_with("failed printing to std") {
            std::process::exit(READER_GONE);
        }
        report(panic);
    }));
}

/// Prints clap's answer, help or a complaint, where it belongs.
pub(crate) fn answer(error: &clap::Error) {
    if error.print().is_err() {
        std::process::exit(READER_GONE);
    }
}

/// Prints `text` and a line end on standard output.
pub(crate) fn say(text: impl AsRef<str>) {
    put(&mut io::stdout().lock(), text.as_ref(), "\n");
}

/// Prints `text` as it is on standard output.
pub(crate) fn print(text: impl AsRef<str>) {
    put(&mut io::stdout().lock(), text.as_ref(), "");
}

/// Prints `text` and a line end on standard error.
pub(crate) fn tell(text: impl AsRef<str>) {
    put(&mut io::stderr().lock(), text.as_ref(), "\n");
}

/// Puts `text` on the terminal's current line of standard error, in the place of what stood there.
pub(crate) fn tell_over(text: &str) {
    put(&mut io::stderr().lock(), "\r\x1b[K", text);
}

/// Whether somebody watches standard error.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

fn put(out: &mut impl Write, text: &str, end: &str) {
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(end.as_bytes()))
        .and_then(|()| out.flush());
    if written.is_err() {
        std::process::exit(READER_GONE);
    }
}
