//! The state machine's own counters, one row.

use serde::{Deserialize, Serialize};

use crate::keys::stats::Stats;
use crate::tables::{Read, StoreFault, Table, Write, load, store};

const KEY: &[u8] = b"m";

/// What the state machine counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// etcd's index of the v2 store: grows by one with every successful write, internal ones included.
    pub etcd_index: u64,
    /// The id the next directory gets.
    pub next_dir: u64,
    /// The cluster version once decided (`/version`'s etcdcluster), for example `3.4.0`.
    pub version: Option<String>,
    /// How v2 writes went.
    pub stats: Stats,
    /// How many events the v2 history keeps.
    pub history: u64,
}

impl Default for Meta {
    fn default() -> Self {
        Meta {
            etcd_index: 0,
            next_dir: crate::keys::tree::ROOT + 1,
            version: None,
            stats: Stats::default(),
            history: crate::keys::HISTORY,
        }
    }
}

/// Reads the counters.
///
/// # Errors
/// When the backend fails.
pub fn read(tx: &(impl Read + ?Sized)) -> Result<Meta, StoreFault> {
    Ok(load(tx, Table::Meta, KEY)?.unwrap_or_default())
}

/// The current etcd index: `X-Etcd-Index` of reads.
///
/// # Errors
/// When the backend fails.
pub fn etcd_index(tx: &(impl Read + ?Sized)) -> Result<u64, StoreFault> {
    Ok(read(tx)?.etcd_index)
}

pub(crate) fn write(tx: &mut (impl Write + ?Sized), meta: &Meta) -> Result<(), StoreFault> {
    store(tx, Table::Meta, KEY, meta)
}
