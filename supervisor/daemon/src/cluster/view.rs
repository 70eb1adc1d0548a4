//! What the scheduler looks at, kept in memory and changed by what the store says has changed.

use std::collections::BTreeSet;

use corten_raft::{AppliedBatch, Node};
use corten_schedule::{ClusterView, UnitView};
use corten_spec::machine::MachineId;
use corten_spec::unit_name::UnitName;
use corten_spec::x_fleet::Requirements;
use corten_store::fleet::{self, Change, MachineRecord, UnitRecord};
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
    /// Notes what a batch changed; unit states matter to no plan.
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
    for record in &machines {
        put_machine(&mut view, record);
    }
    Ok((view, machines))
}

/// Brings `view` up to date; returns the machines among what was dirty, as they are now.
///
/// # Errors
/// When the store cannot be read.
pub fn refresh(node: &Node, view: &mut ClusterView, dirty: &Dirty) -> Result<Vec<MachineRecord>, StoreFault> {
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
            Some(record) => drop(view.units.insert(name, unit_view(record))),
            None => drop(view.units.remove(&name)),
        }
    }
    let machines: Vec<MachineRecord> = machines.into_iter().flatten().collect();
    for record in &machines {
        put_machine(view, record);
    }
    Ok(machines)
}

fn put_machine(view: &mut ClusterView, record: &MachineRecord) {
    if record.present {
        view.machines
            .insert(record.machine.id.clone(), record.machine.clone());
    } else {
        view.machines.remove(&record.machine.id);
    }
}

fn unit_view(record: UnitRecord) -> UnitView {
    UnitView {
        requirements: Requirements::of(&record.name, &record.file),
        desired: record.desired,
        assigned: record.assigned.map(|assigned| assigned.machine),
        unplaced: record.unplaced,
    }
}
