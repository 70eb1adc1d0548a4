//! When leases run out: a table over time, pure; the times are arguments.
//!
//! | happens | then |
//! |---|---|
//! | a lease is granted, or this node begins to lead | it is full |
//! | its owner keeps it alive | it is full again |
//! | nothing for its TTL | it is ending: its owner is told that it is gone, the leader proposes so |
//! | that could not be written | it stays ending, and is tried again later |
//! | it is revoked | it is forgotten |

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The leases of a leader.
#[derive(Debug, Clone, Default)]
pub struct Deadlines {
    held: BTreeMap<i64, Held>,
    queue: BTreeSet<(Instant, i64)>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    ttl_s: i64,
    /// When it runs out or, while it ends, is tried again; not queued while a try is under way.
    at: Instant,
    is_ending: bool,
}

impl Deadlines {
    /// The store has this lease, with this TTL in seconds, or not (`None`).
    pub fn present(&mut self, id: i64, ttl_s: Option<i64>, now: Instant) {
        match (ttl_s, self.held.get(&id)) {
            (Some(_), Some(_)) => {}
            (Some(ttl_s), None) => self.hold(id, ttl_s, now),
            (None, Some(held)) => {
                self.queue.remove(&(held.at, id));
                self.held.remove(&id);
            }
            (None, None) => {}
        }
    }

    fn hold(&mut self, id: i64, ttl_s: i64, now: Instant) {
        let at = now + seconds(ttl_s);
        let is_ending = false;
        self.held.insert(id, Held { ttl_s, at, is_ending });
        self.queue.insert((at, id));
    }

    /// Forgets every lease but those `keep` wants.
    pub fn keep_only(&mut self, keep: impl Fn(i64) -> bool) {
        self.held.retain(|id, _| keep(*id));
        self.queue.retain(|(_, id)| keep(*id));
    }

    /// Whether it is known.
    pub fn knows(&self, id: i64) -> bool {
        self.held.contains_key(&id)
    }

    /// Its owner lives; the TTL in seconds, or `None` if there is no such lease any more.
    pub fn renew(&mut self, id: i64, now: Instant) -> Option<i64> {
        let held = *self.held.get(&id).filter(|held| !held.is_ending)?;
        self.queue.remove(&(held.at, id));
        self.hold(id, held.ttl_s, now);
        Some(held.ttl_s)
    }

    /// How long it lasts without a sign from its owner; `None` if there is no such lease.
    pub fn left(&self, id: i64, now: Instant) -> Option<Duration> {
        let held = self.held.get(&id)?;
        Some(if held.is_ending {
            Duration::ZERO
        } else {
            held.at.saturating_duration_since(now)
        })
    }

    /// Takes at most `limit` of those that have run out; they end.
    pub fn take_due(&mut self, now: Instant, limit: usize) -> Vec<i64> {
        let due = self.queue.iter().take_while(|(at, _)| *at <= now).take(limit);
        let due: Vec<(Instant, i64)> = due.copied().collect();
        for place in &due {
            self.queue.remove(place);
            if let Some(held) = self.held.get_mut(&place.1) {
                held.is_ending = true;
            }
        }
        due.into_iter().map(|(_, id)| id).collect()
    }

    /// The end could not be written: to be tried again at `at`.
    pub fn try_again(&mut self, id: i64, at: Instant) {
        if let Some(held) = self.held.get_mut(&id) {
            held.at = at;
            self.queue.insert((at, id));
        }
    }

    /// When something is due next.
    pub fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_lives_from_sign_to_sign() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut leases = Deadlines::default();
        leases.present(1, Some(10), at(0));
        leases.present(2, Some(5), at(0));
        assert_eq!(leases.next(), Some(at(5)));
        assert_eq!(leases.renew(2, at(4)), Some(5));
        assert_eq!(leases.left(2, at(5)), Some(Duration::from_secs(4)));
        assert_eq!(leases.renew(3, at(4)), None);
        leases.present(1, Some(10), at(9));
        assert_eq!(leases.next(), Some(at(9)), "news of a lease is no sign of life");
        assert!(leases.take_due(at(8), 10).is_empty());
        assert_eq!(leases.take_due(at(20), 1), [2]);
        assert_eq!(leases.take_due(at(20), 10), [1]);
        assert_eq!(leases.renew(1, at(20)), None, "it ends");
        assert_eq!(leases.left(1, at(20)), Some(Duration::ZERO));
        assert_eq!(leases.next(), None, "a try is under way");
        leases.try_again(1, at(21));
        assert_eq!(leases.take_due(at(21), 10), [1]);
        leases.present(1, None, at(22));
        leases.present(2, None, at(22));
        leases.try_again(2, at(23));
        assert_eq!((leases.next(), leases.left(1, at(22))), (None, None));
    }
}
