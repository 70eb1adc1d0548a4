//! Users, roles, and whether they matter: the rows.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{ROOT, Role, User};
use crate::kv::key;
use crate::tables::{KeyRange, Read, StoreFault, Table, Write, collect, load, store};

const STANDING: &[u8] = b"c";
const TOKEN_SECRET: &[u8] = b"s";
const USER: u8 = b'u';
const ROLE: u8 = b'r';

/// Whether users matter, and how often they were changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Whether auth is on.
    pub enabled: bool,
    /// From 1; up with every change.
    pub revision: u64,
}

impl Default for Standing {
    fn default() -> Self {
        Standing {
            enabled: false,
            revision: 1,
        }
    }
}

impl User {
    /// Whether they may do everything.
    pub fn is_root(&self) -> bool {
        self.roles.iter().any(|role| role == ROOT)
    }
}

/// Whether auth is on, and its revision.
///
/// # Errors
/// When the backend fails.
pub fn standing(tx: &(impl Read + ?Sized)) -> Result<Standing, StoreFault> {
    Ok(load(tx, Table::Auth, STANDING)?.unwrap_or_default())
}

/// What tokens are made with; `None` while auth is off, and until somebody has asked for the first token.
///
/// # Errors
/// When the backend fails.
pub fn token_secret(tx: &(impl Read + ?Sized)) -> Result<Option<Bytes>, StoreFault> {
    load(tx, Table::Auth, TOKEN_SECRET)
}

/// Whether a row is the members' own, and not to leave them with a backup: who has the secret can make root's tokens.
pub fn is_token_secret(table: Table, key: &[u8]) -> bool {
    table == Table::Auth && key == TOKEN_SECRET
}

/// A user, by name.
///
/// # Errors
/// When the backend fails.
pub fn user(tx: &(impl Read + ?Sized), name: &str) -> Result<Option<User>, StoreFault> {
    load(tx, Table::Auth, &key::row(&named(USER, name)))
}

/// Every user, by name.
///
/// # Errors
/// When the backend fails.
pub fn users(tx: &(impl Read + ?Sized)) -> Result<Vec<User>, StoreFault> {
    let mut users: Vec<User> = collect(tx, Table::Auth, &KeyRange::prefix(&[USER]))?;
    users.sort_by(|a, b| a.name.cmp(&b.name)); // only long names are out of order
    Ok(users)
}

/// A role, by name.
///
/// # Errors
/// When the backend fails.
pub fn role(tx: &(impl Read + ?Sized), name: &str) -> Result<Option<Role>, StoreFault> {
    load(tx, Table::Auth, &key::row(&named(ROLE, name)))
}

/// Every role, by name.
///
/// # Errors
/// When the backend fails.
pub fn roles(tx: &(impl Read + ?Sized)) -> Result<Vec<Role>, StoreFault> {
    let mut roles: Vec<Role> = collect(tx, Table::Auth, &KeyRange::prefix(&[ROLE]))?;
    roles.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(roles)
}

pub(super) fn put_standing(tx: &mut (impl Write + ?Sized), standing: &Standing) -> Result<(), StoreFault> {
    store(tx, Table::Auth, STANDING, standing)
}

pub(super) fn put_token_secret(tx: &mut (impl Write + ?Sized), secret: &Bytes) -> Result<(), StoreFault> {
    store(tx, Table::Auth, TOKEN_SECRET, secret)
}

pub(super) fn forget_token_secret(tx: &mut (impl Write + ?Sized)) -> Result<bool, StoreFault> {
    tx.delete(Table::Auth, TOKEN_SECRET)
}

pub(super) fn put_user(tx: &mut (impl Write + ?Sized), user: &User) -> Result<(), StoreFault> {
    store(tx, Table::Auth, &key::row(&named(USER, &user.name)), user)
}

pub(super) fn put_role(tx: &mut (impl Write + ?Sized), role: &Role) -> Result<(), StoreFault> {
    store(tx, Table::Auth, &key::row(&named(ROLE, &role.name)), role)
}

pub(super) fn delete_user(tx: &mut (impl Write + ?Sized), name: &str) -> Result<bool, StoreFault> {
    tx.delete(Table::Auth, &key::row(&named(USER, name)))
}

pub(super) fn delete_role(tx: &mut (impl Write + ?Sized), name: &str) -> Result<bool, StoreFault> {
    tx.delete(Table::Auth, &key::row(&named(ROLE, name)))
}

fn named(kind: u8, name: &str) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(name.as_bytes());
    key
}
