//! What can go wrong, one enum per operation.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// This member is not in the initial cluster.
    #[error("member {name:?} is not in the initial cluster ({cluster}): give it there with its peer URL")]
    NotInCluster {
        /// The name looked for.
        name: String,
        /// What was given.
        cluster: String,
    },
    /// The data directory belongs to a node of another cluster or to another member.
    #[error(
        "{path}: the data directory belongs to member {found_member:x} of cluster {found_cluster:x}, but the \
         configuration says member {member:x} of cluster {cluster:x}: use another data directory, or remove this one \
         to lose what it holds"
    )]
    OtherCluster {
        /// The file that says so.
        path: PathBuf,
        /// Its member.
        found_member: u64,
        /// Its cluster.
        found_cluster: u64,
        /// The configured member.
        member: u64,
        /// The configured cluster.
        cluster: u64,
    },
    /// Another process uses the data directory.
    #[error("{0}: the data directory is in use by another process")]
    InUse(PathBuf),
    /// The log is damaged where it had been written safely: cutting it would lose acknowledged writes.
    #[error(
        "{file}: the log is damaged at byte {offset}: {cause}; acknowledged writes may be lost if it is cut, so this \
         node does not start: let it rejoin with an empty data directory, or restore a backup"
    )]
    CorruptLog {
        /// The segment file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        cause: String,
    },
    /// A snapshot does not match its checksums.
    #[error("{file}: the snapshot is damaged: {cause}")]
    CorruptSnapshot {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// A file could not be read or written.
    #[error("{path}: cannot {what}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// The state could not be opened.
    #[error("{path}: cannot open the state: {cause}")]
    State {
        /// Where it lies.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// A setting makes no sense.
    #[error("{0}")]
    BadConfig(String),
    /// Raft itself refused.
    #[error("raft does not start: {0}")]
    Raft(String),
}

/// Why a proposal or a linearizable read failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ProposeError {
    /// No leader was known until the deadline. The proposal was not made.
    #[error("no leader: the cluster has no quorum, or an election is under way")]
    NoLeader,
    /// The proposal was made but not seen committed by the deadline: it may still be.
    #[error("request timed out")]
    Timeout,
    /// The leader changed while the proposal was under way: it may or may not be committed.
    #[error("request may be lost: {0}")]
    Lost(String),
    /// The disk is full. The proposal was not made.
    #[error("no space left on the disk of the store: writes are refused until there is room")]
    NoSpace,
    /// The proposal is larger than the limit. It was not made.
    #[error("request is too large: {size} bytes, at most {limit}")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The node is shutting down or its storage has failed.
    #[error("the node has stopped: {0}")]
    Stopped(String),
}

/// Why a message to the leader failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// No leader is known.
    #[error("no leader is known")]
    NoLeader,
    /// This node leads itself; the caller serves the request locally.
    #[error("this node is the leader")]
    IsMe,
    /// The leader could not be reached in time.
    #[error("{url}: {cause}")]
    Unreachable {
        /// Where it was sought.
        url: String,
        /// Why not.
        cause: String,
    },
    /// The leader answered with an error.
    #[error("{url}: HTTP status {status}: {body}")]
    Status {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
        /// The answer's body, as text.
        body: String,
    },
}
