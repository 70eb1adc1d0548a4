//! From a container's record to the OCI runtime specification libcontainer takes.
//!
//! Duty: translate; Docker's defaults stand here. Refusal: touches no disk and no network; what must be looked up (user,
//! cgroup, capabilities available) comes in as `Facts`. No limits are written: the cgroup is the unit's, and its limits
//! are systemd's.

pub mod capabilities;
pub mod ports;
pub mod seccomp;
pub mod volumes;

use std::collections::BTreeSet;
use std::path::PathBuf;

use libcontainer::oci_spec::runtime::Spec;
use serde_json::{Value, json};

use crate::record::{MountPoint, MountSource, NetworkMode, Record};
use crate::user::Identity;

/// Why a record makes no specification.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// No program.
    #[error("no command specified")]
    NoCommand,
    /// A capability nobody knows.
    #[error(transparent)]
    Capability(#[from] capabilities::UnknownCapability),
    /// An option that does not parse.
    #[error("invalid {option} {value:?}: {reason}")]
    Option {
        /// Which option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What is wrong.
        reason: String,
    },
    /// libcontainer's types do not take it; ours to mend.
    #[error("the specification is unsound: {0}")]
    Unsound(#[from] serde_json::Error),
}

/// What a specification needs to know besides the record.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The mounted root file system.
    pub rootfs: PathBuf,
    /// The container's directory, with hosts, hostname and resolv.conf.
    pub dir: PathBuf,
    /// Directory of volumes.
    pub volumes: PathBuf,
    /// The cgroup to stay in, absolute below the cgroup root.
    pub cgroup: String,
    /// Who the process is.
    pub identity: Identity,
    /// Bounding set of the launcher.
    pub available: u64,
    /// Network namespace to join, for `--network container:x`.
    pub network_namespace: Option<PathBuf>,
    /// Variables added by the launcher (socket activation).
    pub extra_env: Vec<String>,
    /// Device nodes of the machine, for `--privileged`: path, kind (`c`, `b`), major, minor.
    pub host_devices: Vec<(String, char, u64, u64)>,
}

/// Builds the specification.
pub fn build(record: &Record, facts: &Facts) -> Result<Spec, SpecError> {
    let host = &record.host;
    let args = record.config.argv();
    if args.first().is_none_or(String::is_empty) {
        return Err(SpecError::NoCommand);
    }
    let caps = capabilities::capabilities(host.privileged, &host.cap_add, &host.cap_drop, facts.available)?;
    let spec = json!({
        "ociVersion": "1.0.2",
        "root": {"path": facts.rootfs, "readonly": host.read_only},
        "hostname": if host.host_uts { Value::Null } else { json!(record.config.hostname) },
        "process": process(record, facts, &args, &caps)?,
        "mounts": mounts(record, facts),
        "linux": linux(record, facts, &caps)?,
    });
    Ok(serde_json::from_value(prune(spec))?)
}

/// Removes nulls, which the types do not take everywhere.
fn prune(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(_, v)| !v.is_null())
                .map(|(k, v)| (k, prune(v)))
                .collect(),
        ),
        Value::Array(list) => Value::Array(list.into_iter().map(prune).collect()),
        other => other,
    }
}

fn process(
    record: &Record,
    facts: &Facts,
    args: &[String],
    caps: &BTreeSet<String>,
) -> Result<Value, SpecError> {
    let config = &record.config;
    let mut env = config.env.clone();
    env.extend(facts.extra_env.iter().cloned());
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={}", facts.identity.home));
    }
    let cwd = if config.working_dir.is_empty() {
        "/"
    } else {
        &config.working_dir
    };
    let no_new_privileges = record
        .host
        .security_opt
        .iter()
        .any(|o| o.starts_with("no-new-privileges") && !o.ends_with("false"));
    Ok(json!({
        "terminal": config.tty,
        "user": user_value(&facts.identity),
        "args": args,
        "env": env,
        "cwd": cwd,
        "capabilities": capability_sets(caps, facts.identity.uid),
        "rlimits": rlimits(&record.host.ulimits)?,
        // Absent rather than false: libcontainer then installs the seccomp filter while it still has the privilege.
        "noNewPrivileges": if no_new_privileges { json!(true) } else { Value::Null },
    }))
}

/// The OCI `process.user`.
pub fn user_value(identity: &Identity) -> Value {
    json!({"uid": identity.uid, "gid": identity.gid, "additionalGids": identity.groups})
}

/// The OCI `process.capabilities`: others than root hold none until a set-user-id program gives them, as Docker has it.
pub fn capability_sets(caps: &BTreeSet<String>, uid: u32) -> Value {
    let held = if uid == 0 { caps.clone() } else { BTreeSet::new() };
    json!({"bounding": caps, "effective": held, "permitted": held})
}

fn rlimits(ulimits: &[String]) -> Result<Vec<Value>, SpecError> {
    let limit = |text: &String| {
        let wrong = |reason: &str| SpecError::Option {
            option: "ulimit",
            value: text.clone(),
            reason: reason.into(),
        };
        let (name, values) = text
            .split_once('=')
            .ok_or_else(|| wrong("expected name=soft[:hard]"))?;
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let number = |word: &str| match word {
            "-1" | "unlimited" => Ok(u64::MAX),
            other => other.parse().map_err(|_| wrong("not a number")),
        };
        let kind = format!("RLIMIT_{}", name.to_ascii_uppercase());
        Ok(json!({"type": kind, "soft": number(soft)?, "hard": number(hard)?}))
    };
    ulimits.iter().map(limit).collect()
}

