//! A container's file system: its image's layers under its own writable one.
//!
//! Duty: the overlay mount, made by the new mount API so that any number of layers fits. The caller is in a mount
//! namespace of its own (`launch::isolate`), so the mount vanishes with the last process that sees it and no clean-up is
//! owed by anybody. Danger: not `nodev` would let a container with CAP_MKNOD, or an image that ships a device file,
//! reach the machine's devices; only a privileged one gets it so.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen, move_mount,
};

use crate::engine::Engine;
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

/// Fills the new, empty volume at `volume` with what the image has at `path`, as Docker does.
pub fn fill_volume(rootfs: &Path, path: &str, volume: &Path) -> io::Result<()> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    if std::fs::read_dir(volume)?.next().is_some() {
        return Ok(());
    }
    let root = std::fs::File::open(rootfs)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let source = match openat2(&root, path, flags, Mode::empty(), resolve) {
        Ok(source) => source,
        // The image has nothing there, or no directory: the volume stays empty.
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let source = PathBuf::from(format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&source)
    ));
    copy_tree(&source.canonicalize()?, volume)
}

/// Copies what is in `from` into `to`: files, directories and links with owner, mode and times.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let metadata = from.symlink_metadata()?;
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
    std::os::unix::fs::chown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(metadata.mode() & 0o7777))
}
