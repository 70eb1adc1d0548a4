//! Clients of both faces: what they ask, how that becomes a command or a read, and how it ends.

mod members;
pub mod read;
mod write;

use std::sync::Arc;

use bytes::Bytes;
use corten_raft::ProposeError;
use corten_store::kv;

use super::machine::{Around, Did, Member, Outbox, leave};

/// Which of etcd's interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Face {
    /// The tree.
    V2,
    /// The revisions.
    V3,
}

/// What is asked, of one key where nothing else is said. Values, which are also the leases' ids, are unique in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Write.
    Set(u64),
    /// Write if there is nothing.
    Create(u64),
    /// Write if this value is there.
    Swap(u64, u64),
    /// Write to a key of its own, which expires after so many ms; v2 only.
    SetFor(u64, u64),
    /// Remove.
    Delete,
    /// Read what is current.
    Read,
    /// Read without being sure that it is current: a broken promise, for the test of the checkers.
    ReadStale,
    /// Make a lease of so many seconds.
    Grant(u64, i64),
    /// Write a key of its own that hangs on a lease.
    Attach(u64, u64),
    /// Say that the lease's owner lives.
    KeepAlive(u64),
    /// The same, which nobody passes on: a broken promise, for the test of the checkers.
    PretendAlive(u64),
    /// End a lease.
    Revoke(u64),
    /// Read as of a revision; v3 only.
    ReadAt(u64),
    /// Forget what was superseded before a revision; v3 only.
    Compact(u64),
    /// Remove some of what compactions left; v3 only.
    Sweep,
    /// Keep so many events of the history; v2 only.
    KeepHistory(u64),
    /// See which event a watcher finds that begins at an index or revision.
    WatchFrom(u64),
    /// Make a machine a member under an id, as a learner.
    Add(usize, u64),
    /// Have a member vote.
    Promote(u64),
    /// Take a member out.
    Remove(u64),
    /// Do nothing, and say that it is done: a broken promise, for the test of the checkers.
    Pretend,
}

/// An operation on a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    pub face: Face,
    pub key: u64,
    pub ask: Ask,
}

/// What a client saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It was written or removed.
    Done,
    /// The condition did not hold.
    Refused,
    /// The value that is there.
    Value(Option<u64>),
    /// The lease is full again: its TTL in seconds.
    Alive(i64),
    /// There is no such lease.
    Gone,
    /// What is asked for is compacted.
    Compacted,
    /// The first event: its index or revision, and how many changes it has.
    Event(u64, usize),
    /// No event yet, up to this index or revision.
    NoEvent(u64),
    /// A watcher cannot begin there: the history begins at this compaction (v3), or was cleared up to this index (v2).
    Cleared(u64),
    /// What cannot be.
    Wrong(String),
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With an answer. `place` is the v2 index or the v3 revision the answer speaks of, 0 if of none; `entry` the log entry
    /// that made it, for writes.
    Answer { seen: Seen, place: u64, entry: u64 },
    /// It certainly had no effect.
    Nothing(String),
    /// It may have had an effect, or have one yet.
    Unknown(String),
}

/// Tells how it ended, even if the node dies over it.
struct Report {
    operation: usize,
    around: Arc<Around>,
    outbox: Outbox,
    end: Option<End>,
}

impl Drop for Report {
    fn drop(&mut self) {
        // Dropped by a kill, outside the runtime: the world puts its own time in.
        let at_ms = self.end.as_ref().map_or(u64::MAX, |_| self.around.at_ms());
        let end = self
            .end
            .take()
            .unwrap_or_else(|| End::Unknown("the node died".to_owned()));
        let operation = self.operation;
        leave(
            &self.outbox,
            Did::Ended {
                operation,
                at_ms,
                end,
            },
        );
    }
}

/// Does an operation on a member.
pub async fn perform(
    member: Member,
    around: Arc<Around>,
    outbox: Outbox,
    number: usize,
    operation: Operation,
) {
    let mut report = Report {
        operation: number,
        around: Arc::clone(&around),
        outbox,
        end: None,
    };
    let node = &member.node;
    let end = match operation.ask {
        Ask::Read | Ask::ReadStale => read::current(node, &operation).await,
        Ask::KeepAlive(id) => match member.lessor.renew(id as kv::LeaseId).await {
            Ok(ttl_s) => of_lease(ttl_s),
            Err(e) => End::Unknown(e.to_string()),
        },
        Ask::PretendAlive(id) => match node.read(|tx| kv::lease(tx, id as kv::LeaseId)) {
            Ok(ttl_s) => of_lease(ttl_s),
            Err(e) => End::Nothing(e.to_string()),
        },
        Ask::Pretend => seen(Seen::Done),
        Ask::ReadAt(revision) => read::at(node, &operation, revision).await,
        Ask::WatchFrom(from) => read::watch_from(node, operation.face, from),
        Ask::Add(..) | Ask::Promote(_) | Ask::Remove(_) => members::change(node, &operation.ask).await,
        _ => match node.propose(write::command(&operation, &around)).await {
            Ok(applied) => write::answered(&applied),
            Err(e) => failed(&e),
        },
    };
    report.end = Some(end);
}

/// An answer that speaks of no index or revision.
fn seen(seen: Seen) -> End {
    let (place, entry) = (0, 0);
    End::Answer { seen, place, entry }
}

fn of_lease(ttl_s: Option<i64>) -> End {
    seen(ttl_s.map_or(Seen::Gone, Seen::Alive))
}

fn failed(error: &ProposeError) -> End {
    match error {
        ProposeError::NoLeader
        | ProposeError::TooLarge { .. }
        | ProposeError::Refused(_)
        | ProposeError::TooMany
        | ProposeError::NoSpace => End::Nothing(error.to_string()),
        _ => End::Unknown(error.to_string()),
    }
}

/// The v2 key that expires and has this value.
pub fn mortal_key(value: u64) -> String {
    format!("/t{value}")
}

/// What the v3 keys on a lease begin with.
pub fn on_lease(id: u64) -> String {
    format!("l{id}/")
}

impl Ask {
    /// The lease it is about.
    pub fn lease(&self) -> Option<u64> {
        match self {
            Ask::Grant(id, _)
            | Ask::Attach(id, _)
            | Ask::KeepAlive(id)
            | Ask::PretendAlive(id)
            | Ask::Revoke(id) => Some(*id),
            _ => None,
        }
    }
}

impl Operation {
    /// The key it is about, of either face.
    pub fn key(&self) -> String {
        match (self.face, &self.ask) {
            (_, Ask::SetFor(value, _)) => mortal_key(*value),
            (_, Ask::Attach(id, value)) => format!("{}{value}", on_lease(*id)),
            (Face::V2, _) => format!("/k{}", self.key),
            (Face::V3, _) => format!("k{}", self.key),
        }
    }

    fn key_bytes(&self) -> Bytes {
        Bytes::from(self.key())
    }
}
