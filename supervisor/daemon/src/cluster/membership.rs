//! This machine's registration: it joins, keeps its lease alive, and joins again when the cluster has forgotten it.
//!
//! | state | then |
//! |---|---|
//! | systemd could not be reached yet | wait: a machine that can run nothing must be given nothing |
//! | likewise, and what an earlier supervisor started may run | after a second join with that trouble in the metadata |
//! | not registered | propose Join, with a session of its own, until it is committed |
//! | registered, and the leader does not know the session | a heartbeat again and again: it has yet to see the join |
//! | that for half the TTL | not registered |
//! | known | a heartbeat every quarter of the TTL |
//! | known, and then not | not registered |
//! | our address changed | outdated |
//! | outdated | propose Join, for a quarter of the TTL, and a heartbeat of the session that the cluster has, until it is committed |
//! | systemd has not answered for longer than the TTL, or does again | outdated: the next join says it in the metadata |
//! | no leader, or it cannot be reached | try again sooner; units keep running |
//!
//! A machine that is in trouble stays: what runs there may run on, and nobody may start it elsewhere.
//!
//! Only a heartbeat that the leader knew fills this machine's lease, as it sees it. A join does not: who joins may have been
//! given up, and the leader knows it only once what was decided about its units is written.

use std::time::{Duration, Instant};

use corten_raft::{Node, PeerError};
use corten_spec::machine::{Machine, TROUBLE};
use corten_store::fleet::Command;
use tokio::sync::watch;

use super::heard::LastHeard;
use super::heartbeat::{self, Beat, Heard, Register};
use crate::agent::Able;
use crate::clock::since_boot;
use crate::identity;
use crate::pulse::{BEAT, Pulse};
use crate::settings::Fleet;
use crate::stop::Stop;

/// A heartbeat or a join that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Between heartbeats until the leader has seen the join.
const AT_ONCE: Duration = Duration::from_millis(50);
/// The trouble of a machine that is blind.
const NO_ANSWER: &str = "systemd does not answer";

/// The loop's surroundings.
pub struct Membership {
    /// The store.
    pub node: Node,
    /// Leases, for when this node itself leads.
    pub register: Register,
    /// This machine.
    pub machine: Machine,
    /// What its address is taken from, should it change.
    pub settings: Fleet,
    /// Of the last join that the cluster has taken.
    pub session: u64,
    /// Of the last that was asked for: the next one's is one more, by which the store knows which of two was asked for last.
    /// Random at first, as no two lives of a supervisor may share one.
    pub asked: u64,
    /// How long a lease lasts.
    pub ttl: Duration,
    /// Whether units can be run.
    pub able: watch::Receiver<Able>,
    /// The join is to say that its systemd does not answer.
    pub blind: bool,
    /// How often this machine has registered: 0 before the first time.
    pub registered: watch::Sender<u64>,
    /// When this machine sent what a leader heard last: its lease lasts for at least the TTL from then.
    pub heard: LastHeard,
}

/// What the cluster has of this machine, as far as it has heard.
#[derive(Debug, Clone, Copy)]
enum Standing {
    Unregistered,
    /// This machine as it was: it has a lease to keep until the cluster has taken what is so now.
    Outdated,
    /// Since then; the leader may not have seen it yet.
    Joined(Instant),
    Known,
}

/// Runs for the supervisor's life.
pub async fn run(mut membership: Membership, pulse: Pulse, mut stop: Stop) {
    let mut standing = Standing::Unregistered;
    loop {
        pulse.beat();
        let pause = tokio::select! {
            pause = membership.turn(&mut standing) => pause,
            () = stop.stopped() => return,
        };
        let paused = async {
            let mut left = pause;
            while !left.is_zero() {
                let part = left.min(BEAT);
                tokio::time::sleep(part).await;
                pulse.beat();
                left -= part;
            }
        };
        tokio::select! {
            () = paused => {}
            Ok(()) = membership.able.changed() => {}
            () = stop.stopped() => return,
        }
    }
}

