//! Snapshots: the whole store in one checked file, to bring a follower up to date and to let the log be purged.
//!
//! ```text
//! <data dir>/snap/00000000000000012345-0000000000000007.snap    index and term of the last entry in it; one is kept
//!
//! file    magic "CORTSNP1" | cluster u64 | length u32, crc32c u32 of the meta | meta (postcard SnapshotMeta)
//!         blocks           length u32 > 0, crc32c u32 | rows
//!         end              length u32 = 0, crc32c u32 of the rows' count | count u64
//! row     table u8 | key length u16 | value length u32 | key | value          tables and keys ascending
//! ```
//!
//! Numbers are little-endian. A snapshot gets its name only when it is whole and on disk; one that is received is checked
//! to its end, synced and named before the state is replaced, so a crash in between leaves either the old state or a
//! snapshot the next start loads.

mod file;
pub(crate) mod format;
pub mod fuzz;

pub use file::SnapshotFile;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use corten_store::tables::Table;
use corten_store::{StoreFault, auth};
use openraft::Snapshot;

use crate::StartError;
use crate::disk::FromBegin;
use crate::log::is_full;
use crate::observe::{Observation, Sight};
use crate::state::{self, State};
use crate::types::{LogId, SnapshotMeta, TypeConfig};
use crate::world::World;

/// How long a full disk is left alone before the next try.
const FULL_DISK_PAUSE: Duration = Duration::from_millis(500);

/// The directory of snapshots.
pub struct Snapshots {
    pub(crate) world: World,
    dir: PathBuf,
    cluster: u64,
    received: AtomicU64,
    /// Who is told how it goes.
    sight: OnceLock<Sight>,
}

/// Why a snapshot could not be built or installed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file does not match its checksums, or is another cluster's.
    #[error("{path}: the snapshot is damaged: {cause}")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The state failed.
    #[error(transparent)]
    State(#[from] StoreFault),
}

impl SnapshotError {
    /// Whether it is for want of room on the disk.
    pub fn is_full(&self) -> bool {
        match self {
            SnapshotError::Io { source, .. } => is_full(source),
            SnapshotError::State(fault) => matches!(fault, StoreFault::NoSpace(_)),
            SnapshotError::Damaged { .. } => false,
        }
    }
}

