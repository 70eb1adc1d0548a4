//! This machine's agent: makes systemd run what is assigned here, and says what comes of it.
//!
//! `corten-agent` decides; this loop tells it what should be and what is, and performs its answer. It wakes when the
//! store says that something here changed, when systemd says that a unit of ours did, when the machine has registered
//! anew, when its contact with the leader is another one, and when something that failed is to be tried again. It does not
//! poll, but for asking now and then whether systemd still answers.
//!
//! Nothing but what fences is done before the local state is known to be current: an assignment of yesterday must not start
//! today. That is so at the beginning, and whenever the leader hears this machine again after it may have been given up.
//! The supervisor's end stops nothing: units run on, and the next supervisor finds their files.
//!
//! Fencing comes first and waits for nothing: not for the cluster, which may be away, nor for an action that failed. What it
//! cannot go round is a systemd that does not answer.

mod answers;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod blind_tests;
mod current;
mod folder;
mod interest;
mod lease;
#[cfg(test)]
mod partition_tests;
mod perform;
mod reporting;
mod seeing;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use corten_agent::{
    Action, Contact, DesiredUnit, Fenced, OnDisk, Reported, SHORTEST_TTL, desired, reconcile_fenced,
};
use corten_raft::Node;
use corten_spec::machine::Machine;
use corten_spec::unit_name::UnitName;
use tokio::sync::watch;

pub use answers::Able;
pub use folder::FolderError;
pub use lease::Lease;

use crate::pulse::Pulse;
use crate::stop::Stop;
use crate::systemd::{Changed, Systemd};
use answers::Answers;
use folder::Folder;
use interest::Interest;
use perform::{Failures, Performer};
use waiting::Look;

/// Between two attempts to reach systemd or the cluster.
const RETRY: Duration = Duration::from_secs(1);
/// Between two attempts to end what must not run twice: there is less time.
const FENCE_RETRY: Duration = Duration::from_millis(250);

