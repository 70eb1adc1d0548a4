//! The state machine's tables in heed (LMDB), and what Raft must know of them in the same transactions.
//!
//! ```text
//! <data dir>/state/data.mdb, lock.mdb   one database per table of the store, and "raft":
//!                                         applied   the last entry whose effects are in these tables
//!                                         members   the members as of some entry
//! <data dir>/state.mark                 under which boot the state was written (marker)
//! ```
//!
//! Danger: one environment must not be opened twice in a process. [`State::close`] therefore waits for every reader.

mod env;
mod machine;
mod marker;
mod tx;

pub use machine::Machine;
pub use tx::ReadTx;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use corten_store::StoreFault;
use corten_store::tables::{KeyRange, Table};
use heed::types::Bytes;
use heed::{CommitOrAbort, Env, WithoutTls};
use serde::de::DeserializeOwned;

use crate::types::{LogId, SnapshotMeta, StoredMembership};
use crate::world::World;
use crate::{StartError, StateSize};
use tx::{Db, Tables, WriteTx, fault};

const APPLIED: &[u8] = b"applied";
const MEMBERS: &[u8] = b"members";

/// A disk with less than this is full, in bytes: some pages of a transaction fit, and others do not.
const LITTLE_ROOM: u64 = 1 << 20;

/// What takes the rows of all tables, one by one.
pub(crate) type VisitRow<'v> = dyn FnMut(Table, &[u8], &[u8]) -> Result<(), StoreFault> + 'v;

/// The open environment.
struct Opened {
    env: Env<WithoutTls>,
    tables: Tables,
}

/// The state; shared by its reader, the state machine and the snapshot builder.
pub struct State {
    opened: RwLock<Option<Arc<Opened>>>,
    mark: PathBuf,
    world: World,
    /// Set while there is no room for what is to be applied.
    no_space: AtomicBool,
}

/// What Raft must know of the tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The last entry whose effects are in the tables.
    pub applied: Option<LogId>,
    /// The members as of some entry.
    pub members: StoredMembership,
}

impl State {
    /// Opens the state below `data_dir`. True with it if it is whole; false if it is new, or was thrown away because the
    /// machine died while it was written, and must be filled from snapshot and log.
    ///
    /// # Errors
    /// When it cannot be opened or made.
    pub(crate) fn open(
        world: &World,
        data_dir: &Path,
        limit_bytes: u64,
    ) -> Result<(State, bool), StartError> {
        let (path, mark) = (data_dir.join("state"), data_dir.join("state.mark"));
        let io = |what| {
            let path = path.clone();
            move |source| StartError::Io { path, what, source }
        };
        let trusted = path.join("data.mdb").exists() && marker::is_trusted(world, &mark);
        if !trusted && path.exists() {
            if path.join("data.mdb").exists() {
                tracing::warn!(
                    path = %path.display(),
                    "the machine stopped while the state was being written: making it anew from snapshot and log"
                );
            }
            std::fs::remove_dir_all(&path).map_err(io("remove the old state"))?;
        }
        std::fs::create_dir_all(&path).map_err(io("make the state's directory"))?;
        marker::mark_in_use(world, &mark).map_err(io("mark the state as in use"))?;
        let bad = |cause: String| StartError::State {
            path: path.clone(),
            cause,
        };
        let limit = usize::try_from(limit_bytes).map_err(|e| bad(e.to_string()))?;
        let env = env::open(&path, limit, Table::ALL.len() as u32 + 1).map_err(|e| bad(e.to_string()))?;
        let tables = make_tables(&env).map_err(|e| bad(e.to_string()))?;
        let opened = Arc::new(Opened { env, tables });
        Ok((
            State {
                opened: RwLock::new(Some(opened)),
                mark,
                world: world.clone(),
                no_space: AtomicBool::new(false),
            },
            trusted,
        ))
    }

