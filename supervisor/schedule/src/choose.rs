//! The machine for a unit.
//!
//! `Replaces=`: a unit put on a machine makes those it replaces there give way. A new arrival may do so whatever comes
//! of them; any other unit only if they have somewhere else to go, else two plans could undo each other forever.
//! Units that replace each other: only one of them is anywhere; a new arrival takes the very machine of the other, so
//! that the agent there can stop one before it starts the other.

use std::collections::BTreeSet;

use crate::cluster::{Cluster, Place};
use crate::key::{MachineIx, UnitIx};
use crate::spread::Group;
use crate::work::Alike;

/// Where a unit that waits may fit.
#[derive(Debug, Clone, Copy)]
pub enum Where<'a> {
    /// On any machine.
    Anywhere,
    /// On one of these, if at all.
    Among(&'a BTreeSet<MachineIx>),
}

/// The machine for a unit, and why that one.
pub fn choose(cluster: &mut Cluster, unit: UnitIx, place: Where<'_>) -> Option<(MachineIx, String)> {
    if let Some(peer) = anchor(cluster, unit) {
        let Place::On(machine) = cluster.unit(peer).place else {
            return None;
        };
        let reason = format!("MachineOf {}", cluster.unit(peer).name);
        return fits(cluster, unit, machine).then_some((machine, reason));
    }
    let machine = match place {
        Where::Anywhere => anywhere(cluster, unit)?,
        Where::Among(machines) => among(cluster, unit, machines)?,
    };
    Some((machine, reason(cluster, unit, machine)))
}

fn reason(cluster: &Cluster, unit: UnitIx, machine: MachineIx) -> String {
    let (it, spot) = (cluster.unit(unit), cluster.spot(machine));
    if let Some(id) = &it.view.requirements.machine_id {
        return format!("MachineID {id}");
    }
    let key = it.group.as_ref().map(|(_, key)| key);
    let value = key.and_then(|key| spot.machine.metadata.get_key_value(key));
    let value = value.map_or_else(String::new, |(key, value)| format!(" of {key}={value}"));
    match spot.on.len() {
        1 => format!("least loaded{value}: 1 unit"),
        load => format!("least loaded{value}: {load} units"),
    }
}

fn anywhere(cluster: &mut Cluster, unit: UnitIx) -> Option<MachineIx> {
    let alike = alike(cluster, unit);
    if alike
        .as_ref()
        .is_some_and(|alike| cluster.work.hopeless.contains(alike))
    {
        return None;
    }
    let found = preferred(cluster, unit);
    if found.is_none() {
        cluster.work.hopeless.extend(alike);
    }
    found
}

fn preferred(cluster: &Cluster, unit: UnitIx) -> Option<MachineIx> {
    let mut fitting = options(cluster, unit).filter(|machine| fits(cluster, unit, *machine));
    match &cluster.unit(unit).group {
        None => fitting.next(),
        Some(group) => sparsest(cluster, group, fitting),
    }
}

/// Of `machines`, the preferred first, the one where the fewest of a group are near. Looks no further than needed.
fn sparsest(
    cluster: &Cluster,
    group: &Group,
    machines: impl Iterator<Item = MachineIx>,
) -> Option<MachineIx> {
    let least = cluster.spread.least(group);
    let mut best = None;
    for machine in machines {
        let count = cluster.spread.count(group, &cluster.spot(machine).machine);
        if count <= least {
            return Some(machine);
        }
        if best.is_none_or(|(fewest, _)| count < fewest) {
            best = Some((count, machine));
        }
    }
    best.map(|(_, machine)| machine)
}

fn among(cluster: &Cluster, unit: UnitIx, machines: &BTreeSet<MachineIx>) -> Option<MachineIx> {
    let fitting = machines
        .iter()
        .copied()
        .filter(|machine| fits(cluster, unit, *machine));
    fitting.min_by_key(|machine| {
        let spot = cluster.spot(*machine);
        let group = cluster.unit(unit).group.as_ref();
        let near = group.map_or(0, |group| cluster.spread.count(group, &spot.machine));
        (near, spot.load(), &spot.key)
    })
}

