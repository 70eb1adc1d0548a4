//! Which process is meant: a pid alone is reused, so it is told apart by its start time and the boot it lived in.
//!
//! Duty: name a process so that the name never fits another one; say whether it lives; wait for its end.
//! Danger: a zombie counts as dead here, since nothing of it runs any more.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::sys;

/// One process of one boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Process id in the initial namespace of the engine.
    pub pid: i32,
    /// Start time in clock ticks since boot (field 22 of /proc/pid/stat).
    pub start: u64,
    /// The kernel's random id of the boot.
    pub boot: String,
}

/// The id of the running boot.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// State letter and start time out of the text of /proc/pid/stat.
fn parse_stat(text: &str) -> Option<(char, u64)> {
    // The command in parentheses may hold anything, so fields are counted from the last parenthesis.
    let mut fields = text[text.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?.chars().next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

impl ProcessId {
    /// The process that has `pid` now; `None` when there is none.
    pub fn of(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, start) = parse_stat(&text)?;
        Some(Self {
            pid,
            start,
            boot: boot_id().ok()?,
        })
    }

    /// This process.
    pub fn me() -> Option<Self> {
        Self::of(std::process::id() as i32)
    }

    /// Whether it still runs (a zombie does not).
    pub fn alive(&self) -> bool {
        if boot_id().ok().as_ref() != Some(&self.boot) {
            return false;
        }
        let Ok(text) = fs::read_to_string(format!("/proc/{}/stat", self.pid)) else {
            return false;
        };
        matches!(parse_stat(&text), Some((state, start)) if start == self.start && !matches!(state, 'Z' | 'X'))
    }

    /// Sends a signal; `Ok(false)` when the process is gone.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        self.signal_number(signal as i32)
    }

    /// Sends a signal by number (real-time signals have no name).
    pub fn signal_number(&self, signal: i32) -> io::Result<bool> {
        // The pidfd pins the process; it is compared with the name after it was opened.
        let Ok(fd) = sys::pidfd_open(self.pid) else {
            return Ok(false);
        };
        if !self.alive() {
            return Ok(false);
        }
        match sys::pidfd_send_signal(&fd, signal) {
            Ok(()) => Ok(true),
            Err(nix::errno::Errno::ESRCH) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits for its end; false when `limit` passed first. `None` waits for ever.
    pub fn wait_gone(&self, limit: Option<Duration>) -> io::Result<bool> {
        let Ok(fd) = sys::pidfd_open(self.pid) else {
            return Ok(true);
        };
        if !self.alive() {
            return Ok(true);
        }
        let deadline = limit.map(|limit| Instant::now() + limit);
        loop {
            let timeout = match deadline {
                None => PollTimeout::NONE,
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now()).as_millis();
                    PollTimeout::from(u16::try_from(left).unwrap_or(u16::MAX))
                }
            };
            let mut fds = [PollFd::new(std::os::fd::AsFd::as_fd(&fd), PollFlags::POLLIN)];
            match poll(&mut fds, timeout) {
                Ok(0) if deadline.is_some_and(|deadline| Instant::now() >= deadline) => return Ok(false),
                Ok(0) | Err(nix::errno::Errno::EINTR) => continue,
                Ok(_) => return Ok(true),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_the_last_parenthesis() {
        let text = "12 (a) b) c) S 1 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 0 0";
        assert_eq!(parse_stat(text), Some(('S', 4711)));
        assert_eq!(parse_stat("12 (x"), None);
    }

    #[test]
    fn i_live_and_a_reused_pid_is_not_me() {
        let me = ProcessId::me().unwrap();
        assert!(me.alive());
        assert!(
            !ProcessId {
                start: me.start + 1,
                ..me.clone()
            }
            .alive()
        );
        assert!(
            !ProcessId {
                boot: "another".into(),
                ..me
            }
            .alive()
        );
    }

    #[test]
    fn waiting_ends_with_the_process() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let id = ProcessId::of(child.id() as i32).unwrap();
        assert!(!id.wait_gone(Some(Duration::ZERO)).unwrap());
        drop(child.stdin.take());
        assert!(id.wait_gone(Some(Duration::from_secs(10))).unwrap());
        child.wait().unwrap();
    }
}
