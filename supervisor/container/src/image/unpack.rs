//! A layer's tar archive into a directory in the form overlayfs reads.
//!
//! Duty: files, directories, links, devices with owner, mode, times and extended attributes; whiteouts become character
//! devices 0:0 and opaque directories the attribute `trusted.overlay.opaque`.
//! Refusal: never follows a symbolic link and never leaves the target: every path is opened with openat2's
//! RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, so an archive that tries is an error, whatever else it does.
//! Danger: runs as root over bytes from strangers. Order matters: owner before mode (chown clears setuid), both before
//! `security.capability` (chown clears it too), times last, directories' times after everything in them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self as rfs, AtFlags, FileType, Mode, OFlags, ResolveFlags, Timestamps, XattrFlags};
use tar::{Archive, Entry, EntryType};

use super::entry::{attributes, link_target, owner, times};

/// Why an archive was refused or could not be written.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// Reading the archive failed, or it is none.
    #[error("reading the layer's archive: {0}")]
    Archive(#[source] io::Error),
    /// A path tries to leave the layer.
    #[error("the layer holds an unsafe path {0:?}")]
    UnsafePath(PathBuf),
    /// Writing failed.
    #[error("unpacking {path:?}: {source}")]
    Write {
        /// Entry.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Whether owners, devices and trusted attributes are set, which needs root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// As the archive says.
    Archive,
    /// Everything belongs to the caller; devices are left out, whiteouts are marked by attributes of the user
    /// namespace. For tests and inspection without root; such a layer cannot be mounted.
    Caller,
}

impl Ownership {
    /// `Archive` for root.
    pub fn of_this_process() -> Self {
        if nix::unistd::geteuid().is_root() {
            Self::Archive
        } else {
            Self::Caller
        }
    }

    fn opaque_attribute(self) -> &'static str {
        match self {
            Self::Archive => "trusted.overlay.opaque",
            Self::Caller => "user.overlay.opaque",
        }
    }
}

const OPAQUE: &[u8] = b".wh..wh..opq";
const WHITEOUT: &[u8] = b".wh.";
/// Names with this prefix are AUFS's own bookkeeping, not whiteouts.
const AUFS: &[u8] = b".wh..wh.";

/// Unpacks `archive` into the existing, empty directory `target`.
pub fn unpack(archive: impl Read, target: &Path, ownership: Ownership) -> Result<(), UnpackError> {
    let root = File::open(target).map_err(|source| UnpackError::Write {
        path: target.to_owned(),
        source,
    })?;
    let mut tree = Tree {
        root: root.into(),
        ownership,
        directories: Vec::new(),
    };
    let mut archive = Archive::new(archive);
    for entry in archive.entries().map_err(UnpackError::Archive)? {
        let mut entry = entry.map_err(UnpackError::Archive)?;
        let path = entry.path().map_err(UnpackError::Archive)?.into_owned();
        let path = relative(&path).ok_or_else(|| UnpackError::UnsafePath(path.clone()))?;
        match tree.add(&path, &mut entry) {
            Ok(()) => {}
            Err(Refused::Archive(source)) => return Err(UnpackError::Archive(source)),
            Err(Refused::Unsafe) => return Err(UnpackError::UnsafePath(path)),
            Err(Refused::Io(source)) => return Err(UnpackError::Write { path, source }),
        }
    }
    tree.finish()
}

/// Why one entry was refused.
pub(super) enum Refused {
    Archive(io::Error),
    Unsafe,
    Io(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rustix::io::Errno> for Refused {
    fn from(errno: rustix::io::Errno) -> Self {
        match errno {
            // What openat2 answers when a symbolic link or a way out is met.
            rustix::io::Errno::LOOP | rustix::io::Errno::XDEV => Self::Unsafe,
            other => Self::Io(other.into()),
        }
    }
}

/// The path without `/` and `.`; `None` when it climbs.
fn relative(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => clean.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}

struct Tree {
    root: OwnedFd,
    ownership: Ownership,
    directories: Vec<(PathBuf, Timestamps)>,
}

impl Tree {
    fn add<R: Read>(&mut self, path: &Path, entry: &mut Entry<'_, R>) -> Result<(), Refused> {
        let Some(name) = path.file_name() else {
            return self.add_root(entry);
        };
        let parent = self.open_parent(path)?;
        if name.as_bytes() == OPAQUE {
            return self.mark_opaque(&parent);
        }
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT) {
            if name.as_bytes().starts_with(AUFS) {
                return Ok(());
            }
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(Refused::Unsafe);
            }
            return self.white_out(&parent, OsStr::from_bytes(hidden));
        }
        self.write(path, &parent, name, entry)
    }

