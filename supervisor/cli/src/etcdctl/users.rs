//! `user list`, `add`, `get`, `remove`, `passwd`, `grant`, `revoke`.

use clap::ArgMatches;
use hyper::Method;
use serde::{Deserialize, Serialize};

use super::auth::{self, Role};
use super::fault::Failure;
use super::password;
use super::settings::Settings;
use crate::terminal::say;

#[derive(Deserialize)]
struct UserList {
    users: Option<Vec<User>>,
}

/// A user with their roles in full.
#[derive(Deserialize)]
struct User {
    user: String,
    #[serde(default)]
    roles: Option<Vec<Role>>,
}

/// A change of a user, as it travels.
#[derive(Default, Serialize)]
struct Put<'p> {
    user: &'p str,
    #[serde(skip_serializing_if = "str::is_empty")]
    password: &'p str,
    roles: Option<()>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    grant: &'p [&'p str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    revoke: &'p [&'p str],
}

/// Runs `user <verb>`.
pub(super) async fn run(settings: &Settings, matches: &ArgMatches) -> Result<(), Failure> {
    let Some((verb, matches)) = matches.subcommand() else {
        return Err(Failure::arguments(
            "user add, get, list, remove, grant, revoke or passwd",
        ));
    };
    let roles: Vec<&str> = match matches.try_get_many::<String>("roles") {
        Ok(roles) => roles.unwrap_or_default().map(String::as_str).collect(),
        Err(_) => Vec::new(), // not one of the verbs that take roles
    };
    if matches!(verb, "grant" | "revoke") && roles.is_empty() {
        return Err(Failure::arguments("No roles specified; please use `--roles`"));
    }
    let words = auth::words(matches);
    if verb == "list" {
        return list(settings, &words).await;
    }
    let [user] = words[..] else {
        return Err(Failure::arguments("Please provide a username"));
    };
    match verb {
        "add" => add(settings, user).await,
        "get" => get(settings, user).await,
        "remove" => {
            let mut cluster = auth::open(settings).await?;
            auth::change(
                &mut cluster,
                Method::DELETE,
                auth::path("users", user),
                None::<&()>,
            )
            .await?;
            say(format!("User {user} removed"));
            Ok(())
        }
        "passwd" => {
            let mut cluster = auth::open(settings).await?;
            let password = password::ask("New password: ").await?;
            let put = Put {
                user,
                password: &password,
                ..Put::default()
            };
            auth::change(&mut cluster, Method::PUT, auth::path("users", user), Some(&put)).await?;
            say("Password updated");
            Ok(())
        }
        _ => {
            let put = match verb {
                "grant" => Put {
                    user,
                    grant: &roles,
                    ..Put::default()
                },
                _ => Put {
                    user,
                    revoke: &roles,
                    ..Put::default()
                },
            };
            let mut cluster = auth::open(settings).await?;
            auth::change(&mut cluster, Method::PUT, auth::path("users", user), Some(&put)).await?;
            say(format!("User {user} updated"));
            Ok(())
        }
    }
}

async fn list(settings: &Settings, words: &[&str]) -> Result<(), Failure> {
    if !words.is_empty() {
        return Err(Failure::arguments("No arguments accepted"));
    }
    let mut cluster = auth::open(settings).await?;
    let list: UserList = auth::get(&mut cluster, "/v2/auth/users".to_owned()).await?;
    for user in list.users.unwrap_or_default() {
        say(user.user);
    }
    Ok(())
}

/// `user` may be NAME:PASSWORD. One that is there gets the password; etcd's API has no other way to say it.
async fn add(settings: &Settings, user: &str) -> Result<(), Failure> {
    let mut cluster = auth::open(settings).await?;
    let (user, password) = password::of("New password: ", user).await?;
    let put = Put {
        user: &user,
        password: &password,
        ..Put::default()
    };
    auth::change(&mut cluster, Method::PUT, auth::path("users", &user), Some(&put)).await?;
    say(format!("User {user} created"));
    Ok(())
}

async fn get(settings: &Settings, user: &str) -> Result<(), Failure> {
    let mut cluster = auth::open(settings).await?;
    let user: User = auth::get(&mut cluster, auth::path("users", user)).await?;
    let roles = user.roles.unwrap_or_default();
    // etcdctl prints an empty name for each role first.
    let names: Vec<&str> = std::iter::repeat_n("", roles.len())
        .chain(roles.iter().map(|role| role.role.as_str()))
        .collect();
    say(format!("User: {}\nRoles: {}", user.user, names.join(" ")));
    Ok(())
}
