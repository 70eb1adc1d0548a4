//! The configuration of supervisor and store: fragments (texts by variable) -> [`Settings`] or [`Alone`], pure functions
//! that report every problem they find, each with variable, value and what to do.
//!
//! Refuses to read anything: environment and files are arguments. The danger: a setting understood otherwise than
//! etcd or fleet would. Defaults are theirs: one node on loopback.

mod alone;
pub mod duration;
mod etcd;
mod founders;
pub mod fragments;
mod parse;
pub mod tls;
pub mod url;
pub mod variables;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use fragments::Fragments;
use parse::Reader;
use tls::Tls;
use variables::Remark;

/// Which program reads the variables: they mean the same to both, but where nothing is given etcd 2's defaults hold for
/// the supervisor, whose names and ports it inherits, and etcd 3.4's for the store alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `corten supervisor`.
    Supervisor,
    /// `corten etcd`.
    Etcd,
}

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
    pub listen_peer: Vec<Listen>,
    /// Where clients are listened to.
    pub listen_client: Vec<Listen>,
    /// Where only /metrics and /health are served, besides.
    pub listen_metrics: Vec<Listen>,
    /// TLS towards clients.
    pub client_tls: Tls,
    /// TLS among peers, both ways.
    pub peer_tls: Tls,
    /// What we tell peers.
    pub advertise_peer_urls: Vec<String>,
    /// What we tell clients.
    pub advertise_client_urls: Vec<String>,
    /// The founding members: name and peer URL, a name once per URL. Empty with `discovery`.
    pub initial_cluster: Vec<(String, String)>,
    /// Where to ask for the founding members instead.
    pub discovery: Option<Discovery>,
    /// The cluster runs already: this member joins it, as a standby if the founding members do not name it.
    pub existing: bool,
    /// Who finds the discovered cluster full joins it as a standby.
    pub stands_by_when_full: bool,
    /// How many members are to vote; as many as founded the cluster when absent.
    pub active_size: Option<usize>,
    /// How long a voter may be silent before a standby takes its place; for ever when absent.
    pub remove_delay: Option<Duration>,
    /// The other members are lost: this one goes on alone.
    pub force_new_cluster: bool,
    /// Keeps two clusters with the same URLs apart.
    pub initial_cluster_token: String,
    /// Leader to follower, milliseconds.
    pub heartbeat_ms: u64,
    /// Without a heartbeat for this long, a follower stands for election, milliseconds.
    pub election_ms: u64,
    /// Log entries between snapshots.
    pub snapshot_count: u64,
    /// A request that takes longer gets a line in the log.
    pub slow_request: Duration,
    /// How many events the v2 history shall hold; `None`: as many as the cluster has decided.
    pub v2_history: Option<u64>,
    /// What a client may ask for at most.
    pub limits: Limits,
}

/// One socket to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// Where.
    pub address: SocketAddr,
    /// Whether TLS is spoken there.
    pub tls: bool,
}

/// Where the founding members are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    /// At another etcd, by its v2 keys.
    Url {
        /// The cluster's directory there, without a trailing slash.
        url: String,
        /// An HTTP proxy on the way.
        proxy: Option<String>,
    },
    /// In the DNS, as SRV records.
    Srv {
        /// The domain.
        domain: String,
        /// Appended to the service's name after a dash.
        name: Option<String>,
    },
}

/// What a client may ask for at most, and what becomes of old revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The store's size in bytes at which writes are refused; 0 for the default, less for none.
    pub quota_backend_bytes: i64,
    /// Operations in one transaction.
    pub max_txn_ops: usize,
    /// Bytes of one request.
    pub max_request_bytes: usize,
    /// How long a token holds that nobody uses, in seconds.
    pub auth_token_ttl_s: u64,
    /// When old revisions go.
    pub auto_compaction: AutoCompaction,
}

