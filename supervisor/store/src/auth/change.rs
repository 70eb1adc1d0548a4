//! Changing users and roles, in etcd's order of checks.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::state::{self, Standing};
use super::{Caller, Permission, ROOT, Role, User, permit};
use crate::kv::{Error, Lookup};
use crate::tables::{StoreFault, Write};

/// A change of users and roles. Encoded by number: new ones go at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// From now on users matter. There must be a user root with the role root.
    Enable,
    /// Users no longer matter.
    Disable,
    /// Adds a user without roles.
    UserAdd {
        /// Their name.
        name: String,
        /// bcrypt; empty with `no_password`.
        password_hash: String,
        /// Known by certificate only.
        no_password: bool,
    },
    /// Removes a user.
    UserDelete {
        /// Their name.
        name: String,
    },
    /// Gives a user another password.
    UserChangePassword {
        /// Their name.
        name: String,
        /// bcrypt.
        password_hash: String,
    },
    /// Gives a user a role.
    UserGrantRole {
        /// Whom.
        user: String,
        /// What; root need not exist.
        role: String,
    },
    /// Takes a role from a user.
    UserRevokeRole {
        /// From whom.
        user: String,
        /// What.
        role: String,
    },
    /// Adds a role without permissions.
    RoleAdd {
        /// Its name.
        name: String,
    },
    /// Removes a role, from its users too.
    RoleDelete {
        /// Its name.
        name: String,
    },
    /// Gives a role a permission, or changes what it permits with the same keys.
    RoleGrantPermission {
        /// To which.
        role: String,
        /// What.
        permission: Permission,
    },
    /// Takes a permission from a role.
    RoleRevokePermission {
        /// From which.
        role: String,
        /// The permission's key.
        key: Bytes,
        /// The permission's range end.
        range_end: Bytes,
    },
    /// What tokens are made with from now on, if there is nothing yet: random bytes from who proposes it.
    TokenSecret(Bytes),
}

/// Applies a change that only an administrator may make while auth is on.
///
/// # Errors
/// etcd's. The outer error is the storage's.
pub fn apply(tx: &mut (impl Write + ?Sized), caller: &Caller, change: &Change) -> Lookup<()> {
    if let Err(error) = permit::admin(tx, caller)? {
        return Ok(Err(error));
    }
    let mut standing = state::standing(tx)?;
    let changed = match change_it(tx, &mut standing, change)? {
        Ok(changed) => changed,
        Err(error) => return Ok(Err(error)),
    };
    if changed {
        // etcd does not count enabling, so that tokens given out before go on
        standing.revision += u64::from(*change != Change::Enable);
        state::put_standing(tx, &standing)?;
    }
    Ok(Ok(()))
}

/// Says whether anything changed.
fn change_it(tx: &mut (impl Write + ?Sized), standing: &mut Standing, change: &Change) -> Lookup<bool> {
    match change {
        Change::Enable => enable(tx, standing),
        Change::Disable => {
            state::forget_token_secret(tx)?; // what it let in, it lets in no more
            Ok(Ok(std::mem::take(&mut standing.enabled)))
        }
        Change::UserAdd {
            name,
            password_hash,
            no_password,
        } => user_add(tx, name, password_hash, *no_password),
        Change::UserDelete { name } => match standing.enabled && name == ROOT {
            true => Ok(Err(Error::InvalidAuthManagement)),
            false => Ok(found(state::delete_user(tx, name)?, Error::UserNotFound)),
        },
        Change::UserChangePassword { name, password_hash } => edit_user(tx, name, |user| {
            user.password_hash.clone_from(password_hash);
            user.no_password = false;
            Ok(true)
        }),
        Change::UserGrantRole { user, role } => grant_role(tx, user, role),
        Change::UserRevokeRole { user, role } if standing.enabled && user == ROOT && role == ROOT => {
            Ok(Err(Error::InvalidAuthManagement))
        }
        Change::UserRevokeRole { user, role } => edit_user(tx, user, |user| {
            let before = user.roles.len();
            user.roles.retain(|granted| granted != role);
            found(user.roles.len() < before, Error::RoleNotGranted)
        }),
        Change::RoleAdd { name } => role_add(tx, name),
        Change::RoleDelete { name } => match standing.enabled && name == ROOT {
            true => Ok(Err(Error::InvalidAuthManagement)),
            false => role_delete(tx, name),
        },
        Change::RoleGrantPermission { role, permission } => edit_role(tx, role, |role| {
            grant(role, permission);
            Ok(true)
        }),
        Change::RoleRevokePermission { role, key, range_end } => edit_role(tx, role, |role| {
            let before = role.permissions.len();
            role.permissions
                .retain(|granted| granted.key != *key || granted.range_end != *range_end);
            found(role.permissions.len() < before, Error::PermissionNotGranted)
        }),
        Change::TokenSecret(_) if !standing.enabled => Ok(Err(Error::AuthNotEnabled)),
        Change::TokenSecret(secret) => {
            if state::token_secret(tx)?.is_none() {
                state::put_token_secret(tx, secret)?;
            }
            Ok(Ok(false)) // to users and roles nothing has happened
        }
    }
}

