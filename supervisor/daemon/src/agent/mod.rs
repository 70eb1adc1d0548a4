//! This machine's agent: makes systemd run what is assigned here, and says what comes of it.
//!
//! `corten-agent` decides; this loop tells it what should be and what is, and performs its answer. It wakes when the
//! store says that something here changed, when systemd says that a unit of ours did, when the machine has registered
//! anew, and when something that failed is to be tried again. It does not poll.
//!
//! Nothing is done before the local state is known to be current once: an assignment of yesterday must not start today.
//! The supervisor's end stops nothing: units run on, and the next supervisor finds their files.

mod folder;
mod interest;
mod lease;
mod perform;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_agent::{
    Action, Observed, OnDisk, Reported, desired, fence, judge_starts, reconcile_fenced, report,
};
use corten_raft::{AppliedBatch, Node};
use corten_spec::machine::Machine;
use corten_spec::unit_name::UnitName;
use corten_store::Response;
use corten_store::fleet::{self, Answer, Command};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::watch;

pub use folder::FolderError;
pub use lease::Lease;

use crate::pulse::{BEAT, Pulse};
use crate::stop::Stop;
use crate::systemd::{Changed, Systemd, SystemdError};
use folder::Folder;
use interest::Interest;
use perform::{Failures, Performer};

/// Between two attempts to reach systemd or the cluster.
const RETRY: Duration = Duration::from_secs(1);

/// What the agent needs.
pub struct Agent<S> {
    node: Node,
    systemd: S,
    folder: Folder,
    disk: BTreeMap<UnitName, OnDisk>,
    seen: BTreeMap<UnitName, crate::systemd::Observed>,
    interest: Interest,
    reported: Reported,
    failures: Failures,
    started: Instant,
    able: watch::Sender<bool>,
    registered: watch::Receiver<u64>,
    lease: Lease,
    /// The store could not be read: what we know of it is old.
    stale: bool,
}

