//! Until when leases last, and which of them end: what a leader decides about v3's leases, as a table over time. Times are
//! arguments, on any clock that only goes on, from any beginning.
//!
//! | happens | then |
//! |---|---|
//! | a node begins to lead | every lease there is is full, whatever the node knew in an earlier term |
//! | a lease is granted | it is full, even if its id was another's a moment ago |
//! | its owner keeps it alive | it is full again |
//! | nothing for its TTL | it is due, and ends once the node has proven that it leads: its owner is told that it is gone |
//! | there was no proof, for a sign of life or for an end | nothing ends for a while: its owner asks again |
//! | the end could not be written | it stays ending, and is tried again later; nothing ends until then |
//! | it is revoked | it is forgotten |
//!
//! A lease never ends early as long as its leader tells this a sign of life only after it has proven, since it got the
//! sign, that it leads: whoever leads after that has begun later, with all leases full.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::kv::LeaseId;

/// After there was no proof, or the end of a lease could not be written.
const RETRY: Duration = Duration::from_millis(500);
/// Ends of leases under way at once.
const ENDING: usize = 64;

/// The TTL that is granted when `ttl_s` is asked for: the shortest lease lasts one and a half elections, as with etcd, in
/// whole seconds.
pub fn granted(ttl_s: i64, election_ms: u64) -> i64 {
    let least = (election_ms.saturating_mul(3) / 2).div_ceil(1000);
    ttl_s.max(i64::try_from(least).unwrap_or(i64::MAX))
}

/// The leases of a leader, in one term.
#[derive(Debug, Clone, Default)]
pub struct Deadlines {
    held: BTreeMap<LeaseId, Held>,
    queue: BTreeSet<(Duration, LeaseId)>,
    /// How many ends are under way.
    ending: usize,
    /// Until when nothing ends: there was no proof, or an end could not be written.
    hold: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    ttl_s: i64,
    /// When it is due; not queued while its end is under way.
    at: Duration,
    is_ending: bool,
}

impl Deadlines {
    /// The leases there are, with their TTLs in seconds, at the beginning of a term.
    pub fn begin(leases: impl IntoIterator<Item = (LeaseId, i64)>, now: Duration) -> Deadlines {
        let mut deadlines = Deadlines::default();
        for (id, ttl_s) in leases {
            deadlines.hold(id, ttl_s, now);
        }
        deadlines
    }

    /// A lease was granted for so many seconds, or revoked (`None`).
    pub fn note(&mut self, id: LeaseId, ttl_s: Option<i64>, now: Duration) {
        self.forget(id);
        if let Some(ttl_s) = ttl_s {
            self.hold(id, ttl_s, now);
        }
    }

    fn hold(&mut self, id: LeaseId, ttl_s: i64, now: Duration) {
        let at = now.saturating_add(Duration::from_secs(u64::try_from(ttl_s).unwrap_or(0)));
        let is_ending = false;
        self.held.insert(id, Held { ttl_s, at, is_ending });
        self.queue.insert((at, id));
    }

    fn forget(&mut self, id: LeaseId) {
        if let Some(held) = self.held.remove(&id) {
            self.queue.remove(&(held.at, id));
        }
    }

    /// Its owner lives; the TTL in seconds, or `None` if there is no such lease any more.
    pub fn renew(&mut self, id: LeaseId, now: Duration) -> Option<i64> {
        let ttl_s = self.held.get(&id).filter(|held| !held.is_ending)?.ttl_s;
        self.note(id, Some(ttl_s), now);
        Some(ttl_s)
    }

    /// How long it lasts without a sign from its owner; `None` if there is no such lease.
    pub fn left(&self, id: LeaseId, now: Duration) -> Option<Duration> {
        let held = self.held.get(&id)?;
        Some(match held.is_ending {
            true => Duration::ZERO,
            false => held.at.saturating_sub(now),
        })
    }

    /// When something is due next; `None` while nothing can be.
    pub fn next(&self) -> Option<Duration> {
        let (at, _) = self.queue.first().filter(|_| self.ending < ENDING)?;
        Some((*at).max(self.hold))
    }

    /// Whether a lease is due.
    pub fn is_due(&self, now: Duration) -> bool {
        self.next().is_some_and(|at| at <= now)
    }

    /// The node could not prove that it leads.
    pub fn unproven(&mut self, now: Duration) {
        self.hold = now.saturating_add(RETRY);
    }

    /// Takes those that are due, of a node that has just proven that it leads: they end. At most so many at once.
    pub fn end_due(&mut self, now: Duration) -> Vec<LeaseId> {
        if now < self.hold {
            return Vec::new();
        }
        let due = self.queue.iter().take_while(|(at, _)| *at <= now);
        let due: Vec<_> = due.take(ENDING - self.ending).copied().collect();
        for (at, id) in &due {
            self.queue.remove(&(*at, *id));
            if let Some(held) = self.held.get_mut(id) {
                held.is_ending = true;
            }
        }
        self.ending += due.len();
        due.into_iter().map(|(_, id)| id).collect()
    }

