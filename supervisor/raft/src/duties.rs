//! What a node does by itself: follow who leads, publish itself, decide the cluster's version, let keys expire, find out
//! that it was removed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corten_store::member::{self, Attributes};
use corten_store::{Command, keys, meta};
use tokio::time::Instant;

use crate::inner::Inner;
use crate::peer::wire::{self, path};
use crate::{Leader, identity};

/// etcd's SYNC interval.
const EXPIRY: Duration = Duration::from_millis(500);
/// How often a member that does not vote asks whether it still is one, and how long an answer may take.
const STANDING: Duration = Duration::from_secs(2);
/// The pause after something failed.
const PAUSE: Duration = Duration::from_millis(200);

/// Keeps [`Inner::leader`] true. Woken by what changes seldom only: Raft's other figures change with every entry.
pub(crate) async fn follow_leader(inner: Arc<Inner>) {
    let mut metrics = inner.raft.server_metrics();
    loop {
        let leader = {
            let metrics = metrics.borrow_and_update();
            let nodes = metrics.membership_config.membership();
            metrics.current_leader.and_then(|id| {
                let peer_url = nodes.get_node(&id)?.addr.clone();
                Some(Leader {
                    id,
                    term: metrics.vote.leader_id.term,
                    peer_url,
                    is_me: id == inner.identity.member,
                })
            })
        };
        inner.leader.send_if_modified(|known| {
            let changed = *known != leader;
            if changed {
                match &leader {
                    Some(leader) => {
                        tracing::info!(
                            "member {:x} leads{}",
                            leader.id,
                            if leader.is_me { ": that is this one" } else { "" }
                        )
                    }
                    None => tracing::info!("no leader"),
                }
                known.clone_from(&leader);
            }
            changed
        });
        if metrics.changed().await.is_err() {
            inner.leader.send_replace(None);
            return;
        }
    }
}

/// Publishes this member's attributes where they are not what the cluster knows, then sees to the cluster's version.
pub(crate) async fn publish(inner: Arc<Inner>) {
    let mut leader = inner.leader.subscribe();
    loop {
        let wanted = attributes(&inner);
        let known = inner
            .state
            .read(|tx| member::member(tx, inner.identity.member))
            .ok()
            .flatten();
        if known.as_ref() == wanted.as_ref() && known.is_some() {
            break;
        }
        if let Some(wanted) = wanted
            && leader.wait_for(Option::is_some).await.is_ok()
        {
            let deadline = Instant::now() + inner.request_timeout();
            match inner.propose_now(&Command::Member(wanted), deadline).await {
                Ok(_) => break,
                Err(e) => tracing::warn!(error = %e, "this member could not publish itself yet"),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    decide_version(&inner).await;
}

fn attributes(inner: &Inner) -> Option<Attributes> {
    let metrics = inner.raft.metrics();
    let metrics = metrics.borrow();
    let node = metrics
        .membership_config
        .membership()
        .get_node(&inner.identity.member)?;
    Some(Attributes {
        id: inner.identity.member,
        name: inner.config.name.clone(),
        peer_urls: node.urls(),
        client_urls: inner.config.advertise_client_urls.clone(),
    })
}

/// Has the leader decide the version once; returns when it is decided and known here.
async fn decide_version(inner: &Inner) {
    let mut applied = inner.applied.clone();
    loop {
        let version = inner.state.read(|tx| Ok(meta::read(tx)?.version)).ok().flatten();
        if version.is_some() {
            inner.formed.send_replace(true);
            return;
        }
        if inner.leads() {
            let deadline = Instant::now() + inner.request_timeout();
            let command = Command::Version(inner.config.cluster_version.clone());
            if let Err(e) = inner.propose_now(&command, deadline).await {
                tracing::warn!("the cluster's version could not be decided yet: {e}");
                tokio::time::sleep(PAUSE).await;
            }
            continue;
        }
        let _ = tokio::time::timeout(PAUSE, applied.changed()).await;
    }
}

/// While this member does not vote, asks the others now and then whether it still is one: who was removed before it was told
/// so will never be. One that votes stands for election, and learns it by that.
pub(crate) async fn ask_whether_removed(inner: Arc<Inner>) {
    let me = inner.identity.member;
    let Ok(body) = wire::encode(&me).map(Bytes::from) else {
        return;
    };
    for turn in 0usize.. {
        tokio::time::sleep(STANDING).await;
        let members = inner.membership();
        if members.voter_ids().any(|voter| voter == me) {
            continue;
        }
        let known = members.nodes().filter(|(id, _)| **id != me);
        let mut others: Vec<String> = known.map(|(_, peer)| peer.addr.clone()).collect();
        if others.is_empty() {
            let first = identity::initial_members(&inner.config).into_iter();
            let first = first.filter(|member| member.name != inner.config.name);
            others.extend(first.map(|member| member.peer_urls.join(",")));
        }
        if let Some(urls) = others.get(turn % others.len().max(1)) {
            // That it was removed is an answer the client itself takes note of.
            let asked = inner.client.post(urls, path::KNOWN, body.clone(), STANDING);
            if let Err(error) = asked.await {
                tracing::debug!(%error, "whether this member was removed is not known");
            }
        }
    }
}

/// The term this node leads in, if it does.
fn leading(inner: &Inner) -> Option<u64> {
    let leader = inner.leader.borrow();
    leader
        .as_ref()
        .filter(|leader| leader.is_me)
        .map(|leader| leader.term)
}

/// While this node leads, proposes the time whenever keys are due.
pub(crate) async fn expire_keys(inner: Arc<Inner>) {
    let mut tick = tokio::time::interval(EXPIRY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(term) = leading(&inner) else {
            continue;
        };
        let now_ms = inner.world.now_ms();
        match inner.state.read(|tx| keys::next_expiry(tx)) {
            Ok(Some(due_ms)) if due_ms <= now_ms => {
                let deadline = Instant::now() + inner.request_timeout();
                // By this leader's clock: it must not reach the log by way of the next one.
                let expire = Command::ExpireKeys { now_ms };
                if let Err(e) = inner.propose_alone(&expire, Some(term), deadline).await {
                    tracing::debug!(error = %e, "keys could not expire yet");
                }
            }
            Ok(_) => {}
            Err(e) => tracing::debug!(error = %e, "the next expiry is not known"),
        }
    }
}
