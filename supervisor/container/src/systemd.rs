//! What the engine says to systemd and learns from it: the own cgroup, readiness, transient units.
//!
//! Duty: read /proc/self/cgroup, speak sd_notify, build `systemd-run` command lines (pure). Refusal: no D-Bus, no
//! supervision: systemd restarts, limits and logs.

use std::ffi::OsString;
use std::io::{self, IoSlice, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

use crate::identity::ProcessId;
use crate::record::{HostConfig, Record, RestartPolicy};

/// Exit status of a launcher whose container was asked to end; systemd does not restart after it.
pub const STOPPED_ON_REQUEST: u8 = 250;

/// The unified cgroup of this process, e.g. `/system.slice/web.service`.
pub fn own_cgroup() -> io::Result<String> {
    parse_cgroup(&std::fs::read_to_string("/proc/self/cgroup")?).ok_or_else(|| {
        io::Error::other(
            "this process is in no cgroup of version 2; containers need a machine that runs on cgroup v2",
        )
    })
}

fn parse_cgroup(text: &str) -> Option<String> {
    text.lines()
        .find_map(|line| line.strip_prefix("0::"))
        .map(str::to_owned)
}

/// Whether a cgroup is a service's own: the container then belongs to that unit. A login session or the root is not.
pub fn is_service(cgroup: &str) -> bool {
    !cgroup.starts_with("/user.slice/") && cgroup.ends_with(".service")
}

/// Whether systemd is the init and can be asked for transient units.
pub fn running() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// systemd's id of this unit's run.
pub fn invocation() -> Option<String> {
    std::env::var("INVOCATION_ID").ok()
}

/// Sends `message` to the service manager; `Ok(false)` when none listens. Returns when it was read, so that the sender
/// may exit at once without its message losing its sender.
pub fn notify(message: &str) -> io::Result<bool> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(false);
    };
    let bytes = path.as_encoded_bytes();
    let address = match bytes.split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(&path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.send(message.as_bytes())?;
    // sd_notify_barrier(3): the manager closes the descriptor when it has come to this message.
    let (mut reader, writer) = io::pipe()?;
    let fds = [writer.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&fds)];
    sendmsg::<UnixAddr>(
        socket.as_raw_fd(),
        &[IoSlice::new(b"BARRIER=1")],
        &control,
        MsgFlags::empty(),
        None,
    )?;
    drop(writer);
    let mut fds = [nix::poll::PollFd::new(
        std::os::fd::AsFd::as_fd(&reader),
        nix::poll::PollFlags::POLLIN,
    )];
    let limit = Duration::from_secs(5).as_millis() as u16;
    if nix::poll::poll(&mut fds, limit)? > 0 {
        let _ = reader.read(&mut [0]);
    }
    Ok(true)
}

/// The command that calls this program's `docker` again: its path, and what goes before docker's own arguments.
pub fn docker_command() -> io::Result<(PathBuf, Vec<OsString>)> {
    let program = std::env::current_exe()?;
    if program.file_name().is_some_and(|name| name == "docker") {
        return Ok((program, Vec::new()));
    }
    let link = program.with_file_name("docker");
    if link.canonicalize().ok() == program.canonicalize().ok() {
        return Ok((link, Vec::new()));
    }
    Ok((program, vec!["docker".into()]))
}

/// How the main process of the service with `cgroup` ended, if `process` was it: its status, or 128 and its signal.
pub fn exit_of(cgroup: &str, process: &ProcessId) -> Option<i32> {
    if !is_service(cgroup) || !running() || crate::identity::boot_id().ok().as_ref() != Some(&process.boot) {
        return None;
    }
    let unit = cgroup.rsplit('/').next()?;
    let list = "--property=ExecMainPID,ExecMainCode,ExecMainStatus";
    let output = std::process::Command::new("systemctl")
        .args(["show", list, "--", unit])
        .output()
        .ok()?;
    parse_exit(&String::from_utf8_lossy(&output.stdout), process.pid)
}

