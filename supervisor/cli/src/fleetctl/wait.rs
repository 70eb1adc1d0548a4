//! When is what the user asked for done? Pure: a goal, and what the cluster says of the unit, to a verdict.
//!
//! fleet waited for its own idea of a unit's state (`inactive`, `loaded`, `launched`), which says nothing about
//! systemd's success, and then looked at systemd for two seconds. Here a start is done when systemd says so:
//!
//! | systemd                  | start                                                      |
//! |--------------------------|------------------------------------------------------------|
//! | active, reloading        | done                                                       |
//! | activating               | goes on; systemd itself bounds it (TimeoutStartSec)        |
//! | activating, auto-restart | failed: it ended, and systemd tries again later            |
//! | failed                   | failed                                                     |
//! | inactive                 | done: a oneshot or a short job has run, as systemctl sees it |
//! | inactive, start error    | failed: systemd refused the start, or a unit it requires failed |
//!
//! The danger: the first states seen may be those from before the start. The middle three rows count only when they
//! have stood for a while after the unit was launched.

use std::collections::BTreeMap;
use std::time::Duration;

use super::wire::{Rollout, State, Unit};

/// How long failed or inactive must be seen after the launch before it is believed.
pub(super) const SETTLED: Duration = Duration::from_millis(1500);

/// What the user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Goal {
    /// On a machine, known to its systemd.
    Loaded,
    /// Started; with this content, where it was replaced.
    Started {
        /// SHA-1 of the unit file.
        hash: Option<String>,
    },
    /// A global unit: started with this content everywhere, a few machines at a time.
    Rolled {
        /// SHA-1 of the unit file.
        hash: String,
    },
    /// On its machine, not running. `ran`: systemd called it running when it was asked to stop.
    Stopped {
        /// See above.
        ran: bool,
    },
    /// On no machine.
    Unloaded,
    /// Unknown to the cluster and to every machine.
    Gone,
    /// Anywhere but on this machine.
    Away {
        /// Its id.
        machine: String,
    },
}

/// What can be said now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Done.
    Reached,
    /// fleet's own state is the one asked for, systemd is not there yet.
    Launched(String),
    /// On no machine, for this reason; empty while the scheduler has not looked at it.
    Unplaced(String),
    /// On a machine that can do nothing about it, for this reason.
    Held(String),
    /// Something else is still to happen.
    Pending(String),
    /// It will not be done.
    Failed(String),
}

impl Goal {
    /// fleet's state for it, as `timed out waiting for unit X to report state ...` names it.
    pub(super) fn state(&self) -> &'static str {
        match self {
            Goal::Loaded | Goal::Stopped { .. } => "loaded",
            Goal::Started { .. } | Goal::Rolled { .. } => "launched",
            Goal::Unloaded => "inactive",
            Goal::Gone => "destroyed",
            Goal::Away { .. } => "moved away",
        }
    }

    /// Is a machine to be rid of it? The unit alone does not say what is wrong with that machine then.
    pub(super) fn is_to_leave(&self) -> bool {
        matches!(self, Goal::Unloaded | Goal::Gone | Goal::Away { .. })
    }
}

/// Judges. `states` are those of this unit; `launched_for` is how long the last verdict has been [`Verdict::Launched`].
pub(super) fn judge(goal: &Goal, unit: Option<&Unit>, states: &[State], launched_for: Duration) -> Verdict {
    match goal {
        Goal::Gone => return gone(unit, states),
        Goal::Away { machine } => return away(machine, unit, states),
        _ => {}
    }
    let Some(unit) = unit else {
        return Verdict::Failed("it was destroyed meanwhile".to_owned());
    };
    if unit.desired_state != goal.state() {
        return Verdict::Failed(format!(
            "somebody else set it to {} meanwhile",
            unit.desired_state
        ));
    }
    let placed = !unit.machine_id.is_empty();
    match judge_state(goal, unit, states, launched_for) {
        Verdict::Pending(_) | Verdict::Launched(_) if placed && !unit.unplaced_reason.is_empty() => {
            Verdict::Held(unit.unplaced_reason.clone())
        }
        verdict => verdict,
    }
}

