//! Reasons in words, and the plan as a value.
//!
//! `3 machines: 2 conflict with a@1.service, 1 lacks metadata role=db`

use std::collections::{BTreeMap, BTreeSet};

use corten_spec::fleet::{Decision, JobState};

use crate::Plan;
use crate::cluster::{Cluster, Place, Unable, Unit};
use crate::patterns::{MachineIx, UnitIx};

/// Conflicting units named in one reason; the rest are counted.
const NAMED: usize = 3;

/// The plan that leads from the view to the cluster as it is now.
pub fn plan_of(cluster: &Cluster<'_>) -> Plan {
    let mut plan = Plan::default();
    for (at, unit) in cluster.units.iter().enumerate() {
        if unit.place != Place::Nowhere {
            continue;
        }
        let reason = if unit.is_wanted() {
            unplaced(cluster, at as UnitIx)
        } else {
            resting(unit)
        };
        let left = unit.view.assigned.is_some();
        if left || (unit.is_wanted() && !is_told(unit, &reason)) {
            let before = unit.left.iter().filter(|left| left.as_str() != reason);
            let said: Vec<&str> = before.map(String::as_str).chain([reason.as_str()]).collect();
            plan.decisions.push(Decision {
                unit: unit.name.clone(),
                machine: None,
                reason: said.join("; "),
            });
        }
        if unit.is_wanted() {
            plan.unplaced.insert(unit.name.clone(), reason);
        }
    }
    plan.decisions
        .extend(cluster.placed.iter().filter_map(|unit| placement(cluster, *unit)));
    plan
}

/// Is this reason the one stored, alone or after why the unit left its machine?
fn is_told(unit: &Unit<'_>, reason: &str) -> bool {
    let stored = unit.view.unplaced.as_deref();
    stored
        .and_then(|stored| stored.strip_suffix(reason))
        .is_some_and(|before| before.is_empty() || before.ends_with("; "))
}

/// The decision for a unit placed in this plan; None if it is where it was, or was taken off again.
fn placement(cluster: &Cluster<'_>, unit: UnitIx) -> Option<Decision> {
    let unit = &cluster.units[unit as usize];
    let Place::On(machine) = unit.place else {
        return None;
    };
    let put = unit.put.as_ref()?;
    let id = &cluster.machines[machine as usize].id;
    if unit.view.assigned.as_ref() == Some(id) {
        return None;
    }
    let reason = unit
        .left
        .as_ref()
        .map_or_else(|| put.clone(), |left| format!("{left}; {put}"));
    Some(Decision {
        unit: unit.name.clone(),
        machine: Some(id.clone()),
        reason,
    })
}

/// Why a unit nobody looks for a machine for is on none.
pub fn resting(unit: &Unit<'_>) -> String {
    if unit.view.desired == JobState::Inactive {
        "its desired state is inactive".to_owned()
    } else if unit.view.requirements.global {
        "it is global: every machine decides for itself".to_owned()
    } else {
        "it is a template: only its instances run".to_owned()
    }
}

/// Why a unit had to leave `machine`.
pub fn leaving(cluster: &Cluster<'_>, machine: MachineIx, unable: &Unable) -> String {
    let machine = cluster.machines[machine as usize].id.short();
    let name = |unit: &UnitIx| cluster.units[*unit as usize].name;
    match unable {
        Unable::OtherMachine => format!("machine {machine} is not the one MachineID asks for"),
        Unable::Lacks(what) => format!("machine {machine} lacks metadata {what}"),
        Unable::Peer(peer) => format!("{peer} is not on machine {machine}"),
        Unable::Conflict(other) => format!("conflicts with {} on machine {machine}", name(other)),
        Unable::Replaced(other) => format!("replaced by {}", name(other)),
    }
}

