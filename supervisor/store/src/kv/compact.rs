//! Compaction: what may be forgotten, and forgetting it a little at a time.
//!
//! Compacting to revision C takes effect at once: reads below C are refused. What no read can reach any more is swept
//! afterwards, along the changes up to C in their order:
//!
//! ```text
//! a change's predecessor, if it is older than C      goes
//! a deletion older than C                            goes, with the key's row in KvGone if that still points to it
//! ```
//!
//! So a key's newest change at or before C stays unless it is a deletion, and everything of C itself stays: a watch may
//! begin at C. A compaction begins where the one before ended, so it costs what was written in between, not what is
//! kept. Each command sweeps some rows, the compaction itself more; [`Command::Sweep`](super::Command::Sweep) does it
//! where nothing else comes. All replicas sweep the same, because the sweep's place is part of the state.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::answer::Place;
use super::error::Error;
use super::key;
use super::rows::{self, Pointer, Standing};
use crate::tables::{Read, StoreFault, Table, Write, load};

/// Changes a compaction, or a sweep, looks at.
pub(super) const SWEEP: usize = 2000;
/// Changes any other command looks at while there is something to sweep.
pub(super) const SWEEP_BY_THE_WAY: usize = 32;

/// A change up to the compacted revision.
struct Swept {
    at: Place,
    prev: Option<Place>,
    /// The key, of a deletion.
    deleted: Option<Bytes>,
}

/// Whether [`Command::Sweep`](super::Command::Sweep) has something to do: after a compaction whose caller wants to wait
/// until it is physically done, and from time to time on an idle leader.
///
/// # Errors
/// When the backend fails.
pub fn sweep_pending(tx: &(impl Read + ?Sized)) -> Result<bool, StoreFault> {
    Ok(is_pending(&rows::standing(tx)?))
}

pub(super) fn is_pending(standing: &Standing) -> bool {
    standing.swept < end(standing)
}

fn end(standing: &Standing) -> Place {
    Place {
        main: standing.compacted,
        sub: u32::MAX,
    }
}

/// Compacts to `revision`.
pub(super) fn compact(standing: &mut Standing, revision: i64) -> Result<(), Error> {
    if revision <= standing.compacted {
        return Err(Error::Compacted);
    }
    if revision > standing.revision {
        return Err(Error::FutureRevision);
    }
    // What was kept because it was of the compacted revision itself may go now.
    standing.swept = standing.swept.min(Place {
        main: standing.compacted.max(0),
        sub: 0,
    });
    standing.compacted = revision;
    Ok(())
}

/// Sweeps along the next `limit` changes.
pub(super) fn sweep(
    tx: &mut (impl Write + ?Sized),
    standing: &mut Standing,
    limit: usize,
) -> Result<(), StoreFault> {
    let mut seen: Vec<Swept> = Vec::new();
    let mut next = end(standing);
    rows::scan_records(tx, standing.swept, &mut |at, record| {
        if at.main > standing.compacted {
            return Ok(ControlFlow::Break(()));
        }
        if seen.len() == limit {
            next = at;
            return Ok(ControlFlow::Break(()));
        }
        seen.push(Swept {
            at,
            prev: record.prev,
            deleted: record.is_deletion().then(|| Bytes::copy_from_slice(record.key)),
        });
        Ok(ControlFlow::Continue(()))
    })?;
    for swept in seen {
        forget(tx, standing.compacted, &swept)?;
    }
    standing.swept = next;
    Ok(())
}

fn forget(tx: &mut (impl Write + ?Sized), compacted: i64, swept: &Swept) -> Result<(), StoreFault> {
    if let Some(prev) = swept.prev.filter(|prev| prev.main < compacted) {
        tx.delete(Table::KvRevisions, &rows::place_key(prev))?;
    }
    let Some(key) = swept.deleted.as_ref().filter(|_| swept.at.main < compacted) else {
        return Ok(());
    };
    tx.delete(Table::KvRevisions, &rows::place_key(swept.at))?;
    let row = key::row(key);
    let gone: Option<Pointer> = load(tx, Table::KvGone, &row)?;
    if gone.is_some_and(|gone| gone.at == swept.at) {
        tx.delete(Table::KvGone, &row)?;
    }
    Ok(())
}
