//! Joining a cluster that runs: its members say which cluster it is and which of them this node is.
//!
//! ```text
//! GET /members on a peer URL     [{"id":N,"peerURLs":[..],"name":"..","clientURLs":[..]},..]   etcd's own form
//!                                X-Etcd-Cluster-ID: the cluster, in hexadecimal
//! ```
//!
//! Refuses to invent an identity: a member must have been added before it starts, and stands in the answer then.

use std::time::Duration;

use corten_store::member;
use serde::{Deserialize, Serialize};

use crate::identity::{self, Identity};
use crate::node::Inner;
use crate::peer::client::Client;
use crate::world::World;
use crate::{Config, Member, StartError};

/// The path, on the peers' listeners.
pub(crate) const MEMBERS: &str = "/members";
/// The header that names the cluster.
pub(crate) const CLUSTER_ID: &str = "x-etcd-cluster-id";
/// How long one member may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A member as peers are told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    id: u64,
    #[serde(rename = "peerURLs")]
    peer_urls: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default, rename = "clientURLs", skip_serializing_if = "Vec::is_empty")]
    client_urls: Vec<String>,
}

/// The members of a node's cluster, for a node that wants to join.
pub(crate) fn members(node: &Inner) -> Vec<Told> {
    let published = node.state.read(|tx| member::members(tx)).unwrap_or_default();
    let metrics = node.raft.metrics().borrow().clone();
    let nodes = metrics.membership_config.nodes();
    nodes
        .map(|(id, node)| {
            let attributes = published.iter().find(|attributes| attributes.id == *id);
            Told {
                id: *id,
                peer_urls: node.urls(),
                name: attributes.map(|a| a.name.clone()).unwrap_or_default(),
                client_urls: attributes.map(|a| a.client_urls.clone()).unwrap_or_default(),
            }
        })
        .collect()
}

/// Asks the other members of `initial_cluster` who this node is in their cluster.
///
/// # Errors
/// [`StartError::Join`] when none answers, or their members are not those of the configuration.
pub(crate) async fn learn(config: &Config, world: &World) -> Result<Identity, StartError> {
    let client = Client::of_stranger(config.peer_tls.clone(), world);
    let configured = identity::initial_members(config);
    let me = configured
        .iter()
        .find(|member| member.name == config.name)
        .ok_or_else(|| StartError::NotInCluster {
            name: config.name.clone(),
            cluster: names(&configured),
        })?;
    let mut why = String::new();
    for peer in configured.iter().filter(|peer| peer.id != me.id) {
        for url in &peer.peer_urls {
            match ask(&client, url).await {
                Ok((cluster, members)) => return found(config, &configured, me, cluster, &members),
                Err(cause) => why = cause,
            }
        }
    }
    Err(StartError::Join(format!(
        "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs ({why})"
    )))
}

async fn ask(client: &Client, url: &str) -> Result<(u64, Vec<Told>), String> {
    let (headers, body) = client
        .get(url, MEMBERS, ANSWER)
        .await
        .map_err(|e| e.to_string())?;
    let cluster = headers
        .get(CLUSTER_ID)
        .and_then(|value| u64::from_str_radix(value.to_str().ok()?, 16).ok())
        .ok_or_else(|| format!("{url}: the answer names no cluster"))?;
    let members = serde_json::from_slice(&body).map_err(|e| format!("{url}: {e}"))?;
    Ok((cluster, members))
}

/// Which member of the running cluster this node is; the configuration must name the same members.
fn found(
    config: &Config,
    configured: &[Member],
    me: &Member,
    cluster: u64,
    running: &[Told],
) -> Result<Identity, StartError> {
    let refuse = |why: &str| {
        let urls: Vec<String> = running.iter().map(|told| told.peer_urls.join("+")).collect();
        StartError::Join(format!("error validating peerURLs [{}]: {why}", urls.join(" ")))
    };
    if running.len() != configured.len() {
        return Err(refuse(&format!(
            "member count is unequal: the running cluster has {}, the configuration {}; add this member to the \
             cluster first, and list every member",
            running.len(),
            configured.len()
        )));
    }
    let same =
        |told: &&Told, member: &Member| told.peer_urls.iter().any(|url| member.peer_urls.contains(url));
    for member in configured {
        if !running.iter().any(|told| same(&told, member)) {
            return Err(refuse(&format!(
                "unmatched member while checking PeerURLs: {} ({}) is no member",
                member.name,
                member.peer_urls.join(",")
            )));
        }
    }
    let told = running
        .iter()
        .find(|told| same(told, me))
        .ok_or_else(|| refuse(&format!("{} is no member", config.name)))?;
    Ok(Identity {
        member: told.id,
        cluster,
    })
}

fn names(members: &[Member]) -> String {
    let pairs = members.iter().flat_map(|member| {
        member
            .peer_urls
            .iter()
            .map(|url| format!("{}={url}", member.name))
    });
    pairs.collect::<Vec<_>>().join(",")
}
