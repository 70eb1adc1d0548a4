//! Which machines have been heard of lately: what a leader decides about machines, as a table over time. Times are
//! arguments, on any clock that only goes on, from any beginning.
//!
//! | happens | then |
//! |---|---|
//! | a machine joins, or a node begins to lead | its lease is full |
//! | a heartbeat of the session the store knows | its lease is full again |
//! | a heartbeat of another session | nothing: the machine learns that it must join again |
//! | nothing for the TTL | it is due: the leader proposes that it left |
//! | a heartbeat while that is being written, or may have been | nothing, as if it were written: it must join again |
//! | the leader itself stood still, or had no quorum | every lease is full again: silence proved nothing |
//!
//! A machine joins in another session each time, so what ends the session before does not touch the new one, and the store
//! knows a join that comes late.
//!
//! Two dangers. A hiccup on our side that looks like the death of everybody else: hence the last line. A machine that is
//! told that it is known while it is being given up runs on what others start: hence the line before.

use std::collections::BTreeMap;
use std::time::Duration;

use corten_spec::machine::MachineId;

/// The leases of a leader, in one term.
#[derive(Debug, Clone)]
pub struct Leases {
    ttl: Duration,
    held: BTreeMap<MachineId, Lease>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lease {
    session: u64,
    until: Duration,
    /// That it left is being written, or may have been: nothing fills it again.
    is_leaving: bool,
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
    pub fn present(&mut self, id: &MachineId, session: Option<u64>, now: Duration) {
        let Some(session) = session else {
            self.held.remove(id);
            return;
        };
        if self.held.get(id).is_some_and(|lease| lease.session == session) {
            return;
        }
        let lease = Lease {
            session,
            until: now.saturating_add(self.ttl),
            is_leaving: false,
        };
        self.held.insert(id.clone(), lease);
    }

    /// A heartbeat; false when the machine is not registered with this session, or soon will not be, and must join.
    pub fn beat(&mut self, id: &MachineId, session: u64, now: Duration) -> bool {
        let held = self.held.get_mut(id);
        let Some(lease) = held.filter(|lease| lease.session == session && !lease.is_leaving) else {
            return false;
        };
        lease.until = now.saturating_add(self.ttl);
        true
    }

    /// Every lease is full again.
    pub fn refill(&mut self, now: Duration) {
        for lease in self.held.values_mut().filter(|lease| !lease.is_leaving) {
            lease.until = now.saturating_add(self.ttl);
        }
    }

    /// The machines whose leases have run out, with their sessions.
    pub fn due(&self, now: Duration) -> Vec<(MachineId, u64)> {
        let due = self.held.iter().filter(|(_, lease)| lease.until <= now);
        due.map(|(id, lease)| (id.clone(), lease.session)).collect()
    }

    /// This session's lease ends, if it is due: from now on no heartbeat saves it. False when it must not be ended.
    pub fn end(&mut self, id: &MachineId, session: u64, now: Duration) -> bool {
        let held = self.held.get_mut(id);
        let Some(lease) = held.filter(|lease| lease.session == session && lease.until <= now) else {
            return false;
        };
        lease.is_leaving = true;
        true
    }

    /// When the next lease runs out.
    pub fn next(&self) -> Option<Duration> {
        self.held.values().map(|lease| lease.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn id(name: &str) -> MachineId {
        MachineId(name.to_owned())
    }

    #[test]
    fn a_lease_lives_from_beat_to_beat() {
        let (a, b) = (id("a"), id("b"));
        let mut leases = Leases::new(at(10));
        leases.present(&a, Some(1), at(0));
        leases.present(&b, Some(7), at(0));
        assert_eq!(leases.next(), Some(at(10)));
        assert!(leases.beat(&a, 1, at(5)));
        assert!(!leases.beat(&a, 2, at(6)), "another session");
        assert!(!leases.beat(&id("c"), 1, at(6)), "nobody");
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

    #[test]
    fn who_is_being_given_up_is_known_no_more() {
        let a = id("a");
        let mut leases = Leases::new(at(10));
        leases.present(&a, Some(1), at(0));
        assert!(!leases.end(&a, 1, at(9)), "it is not due");
        assert!(!leases.end(&a, 2, at(10)), "another session");
        assert!(leases.beat(&a, 1, at(10)), "it was in time");
        assert!(leases.end(&a, 1, at(20)));
        assert!(!leases.beat(&a, 1, at(20)), "its end is being written");
        leases.refill(at(21));
        leases.present(&a, Some(1), at(21));
        assert!(!leases.beat(&a, 1, at(21)), "its end may have been written");
        assert_eq!(leases.due(at(21)), [(a.clone(), 1)], "and is tried again");
        leases.present(&a, Some(2), at(22));
        assert!(
            !leases.end(&a, 1, at(40)),
            "it has joined anew: the end of the session before is no matter"
        );
        assert!(leases.beat(&a, 2, at(30)));
        assert_eq!(leases.next(), Some(at(40)));
    }
}
