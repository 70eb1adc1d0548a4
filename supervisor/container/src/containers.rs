//! The containers' records: create, find, change, remove, and settle what died without a word.
//!
//! Duty: unique names under one lock; each record changed under its own lock and replaced atomically. What was asked for
//! (`record.json`) is durable; what became of it (`state.json`) is not: after a power cut everything has ended anyway, and a
//! state that cannot be read says just that.
//! Settling: a record may say "running" while its process is gone, when a launcher was killed or the power was cut. Every
//! read settles such a record, so that nothing dead blocks a name, an address or a port.
//! Danger: lock order is names, then record, then network; never the other way.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::durable::{self, Lock};
use crate::engine::Engine;
use crate::image::layer::remove_tree;
use crate::record::{MountSource, Record, State, Status, now};
use crate::systemd;

/// Exit code of a container whose end nobody saw.
pub const UNSEEN_EXIT: i32 = 255;

/// Why the records could not do what was asked. Messages are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// Nothing of that name or id.
    #[error("No such container: {0}")]
    Unknown(String),
    /// A short id fits several.
    #[error("multiple IDs found with provided prefix: {0}")]
    Ambiguous(String),
    /// The name is taken.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        holder: String,
    },
    /// Not a name.
    #[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    BadName(String),
    /// It runs.
    #[error(
        "cannot remove container \"/{0}\": container is running: stop the container before removing or force remove"
    )]
    Running(String),
    /// It does not run.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// It did not end.
    #[error("container {0} did not end within {1} s of SIGKILL")]
    Undead(String, u64),
    /// The disk said no.
    #[error("{path}: {source}")]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The containers of an engine.
#[derive(Debug, Clone)]
pub struct Containers {
    engine: Engine,
}

impl Containers {
    /// The containers of `engine`.
    pub fn new(engine: &Engine) -> Self {
        Self {
            engine: engine.clone(),
        }
    }

    fn names_lock(&self) -> Result<Lock, ContainerError> {
        let path = self.engine.data().join("containers.lock");
        Lock::wait(&path).map_err(|source| ContainerError::Disk { path, source })
    }

    fn record_path(&self, id: &str) -> PathBuf {
        self.engine.container(id).join("record.json")
    }

    fn state_path(&self, id: &str) -> PathBuf {
        self.engine.container(id).join("state.json")
    }

    /// Record and state; `None` when there is no record.
    fn read(&self, id: &str) -> io::Result<Option<Record>> {
        let Some(mut record) = durable::read_json::<Record>(&self.record_path(id))? else {
            return Ok(None);
        };
        record.state = match durable::read_json(&self.state_path(id)) {
            Ok(state) => state.unwrap_or_default(),
            // Torn by a power cut: it had been started, and nobody saw its end.
            Err(_) => State {
                status: Status::Exited,
                exit_code: UNSEEN_EXIT,
                ..State::default()
            },
        };
        Ok(Some(record))
    }

    /// Creates a container. An empty name is replaced by one that `invent` makes; it is called again on a clash.
    pub fn create(
        &self,
        record: &mut Record,
        mut invent: impl FnMut() -> String,
    ) -> Result<(), ContainerError> {
        let _lock = self.names_lock()?;
        self.sweep();
        let all = self.all()?;
        let holder = |name: &str| all.iter().find(|other| other.name == name);
        if record.name.is_empty() {
            record.name = invent();
            while holder(&record.name).is_some() {
                record.name = invent();
            }
        }
        check_name(&record.name)?;
        record.log_tag.clone_from(&record.name);
        if let Some(other) = holder(&record.name) {
            return Err(ContainerError::NameTaken {
                name: record.name.clone(),
                holder: other.id.clone(),
            });
        }
        let dir = self.engine.container(&record.id);
        let make = || -> io::Result<()> {
            fs::create_dir_all(&dir)?;
            for part in ["upper", "work", "rootfs"] {
                fs::create_dir_all(dir.join(part))?;
            }
            durable::write_volatile(&self.state_path(&record.id), &serde_json::to_vec(&record.state)?)?;
            durable::write_json(&self.record_path(&record.id), record)?;
            durable::sync_dir(&self.engine.containers())
        };
        make().map_err(|source| ContainerError::Disk {
            path: dir.clone(),
            source,
        })
    }

