//! This machine's registration: it joins, keeps its lease alive, and joins again when the cluster has forgotten it.
//!
//! | state | then |
//! |---|---|
//! | systemd cannot be reached | wait: a machine that can run nothing must be given nothing |
//! | not registered | propose Join until it is committed |
//! | registered | a heartbeat every quarter of the TTL |
//! | our address changed | not registered |
//! | the leader does not know our session | not registered |
//! | no leader, or it cannot be reached | try again sooner; units keep running |

use std::time::{Duration, Instant};

use corten_raft::{Node, PeerError};
use corten_spec::machine::Machine;
use corten_store::fleet::Command;
use tokio::sync::watch;

use super::heartbeat::{self, Beat, Heard, Register};
use crate::identity;
use crate::pulse::{BEAT, Pulse};
use crate::settings::Fleet;
use crate::stop::Stop;

/// A heartbeat or a join that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(10);

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
    /// Random for every life of the supervisor.
    pub session: u64,
    /// How long a lease lasts.
    pub ttl: Duration,
    /// True once units can be run.
    pub able: watch::Receiver<bool>,
    /// How often this machine has registered: 0 before the first time.
    pub registered: watch::Sender<u64>,
    /// When this machine sent what a leader heard last: its lease lasts for at least the TTL from then.
    pub heard: watch::Sender<Instant>,
}

/// Runs for the supervisor's life.
pub async fn run(mut membership: Membership, pulse: Pulse, mut stop: Stop) {
    let mut known = false;
    loop {
        pulse.beat();
        let pause = tokio::select! {
            pause = membership.turn(&mut known) => pause,
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
            () = stop.stopped() => return,
        }
    }
}

impl Membership {
    /// One step; returns the pause until the next.
    async fn turn(&mut self, known: &mut bool) -> Duration {
        if !*self.able.borrow_and_update() {
            drop(tokio::time::timeout(BEAT, self.able.changed()).await);
            return Duration::ZERO;
        }
        let soon = (self.ttl / 8).clamp(Duration::from_millis(50), Duration::from_secs(1));
        let address = identity::address(&self.settings);
        if address != self.machine.primary_ip {
            tracing::info!(address, "this machine's address is another one now");
            self.machine.primary_ip = address;
            *known = false;
        }
        if !*known {
            *known = self.join().await;
            // Joining filled the lease; a beat at once might come before the leader has seen the join applied.
            return if *known { self.ttl / 4 } else { soon };
        }
        match tokio::time::timeout(TIMEOUT, self.beat()).await {
            Ok(Some(Heard { known: true, .. })) => self.ttl / 4,
            Ok(Some(Heard { known: false, .. })) => {
                tracing::warn!("the cluster has forgotten this machine: joining again");
                *known = false;
                Duration::ZERO
            }
            Ok(None) | Err(_) => soon,
        }
    }

    async fn join(&self) -> bool {
        let sent = Instant::now();
        let join = Command::Join {
            machine: self.machine.clone(),
            session: self.session,
        };
        match tokio::time::timeout(TIMEOUT, self.node.propose(corten_store::Command::Fleet(join))).await {
            Ok(Ok(_)) => {
                tracing::info!(
                    "registered as {} at {}",
                    self.machine.id.short(),
                    self.machine.primary_ip
                );
                self.heard.send_replace(sent);
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
        let sent = Instant::now();
        let heard = self.send_beat().await?;
        let led = sent.checked_sub(Duration::from_millis(heard.led_ago_ms));
        if let Some(led) = led.filter(|_| heard.known) {
            self.heard.send_modify(|last| *last = led.max(*last));
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
