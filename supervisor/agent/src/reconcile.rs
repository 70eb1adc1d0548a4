//! The comparison itself; the table it follows is in the crate's documentation.

use std::collections::BTreeMap;

use corten_spec::placement::{Party, Replacement, conflict, replacement};
use corten_spec::unit_name::UnitName;

use crate::desired::DesiredUnit;
use crate::observed::{Observed, OnDisk};

/// One thing to ask of the disk or of systemd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// StopUnit, mode `replace`, not awaited. The unit counts as not launched from now on.
    Stop(UnitName),
    /// KillUnit, SIGKILL to all of the unit's processes: its stop took longer than it may run, or failed. The unit counts as
    /// not launched from now on.
    Kill(UnitName),
    /// DisableUnitFiles, runtime: removes links, the one made by `Link` too.
    Disable(UnitName),
    /// Removes the link made by `Link`, where there can be no others: systemd looks through all its folders for them.
    Unlink(UnitName),
    /// ResetFailedUnit.
    ResetFailed(UnitName),
    /// Removes our unit file. The unit counts as not launched from now on.
    Remove(UnitName),
    /// Writes our unit file, whole or not at all.
    Write {
        /// The unit.
        unit: UnitName,
        /// The file's text.
        text: String,
    },
    /// Puts a link to our unit file where systemd searches until the next boot: it does not search our folder.
    Link(UnitName),
    /// EnableUnitFiles, runtime, force.
    Enable(UnitName),
    /// ListUnitsByNames: systemd looks for the file of a unit it has not heard of by itself (from version 246 on), which
    /// takes nothing of the time that a reload of all units takes. Reload, where it does not.
    Find(UnitName),
    /// Reload: systemd reads unit files again.
    DaemonReload,
    /// StartUnit, mode `replace`, not awaited. The unit counts as launched from now on, whatever systemd answers.
    Start(UnitName),
}

impl Action {
    /// The unit it is about; None for the reload.
    pub fn unit(&self) -> Option<&UnitName> {
        match self {
            Action::DaemonReload => None,
            Action::Write { unit, .. } => Some(unit),
            Action::Stop(unit)
            | Action::Kill(unit)
            | Action::Disable(unit)
            | Action::Unlink(unit)
            | Action::ResetFailed(unit)
            | Action::Remove(unit)
            | Action::Link(unit)
            | Action::Enable(unit)
            | Action::Find(unit)
            | Action::Start(unit) => Some(unit),
        }
    }
}

/// The steps of a list, in the order they are taken.
#[derive(Default)]
struct Steps {
    unload: Vec<Action>,
    load: Vec<Action>,
    /// Apart from `load`, because systemd searches its folders again after each link that came between.
    find: Vec<Action>,
    reload: bool,
    stop: Vec<Action>,
    start: Vec<Action>,
}

/// What to do next, given what should be and what is. Call it again when something changed; an empty list means that
/// all is as it should be, or that systemd is still at it.
pub fn reconcile(desired: &[DesiredUnit], observed: &BTreeMap<UnitName, Observed>) -> Vec<Action> {
    let wanted: BTreeMap<&UnitName, &DesiredUnit> = desired.iter().map(|unit| (&unit.name, unit)).collect();
    let leaving: BTreeMap<&UnitName, &Observed> = observed
        .iter()
        .filter(|(name, seen)| leaves(name, seen, &wanted))
        .collect();
    let mut steps = Steps::default();
    for (name, seen) in &leaving {
        unload(name, seen, &mut steps.unload);
    }
    let mut standing: Vec<Party<'_>> = standing(observed, &leaving);
    for unit in wanted.values() {
        let stopping = leaving
            .get(&unit.name)
            .is_some_and(|seen| seen.must_stop(&unit.name));
        if !stopping && bring_up(unit, observed, &standing, &mut steps) {
            standing.push((&unit.name, &unit.requirements));
        }
    }
    steps.into_list()
}

