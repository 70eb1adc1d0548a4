//! What clients of the v3 data model get: answers, and events for their watches.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::request::LeaseId;

/// A key as it was at some revision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The revision of its creation; 0 in the event of a deletion.
    pub create_revision: i64,
    /// The revision of its last change.
    pub mod_revision: i64,
    /// How often it was set since its creation, from 1; 0 in the event of a deletion.
    pub version: i64,
    /// The value; empty where only keys were asked for.
    pub value: Bytes,
    /// The lease it hangs on; 0 for none.
    pub lease: LeaseId,
}

/// To a [`Command`](super::Command), with the revision for the answer's header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // one for each command
pub enum Answer {
    Put(PutAnswer),
    DeleteRange(DeleteRangeAnswer),
    Txn(TxnAnswer),
    Compact {
        /// The current revision.
        revision: i64,
    },
    LeaseGrant {
        /// The current revision.
        revision: i64,
        /// The lease's id.
        id: LeaseId,
        /// Granted seconds.
        ttl_s: i64,
    },
    LeaseRevoke {
        /// The revision after the keys are gone.
        revision: i64,
    },
    Sweep {
        /// Whether there is more to sweep.
        pending: bool,
    },
}

/// To [`Range`](super::Range).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeAnswer {
    /// The current revision, not the one read at.
    pub revision: i64,
    /// The keys.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit cut something off.
    pub more: bool,
    /// How many keys the range holds, whatever limit and bounds say.
    pub count: i64,
}

/// To [`Put`](super::Put).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutAnswer {
    /// The revision of the change.
    pub revision: i64,
    /// What was there, if asked for.
    pub prev_kv: Option<KeyValue>,
}

/// To [`DeleteRange`](super::DeleteRange).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteRangeAnswer {
    /// The revision of the change, or the current one if nothing was there.
    pub revision: i64,
    /// How many keys went.
    pub deleted: i64,
    /// What was there, if asked for, by key.
    pub prev_kvs: Vec<KeyValue>,
}

/// To [`Txn`](super::Txn).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnAnswer {
    /// The revision after it; 0 in a nested one, as in etcd.
    pub revision: i64,
    /// Whether the compares held.
    pub succeeded: bool,
    /// To each operation.
    pub responses: Vec<OpAnswer>,
}

/// To one operation of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum OpAnswer {
    Range(RangeAnswer),
    Put(PutAnswer),
    DeleteRange(DeleteRangeAnswer),
    Txn(TxnAnswer),
}

/// What was done to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // etcd's words
pub enum Action {
    Put,
    Delete,
}

/// Where a change is kept: its revision and its place among the revision's changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The revision.
    pub main: i64,
    /// Counted from 0.
    pub sub: u32,
}

/// One change of one key: etcd's `mvccpb.Event`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What.
    pub action: Action,
    /// The key afterwards; for a deletion only `key` and `mod_revision` are set.
    pub kv: KeyValue,
    /// Where the key's change before this one is kept, if the key was there. Most watchers do not ask for it, so it is
    /// not loaded: [`previous`](super::previous) does.
    pub prev: Option<Place>,
}

/// All changes of one revision, in order. Watchers get them together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The revision.
    pub revision: i64,
    /// Never empty.
    pub changes: Arc<[Change]>,
}