/// Why a wanted unit is on no machine.
fn unplaced(cluster: &Cluster<'_>, unit: UnitIx) -> String {
    let asks = &cluster.units[unit as usize].view.requirements;
    if cluster.machines.is_empty() {
        return "no machine is present".to_owned();
    }
    if let Some(rival) = cluster.rivals(unit).first() {
        let rival = cluster.units[*rival as usize].name;
        return format!("it and {rival} replace each other, and {rival} is there");
    }
    if let Some(wanted) = &asks.machine_id
        && !cluster
            .machines
            .iter()
            .any(|machine| machine.id.is_meant_by(wanted))
    {
        return format!("machine {wanted} (MachineID) is not present");
    }
    if let Some(reason) = asks
        .machine_of
        .iter()
        .find_map(|peer| missing_peer(cluster, peer))
    {
        return reason;
    }
    survey(cluster, unit)
}

/// Why following `peer` leads nowhere at all.
fn missing_peer(cluster: &Cluster<'_>, peer: &str) -> Option<String> {
    let Some(at) = cluster.find(peer) else {
        return Some(format!("MachineOf {peer}: there is no such unit"));
    };
    let peer = &cluster.units[at as usize];
    let state = match peer.place {
        _ if peer.view.desired == JobState::Inactive => "its desired state is inactive",
        _ if peer.view.requirements.global => return None,
        Place::Nowhere => "it is on no machine",
        Place::Held => "its machine is silent",
        Place::On(_) => return None,
    };
    Some(format!("MachineOf {}: {state}", peer.name))
}

/// Asks every machine and counts the answers.
fn survey(cluster: &Cluster<'_>, unit: UnitIx) -> String {
    let mut counts: BTreeMap<Kind, (usize, BTreeSet<UnitIx>)> = BTreeMap::new();
    for machine in 0..cluster.machines.len() as MachineIx {
        let (kind, other) = match cluster.able(unit, machine) {
            Ok(()) => (Kind::WouldDisplace, None),
            Err(Unable::Conflict(other)) => (Kind::Conflict, Some(other)),
            Err(Unable::Replaced(other)) => (Kind::Replaced, Some(other)),
            Err(Unable::Lacks(what)) => (Kind::Lacks(what), None),
            Err(Unable::Peer(peer)) => (Kind::Peer(peer), None),
            Err(Unable::OtherMachine) => (Kind::OtherMachine, None),
        };
        let entry = counts.entry(kind).or_default();
        entry.0 += 1;
        entry.1.extend(other);
    }
    let parts: Vec<String> = counts
        .into_iter()
        .map(|(kind, (count, others))| phrase(cluster, &kind, count, &others))
        .collect();
    let total = cluster.machines.len();
    format!(
        "{total} machine{}: {}",
        if total == 1 { "" } else { "s" },
        parts.join(", ")
    )
}

/// Answers of machines, in the order they are told.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Conflict,
    Replaced,
    WouldDisplace,
    Lacks(String),
    Peer(String),
    OtherMachine,
}

fn phrase(cluster: &Cluster<'_>, kind: &Kind, count: usize, others: &BTreeSet<UnitIx>) -> String {
    let verb = |one: &'static str, many: &'static str| if count == 1 { one } else { many };
    let others = name_some(cluster, others);
    match kind {
        Kind::Conflict => format!("{count} {} with {others}", verb("conflicts", "conflict")),
        Kind::Replaced => format!("{count} {} {others}, which replaces it", verb("runs", "run")),
        Kind::WouldDisplace => {
            format!(
                "{count} {} units it replaces that have nowhere else to go",
                verb("runs", "run")
            )
        }
        Kind::Lacks(what) => format!("{count} {} metadata {what}", verb("lacks", "lack")),
        Kind::Peer(peer) => format!("{count} {} run {peer}", verb("does not", "do not")),
        Kind::OtherMachine => {
            format!("{count} {} not the one MachineID asks for", verb("is", "are"))
        }
    }
}

fn name_some(cluster: &Cluster<'_>, units: &BTreeSet<UnitIx>) -> String {
    let names = units
        .iter()
        .take(NAMED)
        .map(|unit| cluster.units[*unit as usize].name.as_str());
    let named = names.collect::<Vec<_>>().join(", ");
    match units.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
