//! Which unit states a machine publishes, and when.
//!
//! One row for every unit file of ours on this machine, and one for every unit that is to have one here and could not be
//! given it; a row goes when neither is so any more. Only rows that changed are sent.
//! A report may be lost, or come late and overwrite a newer one: before each report let what the store has be the measure
//! ([`Reported::agree_with`]), and send one at a time.
//!
//! `launched` (fleet's job-state) is true from the start we asked for until the stop.

use std::collections::BTreeMap;

use corten_spec::fleet::UnitState;
use corten_spec::machine::MachineId;
use corten_spec::unit_name::UnitName;

use crate::observed::{NotLoaded, Observed, OnDisk};

/// What was published last. Starts empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reported {
    rows: BTreeMap<UnitName, UnitState>,
}

impl Reported {
    /// Takes the rows the store has for this machine for what was published last: what was lost, came late or is left
    /// from an earlier life of this machine is so made good by the next report.
    pub fn agree_with(&mut self, stored: impl IntoIterator<Item = UnitState>) {
        self.rows = stored.into_iter().map(|row| (row.name.clone(), row)).collect();
    }

    /// Is that what was published last of this unit?
    pub fn agrees_with(&self, unit: &UnitName, stored: Option<&UnitState>) -> bool {
        self.rows.get(unit) == stored
    }
}

/// What to publish now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Rows that are new or changed.
    pub states: Vec<UnitState>,
    /// Units whose rows go.
    pub gone: Vec<UnitName>,
}

impl Report {
    /// Is there nothing to send?
    pub fn is_empty(&self) -> bool {
        self.states.is_empty() && self.gone.is_empty()
    }
}

/// What to publish, given what is observed and what was published. Keep the second value for the next call once the
/// report has been accepted.
pub fn report(
    machine: &MachineId,
    observed: &BTreeMap<UnitName, Observed>,
    not_loaded: &BTreeMap<UnitName, NotLoaded>,
    reported: &Reported,
) -> (Report, Reported) {
    let mut next = Reported::default();
    let mut out = Report::default();
    for (name, seen) in observed {
        let row = match (&seen.on_disk, not_loaded.get(name)) {
            (Some(on_disk), _) => row(machine, name, seen, on_disk),
            (None, Some(not_loaded)) => row(machine, name, seen, &not_loaded.as_on_disk()),
            (None, None) => continue,
        };
        if reported.rows.get(name) != Some(&row) {
            out.states.push(row.clone());
        }
        next.rows.insert(name.clone(), row);
    }
    let gone = reported.rows.keys().filter(|name| !next.rows.contains_key(*name));
    out.gone = gone.cloned().collect();
    (out, next)
}

fn row(machine: &MachineId, name: &UnitName, seen: &Observed, on_disk: &OnDisk) -> UnitState {
    UnitState {
        name: name.clone(),
        machine: machine.clone(),
        hash: on_disk.hash.clone(),
        load: seen.load.clone(),
        active: seen.active.clone(),
        sub: seen.sub.clone(),
        launched: on_disk.launched,
        start_error: on_disk.start_error.clone(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn world(active: &str, launched: bool) -> BTreeMap<UnitName, Observed> {
        let on_disk = OnDisk {
            hash: "0".repeat(40),
            launched,
            ..OnDisk::default()
        };
        let seen = Observed {
            on_disk: Some(on_disk),
            load: "loaded".to_owned(),
            active: active.to_owned(),
            sub: "x".to_owned(),
        };
        [(UnitName::parse("a.service").unwrap(), seen)].into()
    }

    fn step(reported: &mut Reported, observed: &BTreeMap<UnitName, Observed>) -> String {
        let (out, next) = report(&MachineId("m1".to_owned()), observed, &BTreeMap::new(), reported);
        *reported = next;
        let states = out.states.iter().map(|state| {
            let launched = if state.launched { " launched" } else { "" };
            format!("{} {}{launched}", state.name, state.active)
        });
        let mut said: Vec<String> = states.collect();
        said.extend(out.gone.iter().map(|name| format!("{name} gone")));
        said.join(", ")
    }

    #[test]
    fn tells_what_changed() {
        let mut reported = Reported::default();
        for (active, launched, said) in [
            ("inactive", false, "a.service inactive"),
            ("inactive", false, ""),
            ("active", true, "a.service active launched"),
            ("failed", true, "a.service failed launched"),
            ("active", true, "a.service active launched"),
            ("deactivating", false, "a.service deactivating"),
            ("inactive", false, "a.service inactive"),
            ("inactive", false, ""),
        ] {
            assert_eq!(step(&mut reported, &world(active, launched)), said);
        }
        assert_eq!(step(&mut reported, &BTreeMap::new()), "a.service gone");
    }

    #[test]
    fn one_that_could_not_be_loaded_says_why_until_it_is() {
        let not_loaded = NotLoaded {
            hash: "1".repeat(40),
            why: "refused".to_owned(),
        };
        let mut observed = world("inactive", false);
        let name = observed.keys().next().unwrap().clone();
        let not_loaded = BTreeMap::from([(name.clone(), not_loaded)]);
        let machine = MachineId("m1".to_owned());
        let says = |observed: &BTreeMap<UnitName, Observed>| {
            let (out, _) = report(&machine, observed, &not_loaded, &Reported::default());
            let row = &out.states[0];
            (row.hash.clone(), row.start_error.clone(), row.is_loaded())
        };
        assert_eq!(says(&observed), ("0".repeat(40), String::new(), true));
        observed.get_mut(&name).unwrap().on_disk = None;
        assert_eq!(says(&observed), ("1".repeat(40), "refused".to_owned(), false));
    }

    #[test]
    fn what_the_store_lost_or_kept_is_made_good() {
        let mut reported = Reported::default();
        step(&mut reported, &world("active", true));
        reported.agree_with([]);
        assert_eq!(
            step(&mut reported, &world("active", true)),
            "a.service active launched"
        );
        let stale: Vec<_> = reported.rows.values().cloned().collect();
        assert_eq!(step(&mut reported, &BTreeMap::new()), "a.service gone");
        reported.agree_with(stale);
        assert_eq!(step(&mut reported, &BTreeMap::new()), "a.service gone");
    }
}
