//! Changing v2 users and roles, in etcd's order of checks.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    Done, ENABLED, GUEST, Lookup, Permissions, ROOT, Role, User, all_rights, is_enabled, refused, role,
    row_key, user, with_root_role,
};
use crate::keys::history::{self, Row};
use crate::meta::Meta;
use crate::tables::{StoreFault, Table, Write, store};

/// A change of users and roles. Encoded by number: new ones go at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// From now on users matter. There must be a user root.
    Enable,
    /// Users no longer matter.
    Disable,
    /// Makes a user (a PUT with roles).
    UserCreate {
        /// Their name.
        name: String,
        /// bcrypt; `None` for no password, which is refused.
        password_hash: Option<String>,
        /// Their roles, whether there are such or not.
        roles: Option<Vec<String>>,
    },
    /// Makes a user, or gives one that is there another password (a PUT with a password only).
    UserPut {
        /// Their name.
        name: String,
        /// bcrypt.
        password_hash: Option<String>,
        /// What a new user gets: none, by an empty list or by saying nothing.
        roles: Option<Vec<String>>,
    },
    /// Changes a user (a PUT with grant or revoke).
    UserUpdate {
        /// Their name.
        name: String,
        /// bcrypt; `None` to leave it.
        password_hash: Option<String>,
        /// Roles they get.
        grant: Vec<String>,
        /// Roles they lose.
        revoke: Vec<String>,
    },
    /// Removes a user.
    UserDelete {
        /// Their name.
        name: String,
    },
    /// Makes a role.
    RoleCreate(Role),
    /// Changes a role.
    RoleUpdate {
        /// Its name.
        name: String,
        /// What it permits in addition.
        grant: Option<Permissions>,
        /// What it permits no longer; what it never did is passed over.
        revoke: Option<Permissions>,
    },
    /// Removes a role.
    RoleDelete {
        /// Its name.
        name: String,
    },
}

/// Applies a change.
pub(crate) fn apply(tx: &mut (impl Write + ?Sized), meta: &mut Meta, change: &Change) -> Lookup<Done> {
    match change {
        Change::Enable => enable(tx, meta),
        Change::Disable => switch(tx, meta, false),
        Change::UserCreate {
            name,
            password_hash,
            roles,
        } => user_create(tx, meta, name, password_hash.as_ref(), roles.clone(), false),
        Change::UserPut {
            name,
            password_hash,
            roles,
        } => match user(tx, name)? {
            Ok(user) => user_update(tx, meta, user, password_hash.as_ref(), &[], &[]),
            Err(_) => user_create(tx, meta, name, password_hash.as_ref(), roles.clone(), true),
        },
        Change::UserUpdate {
            name,
            password_hash,
            grant,
            revoke,
        } => match user(tx, name)? {
            Ok(user) => user_update(tx, meta, user, password_hash.as_ref(), grant, revoke),
            Err(error) => Ok(Err(error)),
        },
        Change::UserDelete { name } if name == ROOT && is_enabled(tx)? => {
            refused(403, "Cannot delete root user while auth is enabled.")
        }
        Change::UserDelete { name } => match delete(tx, meta, b'u', name)? {
            true => Ok(Ok(Done::Changed)),
            false => refused(404, format!("User {name} does not exist")),
        },
        Change::RoleCreate(Role { name, .. })
        | Change::RoleUpdate { name, .. }
        | Change::RoleDelete { name }
            if name == ROOT =>
        {
            refused(403, format!("Cannot modify role {name}: is root role."))
        }
        Change::RoleCreate(role) => match create(tx, meta, b'r', &role.name, role)? {
            true => Ok(Ok(Done::Role(role.clone()))),
            false => refused(409, format!("Role {} already exists.", role.name)),
        },
        Change::RoleUpdate { name, grant, revoke } => {
            role_update(tx, meta, name, grant.as_ref(), revoke.as_ref())
        }
        Change::RoleDelete { name } => match delete(tx, meta, b'r', name)? {
            true => Ok(Ok(Done::Changed)),
            false => refused(404, format!("Role {name} doesn't exist.")),
        },
    }
}

fn enable(tx: &mut (impl Write + ?Sized), meta: &mut Meta) -> Lookup<Done> {
    if is_enabled(tx)? {
        return refused(409, "already enabled");
    }
    if user(tx, ROOT)?.is_err() {
        return refused(409, "No root user available, please create one");
    }
    if role(tx, GUEST)?.is_err() {
        create(tx, meta, b'r', GUEST, &all_rights(GUEST))?;
    }
    switch(tx, meta, true)
}

fn switch(tx: &mut (impl Write + ?Sized), meta: &mut Meta, on: bool) -> Lookup<Done> {
    if !on && !is_enabled(tx)? {
        return refused(409, "already disabled");
    }
    store(tx, Table::V2Auth, ENABLED, &on)?;
    history::record(tx, meta, &Row::Internal)?;
    meta.stats.update_success += 1;
    Ok(Ok(Done::Changed))
}

fn user_create(
    tx: &mut (impl Write + ?Sized),
    meta: &mut Meta,
    name: &str,
    password_hash: Option<&String>,
    roles: Option<Vec<String>>,
    put: bool,
) -> Lookup<Done> {
    let Some(password_hash) = password_hash else {
        return refused(400, format!("Cannot create user {name} with an empty password"));
    };
    let user = with_root_role(User {
        name: name.to_owned(),
        password_hash: password_hash.clone(),
        roles,
    });
    match create(tx, meta, b'u', name, &user)? {
        true => Ok(Ok(Done::User { user, created: put })),
        false => refused(409, format!("User {name} already exists.")),
    }
}

