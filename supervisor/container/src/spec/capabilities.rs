//! Which capabilities a container has. Pure.
//!
//! The default is Docker's without MKNOD: Docker hands that out and takes its use away again by a device filter on the
//! container's own cgroup. Here the cgroup is the unit's, whose device policy is systemd's to set; so the capability is
//! not handed out (as podman has it), and file systems are mounted without devices. `--cap-add MKNOD` grants it.

use std::collections::BTreeSet;

const DEFAULT: [&str; 13] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// Every capability of Linux 6.12, in kernel order.
const ALL: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// A capability nobody knows.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid capability: \"{0}\"")]
pub struct UnknownCapability(pub String);

/// The capabilities (`CAP_...`) of a container, limited to `available` (what this process may hand out).
pub fn capabilities(
    privileged: bool,
    add: &[String],
    drop: &[String],
    available: u64,
) -> Result<BTreeSet<String>, UnknownCapability> {
    let add = names(add)?;
    let drop = names(drop)?;
    let all = || ALL.iter().map(|name| (*name).to_owned());
    let mut set: BTreeSet<String> = if privileged || add.contains("ALL") {
        all().collect()
    } else if drop.contains("ALL") {
        BTreeSet::new()
    } else {
        DEFAULT.iter().map(|name| (*name).to_owned()).collect()
    };
    if !privileged {
        set.retain(|name| !drop.contains(name));
    }
    set.extend(add.into_iter().filter(|name| name != "ALL"));
    let has = |name: &String| {
        ALL.iter()
            .position(|each| each == name)
            .is_some_and(|bit| available >> bit & 1 == 1)
    };
    Ok(set
        .into_iter()
        .filter(has)
        .map(|name| format!("CAP_{name}"))
        .collect())
}

fn names(given: &[String]) -> Result<BTreeSet<String>, UnknownCapability> {
    let name = |text: &String| {
        let upper = text.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned();
        if bare == "ALL" || ALL.contains(&bare.as_str()) {
            Ok(bare)
        } else {
            Err(UnknownCapability(text.clone()))
        }
    };
    given.iter().map(name).collect()
}

/// The bounding set of this process: what it may hand out at all.
pub fn available() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn set(privileged: bool, add: &[&str], drop: &[&str]) -> BTreeSet<String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        capabilities(privileged, &owned(add), &owned(drop), u64::MAX).unwrap()
    }

    #[test]
    fn additions_and_drops_as_docker_has_them() {
        assert_eq!(set(false, &[], &[]).len(), 13);
        assert!(set(false, &["cap_net_admin"], &[]).contains("CAP_NET_ADMIN"));
        assert!(!set(false, &[], &["KILL"]).contains("CAP_KILL"));
        assert_eq!(
            set(false, &["CHOWN"], &["ALL"]),
            BTreeSet::from(["CAP_CHOWN".to_owned()])
        );
        assert_eq!(set(false, &["ALL"], &["MKNOD"]).len(), 40);
        assert_eq!(set(true, &[], &["ALL"]).len(), 41);
        assert_eq!(
            capabilities(false, &["FLY".into()], &[], 0),
            Err(UnknownCapability("FLY".into()))
        );
        assert!(capabilities(true, &[], &[], 1).unwrap().contains("CAP_CHOWN"));
        assert_eq!(capabilities(true, &[], &[], 1).unwrap().len(), 1);
    }
}
