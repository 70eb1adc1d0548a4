//! A global unit gets another file on a few machines at a time: who may take it next, and when that is over.
//!
//! | a machine that is to run the unit | counts as |
//! |---|---|
//! | waits, and the unit is active there with the file it keeps | up |
//! | may take the new file, and the unit is active there with it | up |
//! | any other, and one that was there when the roll began and is away | down |
//! | of those: may take the new file, or is, or may be, on the way to the one it keeps | down by the roll |
//! | one that waits, was absent when the roll began, and is so again or still | nothing: it may never come |
//!
//! | then | when |
//! |---|---|
//! | one that waits and is down may go on, by id | fewer others than the limit are down by the roll |
//! | one that waits and has not told how it does, with those | fewer others than the limit are down for whatever reason |
//! | one that waits and is up, by id, after those | fewer others than the limit are down for whatever reason |
//! | nobody | one that may take the new file has it, and the unit failed there |
//! | the roll is over | none that is here waits, all have the new file and run it, or ran it to its end, and fewer than the limit that wait are away |
//!
//! One that is down anyway loses nothing, and may be what the new file is to mend; but of these too only so many are in the
//! roll's hands, as any of them may come up by itself. A unit that ends by itself is never up, and so holds up nobody who
//! is down. Cordoned and drained machines keep their global units, and so have their turn as all others.
//!
//! One that waits keeps what it was last allowed; if that was in a roll that did not get to its end, and the unit is neither up
//! nor ended nor failed there, it may be down because of that roll, or have been up meanwhile: it is taken for the former.
//!
//! All of it follows from what the store has, so a new leader goes on where the old one was. Danger: a state is believed only
//! for the file that its machine is to have; one reported before the machine was allowed to go on proves nothing.

use std::collections::{BTreeMap, BTreeSet};

use corten_spec::fleet::UnitState;
use corten_spec::machine::MachineId;

/// Machines named in one reason; the rest are counted.
const NAMED: usize = 3;

/// A roll as the store has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RollView {
    /// The new file's hash.
    pub hash: String,
    /// On so many machines the unit may be down because of it; at least 1.
    pub max_unavailable: usize,
    /// Machines that wait for their turn, with what they keep.
    pub waiting: BTreeMap<MachineId, Kept>,
    /// Machines that were there when it began and may take the new file.
    pub allowed: BTreeSet<MachineId>,
    /// What was said last of what it waits for.
    pub reason: String,
    /// What the machines report of the unit.
    pub states: BTreeMap<MachineId, UnitState>,
}

/// What a machine that waits is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// The file's hash.
    pub hash: String,
    /// It was allowed that file in an earlier roll that did not get to its end.
    pub moved: bool,
    /// It was absent when the roll began.
    pub absent: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RollStep {
    /// These machines may take the new file; none, when there is only something else to say.
    Allow {
        /// Which.
        machines: BTreeSet<MachineId>,
        /// What the roll waits for now.
        reason: String,
    },
    /// It is over.
    End,
}

/// Machines, each with what is wrong with it in its own words; empty where nothing is.
pub type Troubles = BTreeMap<MachineId, String>;

/// The next step; None when there is nothing to do or to say. `runs` are the machines here that are to run the unit, `away`
/// those of the roll that are absent.
pub fn next(roll: &RollView, runs: &Troubles, away: &BTreeSet<MachineId>) -> Option<RollStep> {
    let machines: Vec<Machine<'_>> = runs
        .iter()
        .map(|(id, trouble)| Machine::of(roll, id, trouble))
        .collect();
    let missed = away.iter().filter(|id| roll.waiting.contains_key(*id)).count();
    if missed < roll.max_unavailable && machines.iter().all(Machine::is_done) {
        return Some(RollStep::End);
    }
    let mut new = machines.iter().filter(|machine| !machine.waits);
    let failed = new.find(|machine| machine.has_failed());
    let allow = match failed {
        Some(_) => BTreeSet::new(),
        None => allowed_now(roll, &machines, away),
    };
    let reason = match failed {
        Some(machine) => machine.failure(),
        None => waits_for(&machines, away, &allow),
    };
    (!allow.is_empty() || reason != roll.reason).then_some(RollStep::Allow {
        machines: allow,
        reason,
    })
}

