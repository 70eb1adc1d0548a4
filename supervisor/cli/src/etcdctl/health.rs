//! `cluster-health`: asks every member for its `/health`.

use std::time::Duration;

use clap::ArgMatches;
use hyper::Method;
use serde::Deserialize;

use super::cluster::{Cluster, Member};
use super::fault::{Failure, NOT_HEALTHY, SERVER_ERROR};
use super::settings::{Endpoint, Settings};
use super::switch;
use crate::http::{Dial, Link, Request};
use crate::terminal::say;

/// Between two checks with `--forever`.
const PAUSE: Duration = Duration::from_secs(10);

/// `"health"` is a string in one version of etcd and a boolean in another.
#[derive(Deserialize)]
#[serde(untagged)]
enum Health {
    Text { health: String },
    Bool { health: bool },
}

/// Runs the command.
pub(super) async fn check(settings: &Settings, matches: &ArgMatches) -> Result<(), Failure> {
    let mut cluster = Cluster::named(settings);
    cluster.announce();
    let members = cluster.list_members().await.map_err(|fault| {
        say("cluster may be unhealthy: failed to list members");
        Failure::of(&fault, SERVER_ERROR)
    })?;
    loop {
        let healthy = check_all(settings, &members).await;
        say(if healthy {
            "cluster is healthy"
        } else {
            "cluster is unhealthy"
        });
        if !switch(matches, "forever") {
            return if healthy {
                Ok(())
            } else {
                Err(Failure {
                    text: String::new(),
                    code: NOT_HEALTHY,
                })
            };
        }
        say("\nnext check after 10 second...\n");
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

/// True when one member at least is healthy, which takes a leader and a majority.
async fn check_all(settings: &Settings, members: &[Member]) -> bool {
    let mut healthy = false;
    for member in members {
        if member.client_urls.is_empty() {
            say(format!(
                "member {} is unreachable: no available published client urls",
                member.id
            ));
            continue;
        }
        match check_one(settings, member).await {
            Some((true, url)) => {
                healthy = true;
                say(format!(
                    "member {} is healthy: got healthy result from {url}",
                    member.id
                ));
            }
            Some((false, url)) => say(format!(
                "member {} is unhealthy: got unhealthy result from {url}",
                member.id
            )),
            None => {
                let urls = member.client_urls.join(" ");
                say(format!(
                    "member {} is unreachable: [{urls}] are all unreachable",
                    member.id
                ));
            }
        }
    }
    healthy
}

/// What the first of the member's addresses that answers says, and which it was.
async fn check_one<'m>(settings: &Settings, member: &'m Member) -> Option<(bool, &'m str)> {
    for url in &member.client_urls {
        match ask(settings, url).await {
            Ok(health) => return Some((health, url)),
            Err(why) => say(format!(
                "failed to check the health of member {} on {url}: {why}",
                member.id
            )),
        }
    }
    None
}

async fn ask(settings: &Settings, url: &str) -> Result<bool, String> {
    let get = |why: String| format!("Get \"{url}/health\": {why}");
    let endpoint = Endpoint::parse(url).map_err(|error| error.to_string())?;
    let dial = Dial::To(endpoint.target, Some(settings.tls.clone()));
    let mut link = Link::new(dial, settings.total_timeout);
    let request = Request::new(Method::GET, "/health");
    let answer = tokio::time::timeout(settings.total_timeout, link.send(&request)).await;
    let answer = answer
        .map_err(|_| get("context deadline exceeded".to_owned()))?
        .map_err(|error| get(error.to_string()))?;
    match serde_json::from_slice(&answer.body).map_err(|error| error.to_string())? {
        Health::Text { health } => Ok(health == "true"),
        Health::Bool { health } => Ok(health),
    }
}
