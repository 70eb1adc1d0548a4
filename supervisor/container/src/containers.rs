//! The containers' records: create, find, change, remove, and settle what died without a word.
//!
//! Duty: unique names under one lock; each record changed under its own lock and replaced atomically.
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

    /// Creates a container. An empty name is replaced by one that `invent` makes; it is called again on a clash.
    pub fn create(
        &self,
        record: &mut Record,
        mut invent: impl FnMut() -> String,
    ) -> Result<(), ContainerError> {
        let _lock = self.names_lock()?;
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
        match self.all()?.into_iter().find(|other| other.name == name) {
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
                        self.remove(&record, true)?;
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
        for entry in fs::read_dir(&path).map_err(disk)? {
            let id = entry.map_err(disk)?.file_name().to_string_lossy().into_owned();
            match durable::read_json::<Record>(&self.record_path(&id)) {
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
        let mut record: Record = durable::read_json(&self.record_path(id))
            .map_err(disk)?
            .ok_or_else(unknown)?;
        let value = change(&mut record);
        durable::write_json(&self.record_path(id), &record).map_err(disk)?;
        Ok(value)
    }

    /// Marks a record as ended whose processes are gone without having said so.
    fn settle(&self, record: Record) -> Result<Record, ContainerError> {
        if !is_stale(&record.state) {
            return Ok(record);
        }
        self.change(&record.id, |record| {
            if is_stale(&record.state) {
                record.state = settled(&record.state);
            }
            record.clone()
        })
    }

    /// Removes a container that does not run, with its anonymous volumes if asked.
    pub fn remove(&self, record: &Record, volumes: bool) -> Result<(), ContainerError> {
        let _lock = self.names_lock()?;
        let record = self.settle(record.clone())?;
        if matches!(record.state.status, Status::Running | Status::Starting) {
            return Err(ContainerError::Running(record.name));
        }
        let dir = self.engine.container(&record.id);
        let erase = || -> io::Result<()> {
            // The record first: without it the rest is no container any more.
            match fs::remove_file(self.record_path(&record.id)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            if volumes {
                for mount in record.host.mounts.iter().filter(|mount| mount.anonymous) {
                    if let MountSource::Volume(name) = &mount.source {
                        remove_tree(&self.engine.volumes().join(name))?;
                    }
                }
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

fn settled(state: &State) -> State {
    State {
        status: if state.started_at.is_some() {
            Status::Exited
        } else {
            Status::Created
        },
        process: None,
        launcher: None,
        network: None,
        exit_code: UNSEEN_EXIT,
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
