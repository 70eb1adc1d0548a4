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

mod error;
pub mod exec;
mod executor;
mod prepare;
mod process;
mod signals;
mod stdio;
mod terminal;
mod watch;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::containers::{ContainerError, Containers};
use crate::durable;
use crate::engine::Engine;
use crate::identity::ProcessId;
use crate::network::{self, Reservation};
use crate::record::{NetworkMode, Record, Status, now};
use crate::{rootfs, spec, systemd};
use error::io_error;
use executor::Program;
use process::{Created, Plan};
use stdio::Streams;

pub use error::LaunchError;
pub use signals::{signal_number, stop_signal};

/// Whether the launcher stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Stay as the container's parent.
    Foreground,
    /// Give it to systemd and go.
    HandOver,
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
        let started = match caught.asked_to_end() {
            Some(signal) => Err(LaunchError::Stopped(signal)),
            None => self.connect_and_start(mode, &ready, &cgroup),
        };
        if let Err(error) = started {
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
        self.give_back();
        self.containers.change(&self.record.id, |record| {
            record.state.status = Status::Exited;
            record.state.process = None;
            record.state.launcher = None;
            record.state.network = None;
            record.state.exit_code = status;
            record.state.oom_killed = oom_killed;
            record.state.finished_at = Some(now());
        })?;
        self.remove_if_asked();
        Ok(())
    }

    /// Gives back what the container had, before its record says that it ended: from then on somebody else may start it
    /// again, and this would take from that one. Nothing here may hide how it ended.
    fn give_back(&self) {
        if let Err(error) = network::release(self.engine, &self.record.id) {
            tracing::warn!("releasing the network of {}: {error}", self.record.name);
        }
        let _ = fs::remove_dir_all(self.engine.run_container(&self.record.id));
    }

    fn remove_if_asked(&self) {
        if !self.record.host.auto_remove {
            return;
        }
        match self.containers.remove(&self.record, true) {
            Ok(()) | Err(ContainerError::Unknown(_)) => {}
            Err(error) => tracing::warn!("removing {}: {error}", self.record.name),
        }
    }

    fn failed(&self, error: &LaunchError) {
        let _ = umount2(
            &self.engine.container(&self.record.id).join("rootfs"),
            MntFlags::MNT_DETACH,
        );
        self.give_back();
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
        self.remove_if_asked();
    }
}

/// Gives back what an ended container had, after a hand-over: its unit is gone, and nobody waited for its process.
pub fn tidy(engine: &Engine, id: &str) -> Result<(), LaunchError> {
    let containers = Containers::new(engine);
    // Finding settles: the record now says that it ended.
    let record = containers.find(id)?;
    if record.state.status != Status::Exited {
        return Ok(());
    }
    network::release(engine, &record.id)?;
    let _ = fs::remove_dir_all(engine.run_container(&record.id));
    if !record.host.auto_remove {
        return Ok(());
    }
    match containers.remove(&record, true) {
        // Another command's look at the containers may have removed it just now.
        Ok(()) | Err(ContainerError::Unknown(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
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