fn parse_exit(text: &str, pid: i32) -> Option<i32> {
    let field = |name: &str| -> Option<i32> {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?
            .parse()
            .ok()
    };
    let status = field("ExecMainStatus")?;
    match (field("ExecMainPID")? == pid, field("ExecMainCode")?) {
        (true, libc::CLD_EXITED) => Some(status),
        (true, libc::CLD_KILLED | libc::CLD_DUMPED) => Some(128 + status),
        _ => None,
    }
}

/// `systemd-run` for a unit that does nothing until `unit` ends, and then calls `docker` to clean up.
pub fn tidy_command(record: &Record, unit: &str, docker: &[OsString]) -> Vec<OsString> {
    let mut command: Vec<OsString> = ["--quiet", "--collect", "--no-block", "--service-type=oneshot"]
        .map(OsString::from)
        .into();
    command.push(format!("--unit=docker-{}-tidy.service", record.id).into());
    command.push(format!("--description=Clean-up of container {}", record.name).into());
    let stop: Vec<String> = docker
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    properties(
        &mut command,
        [
            format!("BindsTo={unit}"),
            // What starts before the unit stops after it: the container is gone when the clean-up looks.
            format!("Before={unit}"),
            "RemainAfterExit=yes".into(),
            format!("ExecStop={}", stop.join(" ")),
        ],
    );
    command.extend(["--", "/bin/true"].map(OsString::from));
    command
}

/// Properties that turn a container's options into its unit's.
fn limits(host: &HostConfig) -> Vec<String> {
    let mut list = Vec::new();
    if let Some(bytes) = host.memory {
        list.push(format!("MemoryMax={bytes}"));
        // Docker's memory-swap is memory and swap together; -1 means as much swap as there is.
        match host.memory_swap {
            Some(-1) => list.push("MemorySwapMax=infinity".into()),
            Some(both) if both >= 0 => {
                list.push(format!("MemorySwapMax={}", (both as u64).saturating_sub(bytes)))
            }
            _ => list.push(format!("MemorySwapMax={bytes}")),
        }
    }
    if let Some(milli) = host.cpus_milli {
        list.push(format!("CPUQuota={}.{}%", milli / 10, milli % 10));
    }
    if let Some(shares) = host.cpu_shares {
        // cgroup v1 shares to v2 weight, as runc converts: 2..262144 to 1..10000.
        list.push(format!(
            "CPUWeight={}",
            (1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142).max(1)
        ));
    }
    if let Some(pids) = host.pids_limit.filter(|pids| *pids > 0) {
        list.push(format!("TasksMax={pids}"));
    }
    list
}

/// Whether the container asks for limits of its own.
pub fn has_limits(host: &HostConfig) -> bool {
    !limits(host).is_empty()
}

fn properties(command: &mut Vec<OsString>, list: impl IntoIterator<Item = String>) {
    for property in list {
        command.push(format!("--property={property}").into());
    }
}

fn description(record: &Record) -> String {
    format!("Container {} ({})", record.name, record.image_name)
}

/// `systemd-run` for a container of its own service (`docker run -d`); `docker` is what calls us again.
pub fn service_command(record: &Record, docker: &[OsString]) -> Vec<OsString> {
    let mut command: Vec<OsString> = vec![
        "--quiet".into(),
        "--collect".into(),
        "--service-type=notify".into(),
    ];
    command.push(format!("--unit={}", record.unit_name()).into());
    command.push(format!("--description={}", description(record)).into());
    let stop = record.config.stop_timeout.unwrap_or(10) + 5;
    properties(
        &mut command,
        [
            "NotifyAccess=main".to_owned(),
            // The launcher forwards; what does not end is killed with the rest of the cgroup.
            "KillMode=mixed".to_owned(),
            format!("TimeoutStopSec={stop}"),
            format!("SuccessExitStatus={STOPPED_ON_REQUEST}"),
            format!("RestartPreventExitStatus={STOPPED_ON_REQUEST}"),
        ],
    );
    match record.host.restart {
        RestartPolicy::No => {}
        RestartPolicy::Always | RestartPolicy::UnlessStopped => {
            let list = ["Restart=always", "RestartSec=1", "StartLimitIntervalSec=0"];
            properties(&mut command, list.map(str::to_owned));
        }
        RestartPolicy::OnFailure(times) => {
            let interval = if times == 0 {
                "0".to_owned()
            } else {
                "infinity".to_owned()
            };
            properties(&mut command, ["Restart=on-failure".into(), "RestartSec=1".into()]);
            properties(
                &mut command,
                [
                    format!("StartLimitIntervalSec={interval}"),
                    format!("StartLimitBurst={}", times + 1),
                ],
            );
        }
    }
    properties(&mut command, limits(&record.host));
    command.push("--".into());
    command.extend(docker.iter().cloned());
    command
}