impl Snapshots {
    /// The snapshots below `data_dir`; unfinished files are removed.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub(crate) fn open(world: &World, data_dir: &Path, cluster: u64) -> Result<Snapshots, StartError> {
        let dir = data_dir.join("snap");
        let io = |what| {
            let path = dir.clone();
            move |source| StartError::Io { path, what, source }
        };
        world
            .disk
            .make_dir(&dir)
            .map_err(io("make the directory of snapshots"))?;
        for path in world.disk.list(&dir).map_err(io("list the snapshots"))? {
            if path.extension().is_some_and(|ending| ending == "tmp") {
                world
                    .disk
                    .remove(&path)
                    .map_err(io("remove an unfinished snapshot"))?;
            }
        }
        Ok(Snapshots {
            world: world.clone(),
            dir,
            cluster,
            received: AtomicU64::new(0),
            sight: OnceLock::new(),
        })
    }

    /// Tells `sight` how it goes from now on.
    pub(crate) fn watched_by(&self, sight: Sight) {
        self.sight.get_or_init(|| sight);
    }

    fn see(&self, seen: Observation) {
        if let Some(sight) = self.sight.get() {
            sight.see(seen);
        }
    }

    /// The newest snapshot's file, if there is one.
    fn newest(&self) -> io::Result<Option<PathBuf>> {
        let paths = self.world.disk.list(&self.dir)?.into_iter();
        Ok(paths
            .filter(|path| path.extension().is_some_and(|ending| ending == "snap"))
            .max())
    }

    pub(crate) fn path_for(&self, last: Option<LogId>) -> PathBuf {
        let (index, term) = last.map_or((0, 0), |id| (id.index, id.leader_id.term));
        self.dir.join(format!("{index:020}-{term:016}.snap"))
    }

    /// The newest snapshot, open for reading from its begin.
    ///
    /// # Errors
    /// When it cannot be read, or its head is damaged.
    pub fn current(&self) -> Result<Option<Snapshot<TypeConfig>>, SnapshotError> {
        let path = match self.newest() {
            Ok(Some(path)) => path,
            Ok(None) => return Ok(None),
            Err(source) => {
                return Err(SnapshotError::Io {
                    path: self.dir.clone(),
                    source,
                });
            }
        };
        let meta = self.meta_of(&path)?;
        let file = SnapshotFile::open(&*self.world.disk, &path)
            .map_err(|source| SnapshotError::Io { path, source })?;
        Ok(Some(Snapshot {
            meta,
            snapshot: Box::new(file),
        }))
    }

    /// What the newest snapshot says of itself.
    ///
    /// # Errors
    /// As [`Snapshots::current`].
    pub fn current_meta(&self) -> Result<Option<SnapshotMeta>, SnapshotError> {
        Ok(self.current()?.map(|snapshot| snapshot.meta))
    }

    fn meta_of(&self, path: &Path) -> Result<SnapshotMeta, SnapshotError> {
        format::read_head(&mut self.reader(path)?, self.cluster).map_err(|cause| damaged(path, cause))
    }

    fn reader(&self, path: &Path) -> Result<BufReader<FromBegin>, SnapshotError> {
        let file = self.world.disk.open(path).map_err(failed(path))?;
        Ok(BufReader::new(FromBegin::new(file)))
    }

    /// Writes the present state as a snapshot, durably; older ones go.
    ///
    /// # Errors
    /// When state or file fail. The state and older snapshots are as before then.
    pub fn build(&self, state: &State) -> Result<Snapshot<TypeConfig>, SnapshotError> {
        let unfinished = self.dir.join("building.tmp");
        self.build_at(&unfinished, state).inspect_err(|_| {
            // On a full disk its room is needed.
            let _ = self.world.disk.remove(&unfinished);
        })
    }

    fn build_at(&self, unfinished: &Path, state: &State) -> Result<Snapshot<TypeConfig>, SnapshotError> {
        let begun = Instant::now();
        let disk = &self.world.disk;
        let file = disk.create(unfinished).map_err(failed(unfinished))?;
        let (out, meta, rows) = self.write_state(FromBegin::new(file), unfinished, state, |_, _| true)?;
        let written = Instant::now();
        out.file.sync_all().map_err(failed(unfinished))?;
        let sync = written.elapsed();
        let path = self.path_for(meta.last_log_id);
        disk.rename(unfinished, &path)
            .and_then(|()| disk.sync_dir(&self.dir))
            .map_err(failed(&path))?;
        let took = begun.elapsed();
        self.see(Observation::SnapshotBuilt { took, sync });
        tracing::info!(file = %path.display(), rows, "snapshot built");
        self.remove_older_than(&path);
        let file = SnapshotFile::open(&*self.world.disk, &path)
            .map_err(|source| SnapshotError::Io { path, source })?;
        Ok(Snapshot {
            meta,
            snapshot: Box::new(file),
        })
    }

    /// Writes the present state as a snapshot into a file without a name, which lasts as long as it is open; open at its
    /// begin. For an operator's backup: what Raft keeps is not touched, and the members' secret stays with them.
    ///
    /// # Errors
    /// When state or file fail.
    pub fn export(&self, state: &State) -> Result<File, SnapshotError> {
        let number = self.received.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("export-{number}.tmp"));
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(failed(&path))?;
        std::fs::remove_file(&path).map_err(failed(&path))?;
        let leaves = |table, key: &[u8]| !auth::is_token_secret(table, key);
        let (mut file, ..) = self.write_state(file, &path, state, leaves)?;
        file.rewind().map_err(failed(&path))?;
        Ok(file)
    }

    /// Writes the rows that are `wanted` to `out`, which lies at `path`.
    fn write_state<W: Write>(
        &self,
        out: W,
        path: &Path,
        state: &State,
        wanted: fn(Table, &[u8]) -> bool,
    ) -> Result<(W, SnapshotMeta, u64), SnapshotError> {
        state.read(|tx| {
            let standing = state::standing_of(tx)?;
            let meta = SnapshotMeta {
                last_log_id: standing.applied,
                snapshot_id: standing
                    .applied
                    .map_or_else(|| "empty".to_owned(), |id| id.to_string()),
                last_membership: standing.members,
            };
            // A file's failure leaves the transaction, so it is carried out as a value.
            Ok(self
                .write(out, path, &meta, tx, wanted)
                .map(|(out, rows)| (out, meta, rows)))
        })?
    }

    fn write<W: Write>(
        &self,
        out: W,
        path: &Path,
        meta: &SnapshotMeta,
        tx: &state::ReadTx<'_>,
        wanted: fn(Table, &[u8]) -> bool,
    ) -> Result<(W, u64), SnapshotError> {
        let failed = failed(path);
        let mut out = format::Writer::begin(BufWriter::new(out), self.cluster, meta).map_err(failed)?;
        let mut broken = None;
        let visited = state::all_rows(tx, &mut |table, key, value| {
            if !wanted(table, key) {
                return Ok(());
            }
            out.row(table, key, value).map_err(|e| {
                let told = StoreFault::Backend(e.to_string());
                broken = Some(e);
                told
            })
        });
        match (visited, broken) {
            (Err(_), Some(source)) => return Err(failed(source)),
            (visited, _) => visited?,
        }
        let (out, rows) = out.finish().map_err(failed)?;
        let out = out.into_inner().map_err(|e| failed(e.into_error()))?;
        Ok((out, rows))
    }

    /// A new file for a snapshot that is about to come.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn receive(&self) -> Result<SnapshotFile, SnapshotError> {
        let number = self.received.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("receiving-{number}.tmp"));
        SnapshotFile::create(&self.world.disk, &path).map_err(failed(&path))
    }

    /// Checks a received snapshot, keeps it durably, and replaces the state by it.
    ///
    /// # Errors
    /// When it is damaged (then nothing has changed), or file or state fail. When there is no room, it may be tried again.
    pub fn install(
        &self,
        state: &State,
        meta: &SnapshotMeta,
        received: &SnapshotFile,
    ) -> Result<(), SnapshotError> {
        self.install_file(state, meta, received.path())
    }

    pub(crate) fn install_file(
        &self,
        state: &State,
        meta: &SnapshotMeta,
        file: &Path,
    ) -> Result<(), SnapshotError> {
        let (path, disk) = (self.path_for(meta.last_log_id), &self.world.disk);
        // At another try it has its name already.
        let file = if disk.exists(file) { file } else { path.as_path() };
        let said = self.check(file)?;
        if said != *meta {
            return Err(damaged(
                file,
                format!("it says it is {said}, but was sent as {meta}"),
            ));
        }
        let keep = || {
            let begun = Instant::now();
            disk.open(file)?.sync_all()?;
            let took = begun.elapsed();
            self.see(Observation::SnapshotSynced { took });
            disk.rename(file, &path)?;
            disk.sync_dir(&self.dir)
        };
        keep().map_err(failed(&path))?;
        self.load(state, &path)?;
        self.remove_older_than(&path);
        Ok(())
    }

    /// Reads a file to its end, checking everything.
    fn check(&self, path: &Path) -> Result<SnapshotMeta, SnapshotError> {
        let mut reader = self.reader(path)?;
        let meta = format::read_head(&mut reader, self.cluster).map_err(|cause| damaged(path, cause))?;
        format::read_rows(&mut reader, &mut |_, _, _| Ok(())).map_err(|cause| damaged(path, cause))?;
        Ok(meta)
    }

    /// Replaces the state by the snapshot at `path`.
    fn load(&self, state: &State, path: &Path) -> Result<SnapshotMeta, SnapshotError> {
        let mut reader = self.reader(path)?;
        let meta = format::read_head(&mut reader, self.cluster).map_err(|cause| damaged(path, cause))?;
        let mut bad = None;
        let replaced = state.replace(&meta, |put| {
            let mut fault = None;
            let read = format::read_rows(&mut reader, &mut |table, key, value| {
                put(table, key, value).map_err(|e| {
                    let told = e.to_string();
                    fault = Some(e);
                    told
                })
            });
            match (read, fault) {
                (Ok(_), _) => Ok(()),
                (Err(_), Some(fault)) => Err(fault),
                (Err(cause), None) => {
                    bad = Some(cause.clone());
                    Err(StoreFault::Backend(cause))
                }
            }
        });
        match (replaced, bad) {
            (Ok(()), _) => Ok(meta),
            (Err(_), Some(cause)) => Err(damaged(path, cause)),
            (Err(fault), None) => Err(fault.into()),
        }
    }

    /// Loads the newest snapshot into the state if it is ahead of it; with a full disk it waits for room.
    ///
    /// # Errors
    /// When the snapshot is damaged, or file or state fail.
    pub fn catch_up(&self, state: &State) -> Result<(), SnapshotError> {
        let Some(meta) = self.current_meta()? else {
            return Ok(());
        };
        if meta.last_log_id > state.standing()?.applied {
            let path = self.path_for(meta.last_log_id);
            tracing::info!(file = %path.display(), "the snapshot is ahead of the state: loading it");
            while let Err(error) = self.load(state, &path) {
                if !error.is_full() {
                    return Err(error);
                }
                tracing::error!(%error, "no space left to load a snapshot: waiting until there is room");
                std::thread::sleep(FULL_DISK_PAUSE);
            }
        }
        Ok(())
    }

    /// Names sort by the index they reach; a newer one may have been installed while this one was built.
    fn remove_older_than(&self, kept: &Path) {
        let disk = &self.world.disk;
        for path in disk.list(&self.dir).unwrap_or_default() {
            let is_older = path.extension().is_some_and(|ending| ending == "snap") && path.as_path() < kept;
            if is_older && let Err(e) = disk.remove(&path) {
                tracing::warn!(file = %path.display(), error = %e, "an old snapshot stays");
            }
        }
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> SnapshotError + Copy + '_ {
    |source| SnapshotError::Io {
        path: path.to_path_buf(),
        source,
    }
}

fn damaged(path: &Path, cause: String) -> SnapshotError {
    SnapshotError::Damaged {
        path: path.to_path_buf(),
        cause,
    }
}
