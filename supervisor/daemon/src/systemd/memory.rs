//! A systemd in memory, for tests only: units that are started run at once, and say so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::{Changed, Changes, Observed, Systemd, SystemdError};

/// Keeps which files are linked and which units run.
#[derive(Debug, Clone, Default)]
pub struct MemorySystemd(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    units: Mutex<BTreeMap<String, bool>>,
    /// Every verb, in order, as text: what a test looks at.
    calls: Mutex<Vec<String>>,
    changes: Changes,
    /// Units whose start is refused.
    refused: Mutex<BTreeSet<String>>,
    /// Units whose stop is refused.
    unstoppable: Mutex<BTreeSet<String>>,
    /// It does not say what runs.
    mute: AtomicBool,
    /// It does not find new files by itself.
    misses: AtomicBool,
    /// A reload waits until this is not so.
    busy: watch::Sender<bool>,
    /// The files it has missed.
    missed: Mutex<BTreeSet<String>>,
}

impl MemorySystemd {
    /// Whether `unit` runs.
    pub fn runs(&self, unit: &str) -> bool {
        self.0
            .units
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(unit)
            .copied()
            .unwrap_or(false)
    }

    /// Everything asked so far.
    pub fn calls(&self) -> Vec<String> {
        self.0
            .calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Refuses to start `unit` from now on, or no longer.
    pub fn refuse(&self, unit: &str, refuse: bool) {
        let mut refused = self.0.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refuse {
            refused.insert(unit.to_owned());
        } else {
            refused.remove(unit);
        }
    }

    /// Refuses to stop `unit` from now on, or no longer; it can be killed.
    pub fn refuse_stop(&self, unit: &str, refuse: bool) {
        let mut refused = self.0.unstoppable.lock().unwrap_or_else(PoisonError::into_inner);
        if refuse {
            refused.insert(unit.to_owned());
        } else {
            refused.remove(unit);
        }
    }

    /// Does not say what runs from now on, or does again.
    pub fn be_mute(&self, mute: bool) {
        self.0.mute.store(mute, Ordering::SeqCst);
    }

    /// Has reloads wait from now on, or no longer.
    pub fn be_busy(&self, busy: bool) {
        self.0.busy.send_replace(busy);
    }

    /// Finds new files at a reload only from now on.
    pub fn miss(&self) {
        self.0.misses.store(true, Ordering::SeqCst);
    }

    /// Starts `unit` as an administrator of the machine would, or ends the start job with `result`.
    pub fn start_job(&self, unit: &str, result: &str) {
        if result == "done" {
            self.set(unit, Some(true));
        }
        self.0.changes.job_ended(unit.to_owned(), result);
    }

    fn note(&self, verb: &str, unit: &str) {
        self.0
            .calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(format!("{verb} {unit}"));
    }

    fn set(&self, unit: &str, runs: Option<bool>) {
        let mut units = self.0.units.lock().unwrap_or_else(PoisonError::into_inner);
        match runs {
            Some(runs) => units.insert(unit.to_owned(), runs),
            None => units.remove(unit),
        };
        self.0.changes.unit(unit.to_owned());
    }

    fn known(&self, verb: &'static str, unit: &str) -> Result<(), SystemdError> {
        if self
            .0
            .units
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(unit)
        {
            return Ok(());
        }
        Err(no_such_unit(verb, unit, format!("Unit {unit} not found.")))
    }

    fn refuses(&self, unit: &str) -> bool {
        let refused = self.0.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.contains(unit)
    }
}

fn no_such_unit(verb: &'static str, unit: &str, message: String) -> SystemdError {
    SystemdError::Refused {
        verb,
        what: unit.to_owned(),
        name: "org.freedesktop.systemd1.NoSuchUnit".to_owned(),
        message,
    }
}

impl Systemd for MemorySystemd {
    async fn ready(&self) -> Result<(), SystemdError> {
        self.observe(&[]).await.map(drop)
    }

