//! Reasons in words, and the decisions of a plan.
//!
//! `3 machines: 2 conflict with a@1.service, 1 lacks metadata role=db`
//!
//! What a unit that waits was told may go out of date whenever anything changes. To look at all of them each time would
//! make every change as dear as the whole cluster, so a plan looks again at [`TOLD_AT_ONCE`] of them, in turn, and a
//! reason asks [`ASKED`] machines; the others are counted where counting is cheap, and the reason says so.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use corten_spec::fleet::{Decision, JobState};

use crate::choose::anchor;
use crate::cluster::{Cluster, Place, Unable, Unit};
use crate::key::{Key, MachineIx, UnitIx};

/// Conflicting units named in one reason; the rest are counted.
const NAMED: usize = 3;
/// Machines asked for one reason.
const ASKED: usize = 128;
/// Units that wait and were told already, looked at again in one plan.
const TOLD_AT_ONCE: usize = 32;

/// Whose reason is to be looked at again.
#[derive(Debug, Default)]
pub struct Telling {
    /// The last one looked at.
    last: Option<Key>,
    /// How many after it may be out of date.
    left: usize,
}

impl Telling {
    /// Is every reason up to date?
    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    /// The next ones in turn.
    fn next(&mut self, cluster: &Cluster) -> Vec<Key> {
        self.left = self.left.min(cluster.waiting.len());
        let count = self.left.min(TOLD_AT_ONCE);
        let after = self.last.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let turn = cluster.waiting.range((after, Bound::Unbounded));
        let next: Vec<Key> = turn.chain(&cluster.waiting).take(count).cloned().collect();
        self.left -= count;
        self.last = next.last().cloned().or(self.last.take());
        next
    }
}

/// The decisions that lead to the cluster as it is now; from here on they count as taken.
pub fn decisions(cluster: &mut Cluster, telling: &mut Telling) -> Vec<Decision> {
    let mut touched = std::mem::take(&mut cluster.work.touched);
    if std::mem::take(&mut cluster.work.news) || !touched.is_empty() {
        telling.left = cluster.waiting.len();
    }
    let placed = std::mem::take(&mut cluster.work.placed);
    let mut look = touched.clone();
    look.extend(telling.next(cluster));
    let mut decisions: Vec<Decision> = look.iter().filter_map(|key| absence(cluster, key.ix)).collect();
    // A unit may have been placed twice in one plan: the last time counts.
    let last = placed
        .into_iter()
        .rev()
        .filter(|unit| touched.remove(&cluster.unit(*unit).key));
    let last: Vec<UnitIx> = last.collect();
    decisions.extend(last.into_iter().rev().filter_map(|unit| placement(cluster, unit)));
    for decision in &decisions {
        let unit = cluster.names[decision.unit.as_str()];
        let view = &mut cluster.units[unit as usize].view;
        view.assigned = decision.machine.clone();
        view.unplaced = decision.machine.is_none().then(|| decision.reason.clone());
    }
    for key in look {
        let unit = &mut cluster.units[key.ix as usize];
        (unit.left, unit.put, unit.displaced) = (None, None, false);
    }
    decisions
}

/// The decision for a unit on no machine, if there is something new to say.
fn absence(cluster: &Cluster, ix: UnitIx) -> Option<Decision> {
    let unit = cluster.unit(ix);
    let left = unit.view.assigned.is_some();
    if unit.place != Place::Nowhere || !(left || unit.is_wanted()) {
        return None;
    }
    let reason = if unit.is_wanted() {
        unplaced(cluster, ix)
    } else {
        resting(unit)
    };
    if !left && is_told(unit, &reason) {
        return None;
    }
    let before = unit.left.iter().filter(|left| left.as_str() != reason);
    let said: Vec<&str> = before.map(String::as_str).chain([reason.as_str()]).collect();
    Some(Decision {
        unit: unit.name.clone(),
        machine: None,
        reason: said.join("; "),
    })
}

/// Is this reason the one stored, alone or after why the unit left its machine?
fn is_told(unit: &Unit, reason: &str) -> bool {
    let stored = unit.view.unplaced.as_deref();
    stored
        .and_then(|stored| stored.strip_suffix(reason))
        .is_some_and(|before| before.is_empty() || before.ends_with("; "))
}

