//! A lease does not end before its TTL after the last sign of life that was acknowledged, by true time, and nobody is told
//! so; once all is well it ends soon after; and its keys go with it, all in one revision.

use std::collections::{BTreeMap, BTreeSet};

use corten_raft::{AppliedBatch, Node};
use corten_store::{Event, kv};

use super::Recorded;
use super::history::History;
use crate::cluster::client::{Ask, End, Seen};

/// How long after its end a lease may be there, once all is well.
const LATE_MS: u64 = 2_000;

/// When leases were granted and ended, as the first node applied it.
#[derive(Debug, Default)]
pub struct Leases {
    /// When, and the TTL, in ms.
    granted: BTreeMap<u64, (u64, u64)>,
    ended: BTreeMap<u64, u64>,
}

/// What clients did about one lease.
#[derive(Debug, Default)]
struct Told<'r> {
    /// Somebody was told that it is full again: when asked, when answered.
    alive: Vec<(u64, u64)>,
    /// Somebody was told that it is gone: when asked, when answered.
    gone: Vec<(u64, u64)>,
    /// Somebody ended it, or may have: when asked, when answered.
    revoked: Vec<(u64, Option<u64>)>,
    /// Until when a sign of life may have arrived, answered or not.
    last_sign_ms: u64,
    asks: Vec<&'r Recorded>,
}

impl Leases {
    /// Looks at what was applied until `now_ms`.
    ///
    /// # Errors
    /// When keys of a lease go without it.
    pub fn look(&mut self, batch: &AppliedBatch, now_ms: u64) -> Result<(), String> {
        let mut leaves: Option<String> = None;
        for event in &batch.events {
            if let Some(key) = leaves.take() {
                let lease = match event {
                    Event::Lease(id, None) => owner(&key) == Some(*id as u64),
                    _ => false,
                };
                if !lease {
                    return Err(format!("{key} is deleted, and its lease is not: {event:?}"));
                }
            }
            match event {
                Event::Lease(id, Some(ttl_s)) => {
                    let granted = (now_ms, ttl_s.unsigned_abs() * 1000);
                    self.granted.entry(*id as u64).or_insert(granted);
                }
                Event::Lease(id, None) => {
                    self.ended.entry(*id as u64).or_insert(now_ms);
                }
                Event::Kv(changes) => {
                    let mut gone = changes
                        .changes
                        .iter()
                        .filter(|it| it.action == kv::Action::Delete);
                    let mut keys = gone.by_ref().map(|it| String::from_utf8_lossy(&it.kv.key));
                    leaves = keys.find(|key| owner(key).is_some()).map(|key| key.into_owned());
                }
                _ => {}
            }
        }
        leaves.map_or(Ok(()), |key| {
            Err(format!("{key} is deleted, and its lease is not"))
        })
    }

    /// Checks all leases. From `calm_ms` on nothing was wrong, and nobody was elected.
    ///
    /// # Errors
    /// The first that ended too early or too late, or not with its keys.
    pub fn at_the_end(&self, history: &History, recorded: &[Recorded], calm_ms: u64) -> Result<(), String> {
        let told = gather(recorded);
        for (id, (granted_ms, ttl_ms)) in &self.granted {
            let none = Told::default();
            let lease = Lease {
                granted_ms: *granted_ms,
                ttl_ms: *ttl_ms,
                ended_ms: *self
                    .ended
                    .get(id)
                    .ok_or_else(|| format!("lease {id} has never ended"))?,
                told: told.get(id).unwrap_or(&none),
            };
            lease.check(calm_ms).map_err(|why| {
                let asks: Vec<String> = lease.told.asks.iter().map(|one| format!("\n  {one:?}")).collect();
                format!(
                    "lease {id} of {ttl_ms} ms, granted at {granted_ms}, ended at {}: {why}{}",
                    lease.ended_ms,
                    asks.concat()
                )
            })?;
        }
        keys(history)
    }
}

/// One lease, as it was.
struct Lease<'t> {
    granted_ms: u64,
    ttl_ms: u64,
    ended_ms: u64,
    told: &'t Told<'t>,
}