/// What makes units fit on the same machines; None where more than that counts.
pub fn alike(cluster: &Cluster, unit: UnitIx) -> Option<Alike> {
    let it = cluster.unit(unit);
    let asks = &it.view.requirements;
    if !asks.machine_of.is_empty() || asks.machine_id.is_some() || cluster.replaces.concerns(unit) {
        return None;
    }
    let (declared, matched) = cluster.conflicts.sides(unit);
    let mut matched = matched.to_vec();
    matched.sort_unstable();
    Some((it.pool, declared.to_vec(), matched, asks.reserves))
}

/// The machines that come into question, the preferred first: those that `MachineID` means, or the smallest pool of
/// those the unit and its global peers ask for.
pub fn options<'a>(cluster: &'a Cluster, unit: UnitIx) -> Box<dyn Iterator<Item = MachineIx> + 'a> {
    let it = cluster.unit(unit);
    let asks = &it.view.requirements;
    if let Some(wanted) = &asks.machine_id {
        let mut meant = cluster.meant_by(wanted);
        meant.sort_by_key(|machine| (cluster.spot(*machine).load(), &cluster.spot(*machine).key));
        return Box::new(meant.into_iter());
    }
    let mut pool = cluster.pools.get(it.pool);
    for peer in &asks.machine_of {
        let Some(peer) = cluster.find(peer) else {
            return Box::new(std::iter::empty());
        };
        let other = cluster.pools.get(cluster.unit(peer).pool);
        if other.by_id.len() < pool.by_id.len() {
            pool = other;
        }
    }
    Box::new(pool.least_loaded())
}

/// A peer that is on one machine only: the follower goes there or nowhere.
pub fn anchor(cluster: &Cluster, unit: UnitIx) -> Option<UnitIx> {
    let asks = &cluster.unit(unit).view.requirements;
    let mut peers = asks.machine_of.iter().filter_map(|peer| cluster.find(peer));
    peers.find(|peer| !cluster.unit(*peer).view.requirements.global)
}

/// May `unit` be put on `machine`, and may those it replaces there give way?
pub fn fits(cluster: &Cluster, unit: UnitIx, machine: MachineIx) -> bool {
    if cluster.able(unit, machine).is_err() {
        return false;
    }
    let asking = cluster.unit(unit);
    let replaced = replaced_there(cluster, unit, machine);
    if !has_room(cluster, unit, machine, replaced.iter().copied()) {
        return false;
    }
    replaced.into_iter().all(|other| {
        // Once per plan and unit: this is what makes planning end.
        let may_move = !cluster.unit(other).displaced && !asking.displaced;
        may_move && (asking.is_new() || has_elsewhere(cluster, other, machine))
    })
}

/// Is what `unit` reserves free on `machine` once `leaving` have left it?
pub fn has_room(
    cluster: &Cluster,
    unit: UnitIx,
    machine: MachineIx,
    leaving: impl Iterator<Item = UnitIx>,
) -> bool {
    let leaving = leaving.map(|other| cluster.unit(other).view.requirements.reserves);
    let reserves = cluster.unit(unit).view.requirements.reserves;
    cluster.spot(machine).room.lacks(reserves, leaving).is_none()
}

/// Units on `machine` that give way when `unit` comes. Global units never do.
pub fn replaced_there(cluster: &Cluster, unit: UnitIx, machine: MachineIx) -> Vec<UnitIx> {
    if !cluster.replaces.names_one_on(unit, machine, false) {
        return Vec::new();
    }
    let there = cluster.spot(machine).on.iter().copied();
    there
        .filter(|other| cluster.replaces_only(unit, *other))
        .filter(|other| !cluster.unit(*other).view.requirements.global)
        .collect()
}

/// Could `unit`, now on `machine`, go to another machine without making anyone give way?
fn has_elsewhere(cluster: &Cluster, unit: UnitIx, machine: MachineIx) -> bool {
    options(cluster, unit).any(|other| {
        other != machine
            && cluster.able(unit, other).is_ok()
            && has_room(cluster, unit, other, std::iter::empty())
            && replaced_there(cluster, unit, other).is_empty()
    })
}
