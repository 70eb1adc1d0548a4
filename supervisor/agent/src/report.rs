//! Which unit states a machine publishes, and when.
//!
//! One row for every unit file of ours on this machine; a row goes when the file is gone. Only rows that changed are sent.
//! A report may be lost, or come late and overwrite a newer one: before each report let what the store has be the measure
//! ([`Reported::agree_with`]), and send one at a time.
//!
//! `launched` (fleet's job-state) is true from the start we asked for. When it ends while the unit stays loaded, it is
//! still reported for [`LAUNCHED_HOLD_MS`]: `fleetctl restart` sets the desired state to loaded, then waits to see
//! *launched* first, and hangs forever where a server is quick (contract `fleet.md` section 0, trap 10). Not so for a unit that
//! this machine is not to have any more: who starts it again would take that for the start that is yet to come.
//!
//! Refuses to do: reading the clock; `now_ms` is any clock that never goes back.

use std::collections::BTreeMap;

use corten_spec::fleet::UnitState;
use corten_spec::machine::MachineId;
use corten_spec::unit_name::UnitName;

use crate::observed::{Observed, OnDisk};

/// How long a stopped unit is still reported as launched, in ms: fleetctl looks 250 ms after its request and then
/// every 250 ms.
pub const LAUNCHED_HOLD_MS: u64 = 700;

/// What was published last. Starts empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reported {
    rows: BTreeMap<UnitName, UnitState>,
    /// Until when each unit that is no longer launched is reported as if it were.
    held_until_ms: BTreeMap<UnitName, u64>,
}

impl Reported {
    /// Takes the rows the store has for this machine for what was published last: what was lost, came late or is left
    /// from an earlier life of this machine is so made good by the next report.
    pub fn agree_with(&mut self, stored: impl IntoIterator<Item = UnitState>) {
        self.rows = stored.into_iter().map(|row| (row.name.clone(), row)).collect();
    }
}

/// What to publish now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Rows that are new or changed.
    pub states: Vec<UnitState>,
    /// Units whose rows go.
    pub gone: Vec<UnitName>,
    /// Ask again at this time, even if nothing is observed to change.
    pub again_at_ms: Option<u64>,
}

impl Report {
    /// Is there nothing to send?
    pub fn is_empty(&self) -> bool {
        self.states.is_empty() && self.gone.is_empty()
    }
}

/// What to publish, given what is observed, what of it the machine is to have, and what was published. Keep the second value
/// for the next call once the report has been accepted.
pub fn report(
    machine: &MachineId,
    observed: &BTreeMap<UnitName, Observed>,
    stays: impl Fn(&UnitName) -> bool,
    reported: &Reported,
    now_ms: u64,
) -> (Report, Reported) {
    let mut next = Reported::default();
    let mut out = Report::default();
    for (name, seen) in observed {
        let Some(on_disk) = &seen.on_disk else { continue };
        let old = reported.rows.get(name);
        let held = hold(reported, name, on_disk, now_ms).filter(|_| stays(name));
        let row = row(machine, name, seen, on_disk, held.is_some());
        if old != Some(&row) {
            out.states.push(row.clone());
        }
        next.rows.insert(name.clone(), row);
        next.held_until_ms.extend(held.map(|until| (name.clone(), until)));
    }
    out.gone = reported
        .rows
        .keys()
        .filter(|name| !next.rows.contains_key(*name))
        .cloned()
        .collect();
    out.again_at_ms = next.held_until_ms.values().min().copied();
    (out, next)
}

/// Until when the unit is reported as launched although it no longer is; None when it is, never was, or long enough ago.
fn hold(reported: &Reported, name: &UnitName, on_disk: &OnDisk, now_ms: u64) -> Option<u64> {
    if on_disk.launched {
        return None;
    }
    let running_hold = reported.held_until_ms.get(name).copied();
    let was_launched = reported.rows.get(name).is_some_and(|row| row.launched);
    let until = running_hold.or_else(|| was_launched.then_some(now_ms + LAUNCHED_HOLD_MS))?;
    (now_ms < until).then_some(until)
}

