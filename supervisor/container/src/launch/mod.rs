//! The launch: from a record to a running container in the caller's own cgroup.
//!
//! Two ways:
//! - **Foreground**: the launcher stays as the container's parent, pumps its output, forwards signals, passes its exit
//!   status on, and cleans up. `docker run` without a notifying unit, and the unit of `docker run -d`.
//! - **HandOver**: the container's first process becomes the child of *our* parent, which is systemd; we report it as the
//!   unit's main process and go. Nothing stays resident; clean-up is done by whoever looks next (`Containers` settles,
//!   `network::sweep` frees).
//!
//! Steps, each undone by the ones who find us dead: claim the record -> lease address and ports -> own mount namespace ->
//! overlay -> clone (waits) -> plug the network in -> record "running" -> start -> wait.
//!
//! Danger: libcontainer clones without exec and the child allocates, so the caller must have one thread; `run` checks.
//! The cgroup is the unit's: nothing here writes to it but `cgroup.procs`, which adding a process to where it already is.

pub mod exec;
mod executor;
mod process;
mod stdio;
mod terminal;
mod watch;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::containers::{ContainerError, Containers};
use crate::durable;
use crate::engine::Engine;
use crate::identity::ProcessId;
use crate::network::{self, NetworkError, Reservation};
use crate::record::{Attachment, MountSource, NetworkMode, Record, Status, now};
use crate::spec::{self, Facts, SpecError, capabilities};
use crate::user::{self, UserError};
use crate::{rootfs, systemd};
use executor::{DENIED, NO_SUCH_FILE, NOT_FOUND, Program};
use process::{Created, Plan, ProcessError};
use stdio::Streams;

/// Whether the launcher stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Stay as the container's parent.
    Foreground,
    /// Give it to systemd and go.
    HandOver,
}