impl Lease<'_> {
    fn check(&self, calm_ms: u64) -> Result<(), String> {
        let last = |until: u64| {
            let signs = self.told.alive.iter().filter(|(_, answered)| *answered <= until);
            signs.map(|(asked, _)| *asked).fold(self.granted_ms, u64::max)
        };
        if !self.may_be_revoked(self.ended_ms) && self.ended_ms < last(u64::MAX) + self.ttl_ms {
            return Err(format!("too early after the sign of life of {}", last(u64::MAX)));
        }
        for (asked, answered) in &self.told.gone {
            let sign = last(*asked);
            if self.granted_ms <= *asked && !self.may_be_revoked(*answered) && *answered < sign + self.ttl_ms
            {
                return Err(format!(
                    "told gone at {answered}, too early after the sign of life of {sign}"
                ));
            }
        }
        let surely_revoked = self
            .told
            .revoked
            .iter()
            .filter_map(|(_, answered)| *answered)
            .min();
        if let Some(at) = surely_revoked
            && let Some((asked, _)) = self.told.alive.iter().find(|(asked, _)| *asked > at)
        {
            return Err(format!("revoked at {at}, and told alive when asked at {asked}"));
        }
        let due_ms = self.told.last_sign_ms.max(self.granted_ms).max(calm_ms) + self.ttl_ms;
        if self.ended_ms > due_ms + LATE_MS {
            return Err(format!("too late: it was due at {due_ms}"));
        }
        Ok(())
    }

    /// Whether a client, not time, may have ended it until then.
    fn may_be_revoked(&self, until: u64) -> bool {
        self.told.revoked.iter().any(|(asked, _)| *asked <= until)
    }
}

/// What clients did, by lease.
fn gather(recorded: &[Recorded]) -> BTreeMap<u64, Told<'_>> {
    let mut all: BTreeMap<u64, Told<'_>> = BTreeMap::new();
    for one in recorded {
        let Some(id) = one.operation.ask.lease() else {
            continue;
        };
        let (told, asked) = (all.entry(id).or_default(), one.began_ms);
        told.asks.push(one);
        match (&one.operation.ask, &one.ended) {
            (_, Some((at, End::Answer { seen: Seen::Gone, .. }))) => told.gone.push((asked, *at)),
            (
                _,
                Some((
                    at,
                    End::Answer {
                        seen: Seen::Alive(_), ..
                    },
                )),
            ) => {
                told.alive.push((asked, *at));
                told.last_sign_ms = told.last_sign_ms.max(*at);
            }
            (Ask::KeepAlive(_), ended) => {
                let until = ended.as_ref().map_or(u64::MAX / 2, |(at, _)| *at);
                told.last_sign_ms = told.last_sign_ms.max(until);
            }
            (Ask::Revoke(_), Some((_, End::Nothing(_)))) => {}
            (Ask::Revoke(_), Some((at, End::Answer { .. }))) => told.revoked.push((asked, Some(*at))),
            (Ask::Revoke(_), _) => told.revoked.push((asked, None)),
            _ => {}
        }
    }
    all
}

/// The lease a key hangs on.
fn owner(key: &str) -> Option<u64> {
    key.strip_prefix('l')?.split_once('/')?.0.parse().ok()
}

/// All keys of a lease are deleted in one revision, the last one that is about them.
fn keys(history: &History) -> Result<(), String> {
    let mut hanging: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    for (revision, told) in &history.v3 {
        let mut left: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
        for (key, value) in &told.values {
            let Some(id) = owner(key) else { continue };
            match value {
                Some(_) => hanging.entry(id).or_default().insert(key),
                None => left.entry(id).or_default().insert(key),
            };
        }
        for (id, left) in left {
            let had = hanging.remove(&id).unwrap_or_default();
            if had != left {
                return Err(format!(
                    "lease {id} had {had:?}, and with it went {left:?} at {revision}"
                ));
            }
        }
    }
    match hanging.first_key_value() {
        Some((id, keys)) => Err(format!("lease {id} has ended, and {keys:?} have not")),
        None => Ok(()),
    }
}

/// Whether no lease is left.
pub fn is_tidy(node: &Node) -> bool {
    node.read(|tx| kv::leases(tx))
        .is_ok_and(|leases| leases.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(told: Told<'_>, ended_ms: u64) -> Result<(), String> {
        let lease = Lease {
            granted_ms: 100,
            ttl_ms: 1_000,
            ended_ms,
            told: &told,
        };
        lease.check(0)
    }

    #[test]
    fn what_ends_too_early_or_too_late_is_found() {
        assert_eq!(check(Told::default(), 1_100), Ok(()));
        assert!(check(Told::default(), 1_099).is_err());
        assert!(check(Told::default(), 1_100 + LATE_MS + 1).is_err());
        let alive = |asked, answered| Told {
            alive: vec![(asked, answered)],
            last_sign_ms: answered,
            ..Told::default()
        };
        assert_eq!(check(alive(500, 520), 1_500), Ok(()));
        assert!(check(alive(500, 520), 1_499).is_err());
        let gone = |asked, answered| Told {
            gone: vec![(asked, answered)],
            ..alive(500, 520)
        };
        assert_eq!(check(gone(1_400, 1_500), 1_600), Ok(()));
        assert!(check(gone(1_400, 1_450), 1_600).is_err());
    }

    #[test]
    fn who_revokes_a_lease_may_end_it_but_not_keep_it_alive() {
        let revoked = |asked_alive| Told {
            revoked: vec![(200, Some(210))],
            alive: vec![(asked_alive, asked_alive + 10)],
            ..Told::default()
        };
        assert_eq!(check(revoked(190), 205), Ok(()));
        assert!(check(revoked(220), 205).is_err());
    }
}
