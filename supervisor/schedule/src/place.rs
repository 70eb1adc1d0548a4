//! The second step of a plan: wanted units that are on no machine go to the least loaded machine that may run them.
//!
//! In rounds, each in the order of priorities and names, until no more can be placed, because a follower waits for its
//! peer. Of the units that wait, those are looked at that may fit now: candidates anywhere, the others on machines that
//! were freed.

use std::collections::BTreeSet;

use crate::choose::{self, Where};
use crate::cluster::{Cluster, Place};
use crate::key::{Key, MachineIx, UnitIx};
use crate::{preempt, why};

/// One call's rounds.
struct Rounds {
    /// This round: whose turn is still to come, who of them may fit anywhere, and what was freed.
    turn: BTreeSet<Key>,
    anywhere: BTreeSet<Key>,
    freed: BTreeSet<MachineIx>,
    /// The same for the next round.
    next_anywhere: BTreeSet<Key>,
    next_freed: BTreeSet<MachineIx>,
    /// Units that gave way: they are looked at when all placed units have been looked at again.
    displaced: BTreeSet<Key>,
}

/// Places what can be placed; says whether any unit was.
pub fn place_waiting(cluster: &mut Cluster) -> bool {
    let mut any = false;
    let mut rounds = Rounds {
        turn: BTreeSet::new(),
        anywhere: BTreeSet::new(),
        freed: BTreeSet::new(),
        next_anywhere: std::mem::take(&mut cluster.work.candidates),
        next_freed: std::mem::take(&mut cluster.work.freed),
        displaced: BTreeSet::new(),
    };
    while round(cluster, &mut rounds) {
        any = true;
    }
    cluster.work.candidates.append(&mut rounds.displaced);
    any
}

fn round(cluster: &mut Cluster, rounds: &mut Rounds) -> bool {
    rounds.anywhere = std::mem::take(&mut rounds.next_anywhere);
    rounds.freed = std::mem::take(&mut rounds.next_freed);
    let concerned = cluster.replaces.concerned().map(|unit| cluster.unit(unit));
    let concerned = concerned.filter(|unit| unit.waits()).map(|unit| unit.key.clone());
    rounds.anywhere.extend(concerned);
    rounds.turn = if rounds.freed.is_empty() {
        rounds.anywhere.clone()
    } else {
        cluster.waiting.clone()
    };
    let mut any = false;
    while let Some(key) = rounds.turn.pop_first() {
        if !cluster.unit(key.ix).waits() || rounds.displaced.contains(&key) {
            continue;
        }
        let place = if rounds.anywhere.contains(&key) {
            Where::Anywhere
        } else {
            Where::Among(&rounds.freed)
        };
        if place_one(cluster, key.ix, place) {
            any = true;
            note(cluster, rounds, &key);
        }
    }
    any
}

/// What a placement, and those it made give way, change for the rest of this round and for the next.
fn note(cluster: &mut Cluster, rounds: &mut Rounds, placed: &Key) {
    for key in std::mem::take(&mut cluster.work.candidates) {
        if cluster.unit(key.ix).displaced {
            rounds.displaced.insert(key);
        } else if key > *placed {
            rounds.anywhere.insert(key.clone());
            rounds.turn.insert(key);
        } else {
            rounds.next_anywhere.insert(key);
        }
    }
    let freed = std::mem::take(&mut cluster.work.freed);
    if !freed.is_empty() {
        rounds.freed.extend(&freed);
        rounds.next_freed.extend(freed);
        rounds.turn.extend(cluster.waiting.range(placed..).cloned());
    }
}

fn place_one(cluster: &mut Cluster, unit: UnitIx, place: Where<'_>) -> bool {
    let rivals = cluster.rivals(unit);
    if !rivals.is_empty() {
        return oust(cluster, unit, &rivals);
    }
    let Some((machine, reason)) = choose::choose(cluster, unit, place) else {
        return preempt(cluster, unit, place);
    };
    for other in choose::replaced_there(cluster, unit, machine) {
        displace(cluster, other, unit);
    }
    settle(cluster, unit, machine, reason);
    true
}

/// Those of lower priority give way, if that helps.
fn preempt(cluster: &mut Cluster, unit: UnitIx, place: Where<'_>) -> bool {
    let Some((machine, give_way)) = preempt::choose(cluster, unit, place) else {
        return false;
    };
    let it = cluster.unit(unit);
    let priority = it.view.requirements.priority;
    let reason = format!("priority {priority}: {} made room", why::name_some(&give_way));
    let left = format!("made room for {}", it.name);
    for key in &give_way {
        cluster.leave(key.ix, left.clone());
    }
    settle(cluster, unit, machine, reason);
    true
}

/// A new arrival takes the machine of the one unit it and which replace each other, if it may be there.
fn oust(cluster: &mut Cluster, unit: UnitIx, rivals: &[UnitIx]) -> bool {
    let [rival] = rivals else { return false };
    let Place::On(machine) = cluster.unit(*rival).place else {
        return false;
    };
    if !cluster.unit(unit).is_new() || cluster.unit(*rival).put.is_some() {
        return false;
    }
    cluster.take(*rival);
    let fits = choose::fits(cluster, unit, machine);
    cluster.put(*rival, machine);
    if !fits {
        return false;
    }
    displace(cluster, *rival, unit);
    for other in choose::replaced_there(cluster, unit, machine) {
        displace(cluster, other, unit);
    }
    let reason = format!("takes the place of {}", cluster.unit(*rival).name);
    settle(cluster, unit, machine, reason);
    true
}

fn displace(cluster: &mut Cluster, unit: UnitIx, by: UnitIx) {
    let reason = format!("replaced by {}", cluster.unit(by).name);
    cluster.units[unit as usize].displaced = true;
    cluster.leave(unit, reason);
}

fn settle(cluster: &mut Cluster, unit: UnitIx, machine: MachineIx, reason: String) {
    cluster.put(unit, machine);
    let it = &mut cluster.units[unit as usize];
    it.put = Some(reason);
    let key = it.key.clone();
    cluster.tell_followers(&key.name);
    cluster.work.touched.insert(key);
    cluster.work.placed.push(unit);
    if cluster.replaces.concerns(unit) {
        cluster.suspect_all_on(machine);
    }
}
