//! etcd's v3 data model (contract `etcd.md` section 3): keys with revisions, transactions, leases, compaction; without
//! gRPC. It does not touch the v2 tree or its index.
//!
//! A fresh store is at revision 1. Every command that changes a key makes the next revision; its changes are numbered
//! within it.
//!
//! ```text
//! kv-revisions  key  revision (u64 BE) | number (u32 BE)   value  Record { prev, milestone, create, version, lease,
//!                                                                          key, value }: one change; version 0 deletes
//! kv-latest     key  a key that exists                     value  Pointer { place of its newest change, create,
//!                                                                           version, lease, milestone, steps }
//! kv-gone       key  a key that was deleted                value  the same
//! leases        key  id (BE)                               value  granted seconds
//! lease-keys    key  id (BE) | key                         value  nothing, or the key if it is long
//! meta          key  k                                     value  Standing { revision, compacted, swept }
//! ```
//!
//! There is no table of a key's history: each change names the one before it, and every 64th is a milestone that names
//! the milestone before. So a put writes three rows, of which one is appended and one is always the same; a read of the
//! newest never meets what is old; a read at an old revision goes back from the newest; and a compaction finds what a
//! change superseded in the change itself. How long keys are kept is written in [`key`], how old changes go in
//! [`compact`].

pub mod answer;
pub mod check;
pub mod compact;
pub mod error;
pub mod history;
pub(crate) mod key;
pub mod lease;
pub mod read;
pub mod request;
mod rows;
pub mod txn;
pub mod work;
mod write;

pub use answer::{
    Action, Answer, Change, Changes, DeleteRangeAnswer, KeyValue, OpAnswer, Place, PutAnswer, RangeAnswer,
    TxnAnswer,
};
pub use compact::sweep_pending;
pub use error::Error;
pub use history::{EventPage, Hash, compact_revision, events_from, hash, previous, revision};
pub use lease::{MAX_LEASE_TTL_S, lease, lease_keys, leases};
pub use read::{Lookup, range};
pub use request::{
    Command, Compare, CompareResult, DeleteRange, LeaseId, Op, Put, Range, SortOrder, SortTarget, Target, Txn,
};
pub use txn::read_txn;
pub use work::Work;

use crate::tables::{StoreFault, Write};
use write::Session;

/// The answer, and the events if anything changed.
type Applied = (Result<Answer, Error>, Option<Changes>);

/// Applies one command.
pub(crate) fn apply(tx: &mut (impl Write + ?Sized), command: &Command) -> Result<Applied, StoreFault> {
    let mut session = Session::begin(tx)?;
    let answer = dispatch(&mut session, command)?;
    let changes = session.finish()?;
    Ok((answer, changes))
}

fn dispatch<T: Write + ?Sized>(session: &mut Session<'_, T>, command: &Command) -> Lookup<Answer> {
    if let Err(error) = check_form(command) {
        return Ok(Err(error));
    }
    Ok(match command {
        Command::Put(put) => match session.check_put(put)? {
            Ok(()) => Ok(Answer::Put(session.put(put)?)),
            Err(error) => Err(error),
        },
        Command::DeleteRange(delete) => Ok(Answer::DeleteRange(session.delete_range(delete)?)),
        Command::Txn(txn) => txn::apply(session, txn)?.map(Answer::Txn),
        Command::Compact { revision } => match compact::compact(&mut session.standing, *revision) {
            Ok(()) => {
                compact::sweep(session.tx, &mut session.standing, compact::SWEEP)?;
                Ok(Answer::Compact {
                    revision: session.revision(),
                })
            }
            Err(error) => Err(error),
        },
        Command::LeaseGrant { id, ttl_s } => {
            lease::grant(session.tx, *id, *ttl_s)?.map(|()| Answer::LeaseGrant {
                revision: session.revision(),
                id: *id,
                ttl_s: *ttl_s,
            })
        }
        Command::LeaseRevoke { id } => lease::revoke(session, *id)?.map(|()| Answer::LeaseRevoke {
            revision: session.revision(),
        }),
        Command::Sweep => {
            if compact::is_pending(&session.standing) {
                compact::sweep(session.tx, &mut session.standing, compact::SWEEP)?;
            }
            Ok(Answer::Sweep {
                pending: compact::is_pending(&session.standing),
            })
        }
    })
}

/// Faces look at this before they propose; the tables rely on it, so it is looked at again.
fn check_form(command: &Command) -> Result<(), Error> {
    match command {
        Command::Put(put) => check::put(put),
        Command::DeleteRange(delete) => check::delete_range(delete),
        Command::Txn(txn) => check::operations(txn, usize::MAX),
        Command::Compact { .. }
        | Command::LeaseGrant { .. }
        | Command::LeaseRevoke { .. }
        | Command::Sweep => Ok(()),
    }
}