    /// The end of one of these is written, or could not be.
    pub fn ended(&mut self, id: LeaseId, written: bool, now: Duration) {
        self.ending = self.ending.saturating_sub(1);
        if let Some(held) = self.held.get_mut(&id)
            && held.is_ending
            && !written
        {
            held.at = now.saturating_add(RETRY);
            self.queue.insert((held.at, id));
            self.hold = held.at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn a_lease_lives_from_sign_to_sign() {
        let mut leases = Deadlines::begin([(1, 10), (2, 5)], at(0));
        assert_eq!(leases.next(), Some(at(5)));
        assert_eq!(leases.renew(2, at(4)), Some(5));
        assert_eq!(leases.left(2, at(5)), Some(at(4)));
        assert_eq!(leases.renew(3, at(4)), None);
        assert_eq!(leases.next(), Some(at(9)));
        assert!(!leases.is_due(at(8)) && leases.end_due(at(8)).is_empty());
        assert_eq!(leases.end_due(at(20)), [2, 1]);
        assert_eq!(leases.renew(1, at(20)), None, "it ends");
        assert_eq!(leases.left(1, at(20)), Some(at(0)));
        leases.note(1, None, at(20));
        assert_eq!(leases.left(1, at(20)), None);
    }

    #[test]
    fn an_end_that_could_not_be_written_is_tried_again() {
        let mut leases = Deadlines::begin([(1, 1), (2, 1)], at(0));
        assert_eq!(leases.end_due(at(1)), [1, 2]);
        assert_eq!(leases.next(), None, "both are under way");
        leases.ended(1, false, at(2));
        leases.ended(2, true, at(2));
        assert_eq!(leases.next(), Some(at(2) + RETRY));
        assert_eq!(leases.renew(1, at(2)), None, "it may be written all the same");
        assert_eq!(leases.end_due(at(3)), [1]);
        leases.note(1, None, at(3));
        leases.ended(1, false, at(3));
        assert_eq!(leases.next(), None, "it was revoked meanwhile");
    }

    #[test]
    fn a_lease_of_the_same_id_is_another_one() {
        let mut leases = Deadlines::begin([(1, 1)], at(0));
        leases.note(1, Some(10), at(0));
        assert_eq!(leases.next(), Some(at(10)));
        assert_eq!(leases.end_due(at(10)), [1]);
        leases.note(1, None, at(10));
        leases.note(1, Some(10), at(10));
        leases.ended(1, false, at(10));
        assert_eq!((leases.renew(1, at(11)), leases.next()), (Some(10), Some(at(21))));
    }

    #[test]
    fn nothing_ends_without_a_proof_nor_too_much_at_once() {
        let mut leases = Deadlines::begin((1..=100).map(|id| (id, 1)), at(0));
        leases.unproven(at(1));
        assert!(!leases.is_due(at(1)) && leases.is_due(at(1) + RETRY));
        assert_eq!(leases.end_due(at(2)).len(), ENDING);
        assert_eq!(leases.next(), None);
        leases.ended(1, true, at(2));
        assert!(leases.is_due(at(2)));
        assert_eq!(leases.end_due(at(2)).len(), 1);
    }

    #[test]
    fn a_sign_of_life_that_could_not_be_believed_is_heard_again_before_anything_ends() {
        let mut leases = Deadlines::begin([(1, 1)], at(0));
        leases.unproven(at(1));
        assert!(
            leases.end_due(at(1)).is_empty(),
            "a proof that comes too late for the sign"
        );
        assert_eq!(leases.renew(1, at(1)), Some(1));
        assert!(leases.end_due(at(1) + RETRY).is_empty());
        assert_eq!(leases.end_due(at(2)), [1]);
    }

    #[test]
    fn while_ends_are_refused_few_are_tried() {
        let mut leases = Deadlines::begin((1..=1000).map(|id| (id, 1)), at(0));
        let mut tried = 0;
        for ms in (1000..6000).step_by(10) {
            let now = Duration::from_millis(ms);
            if leases.is_due(now) {
                for id in leases.end_due(now) {
                    tried += 1;
                    leases.ended(id, false, now);
                }
            }
        }
        assert_eq!(tried, 10 * ENDING, "in five seconds");
    }

    #[test]
    fn the_shortest_lease_lasts_one_and_a_half_elections() {
        assert_eq!([0, 2, 60].map(|ttl| granted(ttl, 1000)), [2, 2, 60]);
        assert_eq!(granted(1, 200), 1);
    }
}
