//! What the scheduler is told: the whole cluster once, then what the store says has changed.

use std::collections::BTreeSet;

use corten_raft::{AppliedBatch, Node};
use corten_schedule::{ClusterView, Kept, RollStep, RollView, Scheduler, UnitView};
use corten_spec::fleet::UnitState;
use corten_spec::machine::MachineId;
use corten_spec::unit_name::UnitName;
use corten_spec::x_fleet::Requirements;
use corten_store::fleet::{self, Change, Command, MachineRecord, UnitRecord, Waiting};
use corten_store::{Event, StoreFault};

/// What is to be read again.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dirty {
    /// Units.
    pub units: BTreeSet<UnitName>,
    /// Machines.
    pub machines: BTreeSet<MachineId>,
}

impl Dirty {
    /// Notes what a batch changed; unit states matter to no plan, only to rolls.
    pub fn note(&mut self, batch: &AppliedBatch) {
        for event in &batch.events {
            match event {
                Event::Fleet(Change::Unit(name)) => drop(self.units.insert(name.clone())),
                Event::Fleet(Change::Machine(id)) => drop(self.machines.insert(id.clone())),
                _ => {}
            }
        }
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty() && self.machines.is_empty()
    }
}

/// The whole cluster as the store has it, and the sessions of the machines present.
///
/// # Errors
/// When the store cannot be read.
pub fn whole(node: &Node) -> Result<(ClusterView, Vec<MachineRecord>), StoreFault> {
    let (units, machines) = node.read(|tx| Ok((fleet::units(tx)?, fleet::machines(tx)?)))?;
    let mut view = ClusterView::default();
    for record in units {
        view.units.insert(record.name.clone(), unit_view(record));
    }
    for MachineRecord { machine, .. } in machines.iter().filter(|record| record.present) {
        view.machines.insert(machine.id.clone(), machine.clone());
    }
    Ok((view, machines))
}

/// Tells the scheduler how what was dirty is now; returns the machines among it.
///
/// # Errors
/// When the store cannot be read.
pub fn refresh(
    node: &Node,
    scheduler: &mut Scheduler,
    dirty: &Dirty,
) -> Result<Vec<MachineRecord>, StoreFault> {
    let (units, machines) = node.read(|tx| {
        let units: Result<Vec<_>, _> = dirty
            .units
            .iter()
            .map(|name| Ok((name.clone(), fleet::unit(tx, name)?)))
            .collect();
        let machines: Result<Vec<_>, _> = dirty.machines.iter().map(|id| fleet::machine(tx, id)).collect();
        Ok((units?, machines?))
    })?;
    for (name, record) in units {
        match record {
            Some(record) => scheduler.set_unit(name, unit_view(record)),
            None => scheduler.remove_unit(&name),
        }
    }
    let machines: Vec<MachineRecord> = machines.into_iter().flatten().collect();
    for record in &machines {
        if record.present {
            scheduler.set_machine(record.machine.clone());
        } else {
            scheduler.remove_machine(&record.machine.id);
        }
    }
    Ok(machines)
}

fn unit_view(record: UnitRecord) -> UnitView {
    UnitView {
        requirements: Requirements::of(&record.name, &record.file),
        desired: record.desired,
        assigned: record.assigned.map(|assigned| assigned.machine),
        unplaced: record.unplaced,
    }
}

/// Every roll that is under way, by unit.
///
/// # Errors
/// When the store cannot be read.
pub fn rolls(node: &Node) -> Result<Vec<(UnitName, RollView)>, StoreFault> {
    node.read(|tx| {
        let rolling = fleet::rolling(tx)?.into_iter();
        rolling
            .map(|record| {
                let states = fleet::states_of(tx, &record.name)?;
                Ok((record.name.clone(), roll_view(&record, states)))
            })
            .collect()
    })
}

fn roll_view(record: &UnitRecord, states: Vec<UnitState>) -> RollView {
    let rollout = record.rollout.clone().unwrap_or_default();
    let hashes: Vec<String> = rollout.kept.iter().map(|file| file.hash()).collect();
    let kept = |waiting: Waiting| Kept {
        hash: hashes.get(waiting.file as usize).cloned().unwrap_or_default(),
        moved: waiting.moved,
        absent: waiting.absent,
    };
    let waiting = rollout.waiting.into_iter();
    RollView {
        hash: record.file.hash(),
        max_unavailable: rollout.max_unavailable as usize,
        waiting: waiting.map(|(id, waiting)| (id, kept(waiting))).collect(),
        allowed: rollout.allowed,
        reason: rollout.reason,
        states: states
            .into_iter()
            .map(|state| (state.machine.clone(), state))
            .collect(),
    }
}

/// A step of a roll as the store takes it.
pub fn roll_command(unit: UnitName, hash: String, step: RollStep) -> Command {
    match step {
        RollStep::Allow { machines, reason } => Command::Allow {
            unit,
            hash,
            machines,
            reason,
        },
        RollStep::End => Command::EndRollout { unit, hash },
    }
}
