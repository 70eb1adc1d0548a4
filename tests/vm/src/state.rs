//! A cluster that is left up: written down for later commands, taken over by them, never two in one folder.

use std::path::Path;

use anyhow::{Context, Result, bail};
use corten_qemu::process::Process;
use corten_qemu::{Machine, Record};
use serde::{Deserialize, Serialize};

use crate::cluster::Cluster;
use crate::layout::Layout;
use crate::registry::Registry;
use crate::service::Service;

/// What a later command needs.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    machines: Vec<Record>,
    switch: Process,
    registry: Process,
    registry_port: u16,
}

impl Cluster {
    /// Leaves everything running after us and writes down how to find it.
    pub fn leave_up(self) -> Result<()> {
        let path = self.layout.state();
        let registry_port = self.registry.port();
        let mut machines = Vec::new();
        for machine in self.machines {
            machines.push(machine.release().context("releasing a machine")?);
        }
        let state = State {
            machines,
            switch: self.switch.release()?,
            registry: self.registry.release()?,
            registry_port,
        };
        std::fs::write(&path, serde_json::to_vec_pretty(&state)?)
            .with_context(|| format!("writing {}", path.display()))?;
        self.sweep
            .map_or(Ok(()), |sweep| sweep.keep())
            .context("keeping the cluster's files")
    }

    /// Takes over the cluster that an earlier command left up in `dir`.
    pub fn adopt(dir: &Path) -> Result<Cluster> {
        Cluster::find(dir)?.with_context(|| {
            let dir = dir.display();
            format!("no cluster is up in {dir}; `corten-vm up` makes one, --dir names another folder")
        })
    }

    /// The same, where there may be none.
    pub fn find(dir: &Path) -> Result<Option<Cluster>> {
        let layout = Layout::new(dir)?;
        let Some(state) = read(&layout)? else {
            return Ok(None);
        };
        Ok(Some(Cluster {
            machines: state.machines.into_iter().map(Machine::adopt).collect(),
            switch: Service::adopt(state.switch),
            registry: Registry::adopt(state.registry_port, state.registry),
            layout,
            sweep: None,
        }))
    }
}

/// Refuses a folder in which something of an earlier cluster still runs.
pub(crate) fn refuse_running(layout: &Layout) -> Result<()> {
    let Some(state) = read(layout)? else { return Ok(()) };
    let helpers = [state.switch, state.registry];
    let machines = state.machines.iter().filter_map(|record| record.process);
    if machines.chain(helpers).any(|process| process.is_running()) {
        bail!(
            "a cluster is already up in {0}: end it first with `corten-vm --dir {0} down`",
            layout.dir().display()
        );
    }
    Ok(())
}

fn read(layout: &Layout) -> Result<Option<State>> {
    let path = layout.state();
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| format!("reading {}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}
