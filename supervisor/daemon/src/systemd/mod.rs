//! This machine's systemd, behind a seam narrow enough that a test can stand in for it: the verbs fleet's agent uses,
//! and a stream of names whose units changed.
//!
//! Refuses to wait for jobs: starting and stopping are asked for, what comes of it arrives as changes.

pub mod dbus;
mod label;
#[cfg(test)]
pub mod memory;

use std::collections::BTreeSet;
use std::future::Future;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

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
    /// Forgets that a unit failed.
    fn reset_failed(&self, unit: &str) -> impl Future<Output = Result<(), SystemdError>> + Send;
    /// The state of each of `units`, in any order.
    fn observe(&self, units: &[String]) -> impl Future<Output = Result<Vec<Observed>, SystemdError>> + Send;
    /// Waits until a unit changed; returns the names of all that did since the last call, or [`Changed::Everything`]
    /// after a time in which changes may have been missed.
    fn changed(&self) -> impl Future<Output = Changed> + Send;
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
}

impl Changes {
    /// `unit` changed.
    pub fn unit(&self, unit: String) {
        self.gathered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .units
            .insert(unit);
        self.wake.notify_one();
    }

    /// Anything may have changed.
    pub fn everything(&self) {
        self.gathered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .everything = true;
        self.wake.notify_one();
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
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
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
