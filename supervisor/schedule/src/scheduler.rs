//! The scheduler as its caller holds it: told what changes, asked for decisions.

use corten_spec::fleet::Decision;
use corten_spec::machine::{Machine, MachineId};
use corten_spec::unit_name::UnitName;

use crate::cluster::Cluster;
use crate::roll::{self, RollStep, RollView, Troubles};
use crate::view::{ClusterView, Policy, UnitView};
use crate::why::{self, Telling};
use crate::{keep, place};

/// A cluster kept in mind. A decision costs what the change is worth, not what the cluster is.
///
/// Decisions count as taken once they are made: [`Scheduler::decide`] does not repeat them. The caller writes them and
/// tells what the store then says of these units, whether it took them or not. If they could not be written, begin anew
/// with [`Scheduler::of`].
#[derive(Debug, Default)]
pub struct Scheduler {
    cluster: Cluster,
    telling: Telling,
}

impl Scheduler {
    /// A scheduler that knows the whole of `view`.
    pub fn of(view: ClusterView) -> Scheduler {
        let mut scheduler = Scheduler::default();
        for (name, unit) in view.units {
            scheduler.cluster.set_unit(name, unit);
        }
        for machine in view.machines.into_values() {
            scheduler.cluster.set_machine(machine);
        }
        scheduler
    }

    /// A unit is new, or is now like this.
    pub fn set_unit(&mut self, name: UnitName, unit: UnitView) {
        self.cluster.set_unit(name, unit);
    }

    /// A unit is gone.
    pub fn remove_unit(&mut self, name: &UnitName) {
        if let Some(unit) = self.cluster.find(name.as_str()) {
            self.cluster.remove_unit(unit);
        }
    }

    /// A machine is present, with this effective metadata.
    pub fn set_machine(&mut self, machine: Machine) {
        self.cluster.set_machine(machine);
    }

    /// A machine is absent.
    pub fn remove_machine(&mut self, id: &MachineId) {
        self.cluster.remove_machine(id);
    }

    /// What is to be done: at most one decision per unit; first units taken off their machines or that have a new
    /// reason for being on none, by priority and name, then units placed, in the order they were. Empty when nothing is.
    ///
    /// All of it is done after one call, but where units replace each other in a chain (a unit gives way once per call)
    /// and for reasons that changed only in what they count ([`Scheduler::has_told_all`]).
    pub fn decide(&mut self, policy: &Policy) -> Vec<Decision> {
        let cluster = &mut self.cluster;
        cluster.work.hopeless.clear();
        cluster.work.hopeless_by_priority.clear();
        if !policy.hold_absent {
            cluster.give_up_absent();
        }
        cluster.settle_globals();
        loop {
            let dropped = keep::drop_unable(cluster);
            let moved = place::place_waiting(cluster);
            if !dropped && !moved {
                break;
            }
        }
        why::decisions(cluster, &mut self.telling)
    }

    /// The next step of a global unit's roll; None when there is none. Asked after [`Scheduler::decide`], on which it has no
    /// bearing: the unit is placed by the new file as by the old.
    pub fn roll(&self, unit: &UnitName, roll: &RollView) -> Option<RollStep> {
        let ix = self.cluster.find(unit.as_str())?;
        let on = self.cluster.machines_of(ix).into_iter();
        let runs: Troubles = on
            .map(|machine| &self.cluster.spot(machine).machine)
            .map(|machine| {
                let trouble = machine.trouble().unwrap_or_default();
                (machine.id.clone(), trouble.to_owned())
            })
            .collect();
        let waiting = roll.waiting.iter().filter(|(_, kept)| !kept.absent);
        let members = waiting.map(|(id, _)| id).chain(&roll.allowed);
        let away = members.filter(|id| !self.cluster.ids.contains_key(id.0.as_str()));
        roll::next(roll, &runs, &away.cloned().collect())
    }

    /// Is every unit that waits told the newest reason? If not, another [`Scheduler::decide`] goes on; there is no hurry.
    pub fn has_told_all(&self) -> bool {
        self.telling.is_done()
    }

    /// Every wanted unit that is on no machine, by priority and name, with the reason it was told.
    pub fn unplaced(&self) -> impl Iterator<Item = (&UnitName, &str)> {
        let units = self.cluster.waiting.iter().map(|key| self.cluster.unit(key.ix));
        units.map(|unit| (&unit.name, unit.view.unplaced.as_deref().unwrap_or_default()))
    }
}
