//! Who is where, by the plain definitions: what the other checkers compare with.

use std::collections::BTreeMap;

use corten_schedule::{ClusterView, UnitView};
use corten_spec::fleet::JobState;
use corten_spec::machine::{MachineId, Scheduling};
use corten_spec::placement::{Party, Replacement, conflict, globals_on, replacement};
use corten_spec::resources::{Capacity, Resources};
use corten_spec::unit_name::UnitName;

/// The units on each machine that is present, global ones first.
pub type Layout<'a> = BTreeMap<&'a MachineId, Vec<Party<'a>>>;

/// Does the scheduler look for a machine for it?
pub fn is_wanted(name: &UnitName, unit: &UnitView) -> bool {
    unit.desired != JobState::Inactive && !unit.requirements.global && !name.is_template()
}

/// The layout of a view.
pub fn layout(view: &ClusterView) -> Layout<'_> {
    let globals: Vec<Party<'_>> = view
        .units
        .iter()
        .filter(|(name, unit)| {
            unit.requirements.global && unit.desired != JobState::Inactive && !name.is_template()
        })
        .map(|(name, unit)| (name, &unit.requirements))
        .collect();
    let mut layout: Layout<'_> = view
        .machines
        .iter()
        .map(|(id, machine)| (id, globals_on(machine, globals.iter().copied())))
        .collect();
    for (name, unit) in view.units.iter().filter(|(name, unit)| is_wanted(name, unit)) {
        if let Some(here) = unit.assigned.as_ref().and_then(|id| layout.get_mut(id)) {
            here.push((name, &unit.requirements));
        }
    }
    layout
}

/// Why `unit` may not be on the machine `id` beside what is `here`; None if it may.
pub fn objection(view: &ClusterView, id: &MachineId, here: &[Party<'_>], unit: Party<'_>) -> Option<String> {
    let machine = view.machines.get(id)?;
    let (name, asks) = unit;
    if let Some(missing) = machine.lacks(&asks.metadata) {
        return Some(format!("{name} on {id} without {missing}"));
    }
    if asks
        .machine_id
        .as_ref()
        .is_some_and(|wanted| !id.is_meant_by(wanted))
    {
        return Some(format!("{name} on {id} although it asks for another machine"));
    }
    if let Some(peer) = asks
        .machine_of
        .iter()
        .find(|peer| !here.iter().any(|other| other.0.as_str() == *peer))
    {
        return Some(format!("{name} on {id} without its peer {peer}"));
    }
    if machine.scheduling() == Scheduling::Drained && !asks.global {
        return Some(format!("{name} on {id}, which is drained"));
    }
    let other = here.iter().find(|other| conflict(unit, **other))?;
    Some(format!("{name} on {id} in conflict with {}", other.0))
}

/// Does the machine `id` take new units, and has it what `unit` reserves left beside what is `here`?
pub fn takes_more(view: &ClusterView, id: &MachineId, here: &[Party<'_>], unit: Party<'_>) -> bool {
    let Some(machine) = view
        .machines
        .get(id)
        .filter(|machine| machine.scheduling() == Scheduling::Open)
    else {
        return false;
    };
    let has = Capacity::of(machine);
    let together = here.iter().fold(unit.1.reserves, |sum, other| {
        Resources::plus(sum, other.1.reserves)
    });
    let fits = |asked: u64, together: u64, has: Option<u64>| asked == 0 || together <= has.unwrap_or(0);
    fits(unit.1.reserves.cpu_percent, together.cpu_percent, has.cpu_percent)
        && fits(
            unit.1.reserves.memory_bytes,
            together.memory_bytes,
            has.memory_bytes,
        )
}

/// A unit that makes `unit` give way from where both are; None if there is none.
pub fn replacer<'a>(here: &[Party<'a>], unit: Party<'_>) -> Option<&'a UnitName> {
    here.iter()
        .find(|other| replacement(**other, unit) == Replacement::First)
        .map(|other| other.0)
}
