//! `auth enable` and `disable`, and what `user` and `role` share with them: calls of /v2/auth, answered by JSON or by a
//! message.

use clap::ArgMatches;
use hyper::Method;
use serde::{Deserialize, Serialize};

use super::cluster::{Cluster, accepted, read_member_answer};
use super::fault::{CallFault, Failure};
use super::settings::Settings;
use crate::go;
use crate::http::{Request, Response};
use crate::terminal::say;

/// What a role permits, as it travels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Permissions {
    pub(super) kv: KeyPatterns,
}

/// Patterns of keys; `None` is `null`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeyPatterns {
    pub(super) read: Option<Vec<String>>,
    pub(super) write: Option<Vec<String>>,
}

/// A role, as it travels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Role {
    pub(super) role: String,
    #[serde(default)]
    pub(super) permissions: Permissions,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) grant: Option<Permissions>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) revoke: Option<Permissions>,
}

/// Runs `auth <verb>`.
pub(super) async fn run(settings: &Settings, matches: &ArgMatches) -> Result<(), Failure> {
    let Some((verb, matches)) = matches.subcommand() else {
        return Err(Failure::arguments("auth enable or disable"));
    };
    if !words(matches).is_empty() {
        return Err(Failure::arguments("No arguments accepted"));
    }
    let (method, done) = match verb {
        "enable" => (Method::PUT, "Authentication Enabled"),
        _ => (Method::DELETE, "Authentication Disabled"),
    };
    let mut cluster = open(settings).await?;
    let answer = call(&mut cluster, &Request::new(method, "/v2/auth/enable")).await?;
    accepted(&answer).map_err(plain)?;
    say(done);
    Ok(())
}

/// The cluster, announced twice: etcdctl does so for these commands.
pub(super) async fn open(settings: &Settings) -> Result<Cluster, Failure> {
    let cluster = Cluster::synced(settings).await?;
    cluster.announce();
    Ok(cluster)
}

/// The words behind the verb.
pub(super) fn words(matches: &ArgMatches) -> Vec<&str> {
    matches
        .get_many::<String>("rest")
        .unwrap_or_default()
        .map(String::as_str)
        .collect()
}

/// Where a user or a role lives.
pub(super) fn path(kind: &str, name: &str) -> String {
    go::escape_path(&go::clean(&format!("/v2/auth/{kind}/{name}")))
}

/// GETs one thing or all.
pub(super) async fn get<T: for<'de> Deserialize<'de>>(
    cluster: &mut Cluster,
    path: String,
) -> Result<T, Failure> {
    let answer = call(cluster, &Request::new(Method::GET, path)).await?;
    read_member_answer(&answer).map_err(plain)
}

/// PUTs a user or a role, or takes it away.
pub(super) async fn change(
    cluster: &mut Cluster,
    method: Method,
    path: String,
    body: Option<&impl Serialize>,
) -> Result<(), Failure> {
    let mut request = Request::new(method, path);
    if let Some(body) = body {
        request = request.with_body("application/json", go::to_json(body));
    }
    let answer = call(cluster, &request).await?;
    accepted(&answer).map_err(plain)
}

async fn call(cluster: &mut Cluster, request: &Request) -> Result<Response, Failure> {
    cluster.call(request).await.map_err(plain)
}

/// These commands print the fault alone and exit with 1.
#[allow(clippy::needless_pass_by_value)] // the shape that map_err wants
fn plain(fault: CallFault) -> Failure {
    Failure::arguments(fault.to_string())
}