fn row(machine: &MachineId, name: &UnitName, seen: &Observed, on_disk: &OnDisk, held: bool) -> UnitState {
    UnitState {
        name: name.clone(),
        machine: machine.clone(),
        hash: on_disk.hash.clone(),
        load: seen.load.clone(),
        active: seen.active.clone(),
        sub: seen.sub.clone(),
        launched: held || on_disk.launched,
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

    fn step(reported: &mut Reported, observed: &BTreeMap<UnitName, Observed>, now_ms: u64) -> String {
        step_of(true, reported, observed, now_ms)
    }

    fn step_of(
        stays: bool,
        reported: &mut Reported,
        observed: &BTreeMap<UnitName, Observed>,
        now_ms: u64,
    ) -> String {
        let (out, next) = report(&MachineId("m1".to_owned()), observed, |_| stays, reported, now_ms);
        *reported = next;
        let mut said: Vec<_> = out
            .states
            .iter()
            .map(|s| {
                format!(
                    "{} {}{}",
                    s.name,
                    s.active,
                    if s.launched { " launched" } else { "" }
                )
            })
            .collect();
        said.extend(out.gone.iter().map(|name| format!("{name} gone")));
        said.extend(out.again_at_ms.map(|ms| format!("again at {ms}")));
        said.join(", ")
    }

    #[test]
    fn tells_what_changed_and_holds_launched_after_a_stop() {
        let mut reported = Reported::default();
        assert_eq!(
            step(&mut reported, &world("inactive", false), 0),
            "a.service inactive"
        );
        assert_eq!(step(&mut reported, &world("inactive", false), 10), "");
        assert_eq!(
            step(&mut reported, &world("active", true), 20),
            "a.service active launched"
        );
        assert_eq!(
            step(&mut reported, &world("failed", true), 30),
            "a.service failed launched"
        );
        assert_eq!(
            step(&mut reported, &world("active", true), 40),
            "a.service active launched"
        );
        assert_eq!(
            step(&mut reported, &world("deactivating", false), 50),
            "a.service deactivating launched, again at 750"
        );
        assert_eq!(
            step(&mut reported, &world("inactive", false), 60),
            "a.service inactive launched, again at 750"
        );
        assert_eq!(
            step(&mut reported, &world("inactive", false), 700),
            "again at 750"
        );
        assert_eq!(
            step(&mut reported, &world("inactive", false), 750),
            "a.service inactive"
        );
        assert_eq!(step(&mut reported, &world("inactive", false), 800), "");
        assert_eq!(step(&mut reported, &BTreeMap::new(), 900), "a.service gone");
    }

    /// fleet's fleetctl failed in `start` after `unload`, while systemd read its files again after the removal.
    #[test]
    fn what_leaves_is_not_said_to_be_launched() {
        let mut reported = Reported::default();
        step(&mut reported, &world("active", true), 0);
        let stopping = world("deactivating", false);
        assert_eq!(
            step_of(false, &mut reported, &stopping, 10),
            "a.service deactivating"
        );
        step(&mut reported, &world("active", true), 20);
        step(&mut reported, &stopping, 30);
        assert_eq!(
            step_of(false, &mut reported, &stopping, 40),
            "a.service deactivating",
            "nor when it was to stay at first"
        );
    }

    #[test]
    fn a_restart_within_the_hold_is_seamless() {
        let mut reported = Reported::default();
        step(&mut reported, &world("active", true), 0);
        assert_eq!(
            step(&mut reported, &world("inactive", false), 100),
            "a.service inactive launched, again at 800"
        );
        assert_eq!(
            step(&mut reported, &world("active", true), 200),
            "a.service active launched"
        );
        assert_eq!(
            step(&mut reported, &world("inactive", false), 900),
            "a.service inactive launched, again at 1600"
        );
    }

    #[test]
    fn what_the_store_lost_or_kept_is_made_good() {
        let mut reported = Reported::default();
        step(&mut reported, &world("active", true), 0);
        reported.agree_with([]);
        assert_eq!(
            step(&mut reported, &world("active", true), 10),
            "a.service active launched"
        );
        let stale: Vec<_> = reported.rows.values().cloned().collect();
        assert_eq!(step(&mut reported, &BTreeMap::new(), 20), "a.service gone");
        reported.agree_with(stale);
        assert_eq!(step(&mut reported, &BTreeMap::new(), 30), "a.service gone");
    }
}