    /// Whether a name may be taken, as far as anybody can say before `create`.
    pub fn check_free(&self, name: &str) -> Result<(), ContainerError> {
        check_name(name)?;
        // Listing removes dead containers of `--rm`, so that they block no name.
        match self.list()?.into_iter().find(|other| other.name == name) {
            Some(other) => Err(ContainerError::NameTaken {
                name: name.to_owned(),
                holder: other.id,
            }),
            None => Ok(()),
        }
    }

    /// All containers, settled, newest first. A directory without a readable record is left out (an interrupted
    /// creation or removal).
    pub fn list(&self) -> Result<Vec<Record>, ContainerError> {
        let mut records = Vec::new();
        for record in self.all()? {
            match self.settle(record) {
                // Its launcher was killed before it could.
                Ok(record) if record.host.auto_remove && record.state.status == Status::Exited => {
                    if !record
                        .state
                        .launcher
                        .as_ref()
                        .is_some_and(|launcher| launcher.alive())
                    {
                        match self.remove(&record, true) {
                            // Or somebody else was quicker.
                            Ok(()) | Err(ContainerError::Unknown(_)) => {}
                            Err(error) => return Err(error),
                        }
                    }
                }
                Ok(record) => records.push(record),
                Err(ContainerError::Unknown(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(records)
    }

    fn all(&self) -> Result<Vec<Record>, ContainerError> {
        let path = self.engine.containers();
        let disk = |source| ContainerError::Disk {
            path: path.clone(),
            source,
        };
        let mut records: Vec<Record> = Vec::new();
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            // Nothing was ever made here.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(records),
            Err(error) => return Err(disk(error)),
        };
        for entry in entries {
            let id = entry.map_err(disk)?.file_name().to_string_lossy().into_owned();
            match self.read(&id) {
                Ok(record) => records.extend(record),
                Err(error) => tracing::warn!("{error}; container left out"),
            }
        }
        records.sort_by(|a, b| b.created.cmp(&a.created));
        Ok(records)
    }

    /// Finds a container by name, id or unambiguous start of an id, settled.
    pub fn find(&self, name: &str) -> Result<Record, ContainerError> {
        let bare = name.strip_prefix('/').unwrap_or(name);
        let all = self.all()?;
        let exact = all.iter().find(|record| record.name == bare || record.id == bare);
        let record = match exact {
            Some(record) => record.clone(),
            None => {
                let mut fits = all
                    .iter()
                    .filter(|record| !bare.is_empty() && record.id.starts_with(bare));
                match (fits.next(), fits.next()) {
                    (Some(record), None) => record.clone(),
                    (Some(_), Some(_)) => return Err(ContainerError::Ambiguous(name.to_owned())),
                    (None, _) => return Err(ContainerError::Unknown(name.to_owned())),
                }
            }
        };
        self.settle(record)
    }

    /// Changes a record under its lock; the change sees the newest one.
    pub fn change<T>(&self, id: &str, change: impl FnOnce(&mut Record) -> T) -> Result<T, ContainerError> {
        let path = self.engine.container(id).join("lock");
        let unknown = || ContainerError::Unknown(id.to_owned());
        let disk = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => unknown(),
            _ => ContainerError::Disk {
                path: path.clone(),
                source,
            },
        };
        let _lock = Lock::wait(&path).map_err(disk)?;
        let mut record = self.read(id).map_err(disk)?.ok_or_else(unknown)?;
        let asked = |record: &Record| serde_json::to_vec_pretty(record).map_err(|error| disk(error.into()));
        let before = asked(&record)?;
        let value = change(&mut record);
        let after = asked(&record)?;
        if before != after {
            durable::write(&self.record_path(id), &after).map_err(disk)?;
        }
        let state = serde_json::to_vec_pretty(&record.state).map_err(|error| disk(error.into()))?;
        durable::write_volatile(&self.state_path(id), &state).map_err(disk)?;
        Ok(value)
    }

    /// Marks a record as ended whose processes are gone without having said so.
    fn settle(&self, record: Record) -> Result<Record, ContainerError> {
        if !is_stale(&record.state) {
            return Ok(record);
        }
        // Asked before the lock is taken: it is another program's answer.
        let process = record.state.process.as_ref();
        let exit_code = process
            .and_then(|process| systemd::exit_of(&record.state.cgroup, process))
            .unwrap_or(UNSEEN_EXIT);
        self.change(&record.id, |record| {
            if is_stale(&record.state) {
                record.state = settled(&record.state, exit_code);
            }
            record.clone()
        })
    }

    /// Removes directories without a record: what an interrupted creation or removal left. The caller holds the names'
    /// lock, under which every record is made. What resists is tried again by the next creation.
    fn sweep(&self) {
        for entry in fs::read_dir(self.engine.containers())
            .into_iter()
            .flatten()
            .flatten()
        {
            let id = entry.file_name().to_string_lossy().into_owned();
            if !matches!(self.record_path(&id).try_exists(), Ok(false)) {
                continue;
            }
            for dir in [self.engine.run_container(&id), entry.path()] {
                if let Err(error) = remove_tree(&dir) {
                    tracing::warn!("sweeping {}: {error}", dir.display());
                }
            }
        }
    }

    /// Removes a container that does not run, with its anonymous volumes if asked. Only the id of `record` counts: the
    /// caller's copy may be older than what became of the container since.
    pub fn remove(&self, record: &Record, volumes: bool) -> Result<(), ContainerError> {
        let _lock = self.names_lock()?;
        let newest = self.read(&record.id).map_err(|source| ContainerError::Disk {
            path: self.engine.container(&record.id),
            source,
        })?;
        let record = self.settle(newest.ok_or_else(|| ContainerError::Unknown(record.id.clone()))?)?;
        if matches!(record.state.status, Status::Running | Status::Starting) {
            return Err(ContainerError::Running(record.name));
        }
        let dir = self.engine.container(&record.id);
        let erase = || -> io::Result<()> {
            // The volumes before the record, which alone names them; the directories after it, since without a record
            // they are no container any more, and the next creation sweeps them.
            if volumes {
                for mount in record.host.mounts.iter().filter(|mount| mount.anonymous) {
                    if let MountSource::Volume(name) = &mount.source {
                        remove_tree(&self.engine.volumes().join(name))?;
                    }
                }
            }
            match fs::remove_file(self.record_path(&record.id)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            remove_tree(&self.engine.run_container(&record.id))?;
            remove_tree(&dir)
        };
        erase().map_err(|source| ContainerError::Disk {
            path: dir.clone(),
            source,
        })
    }

    /// Gives a container another name.
    pub fn rename(&self, id: &str, name: &str) -> Result<(), ContainerError> {
        let _lock = self.names_lock()?;
        let name = name.strip_prefix('/').unwrap_or(name);
        check_name(name)?;
        if let Some(other) = self.all()?.iter().find(|other| other.name == name) {
            return Err(ContainerError::NameTaken {
                name: name.to_owned(),
                holder: other.id.clone(),
            });
        }
        self.change(id, |record| record.name = name.to_owned())
    }
}

/// Whether a state claims life that is not there.
fn is_stale(state: &State) -> bool {
    let alive = |process: &Option<crate::identity::ProcessId>| {
        process.as_ref().is_some_and(|process| process.alive())
    };
    matches!(state.status, Status::Starting | Status::Running)
        && !alive(&state.process)
        && !alive(&state.launcher)
}

fn settled(state: &State, exit_code: i32) -> State {
    State {
        status: if state.started_at.is_some() {
            Status::Exited
        } else {
            Status::Created
        },
        process: None,
        launcher: None,
        network: None,
        exit_code,
        finished_at: Some(now()),
        ..state.clone()
    }
}

fn check_name(name: &str) -> Result<(), ContainerError> {
    let mut bytes = name.bytes();
    let sound = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && name.len() >= 2
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if sound {
        Ok(())
    } else {
        Err(ContainerError::BadName(name.to_owned()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::identity::ProcessId;
    use crate::record::{Config, HostConfig};

    fn record(id: char, name: &str) -> Record {
        Record {
            id: id.to_string().repeat(64),
            name: name.into(),
            created: now(),
            image: "0".repeat(64),
            image_name: "x".into(),
            layers: Vec::new(),
            log_tag: String::new(),
            config: Config::default(),
            host: HostConfig::default(),
            state: State::default(),
        }
    }

    fn containers() -> (tempfile::TempDir, Containers) {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::new(dir.path().join("data"), dir.path().join("run"));
        engine.prepare().unwrap();
        (dir, Containers::new(&engine))
    }

    #[test]
    fn names_are_unique_and_found_with_ids_and_their_starts() {
        let (_dir, containers) = containers();
        containers.create(&mut record('a', "web"), String::new).unwrap();
        let clash = containers
            .create(&mut record('b', "web"), String::new)
            .unwrap_err();
        assert!(
            clash
                .to_string()
                .contains("is already in use by container \"aaaa"),
            "{clash}"
        );
        let mut invented = ["web", "db"].into_iter();
        let mut second = record('b', "");
        containers
            .create(&mut second, || invented.next().unwrap().to_owned())
            .unwrap();
        assert_eq!(second.name, "db");
        for name in ["web", "/web", "aaa"] {
            assert_eq!(containers.find(name).unwrap().name, "web");
        }
        assert_eq!(
            containers.find("nope").unwrap_err().to_string(),
            "No such container: nope"
        );
        containers.rename(&second.id, "db2").unwrap();
        containers.remove(&containers.find("db2").unwrap(), true).unwrap();
        assert!(containers.find("db2").is_err());
        assert!(matches!(
            containers.create(&mut record('c', "a/b"), String::new),
            Err(ContainerError::BadName(_))
        ));
    }

    #[test]
    fn what_died_without_a_word_is_settled_and_can_be_removed() {
        let (_dir, containers) = containers();
        let mut dead = record('a', "dead");
        let gone = ProcessId {
            pid: std::process::id() as i32,
            start: 1,
            boot: "an earlier one".into(),
        };
        dead.state.status = Status::Running;
        dead.state.started_at = Some(now());
        dead.state.process = Some(gone.clone());
        dead.state.launcher = Some(gone);
        containers.create(&mut dead, String::new).unwrap();
        let found = containers.find("dead").unwrap();
        assert_eq!(
            (found.state.status, found.state.exit_code),
            (Status::Exited, UNSEEN_EXIT)
        );
        containers.remove(&found, true).unwrap();
    }

    #[test]
    fn removal_goes_by_the_newest_record() {
        let (_dir, containers) = containers();
        let mut stale = record('a', "web");
        stale.state.status = Status::Running;
        stale.state.launcher = ProcessId::me();
        containers.create(&mut stale, String::new).unwrap();
        let ended = |record: &mut Record| record.state.status = Status::Exited;
        containers.change(&stale.id, ended).unwrap();
        containers.remove(&stale, true).unwrap();
        assert!(matches!(
            containers.remove(&stale, true),
            Err(ContainerError::Unknown(_))
        ));
    }

    #[test]
    fn a_dead_container_of_rm_blocks_no_name() {
        let (_dir, containers) = containers();
        let mut dead = record('a', "web");
        dead.host.auto_remove = true;
        dead.state.status = Status::Exited;
        containers.create(&mut dead, String::new).unwrap();
        containers.check_free("web").unwrap();
        assert!(!containers.engine.container(&dead.id).exists());
    }

    #[test]
    fn creation_sweeps_what_has_no_record() {
        let (_dir, containers) = containers();
        containers.create(&mut record('a', "web"), String::new).unwrap();
        let left = containers.engine.container("left");
        fs::create_dir_all(left.join("upper")).unwrap();
        containers.create(&mut record('b', "db"), String::new).unwrap();
        assert!(!left.exists());
        assert!(containers.find("web").is_ok());
    }

    #[test]
    fn a_torn_state_means_that_it_ended_unseen() {
        let (_dir, containers) = containers();
        let mut torn = record('a', "torn");
        containers.create(&mut torn, String::new).unwrap();
        fs::write(containers.state_path(&torn.id), b"").unwrap();
        let found = containers.find("torn").unwrap();
        assert_eq!(
            (found.state.status, found.state.exit_code),
            (Status::Exited, UNSEEN_EXIT)
        );
        containers.remove(&found, true).unwrap();
    }

    #[test]
    fn what_lives_is_not_removed() {
        let (_dir, containers) = containers();
        let mut live = record('a', "live");
        live.state.status = Status::Running;
        live.state.process = ProcessId::me();
        containers.create(&mut live, String::new).unwrap();
        let refused = containers
            .remove(&containers.find("live").unwrap(), true)
            .unwrap_err();
        assert!(refused.to_string().contains("container is running"), "{refused}");
    }
}
