//! The account files below a root folder, changed under systemd's and shadow's common lock (lckpwdf(3),
//! `/etc/.pwd.lock`), and home folders.
//!
//! What the files then say is decided by `corten_spec::cloud_config::accounts`.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::Path;
use std::time::Duration;

use backon::{BlockingRetryable, ConstantBuilder};
use corten_spec::cloud_config::accounts::{Account, AccountError, Accounts, NewUser};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::files::{Wanted, below, replace, text};

/// Others hold the lock for milliseconds; who holds it for seconds will not let go.
const LOCK_TRIES: usize = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Modes of the files where they are made anew; an existing file keeps its mode and owner.
const FILES: [(&str, u32); 4] = [
    ("/etc/passwd", 0o644),
    ("/etc/shadow", 0o640),
    ("/etc/group", 0o644),
    ("/etc/gshadow", 0o640),
];

/// Why an account could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The change makes no sense.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// Somebody holds the lock.
    #[error("/etc/.pwd.lock is held by another program: {0}")]
    Locked(Errno),
    /// The files cannot be written.
    #[error("account files: {0}")]
    Write(#[from] io::Error),
}

/// The files as they are.
pub fn read(root: &Path) -> Accounts {
    let [passwd, shadow, group, gshadow] = FILES.map(|(path, _)| text(&below(root, path)));
    Accounts {
        passwd,
        shadow,
        group,
        gshadow,
    }
}

/// Makes a user, and the home folder where that is wanted; false if there is one already.
pub fn create(root: &Path, user: &NewUser) -> Result<bool, ChangeError> {
    let made = change(root, |accounts| match accounts.user(&user.name) {
        Some(_) => Ok(accounts.clone()),
        None => accounts.with_user(user),
    })?;
    let account = read(root)
        .user(&user.name)
        .ok_or_else(|| AccountError::NoUser(user.name.clone()))?;
    if made && user.create_home {
        home(root, &account)?;
    }
    Ok(made)
}

/// Sets a user's password hash; false if it is that already.
pub fn set_password(root: &Path, user: &str, hash: &str) -> Result<bool, ChangeError> {
    change(root, |accounts| accounts.with_password(user, hash))
}

fn change(
    root: &Path,
    decide: impl Fn(&Accounts) -> Result<Accounts, AccountError>,
) -> Result<bool, ChangeError> {
    let lock = below(root, "/etc/.pwd.lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(lock)?;
    let take = || fcntl(file.as_fd(), FcntlArg::F_SETLK(&whole_file()));
    let pause = ConstantBuilder::new()
        .with_delay(LOCK_PAUSE)
        .with_max_times(LOCK_TRIES);
    take.retry(pause).call().map_err(ChangeError::Locked)?;
    let before = read(root);
    let after = decide(&before)?;
    let texts = [&after.passwd, &after.shadow, &after.group, &after.gshadow];
    let mut changed = false;
    // The group files first: a user never stands there without the group, or with a password nobody set.
    for index in [2, 3, 1, 0] {
        let (path, mode) = FILES[index];
        let path = below(root, path);
        if text(&path) == *texts[index] {
            continue;
        }
        let there = fs::metadata(&path).ok();
        let mode = there
            .as_ref()
            .map_or(mode, |meta| meta.permissions().mode() & 0o7777);
        let owner = there.map(|meta| (meta.uid(), meta.gid()));
        changed |= replace(
            &path,
            Wanted {
                content: texts[index].as_bytes(),
                mode,
                owner,
            },
        )?;
    }
    Ok(changed)
}

fn whole_file() -> libc::flock {
    // Both constants are small; the kernel's type for them is short.
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// A home folder as useradd(8) makes it: a copy of /etc/skel that belongs to the user. One there is stays as it is.
fn home(root: &Path, account: &Account) -> io::Result<()> {
    let path = below(root, &account.home);
    if path.exists() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    DirBuilder::new().mode(0o700).create(&path)?;
    copy(&below(root, "/etc/skel"), &path, account)?;
    lchown(&path, Some(account.uid), Some(account.gid))
}

fn copy(from: &Path, to: &Path, account: &Account) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(from) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            DirBuilder::new().mode(0o755).create(&target)?;
            copy(&source, &target, account)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_file() {
            fs::copy(&source, &target)?;
        } else {
            continue;
        }
        lchown(&target, Some(account.uid), Some(account.gid))?;
    }
    Ok(())
}
