//! A container's terminal: receiving its master end, and our own terminal in raw mode meanwhile.
//!
//! Duty: SCM_RIGHTS, raw mode with its way back, window sizes. Refusal: no escape sequences of our own.

use std::io::{self, IoSliceMut, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use crate::sys;

/// Receives one descriptor over `socket`.
pub fn receive(socket: &UnixStream) -> io::Result<OwnedFd> {
    let mut byte = [0; 64];
    let mut space = nix::cmsg_space!(std::os::fd::RawFd);
    let mut parts = [IoSliceMut::new(&mut byte)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control
            && let Some(fd) = fds.first()
        {
            return Ok(sys::own_received(*fd));
        }
    }
    Err(io::Error::other("the container sent no terminal"))
}

/// Our terminal in raw mode; as it was when dropped.
#[derive(Debug)]
pub struct Raw(Termios);

impl Raw {
    /// Switches standard input to raw mode; `None` when it is no terminal.
    pub fn enter() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&stdin, SetArg::TCSANOW, &raw)?;
        Ok(Some(Self(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.0);
    }
}

/// Gives `master` the size of our own terminal.
pub fn copy_size(master: &OwnedFd) {
    if let Ok(size) = sys::terminal_size(io::stdout().as_fd()) {
        let _ = sys::set_terminal_size(master.as_fd(), &size);
    }
}