fn found(is: bool, error: Error) -> Result<bool, Error> {
    if is { Ok(true) } else { Err(error) }
}

fn enable(tx: &mut (impl Write + ?Sized), standing: &mut Standing) -> Lookup<bool> {
    if standing.enabled {
        return Ok(Ok(false));
    }
    Ok(match state::user(tx, ROOT)? {
        None => Err(Error::RootUserNotExist),
        Some(root) if !root.is_root() => Err(Error::RootRoleNotExist),
        Some(_) => {
            standing.enabled = true;
            Ok(true)
        }
    })
}

fn user_add(
    tx: &mut (impl Write + ?Sized),
    name: &str,
    password_hash: &str,
    no_password: bool,
) -> Lookup<bool> {
    if name.is_empty() {
        return Ok(Err(Error::UserEmpty));
    }
    if state::user(tx, name)?.is_some() {
        return Ok(Err(Error::UserExists));
    }
    let user = User {
        name: name.to_owned(),
        password_hash: password_hash.to_owned(),
        no_password,
        roles: Vec::new(),
    };
    state::put_user(tx, &user)?;
    Ok(Ok(true))
}

fn edit_user(
    tx: &mut (impl Write + ?Sized),
    name: &str,
    edit: impl FnOnce(&mut User) -> Result<bool, Error>,
) -> Lookup<bool> {
    let Some(mut user) = state::user(tx, name)? else {
        return Ok(Err(Error::UserNotFound));
    };
    let changed = edit(&mut user);
    if changed == Ok(true) {
        state::put_user(tx, &user)?;
    }
    Ok(changed)
}

fn grant_role(tx: &mut (impl Write + ?Sized), user: &str, role: &str) -> Lookup<bool> {
    let known = role == ROOT || state::role(tx, role)?.is_some();
    edit_user(tx, user, |user| {
        if !known {
            return Err(Error::RoleNotFound);
        }
        Ok(
            match user.roles.binary_search_by(|granted| granted.as_str().cmp(role)) {
                Ok(_) => false,
                Err(at) => {
                    user.roles.insert(at, role.to_owned());
                    true
                }
            },
        )
    })
}

fn role_add(tx: &mut (impl Write + ?Sized), name: &str) -> Lookup<bool> {
    if name.is_empty() {
        return Ok(Err(Error::RoleEmpty));
    }
    if state::role(tx, name)?.is_some() {
        return Ok(Err(Error::RoleExists));
    }
    let role = Role {
        name: name.to_owned(),
        permissions: Vec::new(),
    };
    state::put_role(tx, &role)?;
    Ok(Ok(true))
}

fn role_delete(tx: &mut (impl Write + ?Sized), name: &str) -> Lookup<bool> {
    if !state::delete_role(tx, name)? {
        return Ok(Err(Error::RoleNotFound));
    }
    for mut user in state::users(tx)? {
        if user.roles.iter().any(|role| role == name) {
            user.roles.retain(|role| role != name);
            state::put_user(tx, &user)?;
        }
    }
    Ok(Ok(true))
}

fn edit_role(
    tx: &mut (impl Write + ?Sized),
    name: &str,
    edit: impl FnOnce(&mut Role) -> Result<bool, Error>,
) -> Result<Result<bool, Error>, StoreFault> {
    let Some(mut role) = state::role(tx, name)? else {
        return Ok(Err(Error::RoleNotFound));
    };
    let changed = edit(&mut role);
    if changed == Ok(true) {
        state::put_role(tx, &role)?;
    }
    Ok(changed)
}

fn grant(role: &mut Role, permission: &Permission) {
    let same = |granted: &&mut Permission| {
        granted.key == permission.key && granted.range_end == permission.range_end
    };
    match role.permissions.iter_mut().find(same) {
        Some(granted) => granted.kind = permission.kind,
        None => {
            let after = role
                .permissions
                .partition_point(|granted| granted.key <= permission.key);
            role.permissions.insert(after, permission.clone());
        }
    }
}
