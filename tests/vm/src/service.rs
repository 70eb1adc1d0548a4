//! A helper process of a cluster (switch, registry, SSH agent): ours while we run, taken over by a later command when
//! the cluster was left up.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use corten_qemu::process::{Leashed, Process};
use corten_qemu::wait_until;

/// How long a helper may take until it answers.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// A helper process.
#[derive(Debug)]
pub struct Service {
    name: String,
    log: Option<PathBuf>,
    running: Running,
}

#[derive(Debug)]
enum Running {
    Ours(Leashed),
    Adopted(Process),
}

impl Service {
    /// Starts a helper, its output going to `log`, and waits until `answers`.
    pub fn start<S: AsRef<OsStr>>(
        program: &Path,
        args: &[S],
        folder: &Path,
        log: &Path,
        mut answers: impl FnMut() -> Result<(), String>,
    ) -> Result<Service> {
        let name = program
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let file = File::create(log).with_context(|| format!("writing {}", log.display()))?;
        let mut leashed =
            Leashed::start(program, args, folder, &file).with_context(|| format!("starting {name}"))?;
        let condition = format!("{name} to answer (its log: {})", log.display());
        let ended = wait_until(&condition, ANSWER_WITHIN, || match leashed.ended() {
            Ok(Some(status)) => Ok(Some(status)),
            _ => answers().map(|()| None),
        })?;
        if let Some(status) = ended {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            bail!("{name} ended at once ({status}): {}", said.trim());
        }
        Ok(Service {
            name,
            log: Some(log.to_owned()),
            running: Running::Ours(leashed),
        })
    }

    /// Takes over a helper that was left running.
    pub fn adopt(process: Process) -> Service {
        Service {
            name: format!("process {}", process.pid),
            log: None,
            running: Running::Adopted(process),
        }
    }

    /// Which process it is.
    pub fn process(&self) -> Process {
        match &self.running {
            Running::Ours(leashed) => leashed.process(),
            Running::Adopted(process) => *process,
        }
    }

    /// Ends it.
    pub fn stop(&mut self) -> Result<()> {
        let log = self
            .log
            .as_ref()
            .map_or(String::new(), |log| format!(" (its log: {})", log.display()));
        match &mut self.running {
            Running::Ours(leashed) => leashed.kill().map(drop),
            Running::Adopted(process) => process.kill(),
        }
        .with_context(|| format!("ending {}{log}", self.name))
    }

    /// Lets it live on after us.
    pub fn release(self) -> Result<Process> {
        match self.running {
            Running::Ours(leashed) => leashed
                .release()
                .with_context(|| format!("releasing {}", self.name)),
            Running::Adopted(process) => Ok(process),
        }
    }
}