/// The decision for a unit placed in this plan; None if it is where it was, or was taken off again.
fn placement(cluster: &Cluster, unit: UnitIx) -> Option<Decision> {
    let unit = cluster.unit(unit);
    let Place::On(machine) = unit.place else {
        return None;
    };
    let put = unit.put.as_ref()?;
    let id = &cluster.spot(machine).machine.id;
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
fn resting(unit: &Unit) -> String {
    if unit.view.desired == JobState::Inactive {
        "its desired state is inactive".to_owned()
    } else if unit.view.requirements.global {
        "it is global: every machine decides for itself".to_owned()
    } else {
        "it is a template: only its instances run".to_owned()
    }
}

/// Why a unit had to leave `machine`, on which it still is.
pub fn leaving(cluster: &Cluster, unit: UnitIx, machine: MachineIx, unable: Unable) -> String {
    let there = &cluster.spot(machine).machine;
    let id = there.id.short();
    let name = |unit: Option<UnitIx>| unit.map_or("", |unit| cluster.unit(unit).name.as_str());
    match unable {
        Unable::OtherMachine => format!("machine {id} is not the one MachineID asks for"),
        Unable::Lacks => format!("machine {id} lacks metadata {}", lacking(cluster, unit, machine)),
        Unable::Cordoned => format!("machine {id} is cordoned"),
        Unable::Troubled => there.trouble_in_words().unwrap_or_default(),
        Unable::Drained => format!("machine {id} is drained"),
        Unable::Peer => format!(
            "{} is not on machine {id}",
            cluster.first_missing_peer(unit, machine).unwrap_or_default()
        ),
        Unable::Conflict => {
            let other = name(cluster.first_conflict(unit, machine));
            format!("conflicts with {other} on machine {id}")
        }
        Unable::Replaced(other) => format!("replaced by {}", name(Some(other))),
    }
}

fn lacking(cluster: &Cluster, unit: UnitIx, machine: MachineIx) -> String {
    let asks = &cluster.unit(unit).view.requirements.metadata;
    cluster.spot(machine).machine.lacks(asks).unwrap_or_default()
}

/// Why a wanted unit is on no machine.
fn unplaced(cluster: &Cluster, unit: UnitIx) -> String {
    let asks = &cluster.unit(unit).view.requirements;
    if cluster.machines.is_empty() {
        return "no machine is present".to_owned();
    }
    if let Some(rival) = cluster.rivals(unit).first() {
        let rival = &cluster.unit(*rival).name;
        return format!("it and {rival} replace each other, and {rival} is there");
    }
    if let Some(wanted) = &asks.machine_id {
        match cluster.meant_by(wanted)[..] {
            [] => return format!("machine {wanted} (MachineID) is not present"),
            [only] if cluster.able(unit, only) == Err(Unable::Troubled) => {
                return leaving(cluster, unit, only, Unable::Troubled);
            }
            _ => {}
        }
    }
    let missing = asks
        .machine_of
        .iter()
        .find_map(|peer| missing_peer(cluster, peer));
    missing.unwrap_or_else(|| survey(cluster, unit))
}

/// Why following `peer` leads nowhere at all.
fn missing_peer(cluster: &Cluster, peer: &str) -> Option<String> {
    let Some(at) = cluster.find(peer) else {
        return Some(format!("MachineOf {peer}: there is no such unit"));
    };
    let peer = cluster.unit(at);
    let state = match peer.place {
        _ if peer.view.desired == JobState::Inactive => "its desired state is inactive",
        _ if peer.view.requirements.global => return None,
        Place::Nowhere => "it is on no machine",
        Place::Held => "its machine is silent",
        Place::On(_) => return None,
    };
    Some(format!("MachineOf {}: {state}", peer.name))
}

/// Answers of machines, in the order they are told.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Conflict,
    Replaced,
    NoRoom(&'static str),
    WouldDisplace,
    Cordoned,
    Troubled(String),
    Drained,
    Lacks(String),
    Peer(String),
    OtherMachine,
}

/// How many gave an answer, and the units it names.
type Answers = BTreeMap<Kind, (usize, BTreeSet<Key>)>;

/// Asks machines and counts the answers; whether the metadata suits is known of all of them.
fn survey(cluster: &Cluster, unit: UnitIx) -> String {
    let total = cluster.machines.len();
    let all = format!("{total} machine{}", if total == 1 { "" } else { "s" });
    let asks = &cluster.unit(unit).view.requirements;
    let mut counted = Answers::new();
    if let Some(wanted) = &asks.machine_id {
        let meant = cluster.meant_by(wanted);
        note(&mut counted, Kind::OtherMachine, total - meant.len());
        ask(cluster, unit, meant, &mut counted);
        return format!("{all}: {}", phrases(&counted));
    }
    let pool = cluster.pools.get(cluster.unit(unit).pool);
    for ((key, wanted), count) in pool.asks.iter().zip(&pool.lacking) {
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        note(
            &mut counted,
            Kind::Lacks(format!("{key}={}", wanted.join("|"))),
            *count,
        );
    }
    let suitable = pool.by_id.len();
    if suitable <= ASKED {
        ask(cluster, unit, pool.by_id.iter().map(|key| key.ix), &mut counted);
        return format!("{all}: {}", phrases(&counted));
    }
    let mut answers = Answers::new();
    ask(cluster, unit, some_of(cluster, unit, &pool.by_id), &mut answers);
    let answers = phrases(&answers);
    if counted.is_empty() {
        return format!("{all}, {ASKED} of them asked: {answers}");
    }
    let counted = phrases(&counted);
    format!("{all}: {counted}; of the other {suitable}, {ASKED} asked: {answers}")
}

fn note(answers: &mut Answers, kind: Kind, count: usize) {
    if count > 0 {
        answers.entry(kind).or_default().0 += count;
    }
}

/// The machine the unit has to follow to, if there is one, and the first of the others.
fn some_of(cluster: &Cluster, unit: UnitIx, pool: &BTreeSet<Key>) -> BTreeSet<MachineIx> {
    let anchor = anchor(cluster, unit).map(|peer| cluster.unit(peer).place);
    let mut some: BTreeSet<MachineIx> = match anchor {
        Some(Place::On(machine)) if pool.contains(&cluster.spot(machine).key) => [machine].into(),
        _ => BTreeSet::new(),
    };
    for key in pool {
        if some.len() == ASKED {
            break;
        }
        some.insert(key.ix);
    }
    some
}

fn ask(
    cluster: &Cluster,
    unit: UnitIx,
    machines: impl IntoIterator<Item = MachineIx>,
    answers: &mut Answers,
) {
    for machine in machines {
        let (kind, other) = match cluster.able(unit, machine) {
            Ok(()) => {
                let reserves = cluster.unit(unit).view.requirements.reserves;
                let lacks = cluster.spot(machine).room.lacks(reserves, []);
                (lacks.map_or(Kind::WouldDisplace, Kind::NoRoom), None)
            }
            Err(Unable::Conflict) => (Kind::Conflict, cluster.first_conflict(unit, machine)),
            Err(Unable::Replaced(other)) => (Kind::Replaced, Some(other)),
            Err(Unable::Cordoned) => (Kind::Cordoned, None),
            Err(Unable::Troubled) => {
                let trouble = cluster.spot(machine).machine.trouble().unwrap_or_default();
                (Kind::Troubled(trouble.to_owned()), None)
            }
            Err(Unable::Drained) => (Kind::Drained, None),
            Err(Unable::Lacks) => (Kind::Lacks(lacking(cluster, unit, machine)), None),
            Err(Unable::Peer) => {
                let peer = cluster.first_missing_peer(unit, machine).unwrap_or_default();
                (Kind::Peer(peer.to_owned()), None)
            }
            Err(Unable::OtherMachine) => (Kind::OtherMachine, None),
        };
        let entry = answers.entry(kind).or_default();
        entry.0 += 1;
        entry.1.extend(other.map(|other| cluster.unit(other).key.clone()));
    }
}

fn phrases(answers: &Answers) -> String {
    let parts: Vec<String> = answers
        .iter()
        .map(|(kind, (count, others))| phrase(kind, *count, others))
        .collect();
    parts.join(", ")
}

fn phrase(kind: &Kind, count: usize, others: &BTreeSet<Key>) -> String {
    let verb = |one: &'static str, many: &'static str| if count == 1 { one } else { many };
    let others = name_some(others);
    match kind {
        Kind::Conflict => format!("{count} {} with {others}", verb("conflicts", "conflict")),
        Kind::Replaced => format!("{count} {} {others}, which replaces it", verb("runs", "run")),
        Kind::WouldDisplace => {
            format!(
                "{count} {} units it replaces that have nowhere else to go",
                verb("runs", "run")
            )
        }
        Kind::NoRoom(what) => format!("{count} {} too little {what} left", verb("has", "have")),
        Kind::Cordoned => format!("{count} {} cordoned", verb("is", "are")),
        Kind::Troubled(what) => format!("{count} {} trouble: {what}", verb("has", "have")),
        Kind::Drained => format!("{count} {} drained", verb("is", "are")),
        Kind::Lacks(what) => format!("{count} {} metadata {what}", verb("lacks", "lack")),
        Kind::Peer(peer) => format!("{count} {} run {peer}", verb("does not", "do not")),
        Kind::OtherMachine => {
            format!("{count} {} not the one MachineID asks for", verb("is", "are"))
        }
    }
}

/// The first few names.
pub fn name_some(units: &BTreeSet<Key>) -> String {
    let names: Vec<&str> = units.iter().take(NAMED).map(|unit| &*unit.name).collect();
    let named = names.join(", ");
    match units.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
