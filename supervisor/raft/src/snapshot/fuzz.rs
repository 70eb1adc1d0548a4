//! The reader of snapshots as a function of bytes alone, for tests/fuzz.

use corten_store::tables::Table;

use super::format::{self, Writer};
use crate::types::SnapshotMeta;

const CLUSTER: u64 = 1;

/// A sound snapshot with these rows.
pub fn snapshot(rows: &[(Table, &[u8], &[u8])]) -> Vec<u8> {
    let write = || {
        let mut writer = Writer::begin(Vec::new(), CLUSTER, &SnapshotMeta::default())?;
        for (table, key, value) in rows {
            writer.row(*table, key, value)?;
        }
        writer.finish()
    };
    write().map(|(bytes, _)| bytes).unwrap_or_default() // a Vec takes every byte
}

/// A block as it stands in a snapshot, checksum and all.
pub fn block(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let _ = format::write_block(&mut out, content); // a Vec takes every byte
    out
}

/// The bytes before the first block, which is the head.
pub fn beginning() -> Vec<u8> {
    snapshot(&[])[..16].to_vec()
}

/// Reads a snapshot to its end; gives the number of its rows.
///
/// # Errors
/// What is wrong with it.
pub fn read_snapshot(bytes: &[u8]) -> Result<u64, String> {
    let mut input = bytes;
    format::read_head(&mut input, CLUSTER)?;
    format::read_rows(&mut input, &mut |_, _, _| Ok(()))
}
