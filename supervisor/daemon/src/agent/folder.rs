//! The unit files of ours on this machine, and which of them we had started.
//!
//! ```text
//! /run/fleet/units/web.service            the unit file systemd is given
//! /run/fleet/units/.launched/web.service  we asked systemd to start it, and not to stop it since; holds why it came to nothing
//! /run/fleet/units/.unread/web.service    empty: systemd has not read the file yet
//! /run/fleet/units/.reload                empty: a file was removed, and systemd may still know the unit
//! ```
//!
//! The danger is a supervisor killed between writing a file and systemd's reading it: were the file taken for a loaded unit,
//! nobody would ever load it. The mark is made before the file, and a file that still has one is not read but written anew.
//!
//! Both lie on tmpfs: they outlive the supervisor and end with the boot, as the units themselves do. A file is written
//! whole or not at all (to a temporary name, then renamed).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use corten_agent::OnDisk;
use corten_spec::unit_file::UnitFile;
use corten_spec::unit_name::UnitName;
use corten_spec::x_fleet::Requirements;

const RELOAD: &str = ".reload";

/// A file or folder that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot {what}: {error}", path.display())]
pub struct FolderError {
    /// Which.
    pub path: PathBuf,
    /// What was tried.
    pub what: &'static str,
    /// What the kernel said.
    pub error: io::Error,
}

/// The folder.
#[derive(Debug, Clone)]
pub struct Folder {
    units: PathBuf,
    launched: PathBuf,
    unread: PathBuf,
}

