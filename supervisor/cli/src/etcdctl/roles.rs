//! `role list`, `add`, `get`, `remove`, `grant`, `revoke`.

use clap::ArgMatches;
use hyper::Method;
use serde::Deserialize;

use super::auth::{self, KeyPatterns, Permissions, Role};
use super::fault::Failure;
use super::settings::Settings;
use super::switch;
use crate::go;
use crate::terminal::say;

#[derive(Deserialize)]
struct RoleList {
    roles: Option<Vec<Role>>,
}

/// Runs `role <verb>`.
pub(super) async fn run(settings: &Settings, matches: &ArgMatches) -> Result<(), Failure> {
    let Some((verb, matches)) = matches.subcommand() else {
        return Err(Failure::arguments("role add, get, list, remove, grant or revoke"));
    };
    let change = match verb {
        "grant" | "revoke" => Some(permissions(matches)?),
        _ => None,
    };
    let words = auth::words(matches);
    if verb == "list" {
        return list(settings, &words).await;
    }
    let [role] = words[..] else {
        return Err(Failure::arguments("Please provide a role name"));
    };
    let mut cluster = auth::open(settings).await?;
    let path = || auth::path("roles", role);
    let mut put = Role {
        role: role.to_owned(),
        ..Role::default()
    };
    let done = match verb {
        "get" => {
            show(&auth::get(&mut cluster, path()).await?);
            return Ok(());
        }
        "remove" => {
            auth::change(&mut cluster, Method::DELETE, path(), None::<&()>).await?;
            "removed"
        }
        "add" => {
            if auth::get::<Role>(&mut cluster, path()).await.is_ok() {
                return Err(Failure::arguments(format!("Role {role} already exists")));
            }
            auth::change(&mut cluster, Method::PUT, path(), Some(&put)).await?;
            "created"
        }
        _ => {
            auth::get::<Role>(&mut cluster, path()).await?;
            match verb {
                "grant" => put.grant = change,
                _ => put.revoke = change,
            }
            auth::change(&mut cluster, Method::PUT, path(), Some(&put)).await?;
            "updated"
        }
    };
    say(format!("Role {role} {done}"));
    Ok(())
}

/// What is to be granted or revoked.
fn permissions(matches: &ArgMatches) -> Result<Permissions, Failure> {
    let path = matches.get_one::<String>("path").cloned().unwrap_or_default();
    if path.is_empty() {
        return Err(Failure::arguments("No path specified; please use `--path`"));
    }
    let canonical = canonical(&path);
    if canonical != path {
        return Err(Failure::arguments(format!(
            "Not canonical path; please use `--path={canonical}`"
        )));
    }
    let [read, write, both] = ["read", "write", "readwrite"].map(|name| switch(matches, name));
    if u8::from(read) + u8::from(write) + u8::from(both) != 1 {
        return Err(Failure::arguments(
            "Please specify exactly one of --read, --write or --readwrite",
        ));
    }
    let given = |is_on: bool| Some(if is_on { vec![path.clone()] } else { Vec::new() });
    Ok(Permissions {
        kv: KeyPatterns {
            read: given(read || both),
            write: given(write || both),
        },
    })
}

/// A clean path, but with the slash that was at its end.
fn canonical(path: &str) -> String {
    let clean = go::clean(path);
    if path.ends_with('/') && clean != "/" {
        clean + "/"
    } else {
        clean
    }
}

async fn list(settings: &Settings, words: &[&str]) -> Result<(), Failure> {
    if !words.is_empty() {
        return Err(Failure::arguments("No arguments accepted"));
    }
    let mut cluster = auth::open(settings).await?;
    let list: RoleList = auth::get(&mut cluster, "/v2/auth/roles".to_owned()).await?;
    for role in list.roles.unwrap_or_default() {
        say(role.role);
    }
    Ok(())
}

fn show(role: &Role) {
    say(format!("Role: {}", role.role));
    let kv = &role.permissions.kv;
    for (title, patterns) in [("KV Read:", &kv.read), ("KV Write:", &kv.write)] {
        say(title);
        for pattern in patterns.iter().flatten() {
            say(format!("\t{pattern}"));
        }
    }
}
