//! A snapshot outside of its cluster: what is in it, and a new cluster's data directory made from it.
//!
//! Every first member of the new cluster is made from the same snapshot, and so has the same state under the same last
//! entry; the members, and with them the cluster's id, are what the configuration says. Terms begin anew.

use std::fs::{DirBuilder, File};
use std::io::{self, BufWriter, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use corten_store::memory::Memory;
use corten_store::tables::{Table, Write};
use corten_store::{StoreFault, kv, meta, restore as rows};
use openraft::CommittedLeaderId;

use crate::identity::{self, Identity};
use crate::snapshot::{Snapshots, format};
use crate::types::{LogId, Peer, SnapshotMeta, StoredMembership};
use crate::world::World;
use crate::{Config, StartError};

/// What is in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    /// The cluster it was made by.
    pub cluster_id: u64,
    /// The v3 data's revision.
    pub revision: i64,
    /// The v2 keys' index.
    pub etcd_index: u64,
    /// How many rows it has.
    pub rows: u64,
    /// Of all rows; equal states have equal hashes.
    pub hash: u32,
}

/// Why a snapshot could not be read or restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It is not whole, or none of ours.
    #[error("the snapshot cannot be used: {0}")]
    Damaged(String),
    /// There is something where the new data directory is to be.
    #[error("data-dir {0:?} exists")]
    Exists(PathBuf),
    /// The configuration does not name this member.
    #[error(transparent)]
    Config(StartError),
    /// A file cannot be written.
    #[error("{path}: cannot write the data directory: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Reads a snapshot to its end; what follows that is not looked at.
///
/// # Errors
/// [`RestoreError::Damaged`].
pub fn inspect(content: &mut impl Read) -> Result<Backup, RestoreError> {
    let (cluster_id, _) = format::read_any_head(content).map_err(RestoreError::Damaged)?;
    let mut counters = Memory::default();
    let mut hash = 0;
    let rows = format::read_rows(content, &mut |table, key, value| {
        for part in [&[table as u8][..], key, value] {
            hash = crc32c::crc32c_append(hash, part);
        }
        match table {
            Table::Meta => counters.put(table, key, value).map_err(|e| e.to_string()),
            _ => Ok(()),
        }
    });
    let rows = rows.map_err(RestoreError::Damaged)?;
    let read = |e: StoreFault| RestoreError::Damaged(e.to_string());
    Ok(Backup {
        cluster_id,
        revision: kv::revision(&counters).map_err(read)?,
        etcd_index: meta::etcd_index(&counters).map_err(read)?,
        rows,
        hash,
    })
}

/// Makes the data directory of one member of a new cluster from a snapshot; gives the member's and the cluster's id.
///
/// # Errors
/// See [`RestoreError`]; nothing is left behind then.
pub fn restore(content: &mut impl Read, config: &Config) -> Result<(u64, u64), RestoreError> {
    let dir = &config.data_dir;
    let identity = identity::configured(config).ok_or_else(|| {
        RestoreError::Config(StartError::NotInCluster {
            name: config.name.clone(),
            cluster: format!("{:?}", config.initial_cluster),
        })
    })?;
    if dir.exists() {
        return Err(RestoreError::Exists(dir.clone()));
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| RestoreError::Io {
        path: dir.clone(),
        source,
    })?;
    match fill(content, config, identity) {
        Ok(()) => Ok((identity.member, identity.cluster)),
        Err(error) => {
            if let Err(left) = std::fs::remove_dir_all(dir) {
                tracing::warn!(dir = %dir.display(), error = %left, "an unfinished data directory stays");
            }
            Err(error)
        }
    }
}

fn fill(content: &mut impl Read, config: &Config, identity: Identity) -> Result<(), RestoreError> {
    let world = World::real();
    let snapshots =
        Snapshots::open(&world, &config.data_dir, identity.cluster).map_err(RestoreError::Config)?;
    let (_, old) = format::read_any_head(content).map_err(RestoreError::Damaged)?;
    let index = old.last_log_id.map_or(1, |id| id.index);
    let last = Some(LogId::new(CommittedLeaderId::new(0, 0), index));
    let members = identity::initial_members(config);
    let membership = openraft::Membership::new(
        vec![members.iter().map(|member| member.id).collect()],
        members
            .iter()
            .map(|member| (member.id, Peer::voter(&member.peer_urls)))
            .collect::<std::collections::BTreeMap<_, _>>(),
    );
    let meta = SnapshotMeta {
        last_log_id: last,
        last_membership: StoredMembership::new(last, membership),
        snapshot_id: "restored".to_owned(),
    };
    let path = snapshots.path_for(last);
    let written = write(content, &path, identity.cluster, &meta)?;
    let io = |source| RestoreError::Io {
        path: path.clone(),
        source,
    };
    written.sync_all().map_err(io)?;
    path.parent()
        .map_or(Ok(()), |dir| world.disk.sync_dir(dir))
        .map_err(io)?;
    // Last: with it, the directory is one a node starts from.
    identity::remember(&*world.disk, &config.data_dir, identity, false).map_err(io)
}

/// Copies the rows that stay.
fn write(
    content: &mut impl Read,
    path: &Path,
    cluster: u64,
    meta: &SnapshotMeta,
) -> Result<File, RestoreError> {
    let io = |source| RestoreError::Io {
        path: path.to_path_buf(),
        source,
    };
    let file = File::create(path).map_err(io)?;
    let mut out = format::Writer::begin(BufWriter::new(file), cluster, meta).map_err(io)?;
    let mut broken = None;
    let read = format::read_rows(content, &mut |table, key, value| {
        if !rows::keeps(table, key) {
            return Ok(());
        }
        out.row(table, key, value).map_err(|e| {
            let told = e.to_string();
            broken = Some(e);
            told
        })
    });
    match (read, broken) {
        (Err(_), Some(source)) => return Err(io(source)),
        (read, _) => read.map_err(RestoreError::Damaged)?,
    };
    let (out, _) = out.finish().map_err(io)?;
    out.into_inner().map_err(|e| io(e.into_error()))
}
