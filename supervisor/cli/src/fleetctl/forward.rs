//! `fd-forward`: the far end of a tunnel. Connects standard input and output to a unix socket until either side ends.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use super::fault::Failure;
use crate::http::go_words;

/// Runs the command; `socket` may carry a scheme.
pub(super) fn run(socket: &str) -> Result<u8, Failure> {
    let path = socket.strip_prefix("unix://").unwrap_or(socket);
    let stream = UnixStream::connect(path)
        .map_err(|error| Failure::new(format!("Failed dialing unix socket {path}: {}", go_words(&error))))?;
    copy_both(stream)
        .map_err(|error| Failure::new(format!("Failed forwarding unix socket {path}: {error}")))?;
    Ok(0)
}

fn copy_both(stream: UnixStream) -> io::Result<()> {
    // Not through std's standard output, which holds back what has no line end.
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut to_socket = stream.try_clone()?;
    // The thread may wait for input for ever; the process ends with the other direction.
    std::thread::spawn(move || {
        copy(&mut input, &mut to_socket).ok();
        to_socket.shutdown(Shutdown::Write).ok();
    });
    let mut from_socket = stream;
    copy(&mut from_socket, &mut output)
}

/// By read and write. Between files of known kinds std's copy would take splice(2), which from a pipe to a socket waits
/// for more than what is there, so that a request would reach the server only with the end of the input.
fn copy(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<()> {
    io::copy(from, to).map(drop)
}
