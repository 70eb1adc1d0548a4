//! Commands on a machine by the host's `ssh`: own key, own known_hosts, no configuration of the user's, no shared
//! connection. Never asks anything.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::tool::{self, ToolError};
use crate::wait::{WaitError, wait_until};

/// How to reach one machine.
#[derive(Debug, Clone)]
pub struct Ssh {
    /// The login name.
    pub user: String,
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The private key's file.
    pub key: PathBuf,
    /// Where host keys are remembered.
    pub known_hosts: PathBuf,
}

/// What a command on a machine left.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended; 255 is ssh's own failure.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error, and ssh's.
    pub stderr: String,
}

/// Why there is no such output.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// No ssh here.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The process could not be run.
    #[error("running ssh for {command:?}: {source}")]
    Io {
        /// The command for the machine.
        command: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// It took too long and was ended.
    #[error("{command:?} over SSH to port {port} had not ended after {seconds} s; so far: {so_far}")]
    Deadline {
        /// The command for the machine.
        command: String,
        /// The port.
        port: u16,
        /// The deadline.
        seconds: u64,
        /// What it had said.
        so_far: String,
    },
    /// It ended with an error.
    #[error("{command:?} over SSH to port {port} ended with {status}: {said}")]
    Failed {
        /// The command for the machine.
        command: String,
        /// The port.
        port: u16,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        said: String,
    },
}

/// Makes a key pair without a passphrase: `path` and `path.pub`. Returns the public half.
pub fn make_key(path: &Path, comment: &str) -> Result<String, ToolError> {
    let file = path.display().to_string();
    tool::run(
        "ssh-keygen",
        ["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", &file],
    )?;
    let public = path.with_extension("pub");
    std::fs::read_to_string(public)
        .map(|text| text.trim().to_owned())
        .map_err(|source| ToolError::Spawn {
            name: "ssh-keygen".to_owned(),
            source,
        })
}

impl Ssh {
    /// The options that every call needs, as one would type them.
    pub fn options(&self) -> Vec<String> {
        let set = [
            "BatchMode=yes".to_owned(),
            "ConnectTimeout=10".to_owned(),
            "ConnectionAttempts=1".to_owned(),
            "ControlMaster=no".to_owned(),
            "ControlPath=none".to_owned(),
            "GSSAPIAuthentication=no".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            "LogLevel=ERROR".to_owned(),
            "ServerAliveCountMax=4".to_owned(),
            "ServerAliveInterval=5".to_owned(),
            "StrictHostKeyChecking=accept-new".to_owned(),
            format!("IdentityFile={}", quoted(&self.key)),
            format!("Port={}", self.port),
            format!("User={}", self.user),
            format!("UserKnownHostsFile={}", quoted(&self.known_hosts)),
        ];
        let mut options = vec!["-F".to_owned(), "/dev/null".to_owned()];
        options.extend(set.into_iter().flat_map(|option| ["-o".to_owned(), option]));
        options
    }

    /// Runs a command and gives back how it ended, whatever that was.
    pub fn output(&self, command: &str, input: &[u8], deadline: Duration) -> Result<Output, SshError> {
        self.call(&["-T", "127.0.0.1", "--", command], command, input, deadline)
    }

    /// Sends `input` through the machine to `address` (a `host:port` as the machine reaches it), and returns what comes
    /// back until the other side closes.
    pub fn through(&self, address: &str, input: &[u8], deadline: Duration) -> Result<String, SshError> {
        let command = format!("-W {address}");
        self.call(&["-W", address, "127.0.0.1"], &command, input, deadline)?
            .success(command, self.port)
    }

    fn call(
        &self,
        args: &[&str],
        command: &str,
        input: &[u8],
        deadline: Duration,
    ) -> Result<Output, SshError> {
        let io = |source| SshError::Io {
            command: command.to_owned(),
            source,
        };
        let mut child = Command::new(tool::find("ssh")?)
            .args(self.options())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(io)?;
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        let feeding = child.stdin.take().map(|mut stdin| {
            let input = input.to_vec();
            // A command that does not read its input to the end is its own business.
            std::thread::spawn(move || stdin.write_all(&input).unwrap_or(()))
        });
        let ended = wait(&mut child, deadline).map_err(io)?;
        let (stdout, stderr) = (text(stdout), text(stderr));
        if let Some(thread) = feeding {
            thread.join().unwrap_or(());
        }
        match ended {
            Some(status) => Ok(Output {
                status,
                stdout,
                stderr,
            }),
            None => Err(SshError::Deadline {
                command: command.to_owned(),
                port: self.port,
                seconds: deadline.as_secs(),
                so_far: format!("{stdout}{stderr}").trim().to_owned(),
            }),
        }
    }

    /// Runs a command that must succeed and returns its standard output.
    pub fn run(&self, command: &str, deadline: Duration) -> Result<String, SshError> {
        self.feed(command, &[], deadline)
    }

    /// Runs a command with an input; it must succeed. Returns its standard output.
    pub fn feed(&self, command: &str, input: &[u8], deadline: Duration) -> Result<String, SshError> {
        self.output(command, input, deadline)?
            .success(command.to_owned(), self.port)
    }

    /// Waits until a command succeeds; returns its standard output.
    pub fn wait_for(&self, condition: &str, command: &str, deadline: Duration) -> Result<String, WaitError> {
        wait_until(condition, deadline, || {
            self.run(command, deadline).map_err(|error| error.to_string())
        })
    }
}

impl Output {
    fn success(self, command: String, port: u16) -> Result<String, SshError> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        let said = format!("{}{}", self.stdout, self.stderr).trim().to_owned();
        Err(SshError::Failed {
            command,
            port,
            status: self.status,
            said,
        })
    }
}

/// As ssh's configuration wants a name with blanks in it.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is what there is.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

fn text(thread: std::thread::JoinHandle<Vec<u8>>) -> String {
    String::from_utf8_lossy(&thread.join().unwrap_or_default()).into_owned()
}

/// How it ended, or `None` if it was ended for taking too long.
fn wait(child: &mut Child, deadline: Duration) -> std::io::Result<Option<ExitStatus>> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn options_stand_for_themselves() {
        let ssh = Ssh {
            user: "core".into(),
            port: 2222,
            key: "/a b/key".into(),
            known_hosts: "/a b/known".into(),
        };
        let options = ssh.options();
        for wanted in [
            "Port=2222",
            "User=core",
            "IdentityFile=\"/a b/key\"",
            "ControlMaster=no",
            "/dev/null",
        ] {
            assert!(
                options.iter().any(|option| option == wanted),
                "{wanted} in {options:?}"
            );
        }
    }

    #[test]
    fn a_closed_port_is_an_error_that_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        assert!(make_key(&key, "test").unwrap().starts_with("ssh-ed25519 "));
        let port = crate::machine::free_port().unwrap();
        let ssh = Ssh {
            user: "core".into(),
            port,
            key,
            known_hosts: folder.path().join("known"),
        };
        let error = ssh.run("true", Duration::from_secs(20)).unwrap_err().to_string();
        assert!(error.contains("255") && error.contains("refused"), "{error}");
    }
}
