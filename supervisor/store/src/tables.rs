//! The transaction trait the state machine runs over: ordered tables of byte keys and byte values.
//!
//! Rows are postcard-encoded. Keys are never empty and stay below 511 bytes (LMDB's limit); every table says in
//! [`Table`] how its keys are laid out.

use std::ops::ControlFlow;

use serde::{Serialize, de::DeserializeOwned};

/// The tables. Numbers are part of the snapshot format: never reuse or renumber one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Rows: key `m` [`crate::meta::Meta`], key `k` the v3 data's revisions, key `a` the alarms.
    Meta = 1,
    /// v2 tree: directory id (u64 big-endian) + name -> node. Listing one level is one prefix.
    Nodes = 2,
    /// v2 expiry queue: expiry ms (u64 BE) + directory id (u64 BE) + name -> the node's path.
    Expiry = 3,
    /// v2 history window: etcd index (u64 BE) -> event.
    History = 4,
    /// Members: member id (u64 BE) -> attributes.
    Members = 5,
    /// Fleet units: unit name -> [`crate::fleet::UnitRecord`].
    Units = 6,
    /// Machines: machine id -> [`crate::fleet::MachineRecord`].
    Machines = 7,
    /// Unit states: unit name + NUL + machine id -> `corten_spec::fleet::UnitState`.
    States = 8,
    /// The same by machine: machine id + NUL + unit name -> nothing.
    StatesByMachine = 9,
    /// v3 changes: revision (u64 BE) + place in it (u32 BE) -> the change. Grows at its end, shrinks by compaction.
    KvRevisions = 10,
    /// v3 keys that exist: key (see [`crate::kv`]) -> where its newest change is.
    KvLatest = 11,
    /// v3 keys that were deleted and are not compacted away: key -> where the deletion is.
    KvGone = 12,
    /// Leases: id (i64 as u64 BE) -> granted seconds.
    Leases = 13,
    /// Keys on leases: lease id (BE) + key -> nothing, or the key if it is long.
    LeaseKeys = 14,
    /// v3 users and roles: `c` whether auth is on, `u` + name a user, `r` + name a role.
    Auth = 15,
    /// v2 users and roles, laid out the same way.
    V2Auth = 16,
    /// Members that were removed for good: member id (u64 BE) -> nothing.
    RemovedMembers = 17,
    /// Global units being replaced a few machines at a time: unit name -> [`crate::fleet::Rollout`].
    Rollouts = 18,
}

impl Table {
    /// Every table, in the order of their numbers.
    pub const ALL: [Table; 18] = [
        Table::Meta,
        Table::Nodes,
        Table::Expiry,
        Table::History,
        Table::Members,
        Table::Units,
        Table::Machines,
        Table::States,
        Table::StatesByMachine,
        Table::KvRevisions,
        Table::KvLatest,
        Table::KvGone,
        Table::Leases,
        Table::LeaseKeys,
        Table::Auth,
        Table::V2Auth,
        Table::RemovedMembers,
        Table::Rollouts,
    ];

    /// The table's name on disk.
    pub fn name(self) -> &'static str {
        match self {
            Table::Meta => "meta",
            Table::Nodes => "nodes",
            Table::Expiry => "expiry",
            Table::History => "history",
            Table::Members => "members",
            Table::Units => "units",
            Table::Machines => "machines",
            Table::States => "states",
            Table::StatesByMachine => "states-by-machine",
            Table::KvRevisions => "kv-revisions",
            Table::KvLatest => "kv-latest",
            Table::KvGone => "kv-gone",
            Table::Leases => "leases",
            Table::LeaseKeys => "lease-keys",
            Table::Auth => "auth",
            Table::V2Auth => "v2-auth",
            Table::RemovedMembers => "removed-members",
            Table::Rollouts => "rollouts",
        }
    }

    /// The table with this number, if there is one.
    pub fn from_number(number: u8) -> Option<Table> {
        Table::ALL.into_iter().find(|t| *t as u8 == number)
    }
}

/// Why a transaction could not be served. Nothing a client sent causes one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    /// A row does not decode: the state on disk is damaged or of another version.
    #[error("table {table}: row {key:?} is not readable: {cause}")]
    Corrupt {
        /// The table's name.
        table: &'static str,
        /// The row's key.
        key: Vec<u8>,
        /// What the decoder said.
        cause: String,
    },
    /// The disk has no room for the change; it was not made.
    #[error("no space left for the state: {0}")]
    NoSpace(String),
    /// The backend failed.
    #[error("the state's storage failed: {0}")]
    Backend(String),
}