impl Limits {
    /// What the v3 data may take, in bytes: etcd's 2 GiB where nothing is said; never mind how much when it is off.
    pub fn quota(&self) -> u64 {
        const DEFAULT: u64 = 2 << 30;
        match self.quota_backend_bytes {
            0 => DEFAULT,
            bytes => u64::try_from(bytes).unwrap_or(u64::MAX),
        }
    }

    /// What etcd calls the quota in its figures: what was given where that is none, else what holds.
    pub fn told_quota(&self) -> i64 {
        match self.quota_backend_bytes {
            off @ ..0 => off,
            _ => i64::try_from(self.quota()).unwrap_or(i64::MAX),
        }
    }
}

impl Default for Limits {
    /// etcd 3.4's.
    fn default() -> Limits {
        Limits {
            quota_backend_bytes: 0,
            max_txn_ops: 128,
            max_request_bytes: 1_572_864,
            auth_token_ttl_s: 300,
            auto_compaction: AutoCompaction::Off,
        }
    }
}

/// When old revisions go by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoCompaction {
    /// Never.
    Off,
    /// When they are older than this.
    Periodic(Duration),
    /// When there are more than this.
    Revision(u64),
}

impl Etcd {
    /// One member on loopback, on etcd's own ports: what nothing given means to the store alone.
    pub fn on_loopback() -> Etcd {
        Reader::new(&Fragments::new()).etcd(Program::Etcd)
    }

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
    let etcd = reader.etcd(Program::Supervisor);
    let fleet = reader.fleet();
    let log = reader.log();
    let warnings = all_is_well(reader, given, Program::Supervisor)?;
    Ok(Understood {
        settings: Settings { etcd, fleet, log },
        warnings,
    })
}

/// What `corten etcd` is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alone {
    /// The store and its cluster.
    pub etcd: Etcd,
    /// Whether this is a proxy of a cluster instead of a member.
    pub proxy: Proxy,
    /// What becomes of this process when discovery finds its cluster full: a proxy of that, or an error.
    pub fallback_to_proxy: bool,
    /// Origins that browsers' scripts may come from; empty or with `*`: all.
    pub cors: Vec<String>,
    /// Host names that plain requests may be for; empty or with `*`: all.
    pub host_whitelist: Vec<String>,
    /// Log filter in `tracing`'s `EnvFilter` form.
    pub log: String,
    /// `default`, `stderr`, `stdout` or a file's path.
    pub log_output: String,
}

/// etcd's v2 proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// What it does.
    pub mode: ProxyMode,
    /// How long an endpoint that failed is left alone.
    pub failure_wait: Duration,
    /// How often the members are asked for anew.
    pub refresh_interval: Duration,
    /// How long a connection may take to be made.
    pub dial_timeout: Duration,
}

/// What a proxy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyMode {
    /// Nothing: this is a member.
    Off,
    /// Passes on reads only.
    Readonly,
    /// Passes on everything.
    On,
}

/// Understands what `corten etcd` was given; warnings are for the log.
///
/// # Errors
/// Every problem at once.
pub fn understand_alone(given: &Fragments) -> Result<(Alone, Vec<String>), SettingsError> {
    let mut reader = Reader::new(given);
    let alone = reader.alone();
    let warnings = all_is_well(reader, given, Program::Etcd)?;
    Ok((alone, warnings))
}

/// The warnings, if there is no problem.
fn all_is_well(
    reader: Reader<'_>,
    given: &Fragments,
    program: Program,
) -> Result<Vec<String>, SettingsError> {
    let (mut problems, mut warnings) = reader.finish();
    for remark in variables::remarks(given, program) {
        match remark {
            Remark::Warning(line) => warnings.push(line),
            Remark::Refusal(line) => problems.push(line),
        }
    }
    if problems.is_empty() {
        Ok(warnings)
    } else {
        Err(SettingsError { problems })
    }
}

#[cfg(test)]
mod tests;