fn user_update(
    tx: &mut (impl Write + ?Sized),
    meta: &mut Meta,
    old: User,
    password_hash: Option<&String>,
    grant: &[String],
    revoke: &[String],
) -> Lookup<Done> {
    let name = old.name.clone();
    let mut roles: BTreeSet<String> = old.granted().iter().cloned().collect();
    for role in grant {
        if !roles.insert(role.clone()) {
            return refused(409, format!("Granting duplicate role {role} for user {name}"));
        }
    }
    for role in revoke {
        if !roles.remove(role) {
            return refused(409, format!("Revoking ungranted role {role} for user {name}"));
        }
    }
    let new = User {
        name,
        password_hash: password_hash.unwrap_or(&old.password_hash).clone(),
        roles: Some(roles.into_iter().collect()),
    };
    if new == old {
        return refused(
            400,
            "User not updated. Use grant/revoke/password to update the user.",
        );
    }
    update(tx, meta, b'u', &new.name, &new)?;
    Ok(Ok(Done::User {
        user: new,
        created: false,
    }))
}

fn role_update(
    tx: &mut (impl Write + ?Sized),
    meta: &mut Meta,
    name: &str,
    grant: Option<&Permissions>,
    revoke: Option<&Permissions>,
) -> Lookup<Done> {
    let old = match role(tx, name)? {
        Ok(old) => old,
        Err(error) => return Ok(Err(error)),
    };
    let mut permissions = old.permissions.clone();
    if let Some(grant) = grant {
        let read = granted("read", &permissions.read, &grant.read);
        let write = granted("write", &permissions.write, &grant.write);
        permissions = match (read, write) {
            (Ok(read), Ok(write)) => Permissions { read, write },
            (Err(message), _) | (_, Err(message)) => return refused(409, message),
        };
    }
    if let Some(revoke) = revoke {
        permissions = Permissions {
            read: without(&permissions.read, &revoke.read),
            write: without(&permissions.write, &revoke.write),
        };
    }
    let new = Role {
        name: name.to_owned(),
        permissions,
    };
    if new == old {
        return refused(400, "Role not updated. Use grant/revoke to update the role.");
    }
    update(tx, meta, b'r', name, &new)?;
    Ok(Ok(Done::Role(new)))
}

/// A list of patterns in JSON.
type Patterns = Option<Vec<String>>;

fn granted(what: &str, old: &Patterns, more: &Patterns) -> Result<Patterns, String> {
    let mut patterns: BTreeSet<&String> = old.iter().flatten().collect();
    for pattern in more.iter().flatten() {
        if !patterns.insert(pattern) {
            return Err(format!("Granting duplicate {what} permission {pattern}"));
        }
    }
    Ok(Some(patterns.into_iter().cloned().collect()))
}

fn without(old: &Patterns, less: &Patterns) -> Patterns {
    let mut patterns: BTreeSet<&String> = old.iter().flatten().collect();
    patterns.retain(|pattern| !less.iter().flatten().any(|revoked| revoked == *pattern));
    Some(patterns.into_iter().cloned().collect())
}

/// What etcd's first write makes: `/2`, `/2/users`, `/2/roles` and `/2/enabled`.
fn make_directory(tx: &mut (impl Write + ?Sized), meta: &mut Meta) -> Result<(), StoreFault> {
    if tx.get(Table::V2Auth, ENABLED)?.is_some() {
        return Ok(());
    }
    store(tx, Table::V2Auth, ENABLED, &false)?;
    for _ in 0..4 {
        history::record(tx, meta, &Row::Internal)?;
        meta.stats.create_success += 1;
    }
    Ok(())
}

/// False if it is there already.
fn create(
    tx: &mut (impl Write + ?Sized),
    meta: &mut Meta,
    kind: u8,
    name: &str,
    value: &impl Serialize,
) -> Result<bool, StoreFault> {
    make_directory(tx, meta)?;
    let key = row_key(kind, name);
    if tx.get(Table::V2Auth, &key)?.is_some() {
        meta.stats.create_fail += 1;
        return Ok(false);
    }
    history::record(tx, meta, &Row::Internal)?;
    meta.stats.create_success += 1;
    store(tx, Table::V2Auth, &key, value)?;
    Ok(true)
}

fn update(
    tx: &mut (impl Write + ?Sized),
    meta: &mut Meta,
    kind: u8,
    name: &str,
    value: &impl Serialize,
) -> Result<(), StoreFault> {
    history::record(tx, meta, &Row::Internal)?;
    meta.stats.update_success += 1;
    store(tx, Table::V2Auth, &row_key(kind, name), value)
}

/// False if it is not there.
fn delete(tx: &mut (impl Write + ?Sized), meta: &mut Meta, kind: u8, name: &str) -> Result<bool, StoreFault> {
    make_directory(tx, meta)?;
    let was = tx.delete(Table::V2Auth, &row_key(kind, name))?;
    if was {
        history::record(tx, meta, &Row::Internal)?;
        meta.stats.delete_success += 1;
    } else {
        meta.stats.delete_fail += 1;
    }
    Ok(was)
}
