//! Joining a cluster that runs: its members say which cluster it is and which of them this node is.
//!
//! ```text
//! GET /members on a peer URL     [{"id":N,"peerURLs":[..],"name":"..","clientURLs":[..]},..]   etcd's own form
//!                                X-Etcd-Cluster-ID: the cluster, in hexadecimal
//! ```
//!
//! Three ways in: a member that was added stands in the answer, and is who it says; a machine that is nobody there asks to
//! be taken in as a standby; so does one that was a member and has lost its data, and gets its old place, under a new id.
//!
//! Refuses to be again who it was: a member that has forgotten what it acknowledged must never vote as the same.

use std::time::Duration;

use bytes::Bytes;
use corten_store::member;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::identity::{self, Identity};
use crate::inner::Inner;
use crate::members::{MemberChange, MemberError, new_member_id};
use crate::peer::client::{AskError, Client};
use crate::peer::wire;
use crate::world::World;
use crate::{Config, Member, StartError};

/// The path, on the peers' listeners.
pub(crate) const MEMBERS: &str = "/members";
/// The header that names the cluster.
pub(crate) const CLUSTER_ID: &str = "x-etcd-cluster-id";
/// How long one member may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a peer may take to say whether it knows a member.
const KNOWN_WITHIN: Duration = Duration::from_secs(1);
/// How long a machine asks to be taken in before it gives up; who starts it tries again.
const TAKEN_IN: Duration = Duration::from_secs(60);
/// How long a member that was added may be unknown to the others: they hear of it one after the other.
const HEARD_OF: Duration = Duration::from_secs(5);
/// The pause before the members are asked again.
const PAUSE: Duration = Duration::from_millis(500);

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

/// Who this node becomes with an empty data directory, unless it founds its cluster (`None`).
///
/// # Errors
/// [`StartError::Join`] when no member answers, or the cluster does not take it in.
pub(crate) async fn find(config: &Config, world: &World) -> Result<Option<Identity>, StartError> {
    let named = identity::initial_members(config)
        .into_iter()
        .find(|member| member.name == config.name);
    let found = match (named, config.existing) {
        (Some(_), true) => learn(config, world).await?,
        (Some(_), false) => match identity::configured(config) {
            Some(identity) => identity,
            None => return Ok(None),
        },
        (None, true) => return ask_in(config, world).await.map(Some),
        (None, false) => return Ok(None), // which is an error, told where identities are established
    };
    let client = Client::of_stranger(found.cluster, config.peer_tls.clone(), world);
    if let Known::By(peer) = who_knows(config, found.member, &client).await {
        tracing::warn!(
            "member {:x} has been part of this cluster before, says {peer}, but its data directory is empty: this machine \
             joins as a new member",
            found.member
        );
        return ask_in(config, world).await.map(Some);
    }
    Ok(config.existing.then_some(found))
}

/// What the other first members say of one.
pub(crate) enum Known {
    /// This one has seen it before.
    By(String),
    /// So many have not.
    To {
        /// How many.
        strangers: usize,
        /// Of whom there is no answer, and why.
        silent: Vec<Silent>,
    },
}

/// A first member that does not say whom it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Silent {
    pub name: String,
    /// With commas.
    pub urls: String,
    pub why: String,
}

/// Asks all other first members whether they have seen this one before.
pub(crate) async fn who_knows(config: &Config, member: u64, client: &Client) -> Known {
    let mut asked = JoinSet::new();
    for peer in identity::initial_members(config)
        .into_iter()
        .filter(|peer| peer.name != config.name)
    {
        let (client, urls) = (client.clone(), peer.peer_urls.join(","));
        asked.spawn(async move {
            let answer = knows(&client, &urls, member).await;
            (peer.name, urls, answer)
        });
    }
    let (mut strangers, mut silent) = (0, Vec::new());
    for (name, urls, answer) in asked.join_all().await {
        match answer {
            Ok(true) => return Known::By(urls),
            Ok(false) => strangers += 1,
            Err(why) => silent.push(Silent { name, urls, why }),
        }
    }
    silent.sort_by(|a, b| a.name.cmp(&b.name));
    Known::To { strangers, silent }
}

async fn knows(client: &Client, urls: &str, member: u64) -> Result<bool, String> {
    let body = Bytes::from(wire::encode(&member)?);
    let asked = client.post(urls, wire::path::KNOWN, body, KNOWN_WITHIN);
    wire::decode(&asked.await.map_err(|error| why(&error))?)
}

