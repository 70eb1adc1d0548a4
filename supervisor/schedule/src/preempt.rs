//! Room for a unit of higher priority: which units of lower priority give way, and where.
//!
//! Only for what is reserved: a unit that conflicts, or lacks metadata, fits nowhere whatever its priority. A unit gives
//! way together with all that follow it, and only if all of these have a lower priority too; so what is placed only ever
//! gains in priority, and planning ends.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::choose::{Where, alike, anchor, has_room, options, replaced_there};
use crate::cluster::{Cluster, Place};
use crate::key::{Key, MachineIx, UnitIx};

/// The machine on which the least important, then the fewest, give way to `unit`, and who they are.
pub fn choose(cluster: &mut Cluster, unit: UnitIx, place: Where<'_>) -> Option<(MachineIx, BTreeSet<Key>)> {
    let asks = &cluster.unit(unit).view.requirements;
    let lowest = *cluster.priorities.keys().next()?;
    if asks.reserves.is_none() || lowest >= asks.priority {
        return None;
    }
    let alike = alike(cluster, unit).map(|alike| (alike, asks.priority));
    if alike
        .as_ref()
        .is_some_and(|alike| cluster.work.hopeless_by_priority.contains(alike))
    {
        return None;
    }
    let found = search(cluster, unit, place);
    if found.is_none() && matches!(place, Where::Anywhere) {
        cluster.work.hopeless_by_priority.extend(alike);
    }
    found
}

fn search(cluster: &Cluster, unit: UnitIx, place: Where<'_>) -> Option<(MachineIx, BTreeSet<Key>)> {
    let machines: Vec<MachineIx> = match (anchor(cluster, unit).map(|peer| cluster.unit(peer).place), place) {
        (Some(Place::On(machine)), _) => vec![machine],
        (Some(_), _) => return None,
        (None, Where::Anywhere) => options(cluster, unit).collect(),
        (None, Where::Among(machines)) => machines.iter().copied().collect(),
    };
    let found = machines.into_iter().filter_map(|machine| {
        let give_way = give_way(cluster, unit, machine)?;
        Some((machine, give_way))
    });
    found.min_by_key(|(machine, give_way)| {
        let highest = give_way.iter().map(|key| Reverse(key.rank)).max();
        let spot = cluster.spot(*machine);
        (highest, give_way.len(), spot.load(), spot.key.clone())
    })
}

/// Who has to leave `machine` so that `unit` may be there; None if that does not help.
fn give_way(cluster: &Cluster, unit: UnitIx, machine: MachineIx) -> Option<BTreeSet<Key>> {
    if cluster.able(unit, machine).is_err() || !replaced_there(cluster, unit, machine).is_empty() {
        return None;
    }
    let spot = cluster.spot(machine);
    let mut lower: Vec<&Key> = spot.on.iter().map(|other| &cluster.unit(*other).key).collect();
    lower.retain(|key| key.rank > cluster.unit(unit).key.rank && is_placed(cluster, key, machine));
    lower.sort();
    let mut leaving: BTreeSet<Key> = BTreeSet::new();
    while !has_room(cluster, unit, machine, leaving.iter().map(|key| key.ix)) {
        let next = lower.pop()?;
        if !leaving.contains(next) && !reserves_nothing(cluster, next) {
            leaving.extend(
                with_followers(cluster, next, machine, cluster.unit(unit).key.rank).unwrap_or_default(),
            );
        }
    }
    Some(leaving)
}

fn is_placed(cluster: &Cluster, key: &Key, machine: MachineIx) -> bool {
    cluster.unit(key.ix).place == Place::On(machine)
}

fn reserves_nothing(cluster: &Cluster, key: &Key) -> bool {
    cluster.unit(key.ix).view.requirements.reserves.is_none()
}

/// A unit and all on the same machine that follow it; None if one of them is as important as who asks.
fn with_followers(cluster: &Cluster, key: &Key, machine: MachineIx, asking: i64) -> Option<BTreeSet<Key>> {
    let mut all = BTreeSet::new();
    let mut next = vec![key.clone()];
    while let Some(key) = next.pop() {
        if key.rank <= asking {
            return None;
        }
        if all.insert(key.clone()) {
            let followers = cluster.followers.get(&*key.name).into_iter().flatten();
            next.extend(followers.filter(|key| is_placed(cluster, key, machine)).cloned());
        }
    }
    Some(all)
}
