//! One machine: started, paused, cut from power, started again, and described so that a later command can take it over.
//!
//! ```text
//! off --power_on--> running --power_cut / quit / the guest's own power-off--> off
//!                   running <--pause / resume--> paused
//! ```
//! A machine of ours dies with us or when dropped, unless released. An adopted one (from a [`Record`]) is only ended on
//! request. Its folder stays: the logs are for whoever asks what happened.

use std::fs::OpenOptions;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::accel::Accel;
use crate::args::{self, CONSOLE, QMP_SOCKET};
use crate::process::{Leashed, Process};
use crate::qmp::{self, QmpError};
use crate::short_path;
use crate::spec::Spec;
use crate::tool::{self, ToolError};
use crate::wait::{WaitError, wait_until};

/// QEMU's own messages, in the machine's folder.
pub const QEMU_LOG: &str = "qemu.log";
/// How long QEMU may take until its monitor answers.
const MONITOR_WITHIN: Duration = Duration::from_secs(30);
/// How often another free port is taken when someone else was faster.
const PORT_TRIES: usize = 5;

/// Why a machine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// QEMU is not there.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// Its folder or logs cannot be written, or the process not made.
    #[error("machine {name}: {what}: {source}")]
    Io {
        /// The machine.
        name: String,
        /// What was tried.
        what: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The port for SSH is taken.
    #[error("machine {name}: port {port} on 127.0.0.1 is in use; choose another, or 0 for any free one")]
    PortInUse {
        /// The machine.
        name: String,
        /// The port asked for.
        port: u16,
    },
    /// Nothing serves a card's socket. QEMU itself would run on with a dead card.
    #[error("machine {name}: no switch serves {socket}: {source}; start the switch before the machine")]
    NoSwitch {
        /// The machine.
        name: String,
        /// The card's socket.
        socket: PathBuf,
        /// What connecting to it said.
        source: std::io::Error,
    },
    /// QEMU ended at once.
    #[error("machine {name}: QEMU ended at once ({status}): {said} (all of it in {log})")]
    Ended {
        /// The machine.
        name: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// Its last words.
        said: String,
        /// Where they are.
        log: PathBuf,
    },
    /// Its monitor never answered.
    #[error("machine {name}: {source}")]
    Silent {
        /// The machine.
        name: String,
        /// What was waited for.
        source: WaitError,
    },
}

/// What a later command needs to take a machine over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// What it is made of, with the port it got.
    pub spec: Spec,
    /// Its folder.
    pub folder: PathBuf,
    /// Its process, if it was running.
    pub process: Option<Process>,
}

#[derive(Debug)]
enum Running {
    Ours(Leashed),
    Adopted(Process),
}

/// A machine and its process, if it has one.
#[derive(Debug)]
pub struct Machine {
    spec: Spec,
    folder: PathBuf,
    running: Option<Running>,
}

