//! libcontainer's process layer: cloning a container's first process, or a further one into it.
//!
//! Duty: fill libcontainer's arguments and call `container_main_process`. We do not use its `ContainerBuilder`: when a
//! creation fails, that one "removes" the cgroup by writing `cgroup.kill`, and the cgroup here is the unit's, with the
//! launcher in it; its `exec` also drops the seccomp filter from the specification.
//! Danger: single-threaded callers only (the clone has no exec, and the child allocates); the working directory changes
//! for a moment; the launcher becomes undumpable.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use libcgroups::common::CgroupConfig;
use libcontainer::container::{Container, ContainerStatus, State};
use libcontainer::notify_socket::{NotifyListener, NotifySocket};
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::process::args::{ContainerArgs, ContainerType};
use libcontainer::process::container_main_process::container_main_process;
use libcontainer::syscall::syscall::SyscallType;

use super::executor::Program;
use super::stdio::Streams;

/// A failure of libcontainer, with what the container's side said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ProcessError(pub String);

fn failed(error: impl std::error::Error) -> ProcessError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    // What the program's own search says stands deep in libcontainer's chain; Docker's users know it by these words.
    match text.find("exec: \"") {
        Some(at) => ProcessError(format!("unable to start container process: {}", &text[at..])),
        None => ProcessError(text),
    }
}

/// Reaps what a failed creation has left as our children. They end by themselves, at once but not synchronously.
fn reap_failed() {
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    let deadline = std::time::Instant::now() + std::time::Duration::from_millis(200);
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            if std::time::Instant::now() > deadline {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}

/// What one clone needs.
pub struct Plan<'a> {
    /// Container id.
    pub id: &'a str,
    /// Specification; for a further process with the paths of the namespaces to join.
    pub spec: Spec,
    /// The mounted root file system.
    pub rootfs: &'a Path,
    /// Directory for sockets, private to root.
    pub run_dir: &'a Path,
    /// The cgroup, which exists and stays as it is.
    pub cgroup: &'a str,
    /// Standard streams.
    pub streams: &'a Streams,
    /// Socket that gets the terminal's master end.
    pub console: Option<&'a OwnedFd>,
    /// Whether the process becomes a child of our parent.
    pub as_sibling: bool,
    /// What runs in it.
    pub program: Program,
}

impl Plan<'_> {
    fn arguments(&self, kind: ContainerType, socket: &Path) -> Result<ContainerArgs, ProcessError> {
        let (status, container_pid) = match kind {
            ContainerType::InitContainer => (ContainerStatus::Creating, None),
            ContainerType::TenantContainer { .. } => (ContainerStatus::Running, None),
        };
        let state = State::new(self.id, status, container_pid, self.run_dir.to_owned());
        let raw = |fd: &Option<OwnedFd>| fd.as_ref().map(AsRawFd::as_raw_fd);
        Ok(ContainerArgs {
            container_type: kind,
            syscall: SyscallType::Linux,
            spec: Rc::new(self.spec.clone()),
            rootfs: self.rootfs.to_owned(),
            console_socket: self.console.map(AsRawFd::as_raw_fd),
            notify_listener: NotifyListener::new(socket).map_err(failed)?,
            preserve_fds: 0,
            container: Some(Container {
                state,
                root: self.run_dir.to_owned(),
            }),
            user_ns_config: None,
            cgroup_config: CgroupConfig {
                cgroup_path: PathBuf::from(self.cgroup),
                systemd_cgroup: false,
                container_name: self.id.to_owned(),
            },
            detached: true,
            executor: Box::new(self.program.clone()),
            no_pivot: false,
            stdin: raw(&self.streams.stdin),
            stdout: raw(&self.streams.stdout),
            stderr: raw(&self.streams.stderr),
            as_sibling: self.as_sibling,
            pid_file: None,
        })
    }
}

/// A container's first process that waits for `start`.
#[derive(Debug)]
pub struct Created {
    /// Its pid.
    pub pid: i32,
    socket: PathBuf,
}

/// Makes the container and its first process, which waits before the program.
pub fn create(plan: &Plan<'_>) -> Result<Created, ProcessError> {
    let socket = plan.run_dir.join("notify.sock");
    let _ = std::fs::remove_file(&socket);
    let arguments = plan.arguments(ContainerType::InitContainer, &socket)?;
    match container_main_process(&arguments) {
        Ok(pid) => Ok(Created {
            pid: pid.as_raw(),
            socket,
        }),
        Err(error) => {
            reap_failed();
            Err(failed(error))
        }
    }
}

impl Created {
    /// Lets the program run.
    pub fn start(&self) -> Result<(), ProcessError> {
        let result = NotifySocket::new(&self.socket)
            .notify_container_start()
            .map_err(failed);
        let _ = std::fs::remove_file(&self.socket);
        result
    }
}

/// Runs a further process in a container; returns its pid, a child of ours.
pub fn join(plan: &Plan<'_>) -> Result<i32, ProcessError> {
    let (mut reader, writer) = std::io::pipe().map_err(failed)?;
    let name = format!("exec-{}-{}.sock", std::process::id(), writer.as_raw_fd());
    let socket = plan.run_dir.join(name);
    let kind = ContainerType::TenantContainer {
        exec_notify_fd: writer.as_raw_fd(),
    };
    let result = plan.arguments(kind, &socket).and_then(|arguments| {
        let pid = container_main_process(&arguments).map_err(failed)?;
        NotifySocket::new(&socket)
            .notify_container_start()
            .map_err(failed)?;
        Ok(pid.as_raw())
    });
    let _ = std::fs::remove_file(&socket);
    drop(writer);
    let pid = result.inspect_err(|_| reap_failed())?;
    // The child's copy of the pipe closes when the program runs; before that it may carry the reason why not.
    let mut words = String::new();
    std::io::Read::read_to_string(&mut reader, &mut words).map_err(failed)?;
    if words.is_empty() {
        Ok(pid)
    } else {
        Err(ProcessError(words))
    }
}
