//! A container as it lies on disk: what was asked for, and what became of it.
//!
//! Duty: the types of `record.json` and `state.json`. Refusal: no behaviour beyond what follows from the record alone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::identity::ProcessId;

/// Everything known of a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// 64 hex digits.
    pub id: String,
    /// Unique name, without Docker's leading slash.
    pub name: String,
    /// When it was created (RFC 3339, UTC).
    pub created: String,
    /// Image id (hex).
    pub image: String,
    /// The image as it was asked for.
    pub image_name: String,
    /// Chain ids of the image's layers, lowest first; kept so that the container outlives its image's names.
    pub layers: Vec<String>,
    /// Identifier of its lines in the journal: its first name.
    pub log_tag: String,
    /// What runs in it.
    pub config: Config,
    /// How it is tied to the machine.
    pub host: HostConfig,
    /// What became of it; lies in a file of its own, which changes often and need not outlive a power cut.
    #[serde(default, skip_serializing)]
    pub state: State,
}

/// What runs in a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Host name inside.
    pub hostname: String,
    /// `user[:group]`.
    pub user: String,
    /// `KEY=value`, complete.
    pub env: Vec<String>,
    /// Program and fixed arguments.
    pub entrypoint: Vec<String>,
    /// Arguments, or the program when there is no entry point.
    pub cmd: Vec<String>,
    /// Working directory; empty means `/`.
    pub working_dir: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether standard input stays open.
    pub open_stdin: bool,
    /// Signal that asks it to end; empty means SIGTERM.
    pub stop_signal: String,
    /// Seconds `docker stop` waits unless told.
    pub stop_timeout: Option<u64>,
}

impl Config {
    /// Program and arguments.
    pub fn argv(&self) -> Vec<String> {
        self.entrypoint.iter().chain(&self.cmd).cloned().collect()
    }
}

/// Which network a container gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// An address on docker0.
    #[default]
    Bridge,
    /// The machine's own network.
    Host,
    /// Loopback only.
    None,
    /// Another container's, by id.
    Container(String),
}

impl NetworkMode {
    /// Docker's word for it.
    pub fn word(&self) -> String {
        match self {
            Self::Bridge => "bridge".into(),
            Self::Host => "host".into(),
            Self::None => "none".into(),
            Self::Container(id) => format!("container:{id}"),
        }
    }
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortMapping {
    /// Address of the machine; `None` means all.
    pub host_ip: Option<IpAddr>,
    /// Port of the machine; 0 means any free one.
    pub host_port: u16,
    /// Port in the container.
    pub container_port: u16,
    /// `tcp` or `udp`.
    pub protocol: Protocol,
}

/// Transport of a published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// `tcp` or `udp`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountSource {
    /// A path of the machine.
    Bind(String),
    /// A volume by name.
    Volume(String),
    /// Memory; the options of tmpfs, comma separated.
    Tmpfs(String),
}

/// A mount that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// What it shows.
    pub source: MountSource,
    /// Where in the container.
    pub target: String,
    /// Whether it cannot be written.
    pub read_only: bool,
    /// Whether the volume was made for this container alone and goes with it under `--rm` or `rm -v`.
    #[serde(default)]
    pub anonymous: bool,
    /// Whether a missing path of the machine is made (`-v` does, `--mount` does not).
    #[serde(default)]
    pub create: bool,
    /// Whether an empty volume is filled with what the image has there.
    #[serde(default)]
    pub copy: bool,
    /// `rprivate`, `rslave`, `rshared`.
    #[serde(default)]
    pub propagation: String,
}

/// When systemd starts a container again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// Whenever it ends.
    Always,
    /// Whenever it ends, unless it was stopped.
    UnlessStopped,
    /// When it fails, at most so many times (0: no limit).
    OnFailure(u32),
}

impl RestartPolicy {
    /// Docker's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
            Self::OnFailure(_) => "on-failure",
        }
    }
}

