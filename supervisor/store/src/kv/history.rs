//! Looking back: the events since a revision, what a key was before a change, and a hash of it all.

use std::ops::ControlFlow;

use sha2::{Digest, Sha256};

use super::answer::{Action, Change, Changes, KeyValue, Place};
use super::error::Error;
use super::read::Lookup;
use super::rows::{self, Record, Standing};
use crate::tables::{Read, StoreFault};

/// Some revisions' events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// Whole revisions, in order.
    pub revisions: Vec<Changes>,
    /// The revision to go on from: the one after the current at the end.
    pub next: i64,
}

/// A hash over the keys' history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hash {
    /// Equal on replicas that are equal up to the revision, however far each has swept.
    pub hash: u32,
    /// The current revision.
    pub revision: i64,
    /// The compacted revision.
    pub compact_revision: i64,
}

/// The current revision.
///
/// # Errors
/// When the backend fails.
pub fn revision(tx: &(impl Read + ?Sized)) -> Result<i64, StoreFault> {
    Ok(rows::standing(tx)?.revision)
}

/// The compacted revision; -1 before the first compaction.
///
/// # Errors
/// When the backend fails.
pub fn compact_revision(tx: &(impl Read + ?Sized)) -> Result<i64, StoreFault> {
    Ok(rows::standing(tx)?.compacted)
}

/// The events from `revision` on: whole revisions until there are `limit` events, and at least one revision if there is
/// any.
///
/// # Errors
/// [`Error::Compacted`] below the compacted revision; at it, everything is still there. The outer error is the
/// storage's.
pub fn events_from(tx: &(impl Read + ?Sized), revision: i64, limit: usize) -> Lookup<EventPage> {
    let standing = rows::standing(tx)?;
    if revision < standing.compacted {
        return Ok(Err(Error::Compacted));
    }
    let (mut revisions, mut open): (Vec<Changes>, Vec<Change>) = (Vec::new(), Vec::new());
    let mut next = revision.max(standing.revision + 1);
    let mut count = 0;
    let close = |open: &mut Vec<Change>, revisions: &mut Vec<Changes>| {
        if let Some(first) = open.first() {
            revisions.push(Changes {
                revision: first.kv.mod_revision,
                changes: std::mem::take(open).into(),
            });
        }
    };
    let from = Place {
        main: revision,
        sub: 0,
    };
    rows::scan_records(tx, from, &mut |at, record| {
        if open.first().is_some_and(|first| first.kv.mod_revision != at.main) {
            close(&mut open, &mut revisions);
            if count >= limit {
                next = at.main;
                return Ok(ControlFlow::Break(()));
            }
        }
        open.push(change(at, record));
        count += 1;
        Ok(ControlFlow::Continue(()))
    })?;
    close(&mut open, &mut revisions);
    Ok(Ok(EventPage { revisions, next }))
}

/// The key before a change; `None` if it was not there, or that is compacted away.
///
/// # Errors
/// When the backend fails.
pub fn previous(tx: &(impl Read + ?Sized), change: &Change) -> Result<Option<KeyValue>, StoreFault> {
    let Some(prev) = change.prev else {
        return Ok(None);
    };
    Ok(rows::record(tx, prev)?.map(|record| record.kv(prev)))
}

fn change(at: Place, record: &Record<'_>) -> Change {
    let deleted = record.is_deletion();
    Change {
        action: if deleted { Action::Delete } else { Action::Put },
        kv: record.kv(at),
        // A new key may follow a deletion, which is nobody's previous value.
        prev: record.prev.filter(|_| deleted || record.version > 1),
    }
}

/// An empty store's hash, etcd's own; 0 would read as no answer.
const OF_NOTHING: u64 = 1_084_519_789;

/// Hashes every change up to `revision` (0: the current one) that a compaction has not made unreachable.
///
/// # Errors
/// [`Error::Compacted`], [`Error::FutureRevision`]. The outer error is the storage's.
pub fn hash(tx: &(impl Read + ?Sized), revision: i64) -> Lookup<Hash> {
    let standing = rows::standing(tx)?;
    let upto = match revision {
        0 => standing.revision,
        at if at > standing.revision => return Ok(Err(Error::FutureRevision)),
        at if at <= standing.compacted => return Ok(Err(Error::Compacted)),
        at => at,
    };
    // A sum, so that what is not swept yet can be taken out again in any order.
    let mut sum = OF_NOTHING;
    rows::scan_records(tx, Place::default(), &mut |at, record| {
        if at.main > upto {
            return Ok(ControlFlow::Break(()));
        }
        sum = sum.wrapping_add(hash_of(at, record));
        if at >= standing.swept && at.main <= standing.compacted {
            sum = sum.wrapping_sub(unreachable_by(tx, &standing, at, record)?);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(Ok(Hash {
        hash: (sum >> 32) as u32 ^ sum as u32,
        revision: standing.revision,
        compact_revision: standing.compacted,
    }))
}

/// The hashes of what a sweep would remove at this change.
fn unreachable_by(
    tx: &(impl Read + ?Sized),
    standing: &Standing,
    at: Place,
    record: &Record<'_>,
) -> Result<u64, StoreFault> {
    let mut sum = 0u64;
    if record.is_deletion() && at.main < standing.compacted {
        sum = hash_of(at, record);
    }
    // A deletion before this one is counted at its own place.
    if let Some(prev) = record.prev.filter(|prev| prev.main < standing.compacted)
        && let Some(before) = rows::record(tx, prev)?
        && !before.is_deletion()
    {
        sum = sum.wrapping_add(hash_of(prev, &before));
    }
    Ok(sum)
}

fn hash_of(at: Place, record: &Record<'_>) -> u64 {
    let mut hasher = Sha256::new();
    hasher.update(rows::place_key(at));
    for number in [
        record.create,
        record.version,
        record.lease,
        record.key.len() as i64,
    ] {
        hasher.update(number.to_be_bytes());
    }
    hasher.update(record.key);
    hasher.update(record.value);
    let digest = hasher.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}
