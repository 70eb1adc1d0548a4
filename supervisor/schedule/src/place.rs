//! The second step of a plan: every wanted unit that is on no machine goes to the least loaded machine that may run it.
//!
//! In the order of names, again and again until no more can be placed, because a follower waits for its peer.
//!
//! `Replaces=`: a unit put on a machine makes those it replaces there give way. A new arrival may do so whatever comes
//! of them; any other unit only if they have somewhere else to go, else two plans could undo each other forever.
//! Units that replace each other: only one of them is anywhere; a new arrival takes the very machine of the other, so
//! that the agent there can stop one before it starts the other.

use crate::cluster::{Cluster, Place};
use crate::patterns::{MachineIx, UnitIx};

/// Places what can be placed; says whether any unit was.
pub fn place_waiting(cluster: &mut Cluster<'_>) -> bool {
    let mut any = false;
    let mut waiting: Vec<UnitIx> = (0..cluster.units.len() as UnitIx).collect();
    loop {
        waiting.retain(|unit| {
            let unit = &cluster.units[*unit as usize];
            unit.place == Place::Nowhere && unit.is_wanted()
        });
        let before = waiting.len();
        waiting.retain(|unit| !place_one(cluster, *unit));
        if waiting.len() == before {
            return any;
        }
        any = true;
    }
}

fn place_one(cluster: &mut Cluster<'_>, unit: UnitIx) -> bool {
    let rivals = cluster.rivals(unit);
    if !rivals.is_empty() {
        return oust(cluster, unit, &rivals);
    }
    let Some((machine, reason)) = choose(cluster, unit) else {
        return false;
    };
    for other in replaced_there(cluster, unit, machine) {
        displace(cluster, other, unit);
    }
    settle(cluster, unit, machine, reason);
    true
}

/// The machine for a unit, and why that one.
fn choose(cluster: &Cluster<'_>, unit: UnitIx) -> Option<(MachineIx, String)> {
    let asks = &cluster.units[unit as usize].view.requirements;
    if let Some(peer) = anchor(cluster, unit) {
        let Place::On(machine) = cluster.units[peer as usize].place else {
            return None;
        };
        let reason = format!("MachineOf {}", cluster.units[peer as usize].name);
        return fits(cluster, unit, machine).then_some((machine, reason));
    }
    let machine = cluster
        .least_loaded()
        .find(|machine| fits(cluster, unit, *machine))?;
    let reason = match &asks.machine_id {
        Some(id) => format!("MachineID {id}"),
        None => match cluster.units_on(machine).len() {
            1 => "least loaded: 1 unit".to_owned(),
            load => format!("least loaded: {load} units"),
        },
    };
    Some((machine, reason))
}

/// A peer that is on one machine only: the follower goes there or nowhere.
fn anchor(cluster: &Cluster<'_>, unit: UnitIx) -> Option<UnitIx> {
    let asks = &cluster.units[unit as usize].view.requirements;
    let mut peers = asks.machine_of.iter().filter_map(|peer| cluster.find(peer));
    peers.find(|peer| !cluster.units[*peer as usize].view.requirements.global)
}

fn fits(cluster: &Cluster<'_>, unit: UnitIx, machine: MachineIx) -> bool {
    if cluster.able(unit, machine).is_err() {
        return false;
    }
    let asking = &cluster.units[unit as usize];
    replaced_there(cluster, unit, machine).into_iter().all(|other| {
        // Once per plan and unit: this is what makes planning end.
        let may_move = !cluster.units[other as usize].displaced && !asking.displaced;
        may_move && (asking.is_new() || has_elsewhere(cluster, other, machine))
    })
}

/// Units on `machine` that give way when `unit` comes. Global units never do.
fn replaced_there(cluster: &Cluster<'_>, unit: UnitIx, machine: MachineIx) -> Vec<UnitIx> {
    if !cluster.replaces.names_one_on(unit, machine) {
        return Vec::new();
    }
    let there = cluster.units_on(machine).iter().copied();
    there
        .filter(|other| cluster.replaces_only(unit, *other))
        .filter(|other| !cluster.units[*other as usize].view.requirements.global)
        .collect()
}

/// Could `unit`, now on `machine`, go to another machine without making anyone give way?
fn has_elsewhere(cluster: &Cluster<'_>, unit: UnitIx, machine: MachineIx) -> bool {
    cluster.least_loaded().any(|other| {
        other != machine
            && cluster.able(unit, other).is_ok()
            && replaced_there(cluster, unit, other).is_empty()
    })
}

/// A new arrival takes the machine of the one unit it and which replace each other, if it may be there.
fn oust(cluster: &mut Cluster<'_>, unit: UnitIx, rivals: &[UnitIx]) -> bool {
    let [rival] = rivals else { return false };
    let Place::On(machine) = cluster.units[*rival as usize].place else {
        return false;
    };
    if !cluster.units[unit as usize].is_new() || cluster.units[*rival as usize].put.is_some() {
        return false;
    }
    cluster.take(*rival);
    if !fits(cluster, unit, machine) {
        cluster.put(*rival, machine);
        return false;
    }
    cluster.put(*rival, machine);
    displace(cluster, *rival, unit);
    for other in replaced_there(cluster, unit, machine) {
        displace(cluster, other, unit);
    }
    let reason = format!("takes the place of {}", cluster.units[*rival as usize].name);
    settle(cluster, unit, machine, reason);
    true
}

fn displace(cluster: &mut Cluster<'_>, unit: UnitIx, by: UnitIx) {
    let reason = format!("replaced by {}", cluster.units[by as usize].name);
    cluster.take(unit);
    let unit = &mut cluster.units[unit as usize];
    unit.put = None;
    unit.left = Some(reason);
    unit.displaced = true;
}

fn settle(cluster: &mut Cluster<'_>, unit: UnitIx, machine: MachineIx, reason: String) {
    cluster.put(unit, machine);
    cluster.units[unit as usize].put = Some(reason);
    cluster.placed.push(unit);
}
