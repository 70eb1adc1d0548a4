//! Which unit states a machine publishes, and when.
//!
//! One row for every unit file of ours on this machine; a row goes when the file is gone. What is published is compared
//! with what the store has for this machine, not with what was sent last: a report that was lost, or that came late and
//! overwrote a newer one, is so made good by the next.
//!
//! `launched` (fleet's job-state) is true from the start we asked for. When it ends while the unit stays loaded, it is
//! still reported for [`LAUNCHED_HOLD_MS`]: `fleetctl restart` sets the desired state to loaded, then waits to see
//! *launched* first, and hangs forever where a server is quick (contract `fleet.md` section 0, trap 10).
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

/// Until when, in ms, each unit that is no longer launched is reported as if it were. Starts empty.
pub type Holds = BTreeMap<UnitName, u64>;

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

/// What to publish, given what is observed and the rows the store has for this machine. Send one report at a time, and
/// ask again when the store has taken it: until then the same answer would come again.
pub fn report(
    machine: &MachineId,
    observed: &BTreeMap<UnitName, Observed>,
    stored: &[UnitState],
    holds: &mut Holds,
    now_ms: u64,
) -> Report {
    let stored: BTreeMap<&UnitName, &UnitState> = stored.iter().map(|row| (&row.name, row)).collect();
    let mut out = Report::default();
    let ours = |name: &UnitName| observed.get(name).is_some_and(|seen| seen.on_disk.is_some());
    holds.retain(|name, _| ours(name));
    for (name, seen) in observed {
        let Some(on_disk) = &seen.on_disk else { continue };
        let old = stored.get(name).copied();
        let held = is_held(name, on_disk, old, holds, now_ms);
        let row = row(machine, name, seen, on_disk, held);
        if old != Some(&row) {
            out.states.push(row);
        }
    }
    out.gone = stored
        .keys()
        .filter(|name| !ours(name))
        .map(|name| (*name).clone())
        .collect();
    out.again_at_ms = holds.values().copied().filter(|until| *until > now_ms).min();
    out
}

/// Is the unit to be reported as launched although it no longer is? The hold begins when that is first seen and is
/// forgotten when the store has taken the truth.
fn is_held(
    name: &UnitName,
    on_disk: &OnDisk,
    stored: Option<&UnitState>,
    holds: &mut Holds,
    now_ms: u64,
) -> bool {
    if on_disk.launched || !stored.is_some_and(|row| row.launched) {
        holds.remove(name);
        return false;
    }
    now_ms < *holds.entry(name.clone()).or_insert(now_ms + LAUNCHED_HOLD_MS)
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

    /// The store's side: takes every report.
    #[derive(Default)]
    struct Store {
        rows: Vec<UnitState>,
        holds: Holds,
    }

    impl Store {
        fn step(&mut self, observed: &BTreeMap<UnitName, Observed>, now_ms: u64) -> String {
            let out = report(
                &MachineId("m1".to_owned()),
                observed,
                &self.rows,
                &mut self.holds,
                now_ms,
            );
            self.rows.retain(|row| {
                !out.gone.contains(&row.name) && !out.states.iter().any(|s| s.name == row.name)
            });
            self.rows.extend(out.states.clone());
            let launched = |s: &UnitState| if s.launched { " launched" } else { "" };
            let mut said: Vec<_> = out
                .states
                .iter()
                .map(|s| format!("{} {}{}", s.name, s.active, launched(s)))
                .collect();
            said.extend(out.gone.iter().map(|name| format!("{name} gone")));
            said.extend(out.again_at_ms.map(|ms| format!("again at {ms}")));
            said.join(", ")
        }
    }

    #[test]
    fn tells_what_changed_and_holds_launched_after_a_stop() {
        let mut store = Store::default();
        assert_eq!(store.step(&world("inactive", false), 0), "a.service inactive");
        assert_eq!(store.step(&world("inactive", false), 10), "");
        assert_eq!(
            store.step(&world("active", true), 20),
            "a.service active launched"
        );
        assert_eq!(
            store.step(&world("failed", true), 30),
            "a.service failed launched"
        );
        assert_eq!(
            store.step(&world("active", true), 40),
            "a.service active launched"
        );
        let held = store.step(&world("deactivating", false), 50);
        assert_eq!(held, "a.service deactivating launched, again at 750");
        assert_eq!(
            store.step(&world("inactive", false), 60),
            "a.service inactive launched, again at 750"
        );
        assert_eq!(store.step(&world("inactive", false), 700), "again at 750");
        assert_eq!(store.step(&world("inactive", false), 750), "a.service inactive");
        assert_eq!(store.step(&world("inactive", false), 800), "");
        assert_eq!(store.step(&BTreeMap::new(), 900), "a.service gone");
    }

    #[test]
    fn a_restart_within_the_hold_is_seamless() {
        let mut store = Store::default();
        store.step(&world("active", true), 0);
        assert_eq!(
            store.step(&world("inactive", false), 100),
            "a.service inactive launched, again at 800"
        );
        assert_eq!(
            store.step(&world("active", true), 200),
            "a.service active launched"
        );
        assert_eq!(
            store.step(&world("inactive", false), 900),
            "a.service inactive launched, again at 1600"
        );
    }

    #[test]
    fn what_the_store_lost_or_got_late_is_said_again() {
        let mut store = Store::default();
        store.step(&world("active", true), 0);
        store.rows.clear();
        assert_eq!(
            store.step(&world("active", true), 10),
            "a.service active launched"
        );
        store.rows[0].active = "activating".to_owned();
        assert_eq!(
            store.step(&world("active", true), 20),
            "a.service active launched"
        );
    }
}