/// How a container is tied to the machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostConfig {
    /// Network.
    pub network: NetworkMode,
    /// Published ports as asked.
    pub ports: Vec<PortMapping>,
    /// Mounts.
    pub mounts: Vec<MountPoint>,
    /// Whether it is removed when it ends.
    pub auto_remove: bool,
    /// Restart policy.
    pub restart: RestartPolicy,
    /// Everything allowed.
    pub privileged: bool,
    /// Capabilities added (`NET_ADMIN`, `ALL`).
    pub cap_add: Vec<String>,
    /// Capabilities dropped.
    pub cap_drop: Vec<String>,
    /// Root file system read-only.
    pub read_only: bool,
    /// Name servers instead of the machine's.
    pub dns: Vec<String>,
    /// Search domains instead of the machine's.
    pub dns_search: Vec<String>,
    /// `name:address` for /etc/hosts.
    pub extra_hosts: Vec<String>,
    /// Groups besides the user's.
    pub group_add: Vec<String>,
    /// Memory limit in bytes.
    pub memory: Option<u64>,
    /// Memory and swap limit in bytes.
    pub memory_swap: Option<i64>,
    /// CPUs in thousandths.
    pub cpus_milli: Option<u64>,
    /// Relative share of CPU time (2 to 262144; 1024 is the default).
    pub cpu_shares: Option<u64>,
    /// Processes at most.
    pub pids_limit: Option<u64>,
    /// Size of /dev/shm in bytes.
    pub shm_size: Option<u64>,
    /// `name=soft[:hard]`.
    pub ulimits: Vec<String>,
    /// Kernel parameters.
    pub sysctls: BTreeMap<String, String>,
    /// `host[:container[:rwm]]`.
    pub devices: Vec<String>,
    /// `no-new-privileges`, `seccomp=unconfined`.
    pub security_opt: Vec<String>,
    /// Whether a small init reaps processes.
    pub init: bool,
    /// Whether the machine's processes are visible.
    pub host_pid: bool,
    /// Whether the machine's IPC is shared.
    pub host_ipc: bool,
    /// Whether the machine's host name is shared.
    pub host_uts: bool,
    /// Log driver as asked; everything but `none` is the journal.
    pub log_driver: String,
}

/// Where in its life a container is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Never started.
    #[default]
    Created,
    /// A launcher is at work.
    Starting,
    /// Its first process runs.
    Running,
    /// It ended.
    Exited,
}

/// What became of a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Where in its life it is. Believe it only after `Containers` has settled it.
    pub status: Status,
    /// Its first process.
    pub process: Option<ProcessId>,
    /// The launcher that waits for it; gone in hand-over mode.
    pub launcher: Option<ProcessId>,
    /// Its cgroup, absolute below the cgroup root.
    pub cgroup: String,
    /// systemd's id of the unit's run, when a unit ran it.
    pub invocation: Option<String>,
    /// When it started (RFC 3339).
    pub started_at: Option<String>,
    /// When it ended.
    pub finished_at: Option<String>,
    /// How it ended: its status, or 128 and the signal; 255 when nobody saw it end.
    pub exit_code: i32,
    /// Whether the kernel killed something in it for want of memory.
    pub oom_killed: bool,
    /// Why it could not start.
    pub error: String,
    /// Whether somebody asked for its end, so that no restart policy applies.
    pub stop_requested: bool,
    /// Its network.
    pub network: Option<Attachment>,
}

/// A container's place on the bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its address.
    pub address: std::net::Ipv4Addr,
    /// Bits of the network.
    pub prefix: u8,
    /// The bridge's address.
    pub gateway: std::net::Ipv4Addr,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Published ports with real port numbers.
    pub ports: Vec<PortMapping>,
}

impl Attachment {
    /// `02:42:ac:11:00:02`.
    pub fn mac_text(&self) -> String {
        self.mac.map(|byte| format!("{byte:02x}")).join(":")
    }
}

impl Record {
    /// Twelve digits of the id.
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    /// Name of the transient unit of a container started with `-d`.
    pub fn unit_name(&self) -> String {
        format!("docker-{}.service", self.id)
    }
}

/// Now as RFC 3339 with nanoseconds, UTC.
pub fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Nanos, true)
}
