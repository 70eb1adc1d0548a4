//! What the leader does besides leading: it watches over leases and schedules. Both are driven by what changes; the
//! only clock is the moment the next lease runs out.
//!
//! Deciding is elsewhere: where units go, and who of a roll is next, in `corten-schedule`, when a lease is due in
//! `corten_store::fleet::leases`.
//!
//! Joins are looked at in turn with decisions: a machine that joins anew is known only after what was decided without it
//! is written.

use std::sync::Arc;
use std::time::Duration;

use corten_raft::{AppliedBatch, Leader, Node};
use corten_schedule::{Decision, Policy, Scheduler};
use corten_store::fleet::leases::Leases;
use corten_store::fleet::{Command, MachineRecord};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use super::heartbeat::Register;
use super::rolls::Rolls;
use super::view::{self, Dirty};
use crate::clock::since_boot;
use crate::pulse::{BEAT, Pulse};
use crate::stop::Stop;

/// How long the cluster may take to prove its quorum before a lease that ran out is believed.
const QUORUM_TIMEOUT: Duration = Duration::from_secs(2);
/// How many decisions go into one command, whose size is limited.
const AT_ONCE: usize = 1000;
/// Between two rounds of telling units that wait what is only counted anew: there is no hurry, and each is written.
const TELL: Duration = Duration::from_millis(200);
/// After a proposal failed.
const RETRY: Duration = Duration::from_millis(500);

/// The loop's surroundings.
pub struct Leading {
    /// The store.
    pub node: Node,
    /// Leases, filled by heartbeats.
    pub register: Register,
    /// How long a lease lasts.
    pub ttl: Duration,
    /// Leases only, no scheduling (FLEET_DISABLE_ENGINE).
    pub disabled: bool,
}

/// Runs for the supervisor's life; acts while this node leads.
pub async fn run(leading: Leading, pulse: Pulse, mut stop: Stop) {
    let mut leader = leading.node.leader();
    loop {
        pulse.beat();
        if let Some(term) = leading.node.leading_term() {
            tracing::info!("this node leads: it watches over machines and schedules");
            let mut changes = leader.clone();
            tokio::select! {
                () = lead(&leading, term, &mut changes, &pulse) => {}
                () = stop.stopped() => break,
            }
            leading.register.end();
        }
        tokio::select! {
            changed = leader.changed() => if changed.is_err() { break },
            () = tokio::time::sleep(BEAT) => {}
            () = stop.stopped() => break,
        }
    }
    leading.register.end();
}

