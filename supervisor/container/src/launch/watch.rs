//! Waiting for a container's process: signals to us become signals to it, its end becomes ours.
//!
//! Duty: one poll loop over a signalfd and a pidfd. The signals are blocked before the process is made, so none is lost
//! between start and watch, and a process that ends at once is seen because it is waited for, not heard of.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::terminal;
use crate::sys;

/// Signals that are not forwarded: they are ours, or the kernel's word about ourselves.
const OWN: [Signal; 9] = [
    Signal::SIGCHLD,
    Signal::SIGPIPE,
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGILL,
    Signal::SIGFPE,
    Signal::SIGTRAP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];

/// Signals that ask for the end.
const ENDING: [i32; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT];

/// Signals caught for a container.
#[derive(Debug)]
pub struct Caught(SignalFd);

impl Caught {
    /// Blocks what will be forwarded. Clones inherit the block; `Program` lifts it in the container.
    pub fn new() -> io::Result<Self> {
        let mut set = SigSet::all();
        for signal in OWN {
            set.remove(signal);
        }
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?;
        Ok(Self(SignalFd::with_flags(
            &set,
            SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
        )?))
    }

    /// The signal that asked for the end while there was no process yet to pass it to.
    pub fn asked_to_end(&self) -> Option<i32> {
        while let Ok(Some(info)) = self.0.read_signal() {
            let number = info.ssi_signo as i32;
            if ENDING.contains(&number) {
                return Some(number);
            }
        }
        None
    }
}

/// How SIGTERM is passed on, and what hears of it.
pub struct Forwarding<'a> {
    /// Signal sent for our SIGTERM.
    pub stop_signal: i32,
    /// Master end of the terminal, which follows the size of ours.
    pub terminal: Option<&'a OwnedFd>,
    /// Called before a signal that asks for the end is passed on.
    pub on_stop: &'a dyn Fn(),
}

/// Waits for our child `pid`; returns its exit status, or 128 and its signal.
pub fn wait(pid: i32, caught: &Caught, forwarding: &Forwarding<'_>) -> io::Result<i32> {
    let child = sys::pidfd_open(pid)?;
    loop {
        let mut fds = [
            PollFd::new(child.as_fd(), PollFlags::POLLIN),
            PollFd::new(caught.0.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if fds[0].any().unwrap_or(false) {
            return reap(pid);
        }
        while let Some(info) = caught.0.read_signal()? {
            pass_on(&child, info.ssi_signo as i32, forwarding);
        }
    }
}

fn pass_on(child: &OwnedFd, number: i32, forwarding: &Forwarding<'_>) {
    if number == libc::SIGWINCH {
        if let Some(master) = forwarding.terminal {
            terminal::copy_size(master);
        }
        return;
    }
    let passed = if number == libc::SIGTERM {
        forwarding.stop_signal
    } else {
        number
    };
    if ENDING.contains(&number) {
        (forwarding.on_stop)();
    }
    let _ = sys::pidfd_send_signal(child, passed);
}

fn reap(pid: i32) -> io::Result<i32> {
    loop {
        match waitpid(Pid::from_raw(pid), None) {
            Ok(WaitStatus::Exited(_, status)) => return Ok(status),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(128 + signal as i32),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
