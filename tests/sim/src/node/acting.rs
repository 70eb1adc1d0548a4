//! What the agent has done on its machine.

use std::collections::BTreeMap;

use corten_agent::{
    Action, Contact, DesiredUnit, Fenced, Observed, OnDisk, desired, fence, reconcile_fenced,
};
use corten_spec::unit_file::UnitFile;
use corten_spec::unit_name::UnitName;
use corten_spec::x_fleet::Requirements;
use corten_store::fleet;

use super::{Effect, Node, candidate};
use crate::commit;
use crate::rng::Rng;
use crate::systemd::Job;
use crate::world::Mutation;

impl Node {
    /// Does what there is to do; of what does not end units, only if the replica is known to be current.
    pub(super) fn act(
        &mut self,
        contact: Contact,
        is_current: bool,
        rng: &mut Rng,
        effects: &mut Vec<Effect>,
    ) -> Result<(), String> {
        let record = fleet::machine(&self.replica, &self.machine.id).expect("memory does not fail");
        let record = record.filter(|record| record.present);
        let is_member = record.is_some();
        let machine = record.map_or_else(|| self.machine.clone(), |record| record.machine);
        let units = commit::units(&self.replica).into_iter();
        let units: Vec<_> = units.map(|record| candidate(record, &self.machine.id)).collect();
        let wanted = desired(&machine, &units);
        let observed = self.observed(&wanted);
        let Fenced { mut ends, rest } = match is_current {
            true => reconcile_fenced(&wanted, &observed, contact, is_member),
            false => Fenced {
                ends: fence(&wanted, &observed, contact),
                rest: Vec::new(),
            },
        };
        if self.mutation == Some(Mutation::NoFence) {
            ends.clear();
        }
        for action in ends.into_iter().chain(rest) {
            effects.push(Effect::Note(print(&action)));
            effects.extend(self.perform(action, rng)?.map(Effect::Job));
        }
        Ok(())
    }

    fn perform(&mut self, action: Action, rng: &mut Rng) -> Result<Option<Job>, String> {
        let mut job = None;
        match action {
            Action::Stop(unit) => {
                job = self.systemd.stop(&unit, rng);
                self.disk
                    .entry(unit)
                    .and_modify(|on_disk| on_disk.launched = false);
            }
            Action::Kill(unit) => {
                job = self.systemd.kill(&unit);
                self.disk
                    .entry(unit)
                    .and_modify(|on_disk| on_disk.launched = false);
            }
            Action::Start(unit) => {
                job = self.systemd.start(&unit, rng)?;
                self.disk
                    .entry(unit)
                    .and_modify(|on_disk| on_disk.launched = true);
            }
            Action::Write { unit, text } => {
                let file = UnitFile::parse(&text).map_err(|error| format!("{unit}: {error}"))?;
                let requirements = Requirements::of(&unit, &file);
                self.disk.insert(
                    unit,
                    OnDisk {
                        hash: file.hash(),
                        requirements,
                        has_install: file.has_install(),
                        launched: false,
                        start_error: String::new(),
                    },
                );
            }
            Action::Remove(unit) => drop(self.disk.remove(&unit)),
            Action::Link(unit) => self.systemd.link(&unit),
            Action::Disable(unit) | Action::Unlink(unit) => self.systemd.disable(&unit),
            Action::ResetFailed(unit) => self.systemd.reset_failed(&unit),
            Action::Find(unit) => self.systemd.find(&unit)?,
            Action::DaemonReload => self.systemd.reload(),
            Action::Enable(_) => {}
        }
        Ok(job)
    }

    /// What is on the disk, and what is wanted.
    pub(super) fn observed(&self, wanted: &[DesiredUnit]) -> BTreeMap<UnitName, Observed> {
        let one = |name: &UnitName| {
            let active = self.systemd.active(name).to_owned();
            let seen = Observed {
                on_disk: self.disk.get(name).cloned(),
                load: self.systemd.load(name).to_owned(),
                sub: active.clone(),
                active,
            };
            (name.clone(), seen)
        };
        let wanted = wanted.iter().map(|unit| &unit.name);
        self.disk.keys().chain(wanted).map(one).collect()
    }
}

fn print(action: &Action) -> String {
    match action {
        Action::Stop(unit) => format!("stop {unit}"),
        Action::Kill(unit) => format!("kill {unit}"),
        Action::Disable(unit) => format!("disable {unit}"),
        Action::Unlink(unit) => format!("unlink {unit}"),
        Action::ResetFailed(unit) => format!("reset-failed {unit}"),
        Action::Remove(unit) => format!("remove {unit}"),
        Action::Write { unit, .. } => format!("write {unit}"),
        Action::Link(unit) => format!("link {unit}"),
        Action::Enable(unit) => format!("enable {unit}"),
        Action::Find(unit) => format!("find {unit}"),
        Action::DaemonReload => "reload".to_owned(),
        Action::Start(unit) => format!("start {unit}"),
    }
}
