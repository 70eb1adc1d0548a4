//! What clients ask of the v3 data model, as in etcd's `rpc.proto`.
//!
//! Everything here is part of the log's format, encoded by position: fields and variants are only added at the end of
//! an enum, never reordered.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A lease's id; 0 is "no lease". Chosen by the client or by the proposer.
pub type LeaseId = i64;

/// One change of the v3 data. Each is one revision if it changes anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Sets one key.
    Put(Put),
    /// Deletes a key or a range.
    DeleteRange(DeleteRange),
    /// Compares, and does one of two lists of operations. One that only reads is answered by
    /// [`read_txn`](super::read_txn) and need not go through the log.
    Txn(Txn),
    /// Forgets superseded revisions.
    Compact {
        /// Reads below it are refused from now on.
        revision: i64,
    },
    /// Makes a lease.
    LeaseGrant {
        /// Its id, not 0: the proposer draws one when the client gave none.
        id: LeaseId,
        /// Seconds; the proposer has already raised it to the smallest it grants.
        ttl_s: i64,
    },
    /// Ends a lease, by a client's wish or because the leader's clock saw it run out. Its keys are deleted in one
    /// revision.
    LeaseRevoke {
        /// Which.
        id: LeaseId,
    },
    /// Removes some of what compactions left to remove (see [`compact`](super::compact)); changes nothing visible.
    Sweep,
}

/// Sets one key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// The key, not empty.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The lease the key hangs on from now on; 0 for none.
    pub lease: LeaseId,
    /// Answer with what was there.
    pub prev_kv: bool,
    /// Keep the value; the key must exist.
    pub ignore_value: bool,
    /// Keep the lease; the key must exist.
    pub ignore_lease: bool,
}

/// Deletes a key or a range.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteRange {
    /// The key, or the range's first.
    pub key: Bytes,
    /// As in [`Range::range_end`].
    pub range_end: Bytes,
    /// Answer with what was there.
    pub prev_kv: bool,
}

/// Reads a key or a range.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The key, or the range's first. Not empty.
    pub key: Bytes,
    /// Empty: the one key. A single zero byte: all keys `>= key`. Else: all keys in `[key, range_end)`.
    pub range_end: Bytes,
    /// At most so many keys; 0 (or less) for all.
    pub limit: i64,
    /// The revision to read at; 0 (or less) for the current one.
    pub revision: i64,
    /// In which order.
    pub sort_order: SortOrder,
    /// By what.
    pub sort_target: SortTarget,
    /// Leave out the values.
    pub keys_only: bool,
    /// Only count.
    pub count_only: bool,
    /// Leave out keys last changed earlier; 0 for no bound. The four bounds do not touch `count`.
    pub min_mod_revision: i64,
    /// Leave out keys last changed later; 0 for no bound.
    pub max_mod_revision: i64,
    /// Leave out keys created earlier; 0 for no bound.
    pub min_create_revision: i64,
    /// Leave out keys created later; 0 for no bound.
    pub max_create_revision: i64,
}

/// How a range is sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // etcd's words
pub enum SortOrder {
    /// By key; with another [`SortTarget`] ascending.
    #[default]
    None,
    Ascend,
    Descend,
}

/// By what a range is sorted. Equals stay in key order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // etcd's words
pub enum SortTarget {
    #[default]
    Key,
    Version,
    Create,
    Mod,
    Value,
}

/// Compares, and does `success` if all hold, else `failure`. All compares, those of nested transactions too, look at
/// the state before the transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Txn {
    /// Must all hold.
    pub compare: Vec<Compare>,
    /// Done if they do.
    pub success: Vec<Op>,
    /// Done if they do not.
    pub failure: Vec<Op>,
}

/// One operation of a transaction. Each sees what those before it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Op {
    Range(Range),
    Put(Put),
    DeleteRange(DeleteRange),
    Txn(Txn),
    /// None at all, which is refused.
    Empty,
}

/// Holds if every key of the range stands to the target as `result` says. A key that does not exist compares as
/// version, revisions and lease 0, and never holds for a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// The key, or the range's first.
    pub key: Bytes,
    /// As in [`Range::range_end`].
    pub range_end: Bytes,
    /// How the key's own must stand to the target.
    pub result: CompareResult,
    /// With what.
    pub target: Target,
}

/// How a key's own stands to the target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // etcd's words
pub enum CompareResult {
    #[default]
    Equal,
    Greater,
    Less,
    NotEqual,
}

/// What of a key is compared, and with what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // etcd's words
pub enum Target {
    Version(i64),
    Create(i64),
    Mod(i64),
    Value(Bytes),
    Lease(LeaseId),
}
