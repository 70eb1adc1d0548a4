//! The supervisor's configuration: fragments (texts by variable) -> [`Settings`], a pure function that reports every
//! problem it finds, each with variable, value and what to do.
//!
//! Refuses to read anything: environment and files are arguments. The danger: a setting understood otherwise than
//! etcd or fleet would. Defaults are theirs: one node on loopback.

pub mod duration;
pub mod fragments;
mod parse;
pub mod url;
pub mod variables;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use fragments::Fragments;
use parse::Reader;
use variables::Remark;

/// Everything the supervisor is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The store and its cluster.
    pub etcd: Etcd,
    /// The scheduler and this machine.
    pub fleet: Fleet,
    /// Log filter in `tracing`'s `EnvFilter` form, e.g. `info,corten_raft=debug`.
    pub log: String,
}

/// How this member stands in the store's cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etcd {
    /// This member's name, unique in the cluster.
    pub name: String,
    /// Log, state and snapshots.
    pub data_dir: PathBuf,
    /// Where peers are listened to.
    pub listen_peer: Vec<SocketAddr>,
    /// Where clients are listened to.
    pub listen_client: Vec<SocketAddr>,
    /// What we tell peers.
    pub advertise_peer_urls: Vec<String>,
    /// What we tell clients.
    pub advertise_client_urls: Vec<String>,
    /// The founding members: name and peer URL.
    pub initial_cluster: Vec<(String, String)>,
    /// Keeps two clusters with the same URLs apart.
    pub initial_cluster_token: String,
    /// Leader to follower, milliseconds.
    pub heartbeat_ms: u64,
    /// Without a heartbeat for this long, a follower stands for election, milliseconds.
    pub election_ms: u64,
    /// Log entries between snapshots.
    pub snapshot_count: u64,
}

impl Etcd {
    /// How long a request may wait for the cluster: etcd's 5 s plus two elections.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(5_000 + 2 * self.election_ms)
    }
}

/// How this machine takes part in scheduling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// `key=value` pairs units select machines by.
    pub metadata: BTreeMap<String, String>,
    /// The address shown to users; found from the interfaces when absent.
    pub public_ip: Option<String>,
    /// A machine not heard of for this long is gone.
    pub agent_ttl: Duration,
    /// Entries per page of the fleet API.
    pub token_limit: u16,
    /// Where unit files are written for systemd.
    pub units_directory: PathBuf,
    /// This machine never schedules while it leads (it hands no decision on: the cluster waits for another leader).
    pub disable_engine: bool,
    /// Socket for the fleet API when systemd passes none.
    pub socket: PathBuf,
    /// Instead of /etc/machine-id, for several supervisors on one host.
    pub machine_id: Option<String>,
}

/// Why there are no settings: every problem, one per line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration is wrong:\n  {}", problems.join("\n  "))]
pub struct SettingsError {
    /// Each names variable, value and what to do.
    pub problems: Vec<String>,
}

/// Settings and what is to be said about what was given for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Understood {
    /// The settings.
    pub settings: Settings,
    /// Lines for the journal: variables without effect.
    pub warnings: Vec<String>,
}

/// Understands everything given.
///
/// # Errors
/// Every problem at once.
pub fn understand(given: &Fragments) -> Result<Understood, SettingsError> {
    let mut reader = Reader::new(given);
    let etcd = reader.etcd();
    let fleet = reader.fleet();
    let log = reader.log();
    let (mut problems, mut warnings) = reader.finish();
    for remark in variables::remarks(given) {
        match remark {
            Remark::Warning(line) => warnings.push(line),
            Remark::Refusal(line) => problems.push(line),
        }
    }
    if problems.is_empty() {
        Ok(Understood {
            settings: Settings { etcd, fleet, log },
            warnings,
        })
    } else {
        Err(SettingsError { problems })
    }
}

#[cfg(test)]
mod tests;
