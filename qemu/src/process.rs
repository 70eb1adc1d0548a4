//! Processes that do not outlive us, and the ending of exactly those we started.
//!
//! A leashed program is started by a small shell that first forks a guard, then becomes the program. The guard reads a
//! pipe whose only writing end we hold. When we end, however we end, the kernel closes that end, the guard reads the end
//! of the file and kills the program. A released program got a line through the pipe first: its guard leaves it alone.
//!
//! The danger is a number that means another process by now, so a process is always its number *and* its start time
//! (proc(5), `/proc/PID/stat`, field 22); both must still fit before anything is sent.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{PipeWriter, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// `$@` is the program; the guard is forked twice, so that the program never has it for a child.
const LEASH: &str = r#"
born() { IFS= read -r line <"/proc/$1/stat" || return 1; set -- ${line##*) }; echo "${20}"; }
at=$(born $$)
exec 3<&0 </dev/null
(
  { trap '' INT TERM HUP
    IFS= read -r _ || { [ "$(born $$)" = "$at" ] && kill -9 $$; }
  } <&3 >/dev/null 2>&1 &
) 2>/dev/null
exec "$@" 3<&-
"#;

/// Removes paths when the pipe ends without a word; what still ends in them may be writing, so it tries for a while.
const SWEEP: &str = r#"
trap '' INT TERM HUP
IFS= read -r _ && exit
for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$@" && exit; sleep 0.2; done
"#;

/// A process by its number and its start time in clock ticks since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Field 22 of its stat file.
    pub started: u64,
}

impl Process {
    /// The process that has this number now.
    pub fn of(pid: i32) -> std::io::Result<Process> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, started) = state_and_start(&stat).ok_or(std::io::ErrorKind::InvalidData)?;
        Ok(Process { pid, started })
    }

    /// Whether exactly this process still runs (a zombie does not).
    pub fn is_running(&self) -> bool {
        std::fs::read_to_string(format!("/proc/{}/stat", self.pid))
            .ok()
            .and_then(|stat| state_and_start(&stat))
            .is_some_and(|(state, started)| started == self.started && !matches!(state, 'Z' | 'X'))
    }

    /// Kills exactly this process and waits until it is gone; one that is gone already is no error.
    pub fn kill(&self) -> std::io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.is_running() {
            match kill(Pid::from_raw(self.pid), Signal::SIGKILL) {
                Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
                Err(errno) => return Err(errno.into()),
            }
            if Instant::now() > deadline {
                return Err(std::io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// Fields 3 and 22 of a stat line; the name before them is in parentheses and may hold anything.
fn state_and_start(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// A program that dies with us, unless it is released.
#[derive(Debug)]
pub struct Leashed {
    child: Child,
    process: Process,
    leash: Option<PipeWriter>,
}

impl Leashed {
    /// Starts a program in a folder, in a process group of its own, its output going to `log`.
    pub fn start<S: AsRef<OsStr>>(
        program: &Path,
        args: impl IntoIterator<Item = S>,
        folder: &Path,
        log: &File,
    ) -> std::io::Result<Leashed> {
        let (reader, leash) = std::io::pipe()?;
        let mut child = Command::new("/bin/sh")
            .args(["-c", LEASH, "leash"])
            .arg(program)
            .args(args)
            .current_dir(folder)
            .stdin(Stdio::from(reader))
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?)
            .process_group(0)
            .spawn()?;
        match Process::of(child.id() as i32) {
            Ok(process) => Ok(Leashed {
                child,
                process,
                leash: Some(leash),
            }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// Which process it is.
    pub fn process(&self) -> Process {
        self.process
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> std::io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Kills it and waits for its end.
    pub fn kill(&mut self) -> std::io::Result<ExitStatus> {
        if self.child.try_wait()?.is_none() {
            self.child.kill()?;
        }
        self.child.wait()
    }

    /// Lets it live on after us; only its number and start time are left to end it by.
    pub fn release(mut self) -> std::io::Result<Process> {
        if let Some(mut leash) = self.leash.take() {
            leash.write_all(b"stay\n")?;
        }
        Ok(self.process)
    }
}

impl Drop for Leashed {
    fn drop(&mut self) {
        // Without a leash it was released; with one, nothing is left to do about a kill that fails: the guard follows.
        if self.leash.is_some() {
            let _ = self.kill();
        }
    }
}

/// Removes files and folders when we end, however we end, or when this is dropped; unless they are kept.
#[derive(Debug)]
pub struct Sweep {
    child: Child,
    leash: Option<PipeWriter>,
}

impl Sweep {
    /// Watches over paths, which must be absolute; they need not exist yet.
    pub fn over<P: AsRef<OsStr>>(paths: impl IntoIterator<Item = P>) -> std::io::Result<Sweep> {
        let (reader, leash) = std::io::pipe()?;
        let child = Command::new("/bin/sh")
            .args(["-c", SWEEP, "sweep"])
            .args(paths)
            .current_dir("/")
            .stdin(Stdio::from(reader))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Sweep {
            child,
            leash: Some(leash),
        })
    }

    /// Leaves everything where it is.
    pub fn keep(mut self) -> std::io::Result<()> {
        if let Some(mut leash) = self.leash.take() {
            leash.write_all(b"stay\n")?;
        }
        Ok(())
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        drop(self.leash.take());
        // It ends by itself, soon; a failed wait leaves nothing to do.
        let _ = self.child.wait();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wait_until;

    const SOON: Duration = Duration::from_secs(10);

    fn sleeper(folder: &Path) -> Leashed {
        let log = File::create(folder.join("log")).unwrap();
        Leashed::start(Path::new("/bin/sleep"), ["600"], folder, &log).unwrap()
    }

    fn gone(process: Process) {
        wait_until("the process to be gone", SOON, || {
            if process.is_running() {
                Err(format!("{process:?} runs"))
            } else {
                Ok(())
            }
        })
        .unwrap();
    }

    #[test]
    fn the_stat_line_may_hold_any_name() {
        let line = "42 (a ) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 0 0";
        assert_eq!(state_and_start(line), Some(('S', 777)));
        assert_eq!(state_and_start("nonsense"), None);
    }

    #[test]
    fn dropped_or_killed_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let mut one = sleeper(folder.path());
        let process = one.process();
        assert!(process.is_running() && one.ended().unwrap().is_none());
        assert!(
            !Process {
                started: process.started + 1,
                ..process
            }
            .is_running(),
            "another start, another process"
        );
        one.kill().unwrap();
        assert!(!process.is_running());
        let two = sleeper(folder.path());
        let process = two.process();
        drop(two);
        assert!(!process.is_running());
    }

    #[test]
    fn the_guard_ends_it_when_the_pipe_closes() {
        let folder = tempfile::tempdir().unwrap();
        let mut leashed = sleeper(folder.path());
        let process = leashed.process();
        drop(leashed.leash.take()); // what the kernel does when we die
        wait_until("the end by the guard", SOON, || {
            if leashed.ended().unwrap().is_some() {
                Ok(())
            } else {
                Err("runs".to_owned())
            }
        })
        .unwrap();
        gone(process);
    }

    #[test]
    fn released_it_stays_and_can_be_ended_by_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let mut leashed = sleeper(folder.path());
        leashed.leash.take().unwrap().write_all(b"stay\n").unwrap();
        let process = leashed.process();
        assert!(process.is_running());
        let waiter = std::thread::spawn(move || leashed.child.wait());
        process.kill().unwrap();
        waiter.join().unwrap().unwrap();
        process.kill().unwrap();
    }

    #[test]
    fn a_folder_is_swept_or_kept() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a folder");
        std::fs::create_dir_all(folder.join("deep")).unwrap();
        Sweep::over([&folder]).unwrap().keep().unwrap();
        assert!(folder.exists());
        drop(Sweep::over([&folder]).unwrap());
        assert!(!folder.exists());
    }
}
