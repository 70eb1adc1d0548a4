//! /v2/auth: users, roles, and whether they matter (contract `etcd.md` section 1.6; etcd 3.4, `v2http/client_auth.go`).
//!
//! What a change does, and its refusals, are decided in `corten_store::v2auth`; this is its face. Order of an answer's
//! checks, as in etcd: method 405, credentials 401, path and body 400, then the store. Answers from before the credentials
//! were good carry no cluster id.

pub mod credentials;
#[cfg(test)]
mod tests;
mod wire;

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode};
use corten_store::keys::{form, path as key_path};
use corten_store::v2auth::{self, Change, Done, Permissions, Role};
use corten_store::{Command, Response as Outcome, StoreFault};

use super::{Face, answer};
use wire::{RolePut, UserPut};

/// The largest user or role that is read, in bytes; what the log takes is less.
const BODY_LIMIT: usize = 2 << 20;

/// An answer other than the one hoped for.
enum Refusal {
    /// From before the cluster's id is told.
    Early(StatusCode, &'static str),
    /// `{"message": ...}` with the cluster's id.
    Told(StatusCode, String),
}

impl Refusal {
    fn bad(text: &str) -> Refusal {
        Refusal::Told(StatusCode::BAD_REQUEST, text.to_owned())
    }

    /// What etcd says when the store or the log fails.
    fn internal(why: &dyn std::fmt::Display) -> Refusal {
        tracing::warn!(%why, "a request of /v2/auth failed");
        Refusal::Told(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal Server Error".to_owned(),
        )
    }
}

impl From<v2auth::Error> for Refusal {
    fn from(error: v2auth::Error) -> Refusal {
        let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Refusal::Told(status, error.to_string())
    }
}

impl From<StoreFault> for Refusal {
    fn from(fault: StoreFault) -> Refusal {
        Refusal::internal(&fault)
    }
}

/// What the path names.
enum Resource {
    Enable,
    Users,
    User(String),
    Roles,
    Role(String),
    /// A path below users or roles that names neither all nor one.
    Invalid,
}

/// `path` is what follows `/v2/auth`, decoded; `None` for what is not there.
fn resource(path: &str) -> Option<Resource> {
    if path == "/enable" {
        return Some(Resource::Enable);
    }
    let is_known = |kind: &str| path == kind || path.starts_with(&format!("{kind}/"));
    if !is_known("/users") && !is_known("/roles") {
        return None;
    }
    let path = key_path::clean(path);
    let pieces: Vec<&str> = key_path::parts(&path).collect();
    Some(match pieces[..] {
        ["users"] => Resource::Users,
        ["roles"] => Resource::Roles,
        ["users", name] => Resource::User(name.to_owned()),
        ["roles", name] => Resource::Role(name.to_owned()),
        _ => Resource::Invalid,
    })
}

/// Serves one request; `path` is what follows `/v2/auth`.
pub async fn serve(face: &Face, request: Request<Body>, path: &str) -> Response<Body> {
    let Some(resource) = form::unescape_path(path).ok().as_deref().and_then(resource) else {
        return answer::not_found();
    };
    let (allowed, list) = match resource {
        Resource::Invalid => return answer::message_alone(StatusCode::BAD_REQUEST, "Invalid path"),
        Resource::Users | Resource::Roles => (&["GET"][..], "GET"),
        _ => (&["GET", "PUT", "DELETE"][..], "GET,PUT,DELETE"),
    };
    if !allowed.contains(&request.method().as_str()) {
        return answer::method_not_allowed(list);
    }
    match answered(face, request, resource).await {
        Ok((status, body)) => answer::cluster_json(status, face.cluster_id(), body),
        Err(Refusal::Early(status, text)) => answer::message_alone(status, text),
        Err(Refusal::Told(status, text)) => answer::message(status, face.cluster_id(), &text),
    }
}

type Answer = Result<(StatusCode, Vec<u8>), Refusal>;

async fn answered(face: &Face, request: Request<Body>, resource: Resource) -> Answer {
    let method = request.method().clone();
    let anyone_may = matches!(resource, Resource::Enable) && method == Method::GET;
    if !anyone_may && !credentials::is_root(face, request.headers()).await? {
        return Err(Refusal::Early(
            StatusCode::UNAUTHORIZED,
            credentials::INSUFFICIENT,
        ));
    }
    let ok = |body| Ok((StatusCode::OK, body));
    match (method.as_str(), resource) {
        ("GET", Resource::Enable) => ok(wire::enabled(face.node.read(|tx| v2auth::is_enabled(tx))?)),
        ("PUT", Resource::Enable) => done(face, Change::Enable).await,
        (_, Resource::Enable) => done(face, Change::Disable).await,
        (_, Resource::Roles) => ok(wire::roles(&face.node.read(|tx| v2auth::roles(tx))?)),
        ("GET", Resource::Role(name)) => ok(wire::role(&face.node.read(|tx| v2auth::role(tx, &name))??)),
        ("PUT", Resource::Role(name)) => put_role(face, &name, &read(request).await?).await,
        (_, Resource::Role(name)) => done(face, Change::RoleDelete { name }).await,
        (_, Resource::Users) => ok(wire::users(&face.node.read(users)?)),
        ("GET", Resource::User(name)) => get_user(face, &name),
        ("PUT", Resource::User(name)) => put_user(face, &name, &read(request).await?).await,
        (_, Resource::User(name)) => done(face, Change::UserDelete { name }).await,
        (_, Resource::Invalid) => Err(Refusal::Early(StatusCode::BAD_REQUEST, "Invalid path")),
    }
}

/// Every user with those of their roles that there are.
fn users(tx: &corten_raft::ReadTx<'_>) -> Result<Vec<(String, Vec<Role>)>, StoreFault> {
    let mut shown = Vec::new();
    for user in v2auth::users(tx)? {
        let mut roles = Vec::new();
        for name in user.granted() {
            roles.extend(v2auth::role(tx, name)?.ok());
        }
        shown.push((user.name, roles));
    }
    Ok(shown)
}

/// A user with their roles. As in etcd, one with a role that is not there cannot be shown.
fn get_user(face: &Face, name: &str) -> Answer {
    let found = face.node.read(|tx| {
        let user = match v2auth::user(tx, name)? {
            Ok(user) => user,
            Err(error) => return Ok(Err(error)),
        };
        let roles: Result<Vec<_>, _> = user.granted().iter().map(|role| v2auth::role(tx, role)).collect();
        Ok(roles?
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .map(|roles| (user.name, roles)))
    })??;
    Ok((StatusCode::OK, wire::user_with_roles(&found.0, &found.1)))
}

async fn put_user(face: &Face, name: &str, body: &[u8]) -> Answer {
    let put = UserPut::read(body).ok_or_else(|| Refusal::bad("Invalid JSON in request body."))?;
    if put.user != name {
        return Err(Refusal::bad("User JSON name does not match the name in the URL"));
    }
    let changes_roles = !put.grant.is_empty() || !put.revoke.is_empty();
    let names_roles = put.roles.as_ref().is_some_and(|roles| !roles.is_empty());
    if changes_roles && names_roles {
        return Err(Refusal::bad("User JSON contains both roles and grant/revoke"));
    }
    let password_hash = if put.password.is_empty() {
        None
    } else {
        let hashed = face.passwords.hash(put.password).await;
        Some(hashed.map_err(|error| Refusal::internal(&error))?)
    };
    let name = put.user;
    let change = if changes_roles {
        Change::UserUpdate {
            name,
            password_hash,
            grant: put.grant,
            revoke: put.revoke,
        }
    } else if names_roles {
        Change::UserCreate {
            name,
            password_hash,
            roles: put.roles,
        }
    } else {
        Change::UserPut {
            name,
            password_hash,
            roles: put.roles,
        }
    };
    match propose(face, change).await? {
        Done::User { user, created } => {
            let status = if created {
                StatusCode::CREATED
            } else {
                StatusCode::OK
            };
            Ok((status, wire::user(&user)))
        }
        other => Err(Refusal::internal(&format!("another answer: {other:?}"))),
    }
}

async fn put_role(face: &Face, name: &str, body: &[u8]) -> Answer {
    let put = RolePut::read(body).ok_or_else(|| Refusal::bad("Invalid JSON in request body."))?;
    if put.role != name {
        return Err(Refusal::bad("Role JSON name does not match the name in the URL"));
    }
    let says = |permissions: &Option<Permissions>| permissions.as_ref().is_some_and(|p| !is_empty(p));
    let (status, change) = if says(&put.grant) || says(&put.revoke) {
        if !is_empty(&put.permissions) {
            return Err(Refusal::bad(
                "Role JSON contains both permissions and grant/revoke",
            ));
        }
        let change = Change::RoleUpdate {
            name: put.role,
            grant: put.grant,
            revoke: put.revoke,
        };
        (StatusCode::OK, change)
    } else {
        let role = Role {
            name: put.role,
            permissions: put.permissions,
        };
        (StatusCode::CREATED, Change::RoleCreate(role))
    };
    match propose(face, change).await? {
        Done::Role(role) => Ok((status, wire::role(&role))),
        other => Err(Refusal::internal(&format!("another answer: {other:?}"))),
    }
}

fn is_empty(permissions: &Permissions) -> bool {
    let none = |patterns: &Option<Vec<String>>| patterns.as_ref().is_none_or(Vec::is_empty);
    none(&permissions.read) && none(&permissions.write)
}

/// Makes a change that is answered with nothing.
async fn done(face: &Face, change: Change) -> Answer {
    propose(face, change).await?;
    Ok((StatusCode::OK, Vec::new()))
}

async fn propose(face: &Face, change: Change) -> Result<Done, Refusal> {
    let applied = face.node.propose(Command::V2Auth(change)).await;
    match applied.map_err(|error| Refusal::internal(&error))?.response {
        Outcome::V2Auth(answer) => Ok(answer?),
        other => Err(Refusal::internal(&format!("another answer: {other:?}"))),
    }
}

async fn read(request: Request<Body>) -> Result<bytes::Bytes, Refusal> {
    axum::body::to_bytes(request.into_body(), BODY_LIMIT)
        .await
        .map_err(|_| Refusal::bad("Invalid JSON in request body."))
}