    fn add_root<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<(), Refused> {
        let fd = self.root.try_clone()?;
        self.set_metadata(&fd, entry)?;
        self.directories.push((PathBuf::from("."), times(entry)?));
        Ok(())
    }

    fn open_dir(&self, path: &Path) -> Result<OwnedFd, rustix::io::Errno> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        rfs::openat2(
            &self.root,
            path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        )
    }

    /// Opens the directory of `path`; missing ones are made with mode 0755.
    fn open_parent(&self, path: &Path) -> Result<OwnedFd, Refused> {
        let parent = path.parent().unwrap_or(Path::new(""));
        match self.open_dir(parent) {
            Err(rustix::io::Errno::NOENT) => {}
            other => return Ok(other?),
        }
        let mut built = PathBuf::new();
        for part in parent.components() {
            let above = self.open_dir(&built)?;
            built.push(part);
            match rfs::mkdirat(&above, part.as_os_str(), Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(self.open_dir(parent)?)
    }

    fn mark_opaque(&self, dir: &OwnedFd) -> Result<(), Refused> {
        Ok(rfs::fsetxattr(
            dir,
            self.ownership.opaque_attribute(),
            b"y",
            XattrFlags::empty(),
        )?)
    }

    /// Hides `name` of the layers below. A directory this layer itself has made becomes opaque instead.
    fn white_out(&self, parent: &OwnedFd, name: &OsStr) -> Result<(), Refused> {
        match kind_of(parent, name)? {
            Some(FileType::Directory) => {
                let dir = rfs::openat(
                    parent,
                    name,
                    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                    Mode::empty(),
                )?;
                self.mark_opaque(&dir)
            }
            Some(_) => Ok(()),
            None => self.make_whiteout(parent, name),
        }
    }

    fn make_whiteout(&self, parent: &OwnedFd, name: &OsStr) -> Result<(), Refused> {
        Ok(rfs::mknodat(
            parent,
            name,
            FileType::CharacterDevice,
            Mode::empty(),
            0,
        )?)
    }

    fn write<R: Read>(
        &mut self,
        path: &Path,
        parent: &OwnedFd,
        name: &OsStr,
        entry: &mut Entry<'_, R>,
    ) -> Result<(), Refused> {
        let kind = entry.header().entry_type();
        let hidden_below = self.clear_way(parent, name, kind == EntryType::Directory)?;
        match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.write_file(parent, name, entry)
            }
            EntryType::Directory => {
                let dir = self.write_directory(parent, name, entry)?;
                if hidden_below {
                    self.mark_opaque(&dir)?;
                }
                self.directories.push((path.to_owned(), times(entry)?));
                Ok(())
            }
            EntryType::Symlink => self.write_symlink(parent, name, entry),
            EntryType::Link => self.write_link(parent, name, entry),
            EntryType::Fifo => self.write_node(parent, name, entry, FileType::Fifo),
            EntryType::Char => self.write_node(parent, name, entry, FileType::CharacterDevice),
            EntryType::Block => self.write_node(parent, name, entry, FileType::BlockDevice),
            EntryType::XGlobalHeader => Ok(()),
            other => Err(Refused::Archive(io::Error::other(format!(
                "entry {path:?} of unknown type {other:?}"
            )))),
        }
    }

    /// Removes what is in the way of an entry; says whether that was a whiteout of this very layer.
    fn clear_way(&self, parent: &OwnedFd, name: &OsStr, directory: bool) -> Result<bool, Refused> {
        match kind_of(parent, name)? {
            None => Ok(false),
            Some(FileType::Directory) if directory => Ok(false),
            Some(FileType::Directory) => {
                let path = PathBuf::from(format!(
                    "/proc/self/fd/{}",
                    std::os::fd::AsRawFd::as_raw_fd(parent)
                ))
                .join(name);
                std::fs::remove_dir_all(path)?;
                Ok(false)
            }
            Some(kind) => {
                rfs::unlinkat(parent, name, AtFlags::empty())?;
                Ok(kind == FileType::CharacterDevice)
            }
        }
    }

    fn write_file<R: Read>(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        entry: &mut Entry<'_, R>,
    ) -> Result<(), Refused> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rfs::openat(parent, name, flags, Mode::from_raw_mode(0o600))?;
        let mut file = File::from(fd);
        let copied = io::copy(entry, &mut file)?;
        if copied != entry.size() && entry.header().entry_type() != EntryType::GNUSparse {
            return Err(Refused::Archive(io::ErrorKind::UnexpectedEof.into()));
        }
        let fd = OwnedFd::from(file);
        self.set_metadata(&fd, entry)?;
        Ok(rfs::futimens(&fd, &times(entry)?)?)
    }

    fn write_directory<R: Read>(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        entry: &mut Entry<'_, R>,
    ) -> Result<OwnedFd, Refused> {
        match rfs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rfs::openat(parent, name, flags, Mode::empty())?;
        self.set_metadata(&fd, entry)?;
        Ok(fd)
    }

    fn write_symlink<R: Read>(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        entry: &mut Entry<'_, R>,
    ) -> Result<(), Refused> {
        let target = link_target(entry)?;
        rfs::symlinkat(&target, parent, name)?;
        self.set_owner_at(parent, name, entry)?;
        Ok(rfs::utimensat(
            parent,
            name,
            &times(entry)?,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    fn write_link<R: Read>(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        entry: &mut Entry<'_, R>,
    ) -> Result<(), Refused> {
        let target = relative(&link_target(entry)?).ok_or(Refused::Unsafe)?;
        let target_name = target.file_name().ok_or(Refused::Unsafe)?;
        let target_parent = self.open_dir(target.parent().unwrap_or(Path::new("")))?;
        // Without AT_SYMLINK_FOLLOW a link to a symbolic link links the link itself.
        Ok(rfs::linkat(
            &target_parent,
            target_name,
            parent,
            name,
            AtFlags::empty(),
        )?)
    }

    fn write_node<R: Read>(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        entry: &mut Entry<'_, R>,
        kind: FileType,
    ) -> Result<(), Refused> {
        if self.ownership == Ownership::Caller && kind != FileType::Fifo {
            return Ok(());
        }
        let number =
            |part: io::Result<Option<u32>>| part.map(Option::unwrap_or_default).map_err(Refused::Archive);
        let major = number(entry.header().device_major())?;
        let minor = number(entry.header().device_minor())?;
        let device = if kind == FileType::Fifo {
            0
        } else {
            rfs::makedev(major, minor)
        };
        rfs::mknodat(parent, name, kind, Mode::from_raw_mode(0o600), device)?;
        self.set_owner_at(parent, name, entry)?;
        let mode = entry.header().mode().map_err(Refused::Archive)? & 0o7777;
        rfs::chmodat(parent, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
        Ok(rfs::utimensat(
            parent,
            name,
            &times(entry)?,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    fn set_owner_at<R: Read>(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        entry: &Entry<'_, R>,
    ) -> Result<(), Refused> {
        if self.ownership == Ownership::Caller {
            return Ok(());
        }
        let (uid, gid) = owner(entry)?;
        Ok(rfs::chownat(
            parent,
            name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    fn set_metadata<R: Read>(&self, fd: &OwnedFd, entry: &mut Entry<'_, R>) -> Result<(), Refused> {
        if self.ownership == Ownership::Archive {
            let (uid, gid) = owner(entry)?;
            rfs::fchown(fd, Some(uid), Some(gid))?;
        }
        let mode = entry.header().mode().map_err(Refused::Archive)? & 0o7777;
        rfs::fchmod(fd, Mode::from_raw_mode(mode))?;
        for (name, value) in attributes(entry)? {
            let wanted = match self.ownership {
                // An archive must not speak overlayfs's own language.
                Ownership::Archive => !name.starts_with("trusted.overlay."),
                Ownership::Caller => name.starts_with("user.") && !name.starts_with("user.overlay."),
            };
            if !wanted {
                continue;
            }
            match rfs::fsetxattr(fd.as_fd(), name.as_str(), &value, XattrFlags::empty()) {
                // A file system without this kind of attribute, or a label only its own system can set.
                Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
                Err(_) if name.starts_with("security.selinux") => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Directories get their times when nothing is written into them any more.
    fn finish(self) -> Result<(), UnpackError> {
        for (path, times) in self.directories.iter().rev() {
            let set = self.open_dir(path).and_then(|dir| rfs::futimens(&dir, times));
            match set {
                // Replaced by a later entry.
                Ok(())
                | Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {}
                Err(errno) => {
                    return Err(UnpackError::Write {
                        path: path.clone(),
                        source: errno.into(),
                    });
                }
            }
        }
        Ok(())
    }
}

fn kind_of(parent: &OwnedFd, name: &OsStr) -> Result<Option<FileType>, Refused> {
    match rfs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