impl Folder {
    /// The folder at `units`, made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(units: &Path) -> Result<Folder, FolderError> {
        let launched = units.join(".launched");
        let unread = units.join(".unread");
        for folder in [&launched, &unread] {
            at(folder, "make the folder", std::fs::create_dir_all(folder))?;
        }
        Ok(Folder {
            units: units.to_owned(),
            launched,
            unread,
        })
    }

    /// Where a unit's file lies.
    pub fn path(&self, unit: &UnitName) -> PathBuf {
        self.units.join(unit.as_str())
    }

    /// Everything there that systemd has read. A file that is no unit file is left alone and reported.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn read(&self) -> Result<BTreeMap<UnitName, OnDisk>, FolderError> {
        let mut found = BTreeMap::new();
        for entry in at(&self.units, "list the folder", std::fs::read_dir(&self.units))? {
            let entry = at(&self.units, "list the folder", entry)?;
            let Some(name) = entry
                .file_name()
                .to_str()
                .and_then(|name| UnitName::parse(name).ok())
            else {
                continue;
            };
            if self.unread.join(name.as_str()).exists() {
                continue;
            }
            let text = at(
                &entry.path(),
                "read the unit file",
                std::fs::read_to_string(entry.path()),
            )?;
            match UnitFile::parse(&text) {
                Ok(file) => drop(found.insert(name.clone(), self.on_disk(&name, &file))),
                Err(error) => tracing::warn!(unit = %name, %error, "not a unit file of ours: left alone"),
            }
        }
        Ok(found)
    }

    fn on_disk(&self, name: &UnitName, file: &UnitFile) -> OnDisk {
        let mark = std::fs::read_to_string(self.launched.join(name.as_str())).ok();
        OnDisk {
            hash: file.hash(),
            requirements: Requirements::of(name, file),
            has_install: file.has_install(),
            launched: mark.is_some(),
            start_error: mark.unwrap_or_default(),
        }
    }

    /// Writes a unit's file, which systemd has not read yet; returns what is there then.
    ///
    /// # Errors
    /// When the text is no unit file or cannot be written.
    pub fn write(&self, unit: &UnitName, text: &str) -> Result<OnDisk, FolderError> {
        let path = self.path(unit);
        let parsed = UnitFile::parse(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
        let file = at(&path, "write the unit file", parsed)?;
        let new = self.launched.join(format!("{unit}.new"));
        let mark = self.unread.join(unit.as_str());
        at(&mark, "mark the unit as unread", std::fs::write(&mark, ""))?;
        at(&new, "write the unit file", std::fs::write(&new, text))?;
        at(&path, "put the unit file in place", std::fs::rename(&new, &path))?;
        Ok(self.on_disk(unit, &file))
    }

    /// The units whose files systemd has not read yet.
    ///
    /// # Errors
    /// When the marks cannot be listed.
    pub fn unread(&self) -> Result<Vec<UnitName>, FolderError> {
        let mut units = Vec::new();
        for entry in at(&self.unread, "list the folder", std::fs::read_dir(&self.unread))? {
            let entry = at(&self.unread, "list the folder", entry)?;
            units.extend(
                entry
                    .file_name()
                    .to_str()
                    .and_then(|name| UnitName::parse(name).ok()),
            );
        }
        Ok(units)
    }

    /// Remembers that systemd has read a unit's file.
    ///
    /// # Errors
    /// When the mark cannot be removed.
    pub fn mark_read(&self, unit: &UnitName) -> Result<(), FolderError> {
        let mark = self.unread.join(unit.as_str());
        at(&mark, "mark the unit as read", gone(std::fs::remove_file(&mark)))
    }

    /// Remembers that systemd is to read its files again: before one is removed.
    ///
    /// # Errors
    /// When the mark cannot be made.
    pub fn owe_reload(&self) -> Result<(), FolderError> {
        let mark = self.units.join(RELOAD);
        at(&mark, "mark that systemd is to reload", std::fs::write(&mark, ""))
    }

    /// Whether it has yet to.
    pub fn owes_reload(&self) -> bool {
        self.units.join(RELOAD).exists()
    }

    /// It has.
    ///
    /// # Errors
    /// When the mark cannot be removed.
    pub fn reloaded(&self) -> Result<(), FolderError> {
        let mark = self.units.join(RELOAD);
        at(
            &mark,
            "mark that systemd has reloaded",
            gone(std::fs::remove_file(&mark)),
        )
    }

    /// Removes a unit's file, and that it was launched.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove(&self, unit: &UnitName) -> Result<(), FolderError> {
        self.mark_stopped(unit)?;
        let path = self.path(unit);
        at(&path, "remove the unit file", gone(std::fs::remove_file(&path)))?;
        self.mark_read(unit)
    }

    /// Remembers that a unit was started by us, and why that came to nothing; empty if it did not.
    ///
    /// # Errors
    /// When the mark cannot be made.
    pub fn mark_launched(&self, unit: &UnitName, error: &str) -> Result<(), FolderError> {
        let mark = self.launched.join(unit.as_str());
        at(&mark, "mark the unit as started", std::fs::write(&mark, error))
    }

    /// Remembers that a unit was not started by us, or was stopped since.
    ///
    /// # Errors
    /// When the mark cannot be removed.
    pub fn mark_stopped(&self, unit: &UnitName) -> Result<(), FolderError> {
        let mark = self.launched.join(unit.as_str());
        at(
            &mark,
            "mark the unit as stopped",
            gone(std::fs::remove_file(&mark)),
        )
    }
}

fn at<T>(path: &Path, what: &'static str, result: io::Result<T>) -> Result<T, FolderError> {
    result.map_err(|error| FolderError {
        path: path.to_owned(),
        what,
        error,
    })
}

/// That something was not there is as good as that it was removed.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(&temporary.path().join("units")).unwrap();
        let name = UnitName::parse("a.service").unwrap();
        let written = folder.write(&name, "[Service]\nExecStart=/bin/true\n").unwrap();
        assert!(!written.launched);
        assert!(folder.read().unwrap().is_empty(), "systemd has not read it");
        assert_eq!(folder.unread().unwrap(), std::slice::from_ref(&name));
        folder.mark_read(&name).unwrap();
        assert_eq!(folder.unread().unwrap(), []);
        folder.mark_launched(&name, "").unwrap();
        let read = folder.read().unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read[&name].hash, written.hash);
        assert!(read[&name].launched);
        folder.mark_launched(&name, "refused").unwrap();
        assert_eq!(folder.read().unwrap()[&name].start_error, "refused");
        folder.remove(&name).unwrap();
        folder.remove(&name).unwrap();
        assert!(folder.read().unwrap().is_empty());
        assert!(
            !folder.write(&name, "[Service]\n").unwrap().launched,
            "the mark went with the file"
        );
    }
}