impl Machine {
    /// A machine that is off; its folder is made, a console log of an earlier machine there removed.
    pub fn new(spec: Spec, folder: &Path) -> Result<Machine, StartError> {
        let machine = Machine {
            spec,
            folder: folder.to_owned(),
            running: None,
        };
        std::fs::create_dir_all(folder).map_err(|e| machine.io("its folder", e))?;
        for log in [CONSOLE, args::SECOND_SERIAL, QEMU_LOG] {
            match std::fs::remove_file(folder.join(log)) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(machine.io(log, e)),
                _ => {}
            }
        }
        Ok(machine)
    }

    /// Takes over a machine that an earlier command released.
    pub fn adopt(record: Record) -> Machine {
        let running = record.process.filter(Process::is_running).map(Running::Adopted);
        Machine {
            spec: record.spec,
            folder: record.folder,
            running,
        }
    }

    /// What a later command needs to take it over.
    pub fn record(&self) -> Record {
        Record {
            spec: self.spec.clone(),
            folder: self.folder.clone(),
            process: self.process(),
        }
    }

    /// What it is made of.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Where its logs and sockets lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The console's log.
    pub fn console_path(&self) -> PathBuf {
        self.folder.join(CONSOLE)
    }

    /// Everything it has written to its console so far.
    pub fn console(&self) -> String {
        let bytes = std::fs::read(self.console_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The port on 127.0.0.1 that leads to its SSH, once started.
    pub fn ssh_port(&self) -> Option<u16> {
        self.spec
            .user_net
            .as_ref()
            .map(|net| net.ssh_port)
            .filter(|port| *port != 0)
    }

    /// Its process, while it runs.
    pub fn process(&self) -> Option<Process> {
        match &self.running {
            Some(Running::Ours(leashed)) => Some(leashed.process()),
            Some(Running::Adopted(process)) => Some(*process),
            None => None,
        }
        .filter(Process::is_running)
    }

    /// Whether its power is on.
    pub fn is_running(&self) -> bool {
        self.process().is_some()
    }

    /// Turns the power on; nothing happens if it is on. A port of 0 becomes a free one and is kept for ever after.
    pub fn power_on(&mut self) -> Result<(), StartError> {
        if self.is_running() {
            return Ok(());
        }
        let any_port = self.spec.user_net.as_ref().is_some_and(|net| net.ssh_port == 0);
        for attempt in 1.. {
            if any_port {
                let port = free_port().map_err(|e| self.io("a free port", e))?;
                if let Some(net) = &mut self.spec.user_net {
                    net.ssh_port = port;
                }
            }
            match self.launch() {
                Err(StartError::PortInUse { .. }) if any_port && attempt < PORT_TRIES => {}
                other => return other,
            }
        }
        Ok(())
    }

    fn launch(&mut self) -> Result<(), StartError> {
        for link in 0..self.spec.links.len() {
            let socket = self.folder.join(args::link_socket(link));
            short_path::connect(&socket).map_err(|source| StartError::NoSwitch {
                name: self.spec.name.clone(),
                socket,
                source,
            })?;
        }
        let qemu = tool::find("qemu-system-x86_64")?;
        let log_path = self.folder.join(QEMU_LOG);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path)
            .map_err(|e| self.io(QEMU_LOG, e))?;
        let said_before = log.metadata().map_err(|e| self.io(QEMU_LOG, e))?.len();
        let args = args::command_line(&self.spec, self.spec.accel.unwrap_or_else(Accel::best));
        let leashed =
            Leashed::start(&qemu, args, &self.folder, &log).map_err(|e| self.io("starting QEMU", e))?;
        self.running = Some(Running::Ours(leashed));
        let ready = wait_until("QEMU's monitor to answer", MONITOR_WITHIN, || {
            match self.ended() {
                Some(status) => Ok(Some(status)),
                None => self
                    .qmp("query-status", Value::Null)
                    .map(|_| None)
                    .map_err(|error| error.to_string()),
            }
        });
        match ready {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.last_words(status, &log_path, said_before)),
            Err(source) => {
                self.running = None;
                Err(StartError::Silent {
                    name: self.spec.name.clone(),
                    source,
                })
            }
        }
    }

    fn last_words(&mut self, status: std::process::ExitStatus, log: &Path, from: u64) -> StartError {
        self.running = None;
        let text = std::fs::read(log).unwrap_or_default();
        let said = String::from_utf8_lossy(text.get(from as usize..).unwrap_or_default())
            .trim()
            .to_owned();
        let name = self.spec.name.clone();
        match &self.spec.user_net {
            Some(net) if said.contains("Could not set up host forwarding rule") => StartError::PortInUse {
                name,
                port: net.ssh_port,
            },
            _ => StartError::Ended {
                name,
                status,
                said,
                log: log.to_owned(),
            },
        }
    }

    /// How our process ended, if it has; an adopted one leaves no status.
    fn ended(&mut self) -> Option<std::process::ExitStatus> {
        match &mut self.running {
            Some(Running::Ours(leashed)) => leashed.ended().ok().flatten(),
            _ => None,
        }
    }

    /// Runs a command on QEMU's monitor.
    pub fn qmp(&self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        qmp::execute(&self.folder.join(QMP_SOCKET), command, arguments)
    }

    /// Stops its processors; its clock stands still.
    pub fn pause(&self) -> Result<(), QmpError> {
        self.qmp("stop", Value::Null).map(drop)
    }

    /// Lets its processors go on.
    pub fn resume(&self) -> Result<(), QmpError> {
        self.qmp("cont", Value::Null).map(drop)
    }

    /// Presses the reset button.
    pub fn reset(&self) -> Result<(), QmpError> {
        self.qmp("system_reset", Value::Null).map(drop)
    }

    /// Presses the power button: the guest may shut down in its own way.
    pub fn press_power_button(&self) -> Result<(), QmpError> {
        self.qmp("system_powerdown", Value::Null).map(drop)
    }

    /// Pulls the plug: what the guest has not flushed is lost. Nothing happens if it is off.
    pub fn power_cut(&mut self) -> std::io::Result<()> {
        match self.running.take() {
            Some(Running::Ours(mut leashed)) => leashed.kill().map(drop),
            Some(Running::Adopted(process)) => process.kill(),
            None => Ok(()),
        }
    }

    /// Waits until it has turned itself off.
    pub fn wait_off(&mut self, deadline: Duration) -> Result<(), WaitError> {
        let condition = format!("machine {} to turn itself off", self.spec.name);
        wait_until(&condition, deadline, || match (self.ended(), self.is_running()) {
            (None, true) => Err("it runs".to_owned()),
            _ => Ok(()),
        })?;
        self.running = None;
        Ok(())
    }

    /// Waits until its console has said `text`.
    pub fn wait_console(&self, text: &str, deadline: Duration) -> Result<(), WaitError> {
        let condition = format!(
            "{text:?} on the console of {} ({})",
            self.spec.name,
            self.console_path().display()
        );
        wait_until(&condition, deadline, || {
            let console = self.console();
            if console.contains(text) {
                return Ok(());
            }
            Err(console
                .lines()
                .rev()
                .find(|line| !line.trim().is_empty())
                .unwrap_or("nothing")
                .trim()
                .to_owned())
        })
    }

    /// Lets it run on after us; the record is how a later command finds it.
    pub fn release(mut self) -> std::io::Result<Record> {
        let mut record = self.record();
        if let Some(Running::Ours(leashed)) = self.running.take() {
            record.process = Some(leashed.release()?);
        }
        Ok(record)
    }

    fn io(&self, what: &str, source: std::io::Error) -> StartError {
        StartError::Io {
            name: self.spec.name.clone(),
            what: what.to_owned(),
            source,
        }
    }
}

/// A port that was free a moment ago; whoever uses it must be ready to find it taken.
pub fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
