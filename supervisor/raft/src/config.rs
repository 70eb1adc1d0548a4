//! How a node is started.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::observe::{Observer, Unobserved};
use crate::tls::ClientTls;

/// A reboot, with a server's firmware and the check of a large disk, is over by then, and places no second copy of the log
/// on a machine that has to fetch it; longer would leave the cluster one failure away from losing its quorum for nothing.
pub const REMOVE_DELAY_MS: u64 = 5 * 60_000;

/// What a node needs to know to form or rejoin its cluster.
#[derive(Debug, Clone)]
pub struct Config {
    /// This member's name (`--name`); must appear in `initial_cluster` when there is no data yet.
    pub name: String,
    /// Where log, state and snapshots lie; made if missing. One node at a time may use it.
    pub data_dir: PathBuf,
    /// Name and peer URL of each first member; a name may stand several times with further URLs. A data directory that
    /// holds a node refuses one that names it differently.
    pub initial_cluster: Vec<(String, String)>,
    /// Where peers reach this member; empty: where `initial_cluster` says.
    pub advertise_peer_urls: Vec<String>,
    /// The cluster runs already: it is joined, not formed (`--initial-cluster-state existing`). A member that was added
    /// stands in `initial_cluster`; one that does not asks to be taken in as a standby.
    pub existing: bool,
    /// How many members are to vote; `None`: as many as founded the cluster, and were added and removed since.
    pub active_size: Option<usize>,
    /// How long a voter may be silent before a standby takes its place, in ms; `None`: for ever.
    pub remove_delay_ms: Option<u64>,
    /// The other members are lost for good: this one goes on alone with what it has (`--force-new-cluster`).
    pub force_new_cluster: bool,
    /// What connections to peers with `https` URLs are made with.
    pub peer_tls: Option<ClientTls>,
    /// Tells clusters with equal addresses apart.
    pub initial_cluster_token: String,
    /// Where clients reach this member.
    pub advertise_client_urls: Vec<String>,
    /// How often the leader shows itself, in ms.
    pub heartbeat_ms: u64,
    /// How long without a leader until an election, in ms; waits are drawn from one to two times this.
    pub election_ms: u64,
    /// How many log entries between two snapshots.
    pub snapshot_count: u64,
    /// How many entries that are already in a snapshot the log keeps for followers that lag.
    pub keep_entries: u64,
    /// How much of the log one segment file holds before the next is begun, in bytes.
    pub segment_bytes: u64,
    /// The version the first leader gives the cluster (`/version`'s etcdcluster).
    pub cluster_version: String,
    /// How large the state may grow, in bytes: address space, not memory or disk.
    pub state_limit_bytes: u64,
    /// How many bytes of proposals may wait for their answers before further ones are refused. Each also keeps what it was
    /// made of in memory, once more.
    pub waiting_bytes: u32,
    /// A request that takes longer gets a line in the log, in ms.
    pub slow_request_ms: u64,
    /// Who is told how the work goes.
    pub observer: Arc<dyn Observer>,
}

impl Config {
    /// A configuration with etcd's defaults for everything that is not given.
    pub fn new(name: impl Into<String>, data_dir: impl Into<PathBuf>) -> Config {
        Config {
            name: name.into(),
            data_dir: data_dir.into(),
            initial_cluster: Vec::new(),
            advertise_peer_urls: Vec::new(),
            existing: false,
            active_size: None,
            remove_delay_ms: Some(REMOVE_DELAY_MS),
            force_new_cluster: false,
            peer_tls: None,
            initial_cluster_token: "etcd-cluster".to_owned(),
            advertise_client_urls: Vec::new(),
            heartbeat_ms: 100,
            election_ms: 1000,
            snapshot_count: 10_000,
            keep_entries: 5_000,
            segment_bytes: 16 << 20,
            cluster_version: "3.4.0".to_owned(),
            state_limit_bytes: 64 << 30,
            waiting_bytes: 128 << 20,
            slow_request_ms: 100,
            observer: Arc::new(Unobserved),
        }
    }

    /// How long a proposal or a linearizable read waits at most: etcd's 5 s + 2 elections.
    pub fn request_timeout_ms(&self) -> u64 {
        5_000 + 2 * self.election_ms
    }
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id, from its peer URLs and the token.
    pub id: u64,
    /// Its name; empty until it has published itself.
    pub name: String,
    /// Where peers reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty until it has published itself.
    pub client_urls: Vec<String>,
    /// It does not vote: it was added as a learner, or has not caught up yet.
    pub learner: bool,
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The leader's member id.
    pub id: u64,
    /// The term it leads in: whoever leads again has lost the lead in between.
    pub term: u64,
    /// Where peers reach it.
    pub peer_url: String,
    /// Whether it is this node.
    pub is_me: bool,
}

/// A node's view of itself and its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// This member.
    pub member_id: u64,
    /// The cluster.
    pub cluster_id: u64,
    /// The leader, 0 when there is none.
    pub leader_id: u64,
    /// The Raft term.
    pub term: u64,
    /// The last log entry this node has.
    pub raft_index: u64,
    /// The last log entry in this node's state.
    pub applied_index: u64,
    /// The last log entry this node knows to be committed.
    pub committed_index: u64,
    /// The v2 store's index.
    pub etcd_index: u64,
    /// Whether it leads, or would, but no majority has answered it for longer than any request waits.
    pub without_quorum: bool,
    /// Whether the disk is full: reads go on, writes are refused.
    pub no_space: bool,
}

/// How much room the state takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateSize {
    /// The file. It never shrinks; what is free in it is used again.
    pub on_disk: u64,
    /// What of it holds data.
    pub in_use: u64,
}