impl Membership {
    /// One step; returns the pause until the next.
    async fn turn(&mut self, standing: &mut Standing) -> Duration {
        let able = *self.able.borrow_and_update();
        if able == Able::NotYet {
            drop(tokio::time::timeout(BEAT, self.able.changed()).await);
            return Duration::ZERO;
        }
        let soon = (self.ttl / 8).clamp(AT_ONCE, Duration::from_secs(1));
        if self.is_another(able) && !matches!(standing, Standing::Unregistered) {
            *standing = Standing::Outdated;
        }
        match standing {
            Standing::Unregistered if !self.join(TIMEOUT).await => return soon,
            Standing::Outdated if !self.join(TIMEOUT.min(self.ttl / 4)).await => {}
            Standing::Unregistered | Standing::Outdated => *standing = Standing::Joined(Instant::now()),
            Standing::Joined(_) | Standing::Known => {}
        }
        // One that hangs on a leader that is gone must leave time for others.
        let timeout = TIMEOUT.min(self.ttl / 4);
        let answer = tokio::time::timeout(timeout, self.beat()).await;
        match (answer.ok().flatten(), *standing) {
            (None, _) | (Some(Heard { known: true, .. }), Standing::Outdated) => soon,
            (Some(Heard { known: true, .. }), _) => {
                *standing = Standing::Known;
                self.ttl / 4
            }
            (_, Standing::Joined(at)) if at.elapsed() < self.ttl / 2 => AT_ONCE,
            _ => {
                tracing::warn!("the cluster has forgotten this machine: joining again");
                *standing = Standing::Unregistered;
                Duration::ZERO
            }
        }
    }

    /// Takes note of what has changed of what a join says; whether anything has.
    fn is_another(&mut self, able: Able) -> bool {
        let address = identity::address(&self.settings);
        let moved = address != self.machine.primary_ip;
        if moved {
            tracing::info!(address, "this machine's address is another one now");
            self.machine.primary_ip = address;
        }
        let blind = able == Able::Blind;
        std::mem::replace(&mut self.blind, blind) != blind || moved
    }

    /// This machine as it is now.
    fn described(&self) -> Machine {
        let mut machine = self.machine.clone();
        if self.blind {
            machine.metadata.insert(TROUBLE.to_owned(), NO_ANSWER.to_owned());
        }
        machine
    }

    async fn join(&mut self, timeout: Duration) -> bool {
        self.asked = self.asked.wrapping_add(1);
        let (asked, join) = (
            self.asked,
            Command::Join {
                machine: self.described(),
                session: self.asked,
            },
        );
        match tokio::time::timeout(timeout, self.node.propose(corten_store::Command::Fleet(join))).await {
            Ok(Ok(_)) => {
                self.session = asked;
                tracing::info!(
                    "registered as {} at {}",
                    self.machine.id.short(),
                    self.machine.primary_ip
                );
                self.registered.send_modify(|times| *times += 1);
                true
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "this machine could not be registered yet");
                false
            }
            Err(_) => false,
        }
    }

    /// One heartbeat; `None` when nobody heard it.
    async fn beat(&self) -> Option<Heard> {
        let sent = since_boot();
        let heard = self.send_beat().await?;
        let led = sent.checked_sub(Duration::from_millis(heard.led_ago_ms));
        if let Some(led) = led.filter(|_| heard.known) {
            self.heard.note(led);
        }
        Some(heard)
    }

    async fn send_beat(&self) -> Option<Heard> {
        let beat = Beat {
            machine: self.machine.id.clone(),
            session: self.session,
        };
        if let Some(heard) = self.register.beat(&beat, &self.node) {
            return Some(heard);
        }
        let body = serde_json::to_vec(&beat).ok()?;
        match self.node.post_to_leader(heartbeat::PATH, body).await {
            Ok(answer) => serde_json::from_slice(&answer).ok(),
            Err(PeerError::IsMe | PeerError::NoLeader) => None,
            Err(error) => {
                tracing::warn!("a heartbeat was not heard: {error}");
                None
            }
        }
    }
}