/// Must what is there go, because it is not wanted or has other content?
fn leaves(name: &UnitName, seen: &Observed, wanted: &BTreeMap<&UnitName, &DesiredUnit>) -> bool {
    let Some(on_disk) = &seen.on_disk else {
        return false;
    };
    wanted.get(name).is_none_or(|unit| unit.hash != on_disk.hash)
}

fn unload(name: &UnitName, seen: &Observed, steps: &mut Vec<Action>) {
    if seen.must_stop(name) {
        if seen.active != "deactivating" {
            steps.push(Action::Stop(name.clone()));
        }
        return;
    }
    let has_install = seen.on_disk.as_ref().is_some_and(|on_disk| on_disk.has_install);
    steps.push(match has_install {
        true => Action::Disable(name.clone()),
        false => Action::Unlink(name.clone()),
    });
    if seen.active == "failed" {
        steps.push(Action::ResetFailed(name.clone()));
    }
    steps.push(Action::Remove(name.clone()));
}

/// Loads, starts or stops a unit as it needs; says whether it is started now.
fn bring_up(
    unit: &DesiredUnit,
    observed: &BTreeMap<UnitName, Observed>,
    standing: &[Party<'_>],
    steps: &mut Steps,
) -> bool {
    let seen = observed.get(&unit.name);
    let on_disk = seen.and_then(|seen| seen.on_disk.as_ref());
    let on_disk = on_disk.filter(|on_disk| on_disk.hash == unit.hash);
    if on_disk.is_none() {
        load(unit, seen.is_some_and(Observed::is_unheard_of), steps);
    }
    let launched = on_disk.is_some_and(|on_disk| on_disk.launched);
    let start = unit.launch && !launched && !standing.iter().any(|other| are_apart(unit, *other));
    if start {
        steps.start.push(Action::Start(unit.name.clone()));
    } else if !unit.launch && launched {
        steps.stop.push(Action::Stop(unit.name.clone()));
    }
    start
}

/// Units of ours that run, are on their way up or down, or were started and stay. A start that may not be beside one of
/// them waits: that one is on its way out, or will be when the scheduler has seen it.
fn standing<'a>(
    observed: &'a BTreeMap<UnitName, Observed>,
    leaving: &BTreeMap<&UnitName, &Observed>,
) -> Vec<Party<'a>> {
    let stands = |name: &UnitName, seen: &Observed, on_disk: &OnDisk| {
        seen.must_stop(name) || (on_disk.launched && !leaving.contains_key(name))
    };
    observed
        .iter()
        .filter_map(|(name, seen)| seen.on_disk.as_ref().map(|on_disk| (name, seen, on_disk)))
        .filter(|(name, seen, on_disk)| stands(name, seen, on_disk))
        .map(|(name, _, on_disk)| (name, &on_disk.requirements))
        .collect()
}

fn are_apart(unit: &DesiredUnit, other: Party<'_>) -> bool {
    let party = (&unit.name, &unit.requirements);
    conflict(party, other) || replacement(party, other) != Replacement::None
}

fn load(unit: &DesiredUnit, unheard_of: bool, steps: &mut Steps) {
    steps.load.push(Action::Write {
        unit: unit.name.clone(),
        text: unit.file.to_string(),
    });
    steps.load.push(Action::Link(unit.name.clone()));
    if unit.file.has_install() {
        steps.load.push(Action::Enable(unit.name.clone()));
    }
    if unheard_of && !unit.file.has_install() {
        steps.find.push(Action::Find(unit.name.clone()));
    } else {
        steps.reload = true;
    }
}

impl Steps {
    fn into_list(self) -> Vec<Action> {
        let removes = self
            .unload
            .iter()
            .any(|action| matches!(action, Action::Remove(_)));
        let mut list = self.unload;
        list.extend(self.load);
        if self.reload || removes {
            list.push(Action::DaemonReload);
        } else {
            list.extend(self.find);
        }
        list.extend(self.stop);
        list.extend(self.start);
        list
    }
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
