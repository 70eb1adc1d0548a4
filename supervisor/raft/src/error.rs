//! What can go wrong, one enum per operation.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::peer::client::AskError;

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
         configuration says member {member:x} of cluster {cluster:x}: its peer URLs or its token are others than when the \
         directory was made. Give it those again, or, if it is to be another member, another directory"
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
    /// The data directory is an etcd's.
    #[error(
        "{0}: this is the data directory of an etcd, whose files are not understood here: start with another directory, and \
         copy the keys while the etcd runs (etcdctl make-mirror copies those of v3)"
    )]
    OfEtcd(PathBuf),
    /// Another process uses the data directory.
    #[error("{0}: the data directory is in use by another process")]
    InUse(PathBuf),
    /// The log is damaged where it had been written safely: cutting it would lose acknowledged writes.
    #[error(
        "{file}: the log is damaged at byte {offset}: {cause}; acknowledged writes may be lost if it is cut, so this \
         node does not start: restore this directory from a backup. Do not empty it: a member that forgot what it \
         acknowledged could let the cluster lose it"
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
    /// A running cluster could not be joined.
    #[error("{0}")]
    Join(String),
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
    /// The leader does not understand the proposal: it is of another version. It was not made.
    #[error("the leader refused the request: {0}")]
    Refused(String),
    /// The node is shutting down or its storage has failed.
    #[error("the node has stopped: {0}")]
    Stopped(String),
    /// What waits for its answer on this node takes all the memory there is for that. The proposal was not made.
    #[error("too many requests")]
    TooMany,
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
    /// The leader did not answer as it should.
    #[error(transparent)]
    Asked(#[from] AskError),
}
