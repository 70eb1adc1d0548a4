//! Carries out one step of a plan below a root folder. Decides nothing: a step that cannot be done is an error, and the
//! next one is done all the same.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use corten_spec::cloud_config::merge;
use corten_spec::cloud_config::plan::Step;

use super::accounts::{self, ChangeError};
use super::files::{Held, Wanted, below, link, read_no_follow, replace};
use super::system::Manager;

/// Why a step could not be done.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The owner asked for is not there.
    #[error("{path}: there is no user or group {owner:?}; the file is not written")]
    Owner {
        /// Which file.
        path: String,
        /// As asked.
        owner: String,
    },
    /// The machine's name.
    #[error("hostname {name:?}: {why}")]
    Hostname {
        /// As asked.
        name: String,
        /// Why.
        why: String,
    },
    /// An account.
    #[error("user {user}: {source}")]
    Account {
        /// Whose.
        user: String,
        /// Why.
        source: ChangeError,
    },
    /// Keys for nobody.
    #[error("keys of {user}: {why}")]
    Keys {
        /// Whose.
        user: String,
        /// Why.
        why: String,
    },
    /// systemctl said no.
    #[error("enabling {unit}: {why}")]
    Enable {
        /// Which.
        unit: String,
        /// What it said.
        why: String,
    },
}

/// Does one step; what it changed is told in words, nothing where it was so already.
///
/// # Errors
/// Why it could not be done.
pub fn apply(root: &Path, step: &Step, manager: &mut impl Manager) -> Result<Option<String>, StepError> {
    let (changed, what) = match step {
        Step::Hostname(name) => (hostname(root, name, manager)?, format!("hostname is {name}")),
        Step::CreateUser(user) => {
            let failed = |source| StepError::Account {
                user: user.name.clone(),
                source,
            };
            (
                accounts::create(root, user).map_err(failed)?,
                format!("user {} made", user.name),
            )
        }
        Step::Password { user, hash } => {
            let failed = |source| StepError::Account {
                user: user.clone(),
                source,
            };
            (
                accounts::set_password(root, user, hash).map_err(failed)?,
                format!("password of {user} set"),
            )
        }
        Step::AuthorizeKeys { user, set, keys } => {
            let failed = |why| StepError::Keys {
                user: user.clone(),
                why,
            };
            let changed = authorize(root, user, set, keys).map_err(failed)?;
            (changed, format!("{} keys of {user} authorized", keys.len()))
        }
        Step::File {
            path,
            content,
            mode,
            owner,
        } => (file(root, path, content, *mode, owner)?, format!("wrote {path}")),
        Step::Mask(path) => {
            let changed = link(&below(root, path), Path::new("/dev/null")).map_err(at(path))?;
            (changed, format!("masked {path}"))
        }
        Step::Unmask(path) => (unmask(root, path)?, format!("unmasked {path}")),
        Step::Enable { unit, runtime } => {
            let flags: &[&str] = if *runtime { &["--runtime"] } else { &[] };
            let arguments = [&["--no-reload", "enable"], flags, &["--", unit]].concat();
            let failed = |why| StepError::Enable {
                unit: unit.clone(),
                why,
            };
            manager.systemctl(&arguments).map_err(failed)?;
            (true, format!("enabled {unit}"))
        }
    };
    Ok(changed.then_some(what))
}

fn at(path: &str) -> impl Fn(io::Error) -> StepError {
    move |source| StepError::File {
        path: path.to_owned(),
        source,
    }
}

fn hostname(root: &Path, name: &str, manager: &mut impl Manager) -> Result<bool, StepError> {
    let path = "/etc/hostname";
    let line = format!("{name}\n");
    let wanted = Wanted {
        content: line.as_bytes(),
        mode: 0o644,
        owner: None,
    };
    // The kernel's own first: a file that cannot be written must not cost the name of this boot.
    let set = manager.set_hostname(name).map_err(|why| StepError::Hostname {
        name: name.to_owned(),
        why,
    });
    let changed = replace(&below(root, path), wanted).map_err(at(path))?;
    set.map(|()| changed)
}

fn file(root: &Path, path: &str, content: &[u8], mode: u32, owner: &str) -> Result<bool, StepError> {
    let owner = match owner {
        "" => None,
        given => Some(owner_numbers(root, given).ok_or_else(|| StepError::Owner {
            path: path.to_owned(),
            owner: given.to_owned(),
        })?),
    };
    replace(&below(root, path), Wanted { content, mode, owner }).map_err(at(path))
}

/// `user`, `user:group`, `user:` or `:group`, by name or number, as chown(1) takes them.
fn owner_numbers(root: &Path, owner: &str) -> Option<(u32, u32)> {
    let accounts = accounts::read(root);
    let (user, group) = owner
        .split_once(':')
        .map_or((owner, None), |(user, group)| (user, Some(group)));
    let account = accounts.user(user);
    let uid = match user {
        "" => 0,
        name => account.as_ref().map(|a| a.uid).or_else(|| name.parse().ok())?,
    };
    let gid = match group {
        Some("") => account.map(|a| a.gid)?,
        Some(name) => accounts.group_number(name).or_else(|| name.parse().ok())?,
        None => 0,
    };
    Some((uid, gid))
}

fn unmask(root: &Path, path: &str) -> Result<bool, StepError> {
    let full = below(root, path);
    match fs::read_link(&full) {
        Ok(target) if target == Path::new("/dev/null") => {
            fs::remove_file(&full).map_err(at(path)).map(|()| true)
        }
        _ => Ok(false),
    }
}

/// Replaces our section of a user's authorized_keys; folder 0700 and file 0600, both the user's.
fn authorize(root: &Path, user: &str, set: &str, keys: &[String]) -> Result<bool, String> {
    let account = accounts::read(root).user(user).ok_or("there is no such user")?;
    let home = below(root, &account.home);
    if account.home.is_empty() || account.home == "/" || !home.is_dir() {
        return Err(format!("the home folder {:?} is not there", account.home));
    }
    let folder = home.join(".ssh");
    let owner = (account.uid, account.gid);
    let failed = |path: &Path, e: io::Error| format!("{}: {e}", path.display());
    let made = match DirBuilder::new().mode(0o700).create(&folder) {
        Ok(()) => true,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
        Err(e) => return Err(failed(&folder, e)),
    };
    let held = Held::open(&folder).map_err(|e| match fs::symlink_metadata(&folder) {
        Ok(there) if !there.is_dir() => format!("{} is not a folder", folder.display()),
        _ => failed(&folder, e),
    })?;
    let owned = held.set(owner, 0o700);
    if made {
        owned.map_err(|e| failed(&folder, e))?;
    }
    let path = held.path().join("authorized_keys");
    // A link there could point to anything root may read; it is replaced, not followed.
    let there = read_no_follow(&path).unwrap_or_default().unwrap_or_default();
    let content = merge::set_keys(&String::from_utf8_lossy(&there), set, keys);
    let wanted = Wanted {
        content: content.as_bytes(),
        mode: 0o600,
        owner: Some(owner),
    };
    replace(&path, wanted).map_err(|e| failed(&folder.join("authorized_keys"), e))
}
