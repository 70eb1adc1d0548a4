//! Running a program on a machine of the cluster: here, where we are that machine, else over SSH.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use super::fault::Failure;
use super::ssh::{SshSettings, Visit, quote};
use super::wire::Machine;
use crate::http::{Overheard, REASON, REST, ssh_advice};
use crate::terminal::tell;

/// What ssh ends with for a fault of its own.
const SSH_FAULT: u8 = 255;

/// The way to the machines.
pub(super) struct Machines<'s> {
    ssh: &'s SshSettings,
    port: Option<u16>,
}

impl<'s> Machines<'s> {
    /// `port`: the machines' SSH port, where the user named one.
    pub(super) fn new(ssh: &'s SshSettings, port: Option<u16>) -> Machines<'s> {
        Machines { ssh, port }
    }

    /// Runs `words` on `machine`, its output ours; answers with its exit code.
    pub(super) fn run(&self, machine: &Machine, words: &[&str]) -> Result<u8, Failure> {
        if self.ssh.tunnel.is_none() && is_here(&machine.id) {
            let argv: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            return run(&argv, Stdio::inherit());
        }
        let command = words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ");
        self.visit(
            machine,
            Visit {
                command: Some(command),
                port: self.port,
                ..Visit::default()
            },
        )
    }

    /// Opens a shell on `machine`, or has its shell run a command; answers with the exit code.
    pub(super) fn open(
        &self,
        machine: &Machine,
        command: Option<String>,
        forward_agent: bool,
    ) -> Result<u8, Failure> {
        self.visit(
            machine,
            Visit {
                command,
                forward_agent,
                port: self.port,
            },
        )
    }

    fn visit(&self, machine: &Machine, visit: Visit) -> Result<u8, Failure> {
        if machine.ip.is_empty() {
            let text = format!(
                "Could not determine address of machine {}: it is not in the cluster now, or has none",
                machine.short(false)
            );
            return Err(Failure::new(text));
        }
        prepare(self.ssh);
        let unheard = |error| Failure::new(format!("Error running local command: ssh: {error}"));
        let (heard, stderr) = Overheard::new().map_err(unheard)?;
        let code = run(&self.ssh.to_machine(&machine.ip, &visit), stderr.into())?;
        let words = heard.words(if code == SSH_FAULT { REASON } else { REST });
        if code == SSH_FAULT {
            tell(format!(
                "Unable to SSH to remote host: ssh to {} ended with exit code 255; its own words stand above",
                machine.ip
            ));
            ssh_advice(&words).iter().for_each(tell);
        }
        Ok(code)
    }
}

/// Makes the directory for the known hosts, which ssh does for its own only. Where that fails ssh itself will say that
/// it cannot remember a host.
pub(super) fn prepare(ssh: &SshSettings) {
    let first = ssh.known_hosts.first().filter(|_| ssh.strict);
    if let Some(directory) = first.and_then(|file| file.parent()) {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .ok();
    }
}

/// Are we on the machine `id`?
fn is_here(id: &str) -> bool {
    fs::read_to_string("/etc/machine-id").is_ok_and(|here| here.trim() == id)
}

fn run(argv: &[String], stderr: Stdio) -> Result<u8, Failure> {
    let (program, arguments) = argv
        .split_first()
        .expect("a program stands first in what we build");
    match Command::new(program).args(arguments).stderr(stderr).status() {
        Ok(status) => Ok(code(status)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && program == "ssh" => Err(Failure::new(
            "cannot run ssh: not found; install OpenSSH's client (Debian: apt-get install openssh-client)",
        )),
        Err(error) => Err(Failure::new(format!(
            "Error running local command: {program}: {error}"
        ))),
    }
}

/// The exit code as a shell sees it: 128 and the signal's number for one that a signal ended.
fn code(status: ExitStatus) -> u8 {
    let number = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    u8::try_from(number).unwrap_or(SSH_FAULT)
}
