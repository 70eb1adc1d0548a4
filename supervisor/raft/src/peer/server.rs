//! The peers' routes.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use corten_store::member;
use serde::Serialize;
use tokio::time::Instant;

use super::wire::{self, CLUSTER_HEADER, MEMBER_HEADER, TARGET_HEADER, path};
use crate::inner::Inner;
use crate::join;
use crate::observe::Observation;
use crate::seldom::left_out;
use crate::types::Batch;

/// A cluster's id has no more.
const CLUSTER_DIGITS: usize = 16;
/// How a peer comes to be of another cluster, and what to do.
const OTHER_CLUSTER: &str = "it was started with another --initial-cluster or --initial-cluster-token than this member, or \
    takes this one for a member of its cluster: start it again with what this cluster was founded with, and an empty data \
    directory";

/// The router over a node.
pub(crate) fn router(node: Arc<Inner>) -> Router {
    Router::new()
        .route(path::APPEND, post(append))
        .route(path::VOTE, post(vote))
        .route(path::SNAPSHOT, post(snapshot))
        .route(path::PROPOSE, post(propose))
        .route(path::READ_INDEX, post(read_index))
        .route(path::KNOWN, post(known))
        .route(path::MEMBERS, post(change_members))
        .route(path::ELECT, post(elect))
        .layer(middleware::from_fn_with_state(Arc::clone(&node), same_cluster))
        .layer(DefaultBodyLimit::max(wire::LONGEST_BODY))
        // Who asks for these does not know the cluster yet.
        .route(join::MEMBERS, get(members))
        .with_state(node)
}

/// Lets only members of this cluster through, with messages for this one, and Raft's only once it takes part.
async fn same_cluster(State(node): State<Arc<Inner>>, request: Request, next: Next) -> Response {
    let ours = format!("{:x}", node.identity.cluster);
    let theirs = request
        .headers()
        .get(CLUSTER_HEADER)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if theirs != ours {
        let told = format!("this is cluster {ours}, the request is for cluster {theirs:?}\n");
        say_refused(&node, &request, theirs, &ours);
        return (StatusCode::PRECONDITION_FAILED, told).into_response();
    }
    let headers = request.headers();
    let id = |header| u64::from_str_radix(headers.get(header)?.to_str().ok()?, 16).ok();
    let (target, sender) = (id(TARGET_HEADER), id(MEMBER_HEADER));
    let raft = [path::APPEND, path::VOTE, path::SNAPSHOT];
    if raft.contains(&request.uri().path()) && !*node.takes_part.borrow() {
        let told = "this member does not take part yet\n";
        return (StatusCode::SERVICE_UNAVAILABLE, told).into_response();
    }
    let me = node.identity.member;
    if target.is_some_and(|target| target != me) {
        return (
            StatusCode::MISDIRECTED_REQUEST,
            format!("this is member {me:x}\n"),
        )
            .into_response();
    }
    if let Some(sender) = sender
        && node.has_removed(sender)
    {
        let told = format!("member {sender:x} was removed from cluster {ours}\n");
        return (StatusCode::GONE, told).into_response();
    }
    if let Some(from) = sender {
        let length = request.headers().get(header::CONTENT_LENGTH);
        let bytes = length
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .unwrap_or(0);
        node.sight.see(Observation::PeerHeard { from, bytes });
    }
    next.run(request).await
}

/// Says that a peer of another cluster was refused: who, and what he can do about it. He asks again at once, so this is said
/// seldom.
fn say_refused(node: &Inner, request: &Request, theirs: &str, ours: &str) {
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>();
    // His next connection has another port.
    let from = from.map_or_else(|| "a peer".to_owned(), |ConnectInfo(from)| from.ip().to_string());
    let theirs = theirs.get(..CLUSTER_DIGITS).unwrap_or(theirs);
    let Some(times) = node
        .strangers
        .speaks_of(&format!("{from} {theirs}"), Instant::now())
    else {
        return;
    };
    tracing::warn!(
        "rejected requests of {from}: request cluster ID mismatch (got {theirs} want {ours}): {OTHER_CLUSTER}{}",
        left_out(times)
    );
}

/// A message as an answer.
fn answer<T: Serialize>(message: &T) -> Response {
    match wire::encode(message) {
        Ok(body) => body.into_response(),
        Err(cause) => (StatusCode::INTERNAL_SERVER_ERROR, cause).into_response(),
    }
}

fn bad_request(cause: String) -> Response {
    (StatusCode::BAD_REQUEST, cause).into_response()
}

async fn append(State(node): State<Arc<Inner>>, body: Bytes) -> Response {
    match wire::decode(&body) {
        Ok(message) => answer(&node.raft.append_entries(message).await),
        Err(cause) => bad_request(cause),
    }
}

async fn vote(State(node): State<Arc<Inner>>, body: Bytes) -> Response {
    match wire::decode(&body) {
        Ok(message) => answer(&node.raft.vote(message).await),
        Err(cause) => bad_request(cause),
    }
}

async fn snapshot(State(node): State<Arc<Inner>>, body: Bytes) -> Response {
    match wire::decode(&body) {
        Ok(message) => answer(&node.raft.install_snapshot(message).await),
        Err(cause) => bad_request(cause),
    }
}

/// The body is the batch itself.
async fn propose(State(node): State<Arc<Inner>>, body: Bytes) -> Response {
    let batch = Batch(body);
    // What cannot be decoded must not get into the log: no node could ever apply it.
    if let Err(e) = batch.commands() {
        return bad_request(format!("the proposal is not of this version: {e}"));
    }
    answer(&node.propose_as_leader(batch, None).await)
}

/// Whether a member has published itself, which it does once it has taken part, or was removed.
async fn known(State(node): State<Arc<Inner>>, body: Bytes) -> Response {
    let member: u64 = match wire::decode(&body) {
        Ok(member) => member,
        Err(cause) => return bad_request(cause),
    };
    let known = node
        .state
        .read(|tx| Ok(member::member(tx, member)?.is_some() || member::is_removed(tx, member)?));
    match known {
        Ok(known) => answer(&known),
        Err(fault) => (StatusCode::INTERNAL_SERVER_ERROR, fault.to_string()).into_response(),
    }
}

/// The cluster's members, as etcd tells its peers.
async fn members(State(node): State<Arc<Inner>>) -> Response {
    let cluster = format!("{:x}", node.identity.cluster);
    ([(join::CLUSTER_ID, cluster)], axum::Json(join::members(&node))).into_response()
}

async fn change_members(State(node): State<Arc<Inner>>, body: Bytes) -> Response {
    match wire::decode(&body) {
        Ok(change) => answer(&node.change_members_as_leader(&change).await),
        Err(cause) => bad_request(cause),
    }
}

async fn elect(State(node): State<Arc<Inner>>) -> Response {
    if node.stand_for_election().await {
        return answer(&());
    }
    let told = "the others did not elect this member in time\n";
    (StatusCode::SERVICE_UNAVAILABLE, told).into_response()
}

async fn read_index(State(node): State<Arc<Inner>>) -> Response {
    answer(&node.read_index_as_leader().await)
}