    fn opened(&self) -> Result<Arc<Opened>, StoreFault> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        opened
            .clone()
            .ok_or_else(|| StoreFault::Backend("the node has stopped".to_owned()))
    }

    /// Whether the disk is full, so that what is committed waits to be applied.
    pub fn no_space(&self) -> bool {
        self.no_space.load(Ordering::Relaxed)
    }

    /// Whether the node has stopped.
    pub fn is_closed(&self) -> bool {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        opened.is_none()
    }

    /// Runs `f` on a consistent view.
    ///
    /// # Errors
    /// When the state is closed or fails, or what `f` returns.
    pub fn read<T>(&self, f: impl FnOnce(&ReadTx<'_>) -> Result<T, StoreFault>) -> Result<T, StoreFault> {
        let opened = self.opened()?;
        let txn = opened.env.read_txn().map_err(fault)?;
        f(&ReadTx {
            tables: opened.tables,
            txn,
        })
    }

    /// How much room the state takes.
    ///
    /// # Errors
    /// When the state is closed or fails.
    pub fn size(&self) -> Result<StateSize, StoreFault> {
        let opened = self.opened()?;
        let txn = opened.env.read_txn().map_err(fault)?;
        let mut in_use = 0;
        for table in opened.tables.tables.iter().chain([&opened.tables.raft]) {
            let stat = table.stat(&txn).map_err(fault)?;
            let pages = stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
            in_use += pages as u64 * u64::from(stat.page_size);
        }
        Ok(StateSize {
            on_disk: opened.env.real_disk_size().map_err(fault)?,
            in_use,
        })
    }

    /// How many rows a table has.
    ///
    /// # Errors
    /// When the state is closed or fails.
    pub fn rows(&self, table: Table) -> Result<u64, StoreFault> {
        let opened = self.opened()?;
        let txn = opened.env.read_txn().map_err(fault)?;
        opened.tables.of(table).len(&txn).map_err(fault)
    }

    /// Runs `f` in one write transaction and commits it, unless `f` fails.
    fn write<T>(&self, f: impl FnOnce(&mut WriteTx<'_>) -> Result<T, StoreFault>) -> Result<T, StoreFault> {
        self.try_write(f).map_err(|fault| match fault {
            // LMDB calls a write for which only a part of the room was left an I/O error.
            StoreFault::Backend(cause) if self.is_disk_full() => StoreFault::NoSpace(cause),
            fault => fault,
        })
    }

    fn is_disk_full(&self) -> bool {
        let disk = nix::sys::statvfs::statvfs(&self.mark);
        disk.is_ok_and(|disk| disk.blocks_available() * disk.fragment_size() < LITTLE_ROOM)
    }

    fn try_write<T>(
        &self,
        f: impl FnOnce(&mut WriteTx<'_>) -> Result<T, StoreFault>,
    ) -> Result<T, StoreFault> {
        let opened = self.opened()?;
        let mut tx = WriteTx {
            tables: opened.tables,
            txn: opened.env.write_txn().map_err(fault)?,
        };
        let done = f(&mut tx)?;
        tx.txn.commit().map_err(fault)?;
        Ok(done)
    }

    /// What Raft must know.
    ///
    /// # Errors
    /// When the state fails.
    pub fn standing(&self) -> Result<Standing, StoreFault> {
        self.read(standing_of)
    }

    /// Replaces everything by a snapshot's rows, in one transaction.
    ///
    /// # Errors
    /// When the state fails, or `rows` does.
    pub fn replace(
        &self,
        meta: &SnapshotMeta,
        rows: impl FnOnce(&mut VisitRow<'_>) -> Result<(), StoreFault>,
    ) -> Result<(), StoreFault> {
        self.write(|tx| {
            for table in Table::ALL {
                tx.tables.of(table).clear(&mut tx.txn).map_err(fault)?;
            }
            rows(&mut |table, key, value| tx.tables.of(table).put(&mut tx.txn, key, value).map_err(fault))?;
            put_standing(tx, meta.last_log_id, Some(&meta.last_membership))
        })
    }

    /// Syncs and closes the environment; later reads fail. Blocks until the last reader is done.
    pub fn close(&self) {
        let opened = self.opened.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(opened) = opened else { return };
        // Raft's worker ends after Raft itself; what it still commits must not come after "clean".
        let begun = Instant::now();
        while Arc::strong_count(&opened) > 1 {
            if begun.elapsed() > Duration::from_secs(10) {
                tracing::warn!(
                    "somebody still holds the state open: the next start after a reboot makes it anew"
                );
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let synced = opened.env.force_sync().map_err(std::io::Error::other);
        if let Err(e) = synced.and_then(|()| marker::mark_clean(&self.world, &self.mark)) {
            tracing::warn!(error = %e, "the state could not be synced: the next start after a reboot makes it anew");
        }
        let closing = opened.env.clone().prepare_for_closing();
        drop(opened);
        if !closing.wait_timeout(Duration::from_secs(10)) {
            tracing::warn!("a reader still holds the state open");
        }
    }
}

fn make_tables(env: &Env<WithoutTls>) -> heed::Result<Tables> {
    let raft = make_table(env, "raft")?;
    let mut tables = [raft; Table::ALL.len()];
    for table in Table::ALL {
        tables[table as usize - 1] = make_table(env, table.name())?;
    }
    Ok(Tables { tables, raft })
}

fn make_table(env: &Env<WithoutTls>, name: &str) -> heed::Result<Db> {
    let made = env.create_databases_and_commit(env.write_txn()?, |opener, txn| {
        opener
            .create_database::<Bytes, Bytes>(txn, Some(name))
            .map(CommitOrAbort::<_, heed::Error>::Commit)
    })?;
    match made {
        CommitOrAbort::Commit(db) => Ok(db),
        CommitOrAbort::Abort(e) => Err(e),
    }
}

pub(crate) fn standing_of(tx: &ReadTx<'_>) -> Result<Standing, StoreFault> {
    Ok(Standing {
        applied: raft_row(tx, APPLIED)?.unwrap_or_default(),
        members: raft_row(tx, MEMBERS)?.unwrap_or_default(),
    })
}

fn raft_row<T: DeserializeOwned>(tx: &ReadTx<'_>, key: &[u8]) -> Result<Option<T>, StoreFault> {
    let Some(row) = tx.tables.raft.get(&tx.txn, key).map_err(fault)? else {
        return Ok(None);
    };
    postcard::from_bytes(row)
        .map(Some)
        .map_err(|e| StoreFault::Corrupt {
            table: "raft",
            key: key.to_vec(),
            cause: e.to_string(),
        })
}

fn put_standing(
    tx: &mut WriteTx<'_>,
    applied: Option<LogId>,
    members: Option<&StoredMembership>,
) -> Result<(), StoreFault> {
    let encode = |e: postcard::Error| StoreFault::Backend(format!("a row of raft does not encode: {e}"));
    let row = postcard::to_stdvec(&applied).map_err(encode)?;
    tx.tables.raft.put(&mut tx.txn, APPLIED, &row).map_err(fault)?;
    if let Some(members) = members {
        let row = postcard::to_stdvec(members).map_err(encode)?;
        tx.tables.raft.put(&mut tx.txn, MEMBERS, &row).map_err(fault)?;
    }
    Ok(())
}

/// Visits every row of every table, in table and key order.
pub(crate) fn all_rows(tx: &ReadTx<'_>, visit: &mut VisitRow<'_>) -> Result<(), StoreFault> {
    use corten_store::tables::Read;
    for table in Table::ALL {
        tx.scan(table, &KeyRange::all(), &mut |key, value| {
            visit(table, key, value)?;
            Ok(std::ops::ControlFlow::Continue(()))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