fn judge_state(goal: &Goal, unit: &Unit, states: &[State], launched_for: Duration) -> Verdict {
    let state = states.iter().find(|state| state.machine_id == unit.machine_id);
    match goal {
        Goal::Unloaded => unloaded(unit, states),
        Goal::Rolled { hash } => rolled(hash, unit, states, launched_for),
        Goal::Stopped { ran } => stopped(*ran, unit, state),
        _ if unit.machine_id.is_empty() => Verdict::Unplaced(unit.unplaced_reason.clone()),
        Goal::Loaded | Goal::Started { .. } if unit.current_state == "inactive" => {
            not_loaded(goal, unit, state)
        }
        Goal::Loaded if unit.current_state == "loaded" => loaded(unit, state),
        Goal::Started { hash } if unit.current_state == "launched" => {
            started(hash.as_deref(), state, launched_for)
        }
        _ => Verdict::Pending(format!("its machine has it {}", unit.current_state)),
    }
}

fn gone(unit: Option<&Unit>, states: &[State]) -> Verdict {
    match (unit, states.first()) {
        (Some(_), _) => Verdict::Failed("it was submitted again meanwhile".to_owned()),
        (None, None) => Verdict::Reached,
        (None, Some(state)) => Verdict::Pending(format!("its machine still has it {}", state.active)),
    }
}

/// Has this machine nothing to do with the unit any more?
pub(super) fn away(machine: &str, unit: Option<&Unit>, states: &[State]) -> Verdict {
    let here = states.iter().find(|state| state.machine_id == machine);
    match here.filter(|state| !is_at_rest(state)) {
        Some(state) => Verdict::Pending(in_words(state)),
        None if unit.is_some_and(|unit| unit.machine_id == machine) => {
            Verdict::Pending("the scheduler has not moved it yet".to_owned())
        }
        None => Verdict::Reached,
    }
}

fn unloaded(unit: &Unit, states: &[State]) -> Verdict {
    match states.iter().find(|state| !is_at_rest(state)) {
        None if unit.current_state == "inactive" => Verdict::Reached,
        None => Verdict::Pending(format!("it is still {}", unit.current_state)),
        Some(state) => Verdict::Pending(in_words(state)),
    }
}

/// Why a machine cannot get rid of it, if one that is to has trouble. `troubles` is by the machines' ids.
pub(super) fn held(goal: &Goal, states: &[State], troubles: &BTreeMap<String, String>) -> Option<String> {
    let is_meant = |state: &&State| match goal {
        Goal::Gone => true,
        Goal::Away { machine } => state.machine_id == *machine && !is_at_rest(state),
        _ => goal.is_to_leave() && !is_at_rest(state),
    };
    let machines = states.iter().filter(is_meant).map(|state| &state.machine_id);
    machines
        .filter_map(|machine| troubles.get(machine))
        .next()
        .cloned()
}

/// Does systemd neither run it nor end it?
pub(super) fn is_at_rest(state: &State) -> bool {
    matches!(state.active.as_str(), "" | "inactive" | "failed")
}

fn stopped(ran: bool, unit: &Unit, state: Option<&State>) -> Verdict {
    if unit.machine_id.is_empty() || unit.current_state == "inactive" {
        return Verdict::Reached;
    }
    let at_rest = state.is_none_or(is_at_rest);
    // The server may call a unit launched for a moment longer than it runs, for the sake of fleet's own fleetctl.
    let seen_to_stop = at_rest && ran && state.is_some();
    if seen_to_stop || (at_rest && unit.current_state == "loaded") {
        return Verdict::Reached;
    }
    Verdict::Pending(state.map_or_else(|| format!("it is {}", unit.current_state), in_words))
}

/// Its machine has it not, or not yet; or its disk or systemd has refused the file that it is to have.
fn not_loaded(goal: &Goal, unit: &Unit, state: Option<&State>) -> Verdict {
    let refused = state.filter(|state| !state.start_error.is_empty() && state.hash == unit.file().hash());
    let Some(state) = refused else {
        return Verdict::Pending("its machine has it inactive".to_owned());
    };
    let verb = if *goal == Goal::Loaded { "load" } else { "start" };
    Verdict::Failed(format!(
        "{}; its machine tries again within a minute; with another file: fleetctl {verb} --replace {}",
        state.start_error, state.name
    ))
}

/// A machine has it; and its systemd?
fn loaded(unit: &Unit, state: Option<&State>) -> Verdict {
    match state.filter(|state| is_refused(state) && state.hash == unit.file().hash()) {
        Some(state) => Verdict::Failed(format!(
            "systemd cannot load it: {}; with another file: fleetctl load --replace {}",
            state.load, state.name
        )),
        None => Verdict::Reached,
    }
}

/// Can systemd do nothing with its file? It does not look for one of every unit.
fn is_refused(state: &State) -> bool {
    matches!(state.load.as_str(), "bad-setting" | "error")
}

