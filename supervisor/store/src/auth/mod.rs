//! The users and roles of the v3 face (etcd 3.4, `auth/store.go` and `apply_auth.go`): who may read or write which keys.
//!
//! Passwords come as hashes, made by the proposer; tokens are the face's. Every change counts up the auth revision. A
//! caller names the revision it was known at, and is asked to come again when that is old: so what an administrator
//! changed holds from the next entry of the log on, on every member.
//!
//! ```text
//! auth  key  c          value  Standing { enabled, revision }
//!       key  s          value  the secret of the face's tokens
//!       key  u | name   value  User
//!       key  r | name   value  Role           long names as in [`crate::kv`]
//! ```

mod change;
mod permit;
mod state;

pub use change::{Change, apply};
pub use permit::{admin, delete_range, lease, lease_keys, permits, put, range, read_role, read_user, txn};
pub use state::{Standing, is_token_secret, role, roles, standing, token_secret, user, users};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The user, and the role, that may do everything.
pub const ROOT: &str = "root";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Caller {
    /// Somebody without a token.
    Nobody,
    /// Somebody whose token or certificate the face has looked at.
    User {
        /// Their name.
        name: String,
        /// The auth revision at which they were known.
        revision: u64,
    },
    /// The cluster itself: the leader whose clock saw a lease run out, or that compacts by itself.
    Server,
}

/// A user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Their name.
    pub name: String,
    /// bcrypt, as the proposer made it; empty with `no_password`.
    pub password_hash: String,
    /// Known by certificate only.
    pub no_password: bool,
    /// Sorted.
    pub roles: Vec<String>,
}

/// A role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Sorted by key.
    pub permissions: Vec<Permission>,
}

/// What may be done with some keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// What.
    pub kind: PermissionKind,
    /// The key, or the range's first.
    pub key: Bytes,
    /// As in [`crate::kv::Range::range_end`].
    pub range_end: Bytes,
}

/// What may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // etcd's words
pub enum PermissionKind {
    Read,
    Write,
    ReadWrite,
}