/// Why a first member does not answer, with what to do where that is known.
fn why(error: &AskError) -> String {
    const PRECONDITION_FAILED: u16 = 412;
    let advice = match error {
        AskError::Status { status, .. } if *status == PRECONDITION_FAILED => {
            ": all members need the same --initial-cluster and --initial-cluster-token"
        }
        AskError::Status { body, .. } if body.contains("HTTPS server") => {
            ": it speaks TLS, so its URL in --initial-cluster is https"
        }
        AskError::Unreachable { cause, .. } if cause.contains("InvalidContentType") => {
            ": it does not speak TLS; either its URL in --initial-cluster is http, or it lacks https in --listen-peer-urls"
        }
        _ => "",
    };
    format!("{error}{advice}")
}

/// Asks the members until their leader takes this machine in.
async fn ask_in(config: &Config, world: &World) -> Result<Identity, StartError> {
    let peer_urls = own_urls(config);
    let new_id = || new_member_id(&peer_urls, &config.initial_cluster_token, world.now_ms());
    let mut id = new_id();
    let deadline = Instant::now() + TAKEN_IN;
    loop {
        let Refused { why, removed } = match ask_each(config, world, id, &peer_urls).await {
            Ok(identity) => return Ok(identity),
            Err(refused) => refused,
        };
        if Instant::now() >= deadline {
            return Err(StartError::Join(format!(
                "no member of the cluster has taken this machine in within {TAKEN_IN:?}: {why}"
            )));
        }
        if removed {
            id = new_id();
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Why nobody took this machine in.
#[derive(Default)]
struct Refused {
    why: String,
    /// Somebody did, this machine did not hear of it, and an operator has taken it out again: it is nobody under that id.
    removed: bool,
}

/// Asks one member after the other to have this machine taken in as `id`.
async fn ask_each(
    config: &Config,
    world: &World,
    id: u64,
    peer_urls: &[String],
) -> Result<Identity, Refused> {
    let stranger = Client::of_stranger(0, config.peer_tls.clone(), world);
    let change = MemberChange::Join {
        id,
        peer_urls: peer_urls.to_vec(),
    };
    let mut refused = Refused::default();
    for url in identity::initial_members(config)
        .iter()
        .filter(|member| member.name != config.name)
        .flat_map(|member| &member.peer_urls)
    {
        let (cluster, members) = match ask(&stranger, url).await {
            Ok(answer) => answer,
            Err(cause) => {
                refused.why = cause;
                continue;
            }
        };
        let client = Client::of_stranger(cluster, config.peer_tls.clone(), world);
        for told in members.iter().filter(|told| told.peer_urls != peer_urls) {
            let urls = told.peer_urls.join(",");
            match client.change_members(&urls, &change, ANSWER).await {
                Ok(()) => {
                    tracing::info!("cluster {cluster:x} has taken this machine in as member {id:x}");
                    return Ok(Identity { member: id, cluster });
                }
                Err(error) => {
                    refused.removed |= error == MemberError::Removed;
                    refused.why = error.to_string();
                }
            }
        }
    }
    Err(refused)
}

/// Where peers reach this machine.
fn own_urls(config: &Config) -> Vec<String> {
    let mut urls = config.advertise_peer_urls.clone();
    if urls.is_empty() {
        let named = config
            .initial_cluster
            .iter()
            .filter(|(name, _)| *name == config.name);
        urls.extend(named.map(|(_, url)| url.clone()));
    }
    urls.sort_unstable();
    urls
}

/// Asks the other members of `initial_cluster` who this node is in their cluster.
///
/// # Errors
/// [`StartError::Join`] when none answers, or their members are not those of the configuration.
async fn learn(config: &Config, world: &World) -> Result<Identity, StartError> {
    let client = Client::of_stranger(0, config.peer_tls.clone(), world);
    let configured = identity::initial_members(config);
    let me = configured
        .iter()
        .find(|member| member.name == config.name)
        .ok_or_else(|| StartError::NotInCluster {
            name: config.name.clone(),
            cluster: names(&configured),
        })?;
    let deadline = Instant::now() + HEARD_OF;
    loop {
        let (mut why, mut refused) = (String::new(), None);
        for url in configured
            .iter()
            .filter(|peer| peer.id != me.id)
            .flat_map(|peer| &peer.peer_urls)
        {
            match ask(&client, url).await {
                Ok((cluster, members)) => match found(config, &configured, me, cluster, &members) {
                    Ok(identity) => return Ok(identity),
                    Err(error) => refused = Some(error),
                },
                Err(cause) => why = cause,
            }
        }
        let Some(refused) = refused else {
            return Err(StartError::Join(format!(
                "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs \
                 ({why})"
            )));
        };
        if Instant::now() >= deadline {
            return Err(refused);
        }
        tokio::time::sleep(PAUSE).await;
    }
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
