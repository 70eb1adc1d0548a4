//! The root file system: state, with the verified /usr in it, /etc as an overlay, and the step over to systemd.
//!
//! ```text
//! /            state partition (ext4)      /bin /sbin /lib /lib64 -> usr/...
//! /usr         erofs over dm-verity, read-only
//! /etc         overlay: lower /usr/share/factory/etc, upper /.etc/upper (what this machine changed)
//! /run /tmp    tmpfs
//! ```
//! A change of the image's /etc reaches a machine with its next /usr, unless the machine changed that very file.

use crate::kmsg;
use crate::state::{ROOT, State};
use crate::usr::{self, Usr};
use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot};
use std::convert::Infallible;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The next process 1.
const SYSTEMD: &str = "/usr/lib/systemd/systemd";
/// Directories of the root with their modes.
const FOLDERS: [(&str, u32); 18] = [
    ("dev", 0o755),
    ("proc", 0o555),
    ("sys", 0o555),
    ("run", 0o755),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("etc", 0o755),
    ("var", 0o755),
    ("home", 0o755),
    ("root", 0o700),
    ("boot", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("srv", 0o755),
    (".etc", 0o700),
    (".etc/upper", 0o755),
    (".etc/work", 0o755),
];
/// Where journald looks whether /var may be written. It may, from the start, so the journal goes there at once instead
/// of first to memory and by a unit of its own to the disk.
const JOURNAL_FLAG: &str = "/run/systemd/journal";
const LINKS: [(&str, &str); 4] = [
    ("bin", "usr/bin"),
    ("sbin", "usr/sbin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
];

/// Why the root could not be put together.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
pub struct RootError {
    step: String,
    source: io::Error,
}

fn failed<E: Into<io::Error>>(step: &str) -> impl FnOnce(E) -> RootError {
    move |source| RootError {
        step: step.to_owned(),
        source: source.into(),
    }
}

/// /proc, /sys, /dev and /run; without them nothing can be said or seen, so errors have nowhere to go.
pub fn mount_kernel_filesystems() {
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    for (kind, target, flags, data) in [
        ("proc", "/proc", plain, ""),
        ("sysfs", "/sys", plain, ""),
        ("devtmpfs", "/dev", MsFlags::MS_NOSUID, "mode=755"),
        (
            "tmpfs",
            "/run",
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            "mode=755,size=20%",
        ),
    ] {
        let _ = fs::create_dir(target);
        let _ = mount(Some(kind), target, Some(kind), flags, Some(data));
    }
}

/// Puts the root together at [`ROOT`].
pub fn assemble(_usr: &Usr, state: &State) -> Result<(), RootError> {
    let at = |name: &str| format!("{ROOT}/{name}");
    for (name, mode) in FOLDERS {
        make_folder(&at(name), mode).map_err(failed(&format!("making /{name} on {}", state.name)))?;
    }
    for (name, target) in LINKS {
        if fs::symlink_metadata(at(name)).is_err() {
            symlink(target, at(name)).map_err(failed(&format!("making /{name} on {}", state.name)))?;
        }
    }
    move_mount(usr::MOUNTED_AT, &at("usr"))?;
    let tmp = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(
        Some("tmpfs"),
        at("tmp").as_str(),
        Some("tmpfs"),
        tmp,
        Some("mode=1777,size=50%,nr_inodes=1m"),
    )
    .map_err(failed("mounting /tmp"))?;
    let layers =
        format!("lowerdir={ROOT}/usr/share/factory/etc,upperdir={ROOT}/.etc/upper,workdir={ROOT}/.etc/work");
    mount(
        Some("etc"),
        at("etc").as_str(),
        Some("overlay"),
        MsFlags::empty(),
        Some(layers.as_str()),
    )
    .map_err(failed("mounting /etc over the factory's"))?;
    give_identity(Path::new(&at("etc/machine-id"))).map_err(failed("writing /etc/machine-id"))?;
    fs::create_dir_all(JOURNAL_FLAG).map_err(failed("making /run/systemd/journal"))?;
    File::create(format!("{JOURNAL_FLAG}/flushed"))
        .map(drop)
        .map_err(failed("making /run/systemd/journal/flushed"))
}

fn make_folder(path: &str, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode)),
    }
}

/// A machine without a machine id is on its first boot: it gets a random one (machine-id(5)).
fn give_identity(path: &Path) -> io::Result<()> {
    let known = fs::read_to_string(path).unwrap_or_default();
    if known.trim().len() == 32 && known.trim().bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(());
    }
    let mut id = [0; 16];
    File::open("/dev/random")?.read_exact(&mut id)?;
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    let text = crate::bytes::hex(&id);
    kmsg::info(&format!("first boot: this machine is {text}"));
    // On the disk before anybody is told of it: the machine joins its cluster under this name.
    let mut file = File::create(path)?;
    file.write_all((text + "\n").as_bytes())?;
    file.set_permissions(fs::Permissions::from_mode(0o444))?;
    file.sync_all()
}

fn move_mount(from: &str, to: &str) -> Result<(), RootError> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .map_err(failed(&format!("moving {from} to {to}")))
}

/// Leaves the initramfs for the root and becomes systemd.
pub fn switch() -> Result<Infallible, RootError> {
    for kernel in ["/dev", "/proc", "/sys", "/run"] {
        move_mount(kernel, &format!("{ROOT}{kernel}"))?;
    }
    let _ = fs::remove_dir_all("/modules");
    let _ = fs::remove_file("/init");
    chdir(ROOT).map_err(failed("entering the root"))?;
    move_mount(ROOT, "/")?;
    chroot(".").map_err(failed("entering the root"))?;
    chdir("/").map_err(failed("entering the root"))?;
    let error = Command::new(SYSTEMD).env_clear().env("TERM", "linux").exec();
    Err(failed(&format!("starting {SYSTEMD}"))(error))
}
