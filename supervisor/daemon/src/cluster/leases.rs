//! Which machines have been heard of lately: a table over time, pure; the times are arguments.
//!
//! | happens | then |
//! |---|---|
//! | a machine joins, or this node begins to lead | its lease is full |
//! | a heartbeat of the session the store knows | its lease is full again |
//! | a heartbeat of another session | nothing: the machine learns that it must join again |
//! | nothing for the TTL | it is due: the leader proposes that it left |
//! | the leader itself stood still, or had no quorum | every lease is full again: silence proved nothing |
//!
//! The danger is the last line: a hiccup on our side that looks like the death of everybody else.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use corten_spec::machine::MachineId;

/// The leader's leases.
#[derive(Debug, Clone)]
pub struct Leases {
    ttl: Duration,
    held: BTreeMap<MachineId, Lease>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lease {
    session: u64,
    until: Instant,
}

impl Leases {
    /// No leases, each of which will last `ttl`.
    pub fn new(ttl: Duration) -> Leases {
        Leases {
            ttl,
            held: BTreeMap::new(),
        }
    }

    /// The store has `id` present with this session, or not (`None`).
    pub fn present(&mut self, id: &MachineId, session: Option<u64>, now: Instant) {
        let Some(session) = session else {
            self.held.remove(id);
            return;
        };
        let until = now + self.ttl;
        let lease = self.held.entry(id.clone()).or_insert(Lease { session, until });
        if lease.session != session {
            *lease = Lease { session, until };
        }
    }

    /// A heartbeat; false when the machine is not registered with this session and must join.
    pub fn beat(&mut self, id: &MachineId, session: u64, now: Instant) -> bool {
        match self.held.get_mut(id) {
            Some(lease) if lease.session == session => {
                lease.until = now + self.ttl;
                true
            }
            _ => false,
        }
    }

    /// Every lease is full again.
    pub fn refill(&mut self, now: Instant) {
        for lease in self.held.values_mut() {
            lease.until = now + self.ttl;
        }
    }

    /// Whether this session's lease has run out.
    pub fn is_due(&self, id: &MachineId, session: u64, now: Instant) -> bool {
        let held = self.held.get(id);
        held.is_some_and(|lease| lease.session == session && lease.until <= now)
    }

    /// The machines whose leases have run out, with their sessions.
    pub fn due(&self, now: Instant) -> Vec<(MachineId, u64)> {
        let due = self.held.iter().filter(|(_, lease)| lease.until <= now);
        due.map(|(id, lease)| (id.clone(), lease.session)).collect()
    }

    /// When the next lease runs out.
    pub fn next(&self) -> Option<Instant> {
        self.held.values().map(|lease| lease.until).min()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_lives_from_beat_to_beat() {
        let (a, b) = (MachineId("a".into()), MachineId("b".into()));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut leases = Leases::new(Duration::from_secs(10));
        leases.present(&a, Some(1), at(0));
        leases.present(&b, Some(7), at(0));
        assert_eq!(leases.next(), Some(at(10)));
        assert!(leases.beat(&a, 1, at(5)));
        assert!(!leases.beat(&a, 2, at(6)), "another session");
        assert!(!leases.beat(&MachineId("c".into()), 1, at(6)), "nobody");
        leases.present(&b, Some(7), at(9));
        assert_eq!(
            leases.due(at(10)),
            [(b.clone(), 7)],
            "news of a machine is no heartbeat"
        );
        leases.present(&b, None, at(10));
        assert_eq!(leases.due(at(14)), []);
        assert_eq!(leases.due(at(15)), [(a.clone(), 1)]);
        leases.refill(at(15));
        assert_eq!(leases.due(at(16)), []);
        leases.present(&a, Some(3), at(20));
        assert_eq!(
            leases.next(),
            Some(at(30)),
            "a new session begins with a full lease"
        );
    }
}
