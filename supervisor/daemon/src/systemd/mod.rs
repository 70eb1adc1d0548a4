//! This machine's systemd, behind a seam narrow enough that a test can stand in for it: the verbs fleet's agent uses,
//! and a stream of names whose units changed.
//!
//! Refuses to wait for jobs: starting and stopping are asked for, what comes of it arrives as changes. A job that ends
//! without its unit's state saying why ([`Systemd::ended_badly`]) is remembered: a unit whose dependency failed is
//! `inactive`, as one that has run is.

pub mod dbus;
mod label;
#[cfg(test)]
pub mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Why systemd did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SystemdError {
    /// There is no connection; nothing was done.
    #[error("systemd cannot be reached over D-Bus: {0}")]
    Unreachable(String),
    /// It answered with an error.
    #[error("systemd refused to {verb} {what}: {message} ({name})")]
    Refused {
        /// What was asked.
        verb: &'static str,
        /// Of which unit or file.
        what: String,
        /// D-Bus error name.
        name: String,
        /// D-Bus error text.
        message: String,
    },
}

/// A unit as systemd has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Full unit name.
    pub name: String,
    /// LoadState.
    pub load: String,
    /// ActiveState.
    pub active: String,
    /// SubState.
    pub sub: String,
}

/// The verbs.
pub trait Systemd: Send + Sync + 'static {
    /// Whether it can be asked at all.
    fn ready(&self) -> impl Future<Output = Result<(), SystemdError>> + Send;
    /// Makes a unit file outside of systemd's folders known until the next boot, replacing what stood there.
    fn link(&self, file: &Path) -> impl Future<Output = Result<(), SystemdError>> + Send;
    /// Removes that link again, and no other one.
    fn unlink(&self, file: &Path) -> impl Future<Output = Result<(), SystemdError>> + Send;
    /// Makes the links a unit's [Install] section asks for, until the next boot.
    fn enable(&self, unit: &str) -> impl Future<Output = Result<(), SystemdError>> + Send;
    /// Removes all links to a unit, the one of [`Systemd::link`] included.
    fn disable(&self, unit: &str) -> impl Future<Output = Result<(), SystemdError>> + Send;
    /// Reads changed unit files again.
    fn reload(&self) -> impl Future<Output = Result<(), SystemdError>> + Send;
    /// Queues a start job.
    fn start(&self, unit: &str) -> impl Future<Output = Result<(), SystemdError>> + Send;
    /// Queues a stop job.
    fn stop(&self, unit: &str) -> impl Future<Output = Result<(), SystemdError>> + Send;
    /// Sends SIGKILL to all processes of a unit.
    fn kill(&self, unit: &str) -> impl Future<Output = Result<(), SystemdError>> + Send;
    /// Forgets that a unit failed.
    fn reset_failed(&self, unit: &str) -> impl Future<Output = Result<(), SystemdError>> + Send;
    /// The state of each of `units`, in any order.
    fn observe(&self, units: &[String]) -> impl Future<Output = Result<Vec<Observed>, SystemdError>> + Send;
    /// Waits until a unit changed; returns the names of all that did since the last call, or [`Changed::Everything`]
    /// after a time in which changes may have been missed.
    fn changed(&self) -> impl Future<Output = Changed> + Send;
    /// Takes the units whose last job came to nothing since this was asked last, with the reason.
    fn ended_badly(&self) -> BTreeMap<String, String>;
}

/// What may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// These units.
    Units(BTreeSet<String>),
    /// Any unit: the connection is new.
    Everything,
}

/// Names of changed units, gathered until somebody looks: bounded by the number of units, however slow the reader.
#[derive(Debug, Default)]
pub struct Changes {
    gathered: Mutex<Gathered>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Gathered {
    units: BTreeSet<String>,
    everything: bool,
    ended_badly: BTreeMap<String, String>,
}

impl Changes {
    /// `unit` changed.
    pub fn unit(&self, unit: String) {
        self.gathered().units.insert(unit);
        self.wake.notify_one();
    }

    /// A job of `unit` ended with `result` (JobRemoved, org.freedesktop.systemd1(5)).
    pub fn job_ended(&self, unit: String, result: &str) {
        let mut gathered = self.gathered();
        match came_to_nothing(result) {
            Some(why) => drop(gathered.ended_badly.insert(unit.clone(), why)),
            None => drop(gathered.ended_badly.remove(&unit)),
        }
        gathered.units.insert(unit);
        self.wake.notify_one();
    }

    /// Anything may have changed.
    pub fn everything(&self) {
        self.gathered().everything = true;
        self.wake.notify_one();
    }

    /// See [`Systemd::ended_badly`].
    pub fn ended_badly(&self) -> BTreeMap<String, String> {
        std::mem::take(&mut self.gathered().ended_badly)
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change and takes all there are.
    pub async fn next(&self) -> Changed {
        loop {
            if let Some(changed) = self.take() {
                return changed;
            }
            self.wake.notified().await;
        }
    }

    fn take(&self) -> Option<Changed> {
        let mut gathered = self.gathered();
        if std::mem::take(&mut gathered.everything) {
            gathered.units.clear();
            Some(Changed::Everything)
        } else if gathered.units.is_empty() {
            None
        } else {
            Some(Changed::Units(std::mem::take(&mut gathered.units)))
        }
    }
}

/// Why a job did nothing, where its unit's state does not say so. One that is done, was skipped for a condition or was
/// replaced by another is as it should be.
fn came_to_nothing(result: &str) -> Option<String> {
    let why = match result {
        "done" | "skipped" | "canceled" => return None,
        "failed" => corten_agent::FAILED_START,
        "dependency" => "a unit that it requires failed",
        "timeout" => "its job took longer than JobTimeoutSec=",
        "assert" => "an Assert...= of it does not hold",
        "unsupported" => "units of its type are not supported here",
        other => return Some(format!("its job ended with the result {other}")),
    };
    Some(why.to_owned())
}