fn is_broken(state: &State) -> bool {
    !matches!(state.load.as_str(), "" | "loaded" | "stub" | "merged")
}

fn started(hash: Option<&str>, state: Option<&State>, launched_for: Duration) -> Verdict {
    match (became(hash, state, launched_for), state) {
        (Verdict::Failed(why), Some(state)) if !state.start_error.is_empty() => {
            let name = &state.name;
            let again = again(state, &format!("fleetctl restart {name}"));
            Verdict::Failed(format!(
                "{why}; {again}with another file: fleetctl start --replace {name}"
            ))
        }
        (verdict, _) => verdict,
    }
}

/// Whether the same file may start after all, and how.
fn again(state: &State, command: &str) -> String {
    match state.load.as_str() {
        "not-found" => "its machine tries again within a minute; ".to_owned(),
        // The file is the cluster's: on the machine that cannot be mended.
        "bad-setting" => String::new(),
        _ => format!("once that is mended: {command}; "),
    }
}

/// What became of its start on one machine.
fn became(hash: Option<&str>, state: Option<&State>, launched_for: Duration) -> Verdict {
    let Some(state) = state else {
        return Verdict::Launched("its machine has not said anything of it yet".to_owned());
    };
    if hash.is_some_and(|hash| hash != state.hash) {
        return Verdict::Pending("its machine still runs the old version".to_owned());
    }
    let settled = launched_for >= SETTLED;
    let broken = is_broken(state);
    let words = in_words(state);
    match (state.active.as_str(), state.sub.as_str()) {
        ("inactive" | "failed", _) if !state.start_error.is_empty() => {
            Verdict::Failed(state.start_error.clone())
        }
        _ if broken && settled => Verdict::Failed(format!("systemd cannot load it: {}", state.load)),
        ("active" | "reloading" | "refreshing", _) if !broken => Verdict::Reached,
        ("activating", "auto-restart") | ("failed", _) if settled => Verdict::Failed(words),
        ("inactive", _) if settled => Verdict::Reached,
        _ => Verdict::Launched(words),
    }
}

/// It goes on as long as no machine fails with the new content, which is believed when it has stood for a while.
fn rolled(hash: &str, unit: &Unit, states: &[State], failing_for: Duration) -> Verdict {
    if unit.file().hash() != hash {
        return Verdict::Failed("somebody else replaced it meanwhile".to_owned());
    }
    let on = |state: &State, settled| became(Some(hash), Some(state), settled);
    for state in states.iter().filter(|state| state.hash == hash) {
        let Verdict::Failed(why) = on(state, SETTLED) else {
            continue;
        };
        let (machine, advice) = (&state.machine_id, advice_on_roll(unit, state));
        let why = format!("on machine {machine} {why}{}; {advice}", untouched(unit));
        return match on(state, failing_for) {
            Verdict::Failed(_) => Verdict::Failed(why),
            _ => Verdict::Launched(why),
        };
    }
    match &unit.rollout {
        Some(rollout) => Verdict::Pending(rollout.in_words()),
        None if states.iter().all(|state| on(state, SETTLED) == Verdict::Reached) => Verdict::Reached,
        None => Verdict::Pending("its machines are starting it".to_owned()),
    }
}

/// What to do about a machine that fails with the new file.
fn advice_on_roll(unit: &Unit, state: &State) -> String {
    let (name, machine) = (&unit.name, &state.machine_id);
    if state.start_error.is_empty() {
        return format!("fleetctl ssh {machine} journalctl --unit {name} may say why");
    }
    let limit = unit.rollout.as_ref().map_or(1, |rollout| rollout.max_unavailable);
    let again = again(
        state,
        &format!("fleetctl ssh {machine} sudo systemctl start {name}"),
    );
    format!("{again}with another file: fleetctl start --replace --max-unavailable {limit} {name}")
}

/// `; 2 of 3 machines keep the file they have`.
fn untouched(unit: &Unit) -> String {
    let left = |rollout: &Rollout| rollout.of.saturating_sub(rollout.allowed);
    match &unit.rollout {
        Some(rollout) if left(rollout) > 0 => {
            format!(
                "; {} of {} machines keep the file they have",
                left(rollout),
                rollout.of
            )
        }
        _ => String::new(),
    }
}

/// `activating (start-pre)`.
fn in_words(state: &State) -> String {
    format!("it is {} ({})", state.active, state.sub)
}

#[cfg(test)]
mod tests;
