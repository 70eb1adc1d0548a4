//! Files below a root folder: read, and replaced whole. A file that is there is never half written: the new one is
//! made beside it, gets its mode and owner, and takes its name.
//!
//! Danger: this runs as root in folders other users may own (`~/.ssh`); what is read there is opened without following
//! a link at its end, and a link at the end of a path is replaced, never written through. A folder of theirs is held open
//! (`Held`) while something is done in it, since its name may come to mean another one meanwhile.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::libc::{O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK};

/// What a file shall be.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its bytes.
    pub content: &'a [u8],
    /// Its permission bits.
    pub mode: u32,
    /// Its owner and group, where they matter.
    pub owner: Option<(u32, u32)>,
}

/// `path` (absolute) below `root`.
pub fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// A folder that stays the same one, whatever its path comes to mean.
#[derive(Debug)]
pub struct Held(File);

impl Held {
    /// The folder at `path`, which is no link.
    pub fn open(path: &Path) -> std::io::Result<Held> {
        let flags = O_NOFOLLOW | O_CLOEXEC | O_DIRECTORY;
        OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)
            .map(Held)
    }

    /// The path by which this folder and nothing else is reached.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    /// Gives it to `owner`, with these permission bits.
    pub fn set(&self, owner: (u32, u32), mode: u32) -> std::io::Result<()> {
        fchown(&self.0, Some(owner.0), Some(owner.1))?;
        self.0.set_permissions(fs::Permissions::from_mode(mode))
    }
}

/// A file's text, as far as it is text; nothing if it cannot be read.
pub fn text(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// A file's bytes, without following a link to it; `None` where there is none.
pub fn read_no_follow(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
        .open(path);
    match file {
        Ok(mut file) => {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Makes `path` what it shall be; true if it was not so already. Missing folders are made with mode 0755.
pub fn replace(path: &Path, wanted: Wanted<'_>) -> std::io::Result<bool> {
    if is_already(path, wanted) {
        return Ok(false);
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    let temporary = beside(path);
    let written = write(&temporary, wanted).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map(|()| true)
}

/// Makes `path` a link to `target`; true if it was not so already.
pub fn link(path: &Path, target: &Path) -> std::io::Result<bool> {
    if fs::read_link(path).is_ok_and(|there| there == target) {
        return Ok(false);
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    let temporary = beside(path);
    let _ = fs::remove_file(&temporary);
    std::os::unix::fs::symlink(target, &temporary)?;
    fs::rename(&temporary, path).map(|()| true)
}

fn is_already(path: &Path, wanted: Wanted<'_>) -> bool {
    let Ok(there) = fs::symlink_metadata(path) else {
        return false;
    };
    there.is_file()
        && there.len() == wanted.content.len() as u64
        && there.permissions().mode() & 0o7777 == wanted.mode
        && wanted
            .owner
            .is_none_or(|owner| owner == (there.uid(), there.gid()))
        && fs::read(path).is_ok_and(|bytes| bytes == wanted.content)
}

fn write(path: &Path, wanted: Wanted<'_>) -> std::io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(wanted.content)?;
    if let Some((user, group)) = wanted.owner {
        // By the file, not by its name: who owns the folder could have put a link in its place.
        fchown(&file, Some(user), Some(group))?;
    }
    // After chown, which takes set-user-ID away.
    file.set_permissions(fs::Permissions::from_mode(wanted.mode))?;
    settle(&file, path)
}

/// To the disk, so that a power cut leaves the old file or the new one; /run does not outlive it anyway.
fn settle(file: &File, path: &Path) -> std::io::Result<()> {
    if path.starts_with("/run") {
        Ok(())
    } else {
        file.sync_all()
    }
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.cloudinit-{}", std::process::id()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn plain(content: &[u8]) -> Wanted<'_> {
        Wanted {
            content,
            mode: 0o640,
            owner: None,
        }
    }

    #[test]
    fn replaces_once() {
        let root = tempfile::tempdir().unwrap();
        let path = below(root.path(), "/etc/a/b");
        assert!(replace(&path, plain(b"one")).unwrap());
        assert!(!replace(&path, plain(b"one")).unwrap());
        assert!(replace(&path, plain(b"two")).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(
            fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn links_are_replaced_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let (secret, path) = (root.path().join("secret"), root.path().join("link"));
        fs::write(&secret, "s").unwrap();
        assert!(link(&path, &secret).unwrap());
        assert!(!link(&path, &secret).unwrap());
        assert!(read_no_follow(&path).is_err());
        assert!(replace(&path, plain(b"mine")).unwrap());
        assert_eq!(fs::read(&secret).unwrap(), b"s");
        assert_eq!(read_no_follow(&path).unwrap().unwrap(), b"mine");
        assert!(read_no_follow(&root.path().join("none")).unwrap().is_none());
    }

    #[test]
    fn a_folder_that_is_held_stays_the_one_it_was() {
        let root = tempfile::tempdir().unwrap();
        let (mine, moved, other) = (
            root.path().join("mine"),
            root.path().join("moved"),
            root.path().join("other"),
        );
        fs::create_dir(&mine).unwrap();
        fs::create_dir(&other).unwrap();
        let held = Held::open(&mine).unwrap();
        fs::rename(&mine, &moved).unwrap();
        std::os::unix::fs::symlink(&other, &mine).unwrap();
        assert!(replace(&held.path().join("keys"), plain(b"k")).unwrap());
        assert!(moved.join("keys").exists() && !other.join("keys").exists());
        assert!(Held::open(&mine).is_err(), "a link");
    }

    #[test]
    fn a_folder_in_the_way_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("d")).unwrap();
        assert!(replace(&root.path().join("d"), plain(b"x")).is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