fn mounts(record: &Record, facts: &Facts) -> Vec<Value> {
    let host = &record.host;
    let entry = |target: &str, kind: &str, source: &str, options: &[&str]| json!({"destination": target, "type": kind, "source": source, "options": options});
    let shm = format!("size={}", host.shm_size.unwrap_or(64 << 20));
    let sys = if host.privileged { "rw" } else { "ro" };
    let mut list = vec![
        entry("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        entry(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        entry(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        entry("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", sys]),
        entry(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", sys],
        ),
        entry("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    if host.host_ipc {
        list.push(entry(
            "/dev/shm",
            "bind",
            "/dev/shm",
            &["rbind", "nosuid", "noexec", "nodev"],
        ));
    } else {
        list.push(entry(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", &shm],
        ));
    }
    for file in ["resolv.conf", "hostname", "hosts"] {
        let target = format!("/etc/{file}");
        if !host.mounts.iter().any(|mount| mount.target == target) {
            let source = facts.dir.join(file);
            list.push(entry(
                &target,
                "bind",
                &source.to_string_lossy(),
                &["rbind", "rprivate"],
            ));
        }
    }
    list.extend(
        host.mounts
            .iter()
            .map(|mount| user_mount(mount, facts, host.privileged)),
    );
    // Parents before what lies in them.
    list.sort_by_key(|mount| {
        mount["destination"]
            .as_str()
            .map_or(0, |target| target.matches('/').count())
    });
    list
}

fn user_mount(mount: &MountPoint, facts: &Facts, privileged: bool) -> Value {
    let access = if mount.read_only { "ro" } else { "rw" };
    let source = match &mount.source {
        MountSource::Tmpfs(options) => {
            let mut list = vec!["nosuid", "nodev", access];
            if !options.contains("exec") {
                list.push("noexec");
            }
            list.extend(options.split(',').filter(|option| !option.is_empty()));
            return json!({"destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": list});
        }
        MountSource::Bind(path) => PathBuf::from(path),
        MountSource::Volume(name) => facts.volumes.join(name).join("_data"),
    };
    let propagation = if mount.propagation.is_empty() {
        "rprivate"
    } else {
        &mount.propagation
    };
    let mut options = vec!["rbind", propagation, access];
    if !privileged {
        options.push("nodev");
    }
    json!({"destination": mount.target, "type": "bind", "source": source, "options": options})
}

const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

fn linux(record: &Record, facts: &Facts, caps: &BTreeSet<String>) -> Result<Value, SpecError> {
    let host = &record.host;
    let unconfined = host.privileged
        || host
            .security_opt
            .iter()
            .any(|o| o == "seccomp=unconfined" || o == "seccomp:unconfined");
    let confined = |paths: Vec<&str>| {
        if host.privileged {
            Value::Null
        } else {
            json!(paths)
        }
    };
    Ok(json!({
        "cgroupsPath": facts.cgroup,
        "namespaces": namespaces(record, facts),
        "maskedPaths": confined(MASKED.to_vec()),
        "readonlyPaths": confined(READ_ONLY.to_vec()),
        "sysctl": if host.sysctls.is_empty() { Value::Null } else { json!(host.sysctls) },
        "devices": devices(record, facts)?,
        "rootfsPropagation": if host.mounts.iter().any(|m| m.propagation.ends_with("shared")) { json!("shared") } else { Value::Null },
        "seccomp": if unconfined { Value::Null } else { seccomp::profile(caps, std::env::consts::ARCH) },
    }))
}

fn namespaces(record: &Record, facts: &Facts) -> Vec<Value> {
    let host = &record.host;
    let mut list = vec![json!({"type": "mount"}), json!({"type": "cgroup"})];
    for (shared, kind) in [
        (host.host_uts, "uts"),
        (host.host_ipc, "ipc"),
        (host.host_pid, "pid"),
    ] {
        if !shared {
            list.push(json!({"type": kind}));
        }
    }
    match (&host.network, &facts.network_namespace) {
        (NetworkMode::Host, _) => {}
        (NetworkMode::Container(_), Some(path)) => list.push(json!({"type": "network", "path": path})),
        _ => list.push(json!({"type": "network"})),
    }
    list
}

fn devices(record: &Record, facts: &Facts) -> Result<Value, SpecError> {
    let mut list = Vec::new();
    if record.host.privileged {
        for (path, kind, major, minor) in &facts.host_devices {
            list.push(json!({"path": path, "type": kind, "major": major, "minor": minor, "fileMode": 0o660}));
        }
    }
    for text in &record.host.devices {
        let mut parts = text.split(':');
        let source = parts.next().unwrap_or_default();
        let target = parts.next().unwrap_or(source);
        let found = facts.host_devices.iter().find(|(path, ..)| path == source);
        let (_, kind, major, minor) = found.ok_or_else(|| SpecError::Option {
            option: "device",
            value: text.clone(),
            reason: "the machine has no such device".into(),
        })?;
        list.push(json!({"path": target, "type": kind, "major": major, "minor": minor, "fileMode": 0o660}));
    }
    Ok(if list.is_empty() { Value::Null } else { json!(list) })
}