/// The rows a scan visits: keys `>= from`, and `< upto` where given, in byte order.
#[derive(Debug, Clone)]
pub struct KeyRange {
    /// First key visited; empty means the table's first.
    pub from: Vec<u8>,
    /// First key no longer visited; `None` means the table's end.
    pub upto: Option<Vec<u8>>,
}

impl KeyRange {
    /// The whole table.
    pub fn all() -> KeyRange {
        KeyRange {
            from: Vec::new(),
            upto: None,
        }
    }

    /// Every key that starts with `prefix`.
    pub fn prefix(prefix: &[u8]) -> KeyRange {
        let mut upto = prefix.to_vec();
        while let Some(last) = upto.pop() {
            if last < u8::MAX {
                upto.push(last + 1);
                return KeyRange {
                    from: prefix.to_vec(),
                    upto: Some(upto),
                };
            }
        }
        KeyRange {
            from: prefix.to_vec(),
            upto: None,
        }
    }

    /// Keys from `from` to the table's end.
    pub fn starting_at(from: Vec<u8>) -> KeyRange {
        KeyRange { from, upto: None }
    }
}

/// What a scan calls for each row; `Break` ends the scan.
pub type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreFault> + 'v;

/// The read half of a transaction: one consistent state.
pub trait Read {
    /// The value under `key`.
    ///
    /// # Errors
    /// When the backend fails.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<&[u8]>, StoreFault>;

    /// Visits the rows of `range` in key order.
    ///
    /// # Errors
    /// When the backend fails, or what `visit` returns.
    fn scan(&self, table: Table, range: &KeyRange, visit: &mut Visit<'_>) -> Result<(), StoreFault>;
}

/// The write half: changes are seen by later reads of the same transaction.
pub trait Write: Read {
    /// Sets `key` to `value`.
    ///
    /// # Errors
    /// When the backend fails.
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreFault>;

    /// Sets `key`, which comes after every key of the table, to `value`. A backend may make use of the order.
    ///
    /// # Errors
    /// When the backend fails.
    fn append(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreFault> {
        self.put(table, key, value)
    }

    /// Removes `key`; says whether it was there.
    ///
    /// # Errors
    /// When the backend fails.
    fn delete(&mut self, table: Table, key: &[u8]) -> Result<bool, StoreFault>;
}

/// Room for most rows, in bytes, so that encoding them need not ask for more again and again.
const ROW: usize = 1024;

/// Decodes a row.
pub(crate) fn decode<T: DeserializeOwned>(table: Table, key: &[u8], row: &[u8]) -> Result<T, StoreFault> {
    postcard::from_bytes(row).map_err(|e| StoreFault::Corrupt {
        table: table.name(),
        key: key.to_vec(),
        cause: e.to_string(),
    })
}

/// Reads and decodes the row under `key`.
pub(crate) fn load<T: DeserializeOwned>(
    tx: &(impl Read + ?Sized),
    table: Table,
    key: &[u8],
) -> Result<Option<T>, StoreFault> {
    tx.get(table, key)?.map(|row| decode(table, key, row)).transpose()
}

/// Encodes `value` and stores it under `key`.
pub(crate) fn store<T: Serialize>(
    tx: &mut (impl Write + ?Sized),
    table: Table,
    key: &[u8],
    value: &T,
) -> Result<(), StoreFault> {
    let row = encode(table, value)?;
    tx.put(table, key, &row)
}

/// Encodes a row.
pub(crate) fn encode<T: Serialize>(table: Table, value: &T) -> Result<Vec<u8>, StoreFault> {
    postcard::to_extend(value, Vec::with_capacity(ROW))
        .map_err(|e| StoreFault::Backend(format!("table {}: a row does not encode: {e}", table.name())))
}

/// Decodes every row of `range` into a list.
pub(crate) fn collect<T: DeserializeOwned>(
    tx: &(impl Read + ?Sized),
    table: Table,
    range: &KeyRange,
) -> Result<Vec<T>, StoreFault> {
    let mut rows = Vec::new();
    tx.scan(table, range, &mut |key, row| {
        rows.push(decode(table, key, row)?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(rows)
}
