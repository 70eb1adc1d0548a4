//! The one place with `unsafe`: opening the LMDB environment through heed.
#![allow(unsafe_code)]

use std::path::Path;

use heed::{Env, EnvFlags, EnvOpenOptions, WithoutTls};

/// How many readers there may be at once. Readers are not bound to threads.
const READERS: u32 = 1024;

/// Opens the environment in the directory `path`.
///
/// Commits are not synced (`NO_SYNC`): [`super::marker`] says why that loses nothing.
pub(super) fn open(path: &Path, limit_bytes: usize, databases: u32) -> heed::Result<Env<WithoutTls>> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options
        .map_size(limit_bytes)
        .max_readers(READERS)
        .max_dbs(databases);
    // SAFETY: NO_SYNC is unsafe because a power loss may leave the file inconsistent; such a file is never opened again
    // (`marker` sees the other boot id and the file is made anew from snapshot and log).
    unsafe { options.flags(EnvFlags::NO_SYNC) };
    // SAFETY: mapping a file is unsafe because others may change it. It lies in the data directory, whose lock this
    // process holds for as long as the environment is open.
    unsafe { options.open(path) }
}
