//! Users and roles of the v2 face (contract `etcd.md` section 1.6; etcd 3.4, `v2auth/auth.go`).
//!
//! Passwords come as hashes, made by the proposer; who may change users is asked by the face. As in etcd, where these
//! are keys of the v2 store's hidden directory `/2`, every change counts up the v2 index, and the first makes that
//! directory, which is four writes.
//!
//! ```text
//! v2-auth  key  c          value  whether auth is on; missing until the first change
//!          key  u | name   value  User
//!          key  r | name   value  Role                 long names as in [`crate::kv`]
//! ```

mod change;

pub use change::Change;
pub(crate) use change::apply;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::kv::key;
use crate::tables::{KeyRange, Read, StoreFault, Table, collect, load};

/// The user, and the role, that may do everything. The role needs no row and cannot be changed.
pub const ROOT: &str = "root";
/// The role of whoever names no user. Made with all rights when auth is switched on, unless it is there.
pub const GUEST: &str = "guest";

const ENABLED: &[u8] = b"c";

/// A user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Their name.
    pub name: String,
    /// bcrypt.
    pub password_hash: String,
    /// The user root always has the role root. `None`, which is `null` in JSON, until somebody names roles or changes
    /// the user: etcd tells it from an empty list, and takes the first change that changes nothing for one.
    pub roles: Option<Vec<String>>,
}

/// A role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// What it permits.
    pub permissions: Permissions,
}

/// Keys, or prefixes ending in `*`. `None` as in [`User::roles`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// What may be read.
    pub read: Option<Vec<String>>,
    /// What may be written.
    pub write: Option<Vec<String>>,
}

/// What a change gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// Nothing to show.
    Changed,
    /// A user.
    User {
        /// As they are now.
        user: User,
        /// Whether a [`Change::UserPut`] made them: status 201. etcd answers [`Change::UserCreate`] with 200.
        created: bool,
    },
    /// A role, as it is now.
    Role(Role),
}

/// A refused change: `{"message":".."}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("auth: {message}")]
pub struct Error {
    /// The HTTP status.
    pub status: u16,
    /// etcd's text behind `auth: `.
    pub message: String,
}

type Lookup<T> = Result<Result<T, Error>, StoreFault>;

fn refused<T>(status: u16, message: impl Into<String>) -> Lookup<T> {
    Ok(Err(Error {
        status,
        message: message.into(),
    }))
}

/// Whether auth is on.
///
/// # Errors
/// When the backend fails.
pub fn is_enabled(tx: &(impl Read + ?Sized)) -> Result<bool, StoreFault> {
    Ok(load(tx, Table::V2Auth, ENABLED)?.unwrap_or_default())
}

/// A user, by name; root has the role root.
///
/// # Errors
/// 404. The outer error is the storage's.
pub fn user(tx: &(impl Read + ?Sized), name: &str) -> Lookup<User> {
    match get::<User>(tx, b'u', name)? {
        Some(user) => Ok(Ok(with_root_role(user))),
        None => refused(404, format!("User {name} does not exist.")),
    }
}

/// Every user, by name.
///
/// # Errors
/// When the backend fails.
pub fn users(tx: &(impl Read + ?Sized)) -> Result<Vec<User>, StoreFault> {
    let users: Vec<User> = collect(tx, Table::V2Auth, &KeyRange::prefix(b"u"))?;
    let mut users: Vec<User> = users.into_iter().map(with_root_role).collect();
    users.sort_by(|a, b| a.name.cmp(&b.name)); // only long names are out of order
    Ok(users)
}

/// A role, by name.
///
/// # Errors
/// 404. The outer error is the storage's.
pub fn role(tx: &(impl Read + ?Sized), name: &str) -> Lookup<Role> {
    if name == ROOT {
        return Ok(Ok(all_rights(ROOT)));
    }
    match get(tx, b'r', name)? {
        Some(role) => Ok(Ok(role)),
        None => refused(404, format!("Role {name} does not exist.")),
    }
}

/// Every role, by name, root among them.
///
/// # Errors
/// When the backend fails.
pub fn roles(tx: &(impl Read + ?Sized)) -> Result<Vec<Role>, StoreFault> {
    let mut roles: Vec<Role> = collect(tx, Table::V2Auth, &KeyRange::prefix(b"r"))?;
    roles.push(all_rights(ROOT));
    roles.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(roles)
}

/// Whether a user (`None`: whoever names none) may read or write a key, and with `recursive` all below it. A user whose
/// password the face has looked at; while auth is off nobody need ask. As in etcd, guests are not asked for more where
/// they are recursive.
///
/// # Errors
/// When the backend fails.
pub fn may_use_key(
    tx: &(impl Read + ?Sized),
    user: Option<&User>,
    key: &str,
    write: bool,
    recursive: bool,
) -> Result<bool, StoreFault> {
    let guest = [GUEST.to_owned()];
    let roles = user.map_or(&guest[..], User::granted);
    for name in roles {
        if let Ok(role) = role(tx, name)?
            && role.permits(key, write, recursive && user.is_some())
        {
            return Ok(true);
        }
    }
    Ok(false)
}

impl User {
    /// Their roles.
    pub fn granted(&self) -> &[String] {
        self.roles.as_deref().unwrap_or_default()
    }

    /// Whether they may change users and members.
    pub fn is_root(&self) -> bool {
        self.granted().iter().any(|role| role == ROOT)
    }
}

impl Role {
    fn permits(&self, key: &str, write: bool, recursive: bool) -> bool {
        let patterns = if write {
            &self.permissions.write
        } else {
            &self.permissions.read
        };
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => key.starts_with(prefix),
            None => !recursive && key == pattern,
        };
        self.name == ROOT || patterns.iter().flatten().any(fits)
    }
}

fn all_rights(name: &str) -> Role {
    Role {
        name: name.to_owned(),
        permissions: Permissions {
            read: Some(vec!["/*".to_owned()]),
            write: Some(vec!["/*".to_owned()]),
        },
    }
}

fn with_root_role(mut user: User) -> User {
    if user.name == ROOT && !user.is_root() {
        user.roles.get_or_insert_default().push(ROOT.to_owned());
    }
    user
}

fn row_key(kind: u8, name: &str) -> Vec<u8> {
    key::row(&[&[kind], name.as_bytes()].concat()).into_owned()
}

fn get<T: DeserializeOwned>(
    tx: &(impl Read + ?Sized),
    kind: u8,
    name: &str,
) -> Result<Option<T>, StoreFault> {
    load(tx, Table::V2Auth, &row_key(kind, name))
}
