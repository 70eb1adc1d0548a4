//! Joins a connection's two ends: standard input and output on one side, a TCP service of the host's loopback on the
//! other. QEMU's user network starts one such program per connection of a guest ([`crate::GuestForward`]).
//!
//! Refuses every address that is not loopback. Ends when both directions have ended; half-closed connections stay open.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// Serves one connection; `service` is an address such as `127.0.0.1:5000`.
pub fn stdio(service: SocketAddr) -> std::io::Result<()> {
    if !service.ip().is_loopback() {
        let reason = format!("{service} is not a loopback address");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, reason));
    }
    let mut inward = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let mut outward = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    let server = TcpStream::connect(service)?;
    server.set_nodelay(true)?;
    let (mut to_server, mut from_server) = (server.try_clone()?, server);
    let upward = std::thread::spawn(move || {
        let copied = copy(&mut inward, &mut to_server);
        // The guest is done, or gone; the server sees the end and ends too.
        let _ = to_server.shutdown(Shutdown::Write);
        copied
    });
    let downward = copy(&mut from_server, &mut outward);
    finish_writing(outward);
    downward?; // nobody reads any more: the other direction ends with the process
    upward.join().unwrap_or(Ok(()))
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => to.write_all(&buffer[..length])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Standard output is a socket under QEMU: its writing half is shut, as closing a copy would not be seen.
fn finish_writing(outward: File) {
    let socket = UnixStream::from(std::os::fd::OwnedFd::from(outward));
    // Where it is no socket (a pipe, a file) the process's end closes it.
    let _ = socket.shutdown(Shutdown::Write);
}