/// Between two turns, in the time that it took to decide: about three times what the first took without waiting for others.
const REST: u32 = 10;
/// And at most.
const LONGEST_REST: Duration = Duration::from_millis(100);

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
    answers: Answers,
    registered: watch::Receiver<u64>,
    lease: Lease,
    /// The store could not be read: what we know of it is old.
    stale: bool,
    /// systemd did not answer: what we know of units is old.
    blind: bool,
    /// Until when a report that was not waited for may still arrive.
    late_until: Option<Instant>,
    /// It was said that the TTL does not suit a fenced unit.
    warned: bool,
    /// How long it took to decide what to do.
    deciding: Duration,
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
        able: watch::Sender<Able>,
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
            stale: true,
            blind: true,
            late_until: None,
            warned: false,
            deciding: Duration::ZERO,
            node,
            systemd,
            folder,
            answers: Answers::new(able, lease.ttl()),
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
        self.wait_until_current(pulse).await;
        let mut look = Look::everything();
        loop {
            pulse.beat();
            let wait = self.turn(look, pulse).await;
            let until = Instant::now().checked_add(wait);
            self.rest(wait).await;
            look = self.wait(&mut events, until, pulse).await;
        }
    }

    /// Looks, acts and reports once; returns how long to wait unless something changes.
    async fn turn(&mut self, mut look: Look, pulse: &Pulse) -> Duration {
        let before = self.lease.contact();
        if self.lease.look() == Contact::Near && before != Contact::Near {
            self.wait_until_current(pulse).await;
            look = Look::everything();
        }
        let contact = self.lease.contact();
        if look.store {
            self.stale = true;
        }
        let (read, seen) = (self.read_store(), self.observe(&look.units).await);
        let begun = Instant::now();
        let mut wanted = self.wanted();
        self.forget_failures(&wanted);
        let unread = self.unread_but_for(&wanted);
        // What cannot be loaded yet would else have systemd reload whenever anything is done.
        wanted.retain(|unit| self.disk.contains_key(&unit.name) || !self.failures.waits(&unit.name, begun));
        self.warn_of_ttl(&wanted);
        let Fenced { ends, rest } =
            reconcile_fenced(&wanted, &self.observed(), contact, self.interest.is_member);
        self.deciding = begun.elapsed();
        self.end(&ends, pulse).await;
        let fence = (!ends.is_empty()).then_some(FENCE_RETRY);
        if !read || !seen {
            // Here, where nothing but the contact wakes us: what was asked of a systemd that does not answer may.
            tokio::select! {
                () = self.lease.changed() => {}
                () = tokio::time::sleep(fence.unwrap_or(RETRY)) => {}
            }
            return Duration::ZERO;
        }
        for unit in unread {
            self.performer(pulse).take_back(&unit).await;
        }
        let actions = self.failures.without(rest, begun);
        self.perform(&actions, pulse).await;
        if !self.blind && self.has_stopped_unnoticed(&actions) {
            let next = reconcile_fenced(&wanted, &self.observed(), contact, self.interest.is_member).rest;
            self.perform(&self.failures.without(next, begun), pulse).await;
        }
        pulse.beat();
        let again = self.report().await;
        let retry = self
            .failures
            .next(begun)
            .map(|at| at.saturating_duration_since(Instant::now()));
        let all = again.into_iter().chain(retry).chain(fence);
        all.min().unwrap_or(Duration::MAX)
    }

    /// Is one that was to stop at rest already? systemd says nothing then that would bring about another turn: a unit whose file
    /// it refuses has never run.
    fn has_stopped_unnoticed(&self, actions: &[Action]) -> bool {
        actions.iter().any(|action| match action {
            Action::Stop(unit) => self
                .seen
                .get(unit)
                .is_some_and(|seen| matches!(seen.active.as_str(), "inactive" | "failed")),
            _ => false,
        })
    }

    /// Deciding goes over all units of this machine: where they are many, what comes in quick succession is decided on at
    /// once. What is due `at_most` then, and what the contact asks for, does not wait.
    async fn rest(&self, at_most: Duration) {
        let rest = (self.deciding * REST).min(LONGEST_REST).min(at_most);
        tokio::select! {
            () = self.lease.changed() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }

    /// Reads the store again if what we know of it is old; false when it cannot be read.
    fn read_store(&mut self) -> bool {
        if self.stale {
            match self.interest.read_all(&self.node) {
                Ok(()) => self.stale = false,
                Err(fault) => tracing::error!(%fault, "the store cannot be read"),
            }
        }
        !self.stale
    }

    fn wanted(&self) -> Vec<DesiredUnit> {
        desired(&self.interest.machine, self.interest.units.values())
    }

    /// Those of units that are neither wanted nor here, and of content that is wanted no more.
    fn forget_failures(&mut self, wanted: &[DesiredUnit]) {
        self.failures.keep(|unit| {
            let at = wanted.binary_search_by(|wanted| wanted.name.cmp(unit));
            let hash = at.map(|at| wanted[at].hash.as_str()).ok();
            hash.or(self.disk.contains_key(unit).then_some(""))
        });
    }

    /// What lies here unread, from a supervisor's life that ended or a systemd that went away in between, and is not wanted.
    fn unread_but_for(&self, wanted: &[DesiredUnit]) -> Vec<UnitName> {
        let mut unread = self.folder.unread().unwrap_or_else(|error| {
            tracing::error!("{error}");
            Vec::new()
        });
        unread.retain(|unit| wanted.binary_search_by(|wanted| wanted.name.cmp(unit)).is_err());
        unread
    }

    fn warn_of_ttl(&mut self, wanted: &[DesiredUnit]) {
        let mut fenced = wanted.iter().filter(|unit| unit.requirements.fenced);
        let ttl = self.lease.ttl();
        if ttl < SHORTEST_TTL
            && !self.warned
            && let Some(unit) = fenced.next()
        {
            self.warned = true;
            tracing::warn!(
                unit = %unit.name,
                "it has OnPartition=stop, for which FLEET_AGENT_TTL had better be {SHORTEST_TTL:?} or more: with {ttl:?} it \
                 may stop when the leader changes, and a busy systemd may be too slow to end it in time"
            );
        }
    }

    /// Performs actions as long as the contact is what they were decided under, and looks what came of them.
    async fn perform(&mut self, actions: &[Action], pulse: &Pulse) {
        let lease = &self.lease;
        let mut performer = Performer {
            systemd: &self.systemd,
            folder: &self.folder,
            disk: &mut self.disk,
            failures: &mut self.failures,
            pulse,
        };
        performer.perform(actions, || lease.is_as_looked()).await;
        self.look_after(actions, pulse).await;
    }

    /// Ends what must not run twice, and looks what came of it.
    async fn end(&mut self, ends: &[Action], pulse: &Pulse) {
        self.performer(pulse).end(ends).await;
        self.look_after(ends, pulse).await;
    }

    fn performer<'a>(&'a mut self, pulse: &'a Pulse) -> Performer<'a, S> {
        Performer {
            systemd: &self.systemd,
            folder: &self.folder,
            disk: &mut self.disk,
            failures: &mut self.failures,
            pulse,
        }
    }

    async fn look_after(&mut self, actions: &[Action], pulse: &Pulse) {
        let touched = actions.iter().filter_map(Action::unit);
        let touched = touched.map(ToString::to_string).collect();
        pulse.beat();
        if !actions.is_empty() {
            self.observe(&Changed::Units(touched)).await;
        }
    }
}
