//! A machine's systemd, as far as the agent can see it: unit files it has read, jobs that take their time, services that
//! fail, end or restart on their own.
//!
//! It dies with the machine's power and lives through everything the supervisor does.

use std::collections::{BTreeMap, BTreeSet};

use corten_spec::unit_name::UnitName;

use crate::rng::Rng;

/// How a unit behaves once started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nature {
    Runs,
    Fails,
    Ends,
}

/// One loaded unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    /// ActiveState.
    pub active: &'static str,
    /// The job that decides what comes next; a newer one makes an older one void.
    job: u64,
    /// Start it again when it has stopped.
    start_after: bool,
}

/// The machine's units.
#[derive(Debug, Clone, Default)]
pub struct Systemd {
    units: BTreeMap<UnitName, Unit>,
    linked: BTreeSet<UnitName>,
    read: BTreeSet<UnitName>,
    jobs: u64,
}

/// A job that will be done after `after_ms`: hand it back with [`Systemd::done`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The unit.
    pub unit: UnitName,
    /// Which job of it.
    pub number: u64,
    /// How long it takes.
    pub after_ms: u64,
}

impl Systemd {
    /// ActiveState of a unit.
    pub fn active(&self, unit: &UnitName) -> &'static str {
        self.units.get(unit).map_or("inactive", |unit| unit.active)
    }

    /// LoadState of a unit.
    pub fn load(&self, unit: &UnitName) -> &'static str {
        match self.read.contains(unit) {
            true => "loaded",
            false => "not-found",
        }
    }

    /// Is it up, or on its way up or down?
    pub fn is_busy(&self, unit: &UnitName) -> bool {
        !matches!(self.active(unit), "inactive" | "failed")
    }

    /// Units that are up, or on their way up or down.
    pub fn busy(&self) -> impl Iterator<Item = &UnitName> {
        self.units.keys().filter(|unit| self.is_busy(unit))
    }

    /// LinkUnitFiles.
    pub fn link(&mut self, unit: &UnitName) {
        self.linked.insert(unit.clone());
    }

    /// DisableUnitFiles.
    pub fn disable(&mut self, unit: &UnitName) {
        self.linked.remove(unit);
    }

    /// Looks for a unit that it has not heard of.
    ///
    /// # Errors
    /// When it has: it would go on with what it read then.
    pub fn find(&mut self, unit: &UnitName) -> Result<(), String> {
        if self.read.contains(unit) {
            return Err(format!("{unit} is not read again without a reload"));
        }
        self.read.extend(self.linked.get(unit).cloned());
        Ok(())
    }

    /// Reload.
    pub fn reload(&mut self) {
        self.read = self.linked.clone();
    }

    /// ResetFailedUnit.
    pub fn reset_failed(&mut self, unit: &UnitName) {
        if self.active(unit) == "failed" {
            self.units.remove(unit);
        }
    }

    /// StartUnit.
    ///
    /// # Errors
    /// When the unit was never read: the agent must reload before it starts.
    pub fn start(&mut self, unit: &UnitName, rng: &mut Rng) -> Result<Option<Job>, String> {
        if !self.read.contains(unit) {
            return Err(format!("{unit} is started before systemd has read it"));
        }
        match self.active(unit) {
            "deactivating" => {
                self.entry(unit).start_after = true;
                Ok(None)
            }
            "inactive" | "failed" => Ok(Some(self.begin(unit, "activating", rng.range(0, 500)))),
            _ => Ok(None),
        }
    }

    /// StopUnit.
    pub fn stop(&mut self, unit: &UnitName, rng: &mut Rng) -> Option<Job> {
        match self.active(unit) {
            "activating" | "active" => Some(self.begin(unit, "deactivating", rng.range(0, 2000))),
            "deactivating" => {
                self.entry(unit).start_after = false;
                None
            }
            _ => None,
        }
    }

    /// KillUnit, SIGKILL: what is being stopped ends at once. (The agent asks for the stop first.)
    pub fn kill(&mut self, unit: &UnitName) -> Option<Job> {
        (self.active(unit) == "deactivating").then(|| self.begin(unit, "deactivating", 0))
    }

    /// A running unit dies and is restarted by systemd.
    pub fn crash(&mut self, rng: &mut Rng) -> Option<Job> {
        let active: Vec<UnitName> = self
            .busy()
            .filter(|unit| self.active(unit) == "active")
            .cloned()
            .collect();
        let unit = active.get(rng.number() as usize % active.len().max(1))?.clone();
        Some(self.begin(&unit, "activating", rng.range(100, 1000)))
    }

    /// A job has had its time; says what follows. None if it was overtaken.
    pub fn done(&mut self, job: &Job, rng: &mut Rng) -> Option<Option<Job>> {
        if self.units.get(&job.unit)?.job != job.number {
            return None;
        }
        let nature = nature(&job.unit);
        let unit = self.entry(&job.unit);
        let again = std::mem::take(&mut unit.start_after);
        unit.active = match (unit.active, nature) {
            ("deactivating", _) if !again => "inactive",
            ("deactivating", _) => return Some(Some(self.begin(&job.unit, "activating", rng.range(0, 500)))),
            ("activating", Nature::Runs) => "active",
            ("activating", Nature::Fails) => "failed",
            (_, Nature::Ends) => "inactive",
            (active, _) => active,
        };
        Some(None)
    }

    fn entry(&mut self, unit: &UnitName) -> &mut Unit {
        self.units.entry(unit.clone()).or_insert(Unit {
            active: "inactive",
            job: 0,
            start_after: false,
        })
    }

    fn begin(&mut self, unit: &UnitName, active: &'static str, after_ms: u64) -> Job {
        self.jobs += 1;
        let number = self.jobs;
        let entry = self.entry(unit);
        entry.active = active;
        entry.job = number;
        Job {
            unit: unit.clone(),
            number,
            after_ms,
        }
    }
}

/// A few units fail at once or end by themselves; the name says which.
fn nature(unit: &UnitName) -> Nature {
    match unit.prefix() {
        "bad" => Nature::Fails,
        "once" => Nature::Ends,
        _ => Nature::Runs,
    }
}
