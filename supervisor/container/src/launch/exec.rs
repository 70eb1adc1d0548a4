//! A further process in a running container: `docker exec`.
//!
//! Duty: the container's saved specification with another process and the namespaces of the first one; then the same
//! clone, streams and waiting as a launch, in the container's cgroup and under its seccomp filter.
//! Danger: single-threaded callers only.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use libcontainer::oci_spec::runtime::Spec;
use serde_json::{Value, json};

use super::process::{self, Plan, ProcessError};
use super::{LaunchError, io_error, stdio, terminal, threads, watch};
use crate::containers::ContainerError;
use crate::durable;
use crate::engine::Engine;
use crate::identity::ProcessId;
use crate::launch::executor::Program;
use crate::launch::stdio::Streams;
use crate::record::{Record, Status};
use crate::spec::{SpecError, user_value};
use crate::user;

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Exec {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `KEY=value`, over the container's own.
    pub env: Vec<String>,
    /// Working directory; `None`: the container's.
    pub working_dir: Option<String>,
    /// `user[:group]`; `None`: the container's.
    pub user: Option<String>,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Whether it gets our standard input.
    pub stdin: bool,
    /// Whether it may do everything.
    pub privileged: bool,
    /// Whether to return without waiting.
    pub detach: bool,
}

/// Runs `exec` in the container of `record`; returns its exit status.
pub fn run(engine: &Engine, record: &Record, exec: &Exec) -> Result<i32, LaunchError> {
    match threads() {
        1 => {}
        many => return Err(LaunchError::Threads(many)),
    }
    let process = record.state.process.clone().filter(ProcessId::alive);
    let Some(process) = process.filter(|_| record.state.status == Status::Running) else {
        return Err(ContainerError::NotRunning(record.id.clone()).into());
    };
    let caught = watch::Caught::new().map_err(io_error("catching signals"))?;
    let run_dir = engine.run_container(&record.id);
    let saved = run_dir.join("spec.json");
    let spec: Option<Value> =
        durable::read_json(&saved).map_err(io_error("reading the container's specification"))?;
    let spec = spec.ok_or_else(|| ContainerError::NotRunning(record.id.clone()))?;
    let root = format!("/proc/{}/root", process.pid);
    let spec = adapt(spec, process.pid, Path::new(&root), record, exec)?;
    let streams = Streams::with_input(standard_input(exec)?);
    let (ours, theirs) = UnixStream::pair().map_err(io_error("making a socket"))?;
    let console = exec.tty.then(|| OwnedFd::from(theirs));
    let pid = process::join(&Plan {
        id: &record.id,
        spec,
        rootfs: Path::new("/"),
        run_dir: &run_dir,
        cgroup: &record.state.cgroup,
        streams: &streams,
        console: console.as_ref(),
        as_sibling: false,
        program: Program { init: false },
    })?;
    if exec.detach {
        return Ok(0);
    }
    attend(pid, exec, console.is_some().then_some(&ours), &caught)
}

fn standard_input(exec: &Exec) -> Result<Option<OwnedFd>, LaunchError> {
    if exec.stdin || exec.tty {
        return Ok(None);
    }
    fs::File::open("/dev/null")
        .map(|file| Some(file.into()))
        .map_err(io_error("/dev/null"))
}

fn attend(
    pid: i32,
    exec: &Exec,
    console: Option<&UnixStream>,
    caught: &watch::Caught,
) -> Result<i32, LaunchError> {
    let master = match console {
        Some(socket) => Some(terminal::receive(socket).map_err(io_error("receiving the terminal"))?),
        None => None,
    };
    let (mut raw, mut pump) = (None, None);
    if let Some(master) = &master {
        let copy = || {
            master
                .try_clone()
                .map(fs::File::from)
                .map_err(io_error("sharing the terminal"))
        };
        terminal::copy_size(master);
        pump = Some(stdio::pump_own(copy()?));
        if exec.stdin {
            raw = terminal::Raw::enter().map_err(io_error("setting the terminal raw"))?;
            stdio::feed_terminal(copy()?);
        }
    }
    let forwarding = watch::Forwarding {
        stop_signal: libc::SIGTERM,
        terminal: master.as_ref(),
        on_stop: &|| (),
    };
    let status = watch::wait(pid, caught, &forwarding).map_err(io_error("waiting for the process"))?;
    if let Some(pump) = pump {
        let _ = pump.join();
    }
    drop(raw);
    Ok(status)
}

/// The specification of a further process.
fn adapt(mut spec: Value, pid: i32, root: &Path, record: &Record, exec: &Exec) -> Result<Spec, LaunchError> {
    let (passwd, group) = (
        user::read_in(root, "etc/passwd"),
        user::read_in(root, "etc/group"),
    );
    let wanted = exec.user.as_deref().unwrap_or(&record.config.user);
    let identity = user::resolve(wanted, &record.host.group_add, &passwd, &group)?;
    if exec.args.first().is_none_or(String::is_empty) {
        return Err(SpecError::NoCommand.into());
    }
    let process = &mut spec["process"];
    process["args"] = json!(exec.args);
    process["terminal"] = json!(exec.tty);
    process["user"] = user_value(&identity);
    process["env"] = json!(environment(&process["env"], exec, &identity.home));
    if let Some(dir) = &exec.working_dir {
        if !dir.starts_with('/') {
            return Err(ProcessError(format!("Cwd must be an absolute path: {dir}")).into());
        }
        process["cwd"] = json!(dir);
    }
    let bounding = process["capabilities"]["bounding"].clone();
    let held = if identity.uid == 0 {
        bounding.clone()
    } else {
        json!([])
    };
    process["capabilities"] = json!({"bounding": bounding, "effective": held, "permitted": held});
    let linux = &mut spec["linux"];
    for namespace in linux["namespaces"].as_array_mut().into_iter().flatten() {
        let file = match namespace["type"].as_str().unwrap_or_default() {
            "network" => "net",
            "mount" => "mnt",
            other => other,
        };
        namespace["path"] = json!(format!("/proc/{pid}/ns/{file}"));
    }
    if exec.privileged {
        let all =
            crate::spec::capabilities::capabilities(true, &[], &[], crate::spec::capabilities::available())
                .map_err(SpecError::from)?;
        spec["process"]["capabilities"] = json!({"bounding": all, "effective": all, "permitted": all});
        spec["linux"].as_object_mut().map(|linux| linux.remove("seccomp"));
    }
    Ok(serde_json::from_value(spec).map_err(SpecError::from)?)
}

fn environment(own: &Value, exec: &Exec, home: &str) -> Vec<String> {
    let key = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut env: Vec<String> = serde_json::from_value(own.clone()).unwrap_or_default();
    if exec.user.is_some() {
        env.retain(|entry| key(entry) != "HOME");
        env.push(format!("HOME={home}"));
    }
    if exec.tty && !env.iter().any(|entry| key(entry) == "TERM") {
        env.push("TERM=xterm".into());
    }
    for entry in &exec.env {
        env.retain(|old| key(old) != key(entry));
        env.push(entry.clone());
    }
    env
}