/// Why a container was not launched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The records.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The network.
    #[error("failed to set up container networking: {0}")]
    Network(#[from] NetworkError),
    /// The options.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The user.
    #[error(transparent)]
    User(#[from] UserError),
    /// The kernel or the program.
    #[error("failed to create task for container: {0}")]
    Process(#[from] ProcessError),
    /// It runs already.
    #[error("container {0} is already running")]
    AlreadyRunning(String),
    /// A path of the machine.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The caller is no place to clone from.
    #[error("the launcher has {0} threads and must have one; this is a defect")]
    Threads(usize),
    /// A source that must exist.
    #[error("invalid mount config for type \"bind\": bind source path does not exist: {0}")]
    NoSource(String),
    /// The container whose network is to be shared.
    #[error("cannot join network of a non running container: {0}")]
    NoPeer(String),
}

impl LaunchError {
    /// Docker's exit status: 127 when there is no such program, 126 when it cannot be run, else 125.
    pub fn exit_code(&self) -> u8 {
        let Self::Process(ProcessError(text)) = self else {
            return 125;
        };
        if text.contains(NOT_FOUND) || text.contains(NO_SUCH_FILE) {
            127
        } else if text.contains(DENIED) {
            126
        } else {
            125
        }
    }
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> LaunchError {
    let what = what.into();
    move |source| LaunchError::Io { what, source }
}

/// How many threads this process has.
pub fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(1, |entries| entries.count())
}

/// Launches container `id`. Foreground: returns its exit status when it has ended. HandOver: returns 0 when it runs.
pub fn run(engine: &Engine, id: &str, mode: Mode) -> Result<i32, LaunchError> {
    match threads() {
        1 => {}
        many => return Err(LaunchError::Threads(many)),
    }
    let containers = Containers::new(engine);
    let record = claim(&containers, id)?;
    let mut launch = Launch {
        engine,
        containers: &containers,
        record,
        held: Vec::new(),
    };
    let result = launch.run(mode);
    if let Err(error) = &result {
        launch.failed(error);
    }
    result
}

/// Marks the record as being started by us, unless it runs.
fn claim(containers: &Containers, id: &str) -> Result<Record, LaunchError> {
    let record = containers.find(id)?;
    let claimed = containers.change(&record.id, |record| {
        let live = |process: &Option<ProcessId>| process.as_ref().is_some_and(ProcessId::alive);
        if matches!(record.state.status, Status::Running | Status::Starting)
            && (live(&record.state.process) || live(&record.state.launcher))
        {
            return None;
        }
        record.state.status = Status::Starting;
        record.state.process = None;
        record.state.launcher = ProcessId::me();
        record.state.invocation = systemd::invocation();
        record.state.stop_requested = false;
        record.state.error.clear();
        Some(record.clone())
    })?;
    claimed.ok_or(LaunchError::AlreadyRunning(record.name))
}

/// A container on its way.
struct Launch<'a> {
    engine: &'a Engine,
    containers: &'a Containers,
    record: Record,
    held: Vec<Reservation>,
}

/// A created container, ready to start.
struct Ready {
    created: Created,
    streams: Streams,
    terminal: Option<OwnedFd>,
    rootfs: PathBuf,
}

impl Launch<'_> {
    fn run(&mut self, mode: Mode) -> Result<i32, LaunchError> {
        let caught = watch::Caught::new().map_err(io_error("catching signals"))?;
        let cgroup = systemd::own_cgroup().map_err(io_error("finding the own cgroup"))?;
        let oom_before = oom_kills(&cgroup);
        let ready = self.prepare(mode, &cgroup)?;
        let pid = ready.created.pid;
        if let Err(error) = self.connect_and_start(mode, &ready, &cgroup) {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            if mode == Mode::Foreground {
                let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
            }
            return Err(error);
        }
        if mode == Mode::HandOver {
            let message = format!("MAINPID={pid}\nREADY=1");
            systemd::notify(&message).map_err(io_error("telling systemd"))?;
            return Ok(0);
        }
        let status = self.attend(ready, &caught)?;
        self.ended(status, oom_kills(&cgroup) > oom_before)?;
        Ok(status)
    }

    /// Everything up to a first process that waits.
    fn prepare(&mut self, mode: Mode, cgroup: &str) -> Result<Ready, LaunchError> {
        let record = &self.record;
        let run_dir = self.engine.run_container(&record.id);
        fs::create_dir_all(&run_dir).map_err(io_error(run_dir.display().to_string()))?;
        if record.host.network == NetworkMode::Bridge {
            let (attachment, held) =
                network::lease(self.engine, &record.id, &record.name, &record.host.ports)?;
            self.held = held;
            self.record.state.network = Some(attachment);
        }
        isolate().map_err(io_error("making a mount namespace"))?;
        let record = &self.record;
        let rootfs =
            rootfs::mount(self.engine, record).map_err(io_error("mounting the container's file system"))?;
        self.write_files(self.record.state.network.as_ref())?;
        self.prepare_mounts(&rootfs)?;
        let facts = self.facts(&rootfs, cgroup)?;
        let spec = spec::build(record, &facts)?;
        let saved = run_dir.join("spec.json");
        durable::write_json(&saved, &spec).map_err(io_error(saved.display().to_string()))?;
        let (uid, gid) = (facts.identity.uid, facts.identity.gid);
        let (ours, theirs) = UnixStream::pair().map_err(io_error("making a socket"))?;
        let streams = match mode {
            _ if record.config.tty => Ok(Streams::default()),
            Mode::Foreground => Streams::piped(record, uid, gid),
            Mode::HandOver => Streams::handed_over(record),
        }
        .map_err(io_error("preparing standard streams"))?;
        let console = record.config.tty.then(|| OwnedFd::from(theirs));
        let created = process::create(&Plan {
            id: &record.id,
            spec,
            rootfs: &rootfs,
            run_dir: &run_dir,
            cgroup,
            streams: &streams,
            console: console.as_ref(),
            as_sibling: mode == Mode::HandOver,
            program: Program {
                init: record.host.init,
            },
        })?;
        let terminal = match console {
            Some(_) => Some(terminal::receive(&ours).map_err(io_error("receiving the terminal"))?),
            None => None,
        };
        Ok(Ready {
            created,
            streams,
            terminal,
            rootfs,
        })
    }

    fn connect_and_start(&mut self, mode: Mode, ready: &Ready, cgroup: &str) -> Result<(), LaunchError> {
        let pid = ready.created.pid;
        match (&self.record.host.network, &self.record.state.network) {
            (NetworkMode::Bridge, Some(attachment)) => {
                network::attach(self.engine, &self.record.id, pid, attachment)?
            }
            (NetworkMode::None, _) => network::loopback_only(pid)?,
            _ => {}
        }
        let attachment = self.record.state.network.clone();
        self.record = self.containers.change(&self.record.id, |record| {
            record.state.status = Status::Running;
            record.state.process = ProcessId::of(pid);
            record.state.launcher = if mode == Mode::Foreground {
                ProcessId::me()
            } else {
                None
            };
            record.state.cgroup = cgroup.to_owned();
            record.state.started_at = Some(now());
            record.state.finished_at = None;
            record.state.exit_code = 0;
            record.state.oom_killed = false;
            record.state.network = attachment;
            record.clone()
        })?;
        Ok(ready.created.start()?)
    }

    /// Foreground: pumps, forwards and waits.
    fn attend(&self, ready: Ready, caught: &watch::Caught) -> Result<i32, LaunchError> {
        let pid = ready.created.pid;
        let _ = systemd::notify("READY=1");
        let mut pumps = Vec::new();
        let mut raw = None;
        if let Some(master) = &ready.terminal {
            let copy = || Ok(fs::File::from(master.try_clone()?));
            terminal::copy_size(master);
            pumps.push(stdio::pump_terminal(
                copy().map_err(io_error("sharing the terminal"))?,
                &self.record,
            ));
            if self.record.config.open_stdin {
                raw = terminal::Raw::enter().map_err(io_error("setting the terminal raw"))?;
                stdio::feed_terminal(copy().map_err(io_error("sharing the terminal"))?);
            }
        }
        pumps.extend(ready.streams.pump(&self.record));
        let on_stop = || {
            let _ = self
                .containers
                .change(&self.record.id, |record| record.state.stop_requested = true);
        };
        let forwarding = watch::Forwarding {
            stop_signal: stop_signal(&self.record),
            terminal: ready.terminal.as_ref(),
            on_stop: &on_stop,
        };
        let status = watch::wait(pid, caught, &forwarding).map_err(io_error("waiting for the container"))?;
        for pump in pumps {
            let _ = pump.join();
        }
        drop(raw);
        let _ = umount2(&ready.rootfs, MntFlags::MNT_DETACH);
        Ok(status)
    }

    fn ended(&self, status: i32, oom_killed: bool) -> Result<(), LaunchError> {
        self.containers.change(&self.record.id, |record| {
            record.state.status = Status::Exited;
            record.state.process = None;
            record.state.launcher = None;
            record.state.network = None;
            record.state.exit_code = status;
            record.state.oom_killed = oom_killed;
            record.state.finished_at = Some(now());
        })?;
        self.tidy();
        Ok(())
    }

    /// Gives back what the container had; nothing here may hide how it ended.
    fn tidy(&self) {
        if let Err(error) = network::release(self.engine, &self.record.id) {
            tracing::warn!("releasing the network of {}: {error}", self.record.name);
        }
        let _ = fs::remove_dir_all(self.engine.run_container(&self.record.id));
        if self.record.host.auto_remove
            && let Err(error) = self.containers.remove(&self.record, true)
        {
            tracing::warn!("removing {}: {error}", self.record.name);
        }
    }

    fn failed(&self, error: &LaunchError) {
        let _ = umount2(
            &self.engine.container(&self.record.id).join("rootfs"),
            MntFlags::MNT_DETACH,
        );
        let _ = self.containers.change(&self.record.id, |record| {
            record.state.status = if record.state.started_at.is_some() {
                Status::Exited
            } else {
                Status::Created
            };
            record.state.process = None;
            record.state.launcher = None;
            record.state.network = None;
            record.state.exit_code = i32::from(error.exit_code());
            record.state.error = error.to_string();
        });
        self.tidy();
    }

    fn write_files(&self, attachment: Option<&Attachment>) -> Result<(), LaunchError> {
        let (record, dir) = (&self.record, self.engine.container(&self.record.id));
        let shares = record.host.network == NetworkMode::Host;
        let mut machine = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        // systemd-resolved's stub is on loopback; behind it stand the real servers.
        if !shares && machine.contains("nameserver 127.0.0.53") {
            machine = fs::read_to_string("/run/systemd/resolve/resolv.conf").unwrap_or(machine);
        }
        let host = &record.host;
        let hosts = if shares && host.extra_hosts.is_empty() {
            fs::read_to_string("/etc/hosts").unwrap_or_default()
        } else {
            network::hosts_file(&record.config.hostname, &host.extra_hosts, attachment)
        };
        for (name, text) in [
            (
                "resolv.conf",
                network::resolv_conf(&machine, &host.dns, &host.dns_search, shares),
            ),
            ("hosts", hosts),
            ("hostname", format!("{}\n", record.config.hostname)),
        ] {
            let path = dir.join(name);
            let write = || {
                fs::write(&path, text)?;
                fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644))
            };
            write().map_err(io_error(path.display().to_string()))?;
        }
        Ok(())
    }

    /// Makes missing sources of mounts and fills new volumes.
    fn prepare_mounts(&self, rootfs: &Path) -> Result<(), LaunchError> {
        for mount in &self.record.host.mounts {
            match &mount.source {
                MountSource::Bind(path) if !Path::new(path).exists() => {
                    if !mount.create {
                        return Err(LaunchError::NoSource(path.clone()));
                    }
                    fs::create_dir_all(path).map_err(io_error(path.as_str()))?;
                }
                MountSource::Volume(name) => {
                    let data = self.engine.volumes().join(name).join("_data");
                    fs::create_dir_all(&data).map_err(io_error(data.display().to_string()))?;
                    if mount.copy {
                        rootfs::fill_volume(rootfs, &mount.target, &data)
                            .map_err(io_error(format!("filling volume {name}")))?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn facts(&self, rootfs: &Path, cgroup: &str) -> Result<Facts, LaunchError> {
        let record = &self.record;
        let (passwd, group) = (
            user::read_in(rootfs, "etc/passwd"),
            user::read_in(rootfs, "etc/group"),
        );
        let network_namespace = match &record.host.network {
            NetworkMode::Container(peer) => {
                let peer = self.containers.find(peer)?;
                let process = peer.state.process.filter(ProcessId::alive);
                let pid = process.ok_or_else(|| LaunchError::NoPeer(peer.name))?.pid;
                Some(PathBuf::from(format!("/proc/{pid}/ns/net")))
            }
            _ => None,
        };
        Ok(Facts {
            rootfs: rootfs.to_owned(),
            dir: self.engine.container(&record.id),
            volumes: self.engine.volumes(),
            cgroup: cgroup.to_owned(),
            identity: user::resolve(&record.config.user, &record.host.group_add, &passwd, &group)?,
            available: capabilities::available(),
            network_namespace,
            extra_env: Vec::new(),
            host_devices: if record.host.privileged || !record.host.devices.is_empty() {
                host_devices(Path::new("/dev"))
            } else {
                Vec::new()
            },
        })
    }
}

/// The signal that asks a container to end.
pub fn stop_signal(record: &Record) -> i32 {
    match record.config.stop_signal.as_str() {
        "" => libc::SIGTERM,
        text => signal_number(text).unwrap_or(libc::SIGTERM),
    }
}

/// Reads `TERM`, `SIGTERM`, `15`, `RTMIN+3`.
pub fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let (base, rest) = match (bare.strip_prefix("RTMIN"), bare.strip_prefix("RTMAX")) {
        (Some(rest), _) => (libc::SIGRTMIN(), rest),
        (_, Some(rest)) => (libc::SIGRTMAX(), rest),
        _ => {
            return format!("SIG{bare}")
                .parse::<nix::sys::signal::Signal>()
                .ok()
                .map(|signal| signal as i32);
        }
    };
    let offset: i32 = if rest.is_empty() { 0 } else { rest.parse().ok()? };
    (libc::SIGRTMIN()..=libc::SIGRTMAX())
        .contains(&(base + offset))
        .then_some(base + offset)
}

/// A mount namespace of our own: the machine's later mounts come in, ours do not go out.
fn isolate() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_SLAVE | MsFlags::MS_REC,
        None::<&str>,
    )?;
    Ok(())
}

/// How often the kernel has killed in a cgroup for want of memory.
fn oom_kills(cgroup: &str) -> u64 {
    let text = fs::read_to_string(format!("/sys/fs/cgroup{cgroup}/memory.events")).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// Device nodes below `dir`, without those a container has of its own.
fn host_devices(dir: &Path) -> Vec<(String, char, u64, u64)> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    const OWN: [&str; 5] = ["pts", "shm", "mqueue", "fd", "hugepages"];
    const STANDARD: [&str; 8] = [
        "null", "zero", "full", "random", "urandom", "tty", "ptmx", "console",
    ];
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (Ok(metadata), name) = (entry.metadata(), entry.file_name().to_string_lossy().into_owned())
        else {
            continue;
        };
        let kind = metadata.file_type();
        if kind.is_dir() && !OWN.contains(&name.as_str()) {
            found.extend(host_devices(&entry.path()));
        } else if (kind.is_char_device() || kind.is_block_device()) && !STANDARD.contains(&name.as_str()) {
            let letter = if kind.is_block_device() { 'b' } else { 'c' };
            let device = metadata.rdev();
            let (major, minor) = (
                u64::from(rustix::fs::major(device)),
                u64::from(rustix::fs::minor(device)),
            );
            found.push((entry.path().to_string_lossy().into_owned(), letter, major, minor));
        }
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGKILL", 9),
            ("sigint", 2),
            ("10", 10),
            ("RTMIN+3", libc::SIGRTMIN() + 3),
        ] {
            assert_eq!(signal_number(text), Some(number), "{text}");
        }
        for text in ["", "0", "65", "SIGFOO", "RTMIN+99"] {
            assert_eq!(signal_number(text), None, "{text}");
        }
    }

    #[test]
    fn exit_codes_are_dockers() {
        let code = |text: &str| LaunchError::Process(ProcessError(text.into())).exit_code();
        assert_eq!(code("x: exec: \"foo\": executable file not found in $PATH"), 127);
        assert_eq!(code("exec: \"/foo\": stat /foo: no such file or directory"), 127);
        assert_eq!(code("exec: \"/etc\": permission denied"), 126);
        assert_eq!(code("something else"), 125);
    }
}