/// One term of leading; returns when that is over or the store fails.
async fn lead(leading: &Leading, number: u64, leader: &mut watch::Receiver<Option<Leader>>, pulse: &Pulse) {
    // Whoever leads again knows nothing of what another leader was told meanwhile.
    let leads = || leading.node.leading_term() == Some(number);
    let mut events = leading.node.events();
    // The state must hold everything earlier leaders decided before anything is decided anew.
    while let Err(error) = leading.node.linearize().await {
        tracing::debug!(%error, "not leading yet");
        pulse.beat();
        tokio::time::sleep(RETRY).await;
        if !leads() {
            return;
        }
    }
    let Some(mut term) = Term::begin(leading, number) else {
        return;
    };
    while leads() {
        pulse.beat();
        let wait = term.act(leading, pulse).await;
        tokio::select! {
            batch = events.recv() => if !term.take(leading, batch, &mut events) { return },
            _ = leader.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// What one term knows. Times are counted from the machine's boot.
struct Term {
    /// Raft's.
    number: u64,
    scheduler: Scheduler,
    rolls: Rolls,
    /// Until then, absent machines may only be silent.
    hold_until: Option<Duration>,
    /// Whether decisions are due.
    dirty: bool,
    /// Decisions that could not be written, or not all of them: what became of them only the store knows.
    in_doubt: bool,
    /// When this loop means to look again at the latest.
    expected: Duration,
}

impl Term {
    /// Reads the whole cluster; everyone present has a full lease.
    fn begin(leading: &Leading, number: u64) -> Option<Term> {
        let now = since_boot();
        let (view, machines) = read(view::whole(&leading.node))?;
        let mut leases = Leases::new(leading.ttl);
        note(&mut leases, &machines, now);
        leading.register.begin(number, leases);
        Some(Term {
            number,
            scheduler: Scheduler::of(view),
            rolls: Rolls::begin(),
            hold_until: Some(now + leading.ttl),
            dirty: true,
            in_doubt: false,
            expected: now + BEAT,
        })
    }

    /// Takes a batch and all that wait behind it; false when the term cannot go on.
    fn take(
        &mut self,
        leading: &Leading,
        first: Result<Arc<AppliedBatch>, RecvError>,
        events: &mut broadcast::Receiver<Arc<AppliedBatch>>,
    ) -> bool {
        let mut dirty = Dirty::default();
        let mut next = first;
        loop {
            match next {
                Ok(batch) if batch.reset => return self.read_again(leading),
                Ok(batch) => {
                    dirty.note(&batch);
                    self.rolls.note(&batch);
                }
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(
                        missed,
                        "changes came faster than they were looked at: reading the cluster again"
                    );
                    return self.read_again(leading);
                }
                Err(RecvError::Closed) => return false,
            }
            match events.try_recv() {
                Ok(batch) => next = Ok(batch),
                Err(broadcast::error::TryRecvError::Empty) => break,
                Err(broadcast::error::TryRecvError::Lagged(missed)) => next = Err(RecvError::Lagged(missed)),
                Err(broadcast::error::TryRecvError::Closed) => return false,
            }
        }
        if dirty.is_empty() {
            return true;
        }
        let Some(machines) = read(view::refresh(&leading.node, &mut self.scheduler, &dirty)) else {
            return false;
        };
        leading
            .register
            .with(|leases| note(leases, &machines, since_boot()));
        self.dirty = true;
        true
    }

    fn read_again(&mut self, leading: &Leading) -> bool {
        let Some((view, machines)) = read(view::whole(&leading.node)) else {
            return false;
        };
        self.scheduler = Scheduler::of(view);
        self.rolls = Rolls::begin();
        self.dirty = true;
        self.in_doubt = false;
        leading
            .register
            .with(|leases| note(leases, &machines, since_boot()));
        true
    }

    /// Does what is to be done now; returns how long nothing will be unless something changes.
    async fn act(&mut self, leading: &Leading, pulse: &Pulse) -> Duration {
        let now = since_boot();
        if now > self.expected + leading.ttl / 4 {
            tracing::warn!("this node stood still: every machine's lease is full again");
            leading.register.with(|leases| leases.refill(now));
        }
        let written = self.expire(leading, pulse).await;
        if self.hold_until.is_some_and(|until| until <= now) {
            self.hold_until = None;
            self.dirty = true;
        }
        if (self.dirty || !self.scheduler.has_told_all()) && !leading.disabled {
            self.dirty = !self.schedule(leading).await;
        }
        if self.rolls.are_due() && !self.dirty && !leading.disabled {
            self.rolls.go_on(leading, self.number, &self.scheduler).await;
        }
        let now = since_boot();
        let lease = leading.register.with(|leases| leases.next()).flatten();
        // A lease that has run out and could not be written off would else be tried again without a pause.
        let lease = lease.map(|at| if written { at } else { at.max(now + RETRY) });
        let due = self.dirty || self.rolls.are_due();
        let retry = (due && !leading.disabled).then(|| now + RETRY);
        let tell = (!self.scheduler.has_told_all()).then(|| now + TELL);
        let next = [lease, self.hold_until, retry, tell].into_iter().flatten().min();
        let wait = next.map_or(BEAT, |next| next.saturating_sub(now)).min(BEAT);
        self.expected = now + wait;
        wait
    }

    /// Decides and writes the decisions; false if they could not be written.
    async fn schedule(&mut self, leading: &Leading) -> bool {
        if self.in_doubt && !self.read_again(leading) {
            return false;
        }
        let policy = Policy {
            hold_absent: self.hold_until.is_some(),
        };
        let decisions = self.scheduler.decide(&policy);
        tell(&decisions);
        for part in decisions.chunks(AT_ONCE) {
            let assign = corten_store::Command::Fleet(Command::Assign(part.to_vec()));
            if let Err(error) = leading.node.propose_leading(self.number, &assign).await {
                tracing::warn!("decisions could not be written, deciding again: {error}");
                self.in_doubt = true;
                return false;
            }
        }
        // What the store made of them: a unit may have been destroyed meanwhile.
        let dirty = Dirty {
            units: decisions.into_iter().map(|decision| decision.unit).collect(),
            ..Dirty::default()
        };
        read(view::refresh(&leading.node, &mut self.scheduler, &dirty)).is_some()
    }

    /// Proposes that machines left whose leases have run out, if the cluster can prove that the silence is theirs.
    /// False when that is to be tried again.
    async fn expire(&mut self, leading: &Leading, pulse: &Pulse) -> bool {
        let due = leading
            .register
            .with(|leases| leases.due(since_boot()))
            .unwrap_or_default();
        if due.is_empty() {
            return true;
        }
        let proven = tokio::time::timeout(QUORUM_TIMEOUT, leading.node.proves_to_lead()).await;
        if !matches!(proven, Ok(true)) {
            tracing::warn!(
                "leases ran out while the store had no quorum: every machine's lease is full again"
            );
            leading.register.with(|leases| leases.refill(since_boot()));
            return false;
        }
        for (id, session) in due {
            pulse.beat();
            // It may have been heard of while others were written off; from here on no heartbeat counts.
            if !leading
                .register
                .with(|leases| leases.end(&id, session, since_boot()))
                .unwrap_or(false)
            {
                continue;
            }
            tracing::warn!("{id} has not been heard of for {:?}: it is gone", leading.ttl);
            let leave = Command::Leave {
                id,
                session: Some(session),
            };
            if let Err(error) = leading
                .node
                .propose_leading(self.number, &corten_store::Command::Fleet(leave))
                .await
            {
                tracing::warn!("that a machine is gone could not be written, trying again: {error}");
                return false;
            }
        }
        true
    }
}

fn note(leases: &mut Leases, machines: &[MachineRecord], now: Duration) {
    for record in machines {
        leases.present(&record.machine.id, record.present.then_some(record.session), now);
    }
}

fn tell(decisions: &[Decision]) {
    for decision in decisions {
        let machine = decision.machine.as_ref().map_or("none", |id| id.short());
        tracing::info!("{} is placed on {machine}: {}", decision.unit, decision.reason);
    }
}

fn read<T>(result: Result<T, corten_store::StoreFault>) -> Option<T> {
    result
        .inspect_err(|fault| tracing::error!(%fault, "the store cannot be read"))
        .ok()
}