/// Who may go on.
fn allowed_now(roll: &RollView, machines: &[Machine<'_>], away: &BTreeSet<MachineId>) -> BTreeSet<MachineId> {
    let moves = |id: &&MachineId| roll.waiting.get(*id).is_none_or(|kept| kept.moved);
    let lost = away.iter().filter(moves).count();
    let mut down = machines.iter().filter(|machine| !machine.is_up()).count() + away.len();
    let mut by_roll = machines.iter().filter(|machine| machine.is_in_hand()).count() + lost;
    let mut turn: Vec<&Machine<'_>> = machines.iter().filter(|machine| machine.may_go_on()).collect();
    turn.sort_by_key(|machine| (machine.is_up(), machine.id));
    let mut allow = BTreeSet::new();
    for machine in turn {
        let is_counted = usize::from(machine.is_in_hand());
        let others = match machine.state {
            _ if machine.is_up() => down,
            // It may be up, and yet to tell.
            None => down - 1,
            Some(_) => by_roll - is_counted,
        };
        if others >= roll.max_unavailable {
            continue;
        }
        by_roll += 1 - is_counted;
        down += usize::from(machine.is_up());
        allow.insert(machine.id.clone());
    }
    allow
}

/// A machine that is to run the unit.
struct Machine<'r> {
    id: &'r MachineId,
    trouble: &'r str,
    waits: bool,
    /// See [`Kept::moved`].
    moved: bool,
    /// What it reports of the unit.
    state: Option<&'r UnitState>,
    /// It has the file it is to have.
    has: bool,
}

impl<'r> Machine<'r> {
    fn of(roll: &'r RollView, id: &'r MachineId, trouble: &'r str) -> Machine<'r> {
        let kept = roll.waiting.get(id);
        let state = roll.states.get(id);
        let wanted = kept.map_or(&roll.hash, |kept| &kept.hash);
        Machine {
            id,
            trouble,
            waits: kept.is_some(),
            moved: kept.is_some_and(|kept| kept.moved),
            state,
            has: state.is_some_and(|state| state.hash == *wanted),
        }
    }

    /// `m1`, `m2 (systemd does not answer)`.
    fn in_words(&self) -> String {
        match self.trouble {
            "" => self.id.short().to_owned(),
            trouble => format!("{} ({trouble})", self.id.short()),
        }
    }

    fn active(&self) -> &str {
        self.state.map_or("", |state| &state.active)
    }

    fn is_up(&self) -> bool {
        self.has && matches!(self.active(), "active" | "reloading" | "refreshing")
    }

    /// It was started and does not run: it has ended, or systemd is about to start it.
    fn has_ended(&self) -> bool {
        let launched = self
            .state
            .is_some_and(|state| state.launched && state.start_error.is_empty());
        self.has && launched && self.active() == "inactive"
    }

    fn has_failed(&self) -> bool {
        let failed = |state: &UnitState| {
            !state.start_error.is_empty() || state.active == "failed" || state.sub == "auto-restart"
        };
        self.has && !self.is_up() && self.state.is_some_and(failed)
    }

    fn is_done(&self) -> bool {
        !self.waits && (self.is_up() || self.has_ended())
    }

    /// Is it down, and may that be the roll's doing?
    fn is_in_hand(&self) -> bool {
        let at_rest = self.has_ended() || self.has_failed();
        let moves = match self.waits {
            true if self.moved => !at_rest,
            true => self.state.is_some() && !self.has,
            false => !self.has_ended(),
        };
        moves && !self.is_up()
    }

    /// One on its way from one file to another is not sent to a third.
    fn may_go_on(&self) -> bool {
        self.waits && (self.has || self.state.is_none())
    }

    fn failure(&self) -> String {
        let (id, state) = (self.id.short(), self.state);
        let error = state.map_or("", |state| &state.start_error);
        let sub = state.map_or("", |state| &state.sub);
        if error.is_empty() {
            let active = self.active();
            return format!("stopped: with the new file it is {active} ({sub}) on machine {id}");
        }
        format!("stopped: with the new file it was not started on machine {id}: {error}")
    }
}

/// What the next ones wait for, once `allow` may go on.
fn waits_for(machines: &[Machine<'_>], away: &BTreeSet<MachineId>, allow: &BTreeSet<MachineId>) -> String {
    let down = machines
        .iter()
        .filter(|machine| !machine.is_up() || allow.contains(machine.id));
    let down: Vec<String> = down.map(Machine::in_words).collect();
    let away: Vec<String> = away.iter().map(|id| id.short().to_owned()).collect();
    match (down.is_empty(), away.is_empty()) {
        (true, true) => String::new(),
        (true, false) => format!("waits for {} to be back", name_some(&away)),
        (false, true) => format!("waits until it is active on {}", name_some(&down)),
        (false, false) => format!(
            "waits until it is active on {}, and for {} to be back",
            name_some(&down),
            name_some(&away)
        ),
    }
}

/// `machine m1`, `machines m1, m2, m3 and 4 more`.
fn name_some(ids: &[String]) -> String {
    let named = ids[..ids.len().min(NAMED)].join(", ");
    let many = if ids.len() == 1 { "" } else { "s" };
    match ids.len().saturating_sub(NAMED) {
        0 => format!("machine{many} {named}"),
        more => format!("machine{many} {named} and {more} more"),
    }
}