    async fn link(&self, file: &Path) -> Result<(), SystemdError> {
        let unit = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        self.note("link", &unit);
        if self.0.misses.load(Ordering::SeqCst) {
            let mut missed = self.0.missed.lock().unwrap_or_else(PoisonError::into_inner);
            missed.insert(unit);
            return Ok(());
        }
        let runs = self.runs(&unit);
        self.set(&unit, Some(runs));
        Ok(())
    }

    async fn unlink(&self, file: &Path) -> Result<(), SystemdError> {
        let unit = file.file_name().unwrap_or_default().to_string_lossy();
        self.note("unlink", &unit);
        self.set(&unit, None);
        Ok(())
    }

    async fn enable(&self, unit: &str) -> Result<(), SystemdError> {
        self.note("enable", unit);
        self.known("enable", unit)?;
        match self.refuses(unit) {
            true => Err(no_such_unit(
                "enable",
                unit,
                "Unit other.service not found.".to_owned(),
            )),
            false => Ok(()),
        }
    }

    async fn disable(&self, unit: &str) -> Result<(), SystemdError> {
        self.note("disable", unit);
        self.set(unit, None);
        Ok(())
    }

    async fn reload(&self) -> Result<(), SystemdError> {
        self.note("reload", "");
        let mut busy = self.0.busy.subscribe();
        // The sender lives as long as this.
        let _ = busy.wait_for(|busy| !busy).await;
        let missed = std::mem::take(&mut *self.0.missed.lock().unwrap_or_else(PoisonError::into_inner));
        for unit in missed {
            self.set(&unit, Some(false));
        }
        Ok(())
    }

    async fn start(&self, unit: &str) -> Result<(), SystemdError> {
        self.note("start", unit);
        self.known("start", unit)?;
        if self.refuses(unit) {
            return Err(no_such_unit(
                "start",
                unit,
                "Unit other.service not found.".to_owned(),
            ));
        }
        self.set(unit, Some(true));
        Ok(())
    }

    async fn stop(&self, unit: &str) -> Result<(), SystemdError> {
        self.note("stop", unit);
        self.known("stop", unit)?;
        let refused = self.0.unstoppable.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.contains(unit) {
            return Err(SystemdError::Refused {
                verb: "stop",
                what: unit.to_owned(),
                name: "org.freedesktop.DBus.Error.NoReply".to_owned(),
                message: "It is busy.".to_owned(),
            });
        }
        drop(refused);
        // systemd has not loaded it, and says nothing of it.
        if self.refuses(unit) && !self.runs(unit) {
            return Err(no_such_unit("stop", unit, format!("Unit {unit} not loaded.")));
        }
        self.set(unit, Some(false));
        Ok(())
    }

    async fn kill(&self, unit: &str) -> Result<(), SystemdError> {
        self.note("kill", unit);
        self.known("kill", unit)?;
        self.set(unit, Some(false));
        Ok(())
    }

    async fn reset_failed(&self, unit: &str) -> Result<(), SystemdError> {
        self.note("reset-failed", unit);
        self.known("reset", unit)
    }

    async fn observe(&self, units: &[String]) -> Result<Vec<Observed>, SystemdError> {
        if self.0.mute.load(Ordering::SeqCst) {
            return Err(SystemdError::Unreachable("it is mute".to_owned()));
        }
        if let Some(template) = units.iter().find(|unit| unit.contains("@.")) {
            return Err(SystemdError::Refused {
                verb: "list",
                what: template.clone(),
                name: "org.freedesktop.DBus.Error.InvalidArgs".to_owned(),
                message: format!("Unit name {template} is missing the instance name."),
            });
        }
        let held = self.0.units.lock().unwrap_or_else(PoisonError::into_inner);
        let observed = |name: &String| {
            let (load, active, sub) = match held.get(name) {
                None => ("not-found", "inactive", "dead"),
                Some(false) => ("loaded", "inactive", "dead"),
                Some(true) => ("loaded", "active", "running"),
            };
            Observed {
                name: name.clone(),
                load: load.into(),
                active: active.into(),
                sub: sub.into(),
            }
        };
        Ok(units.iter().map(observed).collect())
    }

    async fn changed(&self) -> Changed {
        self.0.changes.next().await
    }

    fn ended_badly(&self) -> BTreeMap<String, String> {
        self.0.changes.ended_badly()
    }
}