/// `systemd-run` for a container in the foreground that is not in a service: a scope of its own.
pub fn scope_command(record: &Record, docker: &[OsString]) -> Vec<OsString> {
    let mut command: Vec<OsString> = vec!["--quiet".into(), "--collect".into(), "--scope".into()];
    command.push("--slice=system.slice".into());
    command.push(format!("--unit=docker-{}.scope", record.id).into());
    command.push(format!("--description={}", description(record)).into());
    properties(&mut command, limits(&record.host));
    command.push("--".into());
    command.extend(docker.iter().cloned());
    command
}

/// `systemctl` that gives a running unit a container's limits; `None` when there are none.
pub fn limit_command(unit: &str, host: &HostConfig) -> Option<Vec<OsString>> {
    let list = limits(host);
    if list.is_empty() {
        return None;
    }
    let mut command: Vec<OsString> = vec!["set-property".into(), "--runtime".into(), unit.into()];
    command.extend(list.into_iter().map(OsString::from));
    Some(command)
}

/// Keeps a descriptor open over exec.
pub fn keep_over_exec(fd: &OwnedFd) -> io::Result<()> {
    Ok(rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_is_the_unified_one() {
        assert_eq!(
            parse_cgroup("4:memory:/x\n0::/system.slice/a.service\n").unwrap(),
            "/system.slice/a.service"
        );
        assert_eq!(parse_cgroup("4:memory:/x\n"), None);
        assert!(is_service("/system.slice/a.service"));
        assert!(!is_service("/user.slice/user-500.slice/session-1.scope"));
        assert!(!is_service("/user.slice/user-500.slice/user@500.service"));
        assert!(!is_service("/"));
    }

    #[test]
    fn exits_of_the_main_process_only() {
        let text = "ExecMainPID=7\nExecMainCode=1\nExecMainStatus=3\n";
        assert_eq!((parse_exit(text, 7), parse_exit(text, 8)), (Some(3), None));
        assert_eq!(
            parse_exit("ExecMainPID=7\nExecMainCode=2\nExecMainStatus=9\n", 7),
            Some(137)
        );
        assert_eq!(
            parse_exit("ExecMainPID=7\nExecMainCode=0\nExecMainStatus=0\n", 7),
            None
        );
    }

    #[test]
    fn the_clean_up_stops_after_the_unit() {
        let record: Record = serde_json::from_value(serde_json::json!({
            "id": "a", "name": "web", "created": "", "image": "", "image_name": "", "layers": [],
            "log_tag": "", "config": {}, "host": {}
        }))
        .unwrap();
        let command = tidy_command(&record, "web.service", &["docker".into()]);
        for property in ["BindsTo=web.service", "Before=web.service"] {
            let word = OsString::from(format!("--property={property}"));
            assert!(command.contains(&word), "{property}");
        }
    }

    #[test]
    fn limits_become_properties() {
        let host = HostConfig {
            memory: Some(1 << 20),
            cpus_milli: Some(1500),
            pids_limit: Some(9),
            ..Default::default()
        };
        assert_eq!(
            limits(&host),
            [
                "MemoryMax=1048576",
                "MemorySwapMax=1048576",
                "CPUQuota=150.0%",
                "TasksMax=9"
            ]
        );
        assert!(limit_command("a.service", &HostConfig::default()).is_none());
    }
}
