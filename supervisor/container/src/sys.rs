//! The kernel calls that have no safe wrapper in our dependencies; the crate's only unsafe code.
//!
//! Duty: one call per function, arguments owned or borrowed for its whole length. Refusal: no policy.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, signal};

/// pidfd_open(2).
pub fn pidfd_open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: no pointers are passed; a non-negative result is a new descriptor that nobody else owns.
    unsafe {
        let fd = Errno::result(libc::syscall(libc::SYS_pidfd_open, pid, 0))?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// pidfd_send_signal(2) without siginfo.
pub fn pidfd_send_signal(fd: &OwnedFd, number: i32) -> Result<(), Errno> {
    // SAFETY: the descriptor is open for the whole call and the siginfo pointer may be null.
    unsafe {
        let result = libc::syscall(
            libc::SYS_pidfd_send_signal,
            fd.as_raw_fd(),
            number,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        );
        Errno::result(result).map(drop)
    }
}

/// Gives every signal its default action back. Rust's runtime ignores SIGPIPE, and an ignored signal stays ignored
/// over execve, which programs in a container do not expect.
pub fn default_signal_actions() {
    for each in Signal::iterator() {
        if matches!(each, Signal::SIGKILL | Signal::SIGSTOP) {
            continue;
        }
        // SAFETY: SIG_DFL installs no handler of ours, so nothing can run in signal context.
        let _ = unsafe { signal(each, SigHandler::SigDfl) };
    }
}

/// Takes ownership of a descriptor received in a control message.
pub fn own_received(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just installed this descriptor for us by SCM_RIGHTS; nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Makes `terminal` (a pty's slave end or the caller's) the size of `size`: TIOCSWINSZ.
pub fn set_terminal_size(terminal: BorrowedFd<'_>, size: &libc::winsize) -> Result<(), Errno> {
    // SAFETY: the pointer is to a live winsize for the length of the call.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, std::ptr::from_ref(size)) })
        .map(drop)
}

/// The size of a terminal: TIOCGWINSZ.
pub fn terminal_size(terminal: BorrowedFd<'_>) -> Result<libc::winsize, Errno> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the pointer is to a live winsize for the length of the call.
    Errno::result(unsafe {
        libc::ioctl(
            terminal.as_raw_fd(),
            libc::TIOCGWINSZ,
            std::ptr::from_mut(&mut size),
        )
    })?;
    Ok(size)
}

/// Splits the calling process, the first one of a container: the child returns and becomes the program, the parent
/// stays as a small init that forwards signals, reaps, and ends as the child ended. Single-threaded callers only.
pub fn become_init() {
    use nix::sys::signal::{SigSet, SigmaskHow, kill, sigprocmask};
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    use nix::unistd::{ForkResult, Pid, fork};

    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None);
    // SAFETY: the process has one thread, so the child may use everything it inherits.
    let child = match unsafe { fork() } {
        Ok(ForkResult::Parent { child }) => child,
        Ok(ForkResult::Child) | Err(_) => return,
    };
    loop {
        match SigSet::all().wait() {
            Ok(Signal::SIGCHLD) => loop {
                match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                    Ok(WaitStatus::Exited(pid, status)) if pid == child => std::process::exit(status),
                    Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                        std::process::exit(128 + signal as i32)
                    }
                    Ok(WaitStatus::StillAlive) | Err(_) => break,
                    Ok(_) => {}
                }
            },
            Ok(signal) => drop(kill(child, signal)),
            Err(_) => {}
        }
    }
}
