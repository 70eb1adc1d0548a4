//! A container's file system: its image's layers under its own writable one.
//!
//! Duty: the overlay mount, made by the new mount API so that any number of layers fits. The caller is in a mount
//! namespace of its own (`launch::isolate`), so the mount vanishes with the last process that sees it and no clean-up is
//! owed by anybody. Danger: not `nodev` would let a container with CAP_MKNOD, or an image that ships a device file,
//! reach the machine's devices; only a privileged one gets it so.
//!
//! ```text
//! volumes/<name>/_data       what containers see     volumes/<name>/lock   held while it is filled
//! volumes/<name>/_data.tmp   a copy on its way       volumes/<name>/_data.full   a whole copy, being moved into _data
//! ```

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen, move_mount,
};

use crate::durable::{self, Lock};
use crate::engine::Engine;
use crate::image::layer::remove_tree;
use crate::record::Record;

/// Mounts the file system of `record` at its `rootfs` directory and returns that path.
pub fn mount(engine: &Engine, record: &Record) -> io::Result<PathBuf> {
    let dir = engine.container(&record.id);
    let target = dir.join("rootfs");
    let empty = engine.layers().join("empty");
    std::fs::create_dir_all(&empty)?;
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let set = |key: &str, value: &Path| fsconfig_set_string(fs.as_fd(), key, value);
    for layer in record.layers.iter().rev() {
        set("lowerdir+", &engine.layers().join(layer))?;
    }
    if record.layers.is_empty() {
        set("lowerdir+", &empty)?;
    }
    set("upperdir", &dir.join("upper"))?;
    set("workdir", &dir.join("work"))?;
    fsconfig_create(fs.as_fd())?;
    let flags = if record.host.privileged {
        MountAttrFlags::empty()
    } else {
        MountAttrFlags::MOUNT_ATTR_NODEV
    };
    let mount = fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
    move_mount(
        mount.as_fd(),
        "",
        CWD,
        &target,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?;
    Ok(target)
}

/// Fills the new, empty volume in the folder `volume` with what the image has at `path`, as Docker does: wholly, however
/// often it is interrupted.
pub fn fill_volume(rootfs: &Path, path: &str, volume: &Path) -> io::Result<()> {
    let (data, part, full) = (
        volume.join("_data"),
        volume.join("_data.tmp"),
        volume.join("_data.full"),
    );
    let _lock = Lock::wait(&volume.join("lock"))?;
    if full.exists() {
        return move_in(&full, &data);
    }
    if !is_empty(&data)? {
        return Ok(());
    }
    let Some(source) = find_directory(rootfs, path)? else {
        return Ok(());
    };
    if is_empty(&source)? {
        return same_owner_and_mode(&source.metadata()?, &data);
    }
    remove_tree(&part)?;
    std::fs::create_dir(&part)?;
    copy_tree(&source, &part)?;
    rustix::fs::syncfs(std::fs::File::open(&part)?)?;
    std::fs::rename(&part, &full)?;
    durable::sync_dir(volume)?;
    move_in(&full, &data)
}

fn is_empty(dir: &Path) -> io::Result<bool> {
    Ok(std::fs::read_dir(dir)?.next().is_none())
}

/// Moves what is in `full` into `data` and removes `full`. Entry by entry, since another container may have `data`
/// mounted already and would go on with a replaced directory's ghost; what that one has made itself stays.
fn move_in(full: &Path, data: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(full)? {
        let entry = entry?;
        let target = data.join(entry.file_name());
        if target.symlink_metadata().is_err() {
            std::fs::rename(entry.path(), target)?;
        }
    }
    same_owner_and_mode(&full.metadata()?, data)?;
    durable::sync_dir(data)?;
    remove_tree(full)
}

fn same_owner_and_mode(metadata: &std::fs::Metadata, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    std::os::unix::fs::chown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(metadata.mode() & 0o7777))
}

/// The directory at `path` as a container with this root would find it; `None` when the image has none there.
fn find_directory(rootfs: &Path, path: &str) -> io::Result<Option<PathBuf>> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    let root = std::fs::File::open(rootfs)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let source = match openat2(&root, path, flags, Mode::empty(), resolve) {
        Ok(source) => source,
        // The volume stays empty.
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let source = PathBuf::from(format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&source)
    ));
    source.canonicalize().map(Some)
}

/// Copies what is in `from` into `to`: files, directories and links with owner, mode and times.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        let own = entry.metadata()?;
        if kind.is_dir() {
            std::fs::create_dir(&target)?;
            copy_tree(&source, &target)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(&source)?, &target)?;
            std::os::unix::fs::lchown(&target, Some(own.uid()), Some(own.gid()))?;
        } else if kind.is_file() {
            std::fs::copy(&source, &target)?;
            std::os::unix::fs::chown(&target, Some(own.uid()), Some(own.gid()))?;
            std::fs::set_permissions(&target, own.permissions())?;
        }
    }
    same_owner_and_mode(&from.symlink_metadata()?, to)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_volume_is_filled_once_and_wholly() {
        let dir = tempfile::tempdir().unwrap();
        let (rootfs, volume) = (dir.path().join("rootfs"), dir.path().join("v"));
        let data = volume.join("_data");
        fs::create_dir_all(rootfs.join("srv/sub")).unwrap();
        fs::write(rootfs.join("srv/file"), "1").unwrap();
        fs::create_dir_all(&data).unwrap();
        // An earlier copy was interrupted.
        fs::create_dir(volume.join("_data.tmp")).unwrap();
        fs::write(volume.join("_data.tmp/half"), "").unwrap();
        fill_volume(&rootfs, "/srv", &volume).unwrap();
        assert_eq!(names(&data), ["file", "sub"]);
        assert_eq!(names(&volume), ["_data", "lock"]);
        fs::remove_file(data.join("file")).unwrap();
        fill_volume(&rootfs, "/srv", &volume).unwrap();
        assert_eq!(names(&data), ["sub"]);
    }

    #[test]
    fn an_interrupted_move_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path();
        for sub in ["_data", "_data.full", "rootfs"] {
            fs::create_dir(volume.join(sub)).unwrap();
        }
        fs::write(volume.join("_data/moved"), "kept").unwrap();
        fs::write(volume.join("_data.full/rest"), "").unwrap();
        fs::write(volume.join("_data.full/moved"), "image's").unwrap();
        fill_volume(&volume.join("rootfs"), "/srv", volume).unwrap();
        assert_eq!(names(&volume.join("_data")), ["moved", "rest"]);
        assert_eq!(fs::read_to_string(volume.join("_data/moved")).unwrap(), "kept");
        assert!(!volume.join("_data.full").exists());
    }
}