impl<S: Systemd> Agent<S> {
    /// An agent that finds and keeps its unit files in `units`.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn new(
        node: Node,
        systemd: S,
        units: &Path,
        machine: Machine,
        able: watch::Sender<bool>,
        registered: watch::Receiver<u64>,
        lease: Lease,
    ) -> Result<Agent<S>, FolderError> {
        let folder = Folder::open(units)?;
        Ok(Agent {
            disk: folder.read()?,
            seen: BTreeMap::new(),
            interest: Interest::new(machine),
            reported: Reported::default(),
            failures: Failures::default(),
            started: Instant::now(),
            stale: false,
            node,
            systemd,
            folder,
            able,
            registered,
            lease,
        })
    }

    /// Runs for the supervisor's life.
    pub async fn run(mut self, pulse: Pulse, mut stop: Stop) {
        tokio::select! {
            () = self.serve(&pulse) => {}
            () = stop.stopped() => {}
        }
    }

    async fn serve(&mut self, pulse: &Pulse) {
        self.wait_for_systemd(pulse).await;
        let mut events = self.node.events();
        self.wait_for_cluster(pulse).await;
        let mut look = Look {
            store: true,
            units: Changed::Everything,
        };
        loop {
            pulse.beat();
            let wait = self.turn(look, pulse).await;
            look = self.wait(&mut events, wait, pulse).await;
        }
    }

    async fn wait_for_systemd(&self, pulse: &Pulse) {
        while let Err(error) = self.systemd.ready().await {
            pulse.beat();
            tracing::warn!("{error}: this machine takes no units until it can");
            tokio::time::sleep(RETRY).await;
        }
        self.able.send_replace(true);
    }

    async fn wait_for_cluster(&mut self, pulse: &Pulse) {
        while let Err(error) = self.node.linearize().await {
            pulse.beat();
            tracing::debug!(%error, "assignments are not known yet");
            if let Err(error) = self.observe(&Changed::Everything).await {
                tracing::error!("{error}");
            }
            let contact = self.lease.look();
            self.perform(&fence(&self.observed(), contact), pulse).await;
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Looks, acts and reports once; returns how long to wait unless something changes.
    async fn turn(&mut self, look: Look, pulse: &Pulse) -> Duration {
        if (look.store || self.stale)
            && let Err(fault) = self.interest.read_all(&self.node)
        {
            tracing::error!(%fault, "the store cannot be read");
            self.stale = true;
            return RETRY;
        }
        self.stale = false;
        if let Err(error) = self.observe(&look.units).await {
            tracing::error!("{error}");
            return RETRY;
        }
        let now = Instant::now();
        let contact = self.lease.look();
        let wanted = desired(&self.interest.machine, self.interest.units.values());
        let actions = reconcile_fenced(&wanted, &self.observed(), contact);
        self.perform(&self.failures.without(actions, now), pulse).await;
        pulse.beat();
        let again = self.report().await;
        let retry = self
            .failures
            .next(now)
            .map(|at| at.saturating_duration_since(Instant::now()));
        again.into_iter().chain(retry).min().unwrap_or(Duration::MAX)
    }

    /// Performs actions, and looks what came of them.
    async fn perform(&mut self, actions: &[Action], pulse: &Pulse) {
        if actions.is_empty() {
            return;
        }
        let mut performer = Performer {
            systemd: &self.systemd,
            folder: &self.folder,
            disk: &mut self.disk,
            failures: &mut self.failures,
        };
        performer.perform(actions, pulse).await;
        let touched = actions
            .iter()
            .filter_map(|action| action.unit())
            .map(ToString::to_string)
            .collect();
        pulse.beat();
        if let Err(error) = self.observe(&Changed::Units(touched)).await {
            tracing::error!("{error}");
        }
    }

    /// Asks systemd for the units that changed and are ours.
    async fn observe(&mut self, changed: &Changed) -> Result<(), SystemdError> {
        let known: BTreeSet<&UnitName> = self.disk.keys().chain(self.interest.units.keys()).collect();
        let ask: Vec<String> = match changed {
            Changed::Everything => known.iter().map(ToString::to_string).collect(),
            Changed::Units(names) => {
                let unseen =
                    |name: &&&UnitName| !self.seen.contains_key(**name) || names.contains(name.as_str());
                known.iter().filter(unseen).map(ToString::to_string).collect()
            }
        };
        self.seen.retain(|name, _| known.contains(name));
        for observed in self.systemd.observe(&ask).await? {
            if let Ok(name) = UnitName::parse(&observed.name) {
                self.seen.insert(name, observed);
            }
        }
        self.note_starts();
        Ok(())
    }

    /// Takes note of starts that came to nothing, and forgets it of units that run after all.
    fn note_starts(&mut self) {
        for (unit, error) in judge_starts(&self.observed(), &self.systemd.ended_badly()) {
            if !error.is_empty() {
                tracing::error!(%unit, "systemd did not start it: {error}");
            }
            if let Err(error) = perform::mark_launched(&self.folder, &mut self.disk, &unit, error) {
                tracing::error!(%unit, "{error}");
            }
        }
    }

    /// What is here, as the deciding half wants it.
    fn observed(&self) -> BTreeMap<UnitName, Observed> {
        let names: BTreeSet<&UnitName> = self.disk.keys().chain(self.seen.keys()).collect();
        let one = |name: &UnitName| {
            let seen = self.seen.get(name);
            let text = |f: fn(&crate::systemd::Observed) -> &String| seen.map(f).cloned().unwrap_or_default();
            Observed {
                on_disk: self.disk.get(name).cloned(),
                load: text(|seen| &seen.load),
                active: text(|seen| &seen.active),
                sub: text(|seen| &seen.sub),
            }
        };
        names.into_iter().map(|name| (name.clone(), one(name))).collect()
    }

    /// Publishes what differs from what the store has of this machine; returns when to ask again.
    async fn report(&mut self) -> Option<Duration> {
        if *self.registered.borrow_and_update() == 0 {
            return None; // registering wakes us
        }
        let id = self.interest.machine.id.clone();
        match self.node.read(|tx| fleet::states_on(tx, &id)) {
            Ok(stored) => self.reported.agree_with(stored),
            Err(fault) => {
                tracing::error!(%fault, "the store cannot be read");
                return Some(RETRY);
            }
        }
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (report, next) = report(&id, &self.observed(), &self.reported, now_ms);
        if !report.is_empty() {
            let command = Command::Report {
                machine: id,
                states: report.states,
                gone: report.gone,
            };
            match self
                .node
                .propose(corten_store::Command::Fleet(command))
                .await
                .map(|applied| applied.response)
            {
                Ok(Response::Fleet(Answer::NoSuchMachine(_))) => return None, // registering anew wakes us
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "unit states could not be reported: trying again");
                    return Some(RETRY);
                }
            }
        }
        self.reported = next;
        report
            .again_at_ms
            .map(|at| Duration::from_millis(at.saturating_sub(now_ms)))
    }

    /// Waits until there is something to look at.
    async fn wait(
        &mut self,
        events: &mut Receiver<Arc<AppliedBatch>>,
        wait: Duration,
        pulse: &Pulse,
    ) -> Look {
        let until = Instant::now().checked_add(wait);
        loop {
            pulse.beat();
            let left = until.map_or(BEAT, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Look {
                    store: false,
                    units: Changed::Everything,
                };
            }
            tokio::select! {
                batch = events.recv() => if let Some(look) = self.taken(batch) { return look },
                units = self.systemd.changed() => if self.concerns(&units) {
                    return Look { store: false, units };
                },
                () = self.lease.changed() => return Look {
                    store: false,
                    units: Changed::Units(BTreeSet::new()),
                },
                _ = self.registered.changed() => return Look { store: true, units: Changed::Everything },
                () = tokio::time::sleep(left.min(BEAT)) => {}
            }
        }
    }

    fn taken(&mut self, batch: Result<Arc<AppliedBatch>, RecvError>) -> Option<Look> {
        let everything = Some(Look {
            store: true,
            units: Changed::Everything,
        });
        if batch.as_ref().is_ok_and(|batch| batch.reset) {
            return everything;
        }
        match batch.map(|batch| self.interest.take(&self.node, &batch)) {
            Ok(Ok(false)) => None,
            Ok(Ok(true)) => Some(Look {
                store: false,
                units: Changed::Units(BTreeSet::new()),
            }),
            Ok(Err(_)) | Err(RecvError::Lagged(_) | RecvError::Closed) => everything,
        }
    }

    fn concerns(&self, changed: &Changed) -> bool {
        let ours = |name: &String| {
            UnitName::parse(name)
                .is_ok_and(|name| self.disk.contains_key(&name) || self.interest.units.contains_key(&name))
        };
        match changed {
            Changed::Everything => true,
            Changed::Units(names) => names.iter().any(ours),
        }
    }
}

/// What to look at in the next turn.
struct Look {
    /// Read all units of the store again.
    store: bool,
    /// Ask systemd for these.
    units: Changed,
}
