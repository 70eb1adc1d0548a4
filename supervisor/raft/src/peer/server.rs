//! The peers' routes.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Serialize;

use super::wire::{self, CLUSTER_HEADER, path};
use crate::node::Inner;
use crate::types::Batch;

/// The router over a node.
pub(crate) fn router(node: Arc<Inner>) -> Router {
    Router::new()
        .route(path::APPEND, post(append))
        .route(path::VOTE, post(vote))
        .route(path::SNAPSHOT, post(snapshot))
        .route(path::PROPOSE, post(propose))
        .route(path::READ_INDEX, post(read_index))
        .layer(middleware::from_fn_with_state(Arc::clone(&node), same_cluster))
        .layer(DefaultBodyLimit::max(wire::LONGEST_BODY))
        .with_state(node)
}

/// Lets only members of this cluster through.
async fn same_cluster(State(node): State<Arc<Inner>>, request: Request, next: Next) -> Response {
    let ours = format!("{:x}", node.identity.cluster);
    let theirs = request
        .headers()
        .get(CLUSTER_HEADER)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if theirs != ours {
        let told = format!("this is cluster {ours}, the request is for cluster {theirs:?}\n");
        tracing::warn!(%theirs, %ours, "a peer of another cluster was refused: check the peer URLs");
        return (StatusCode::PRECONDITION_FAILED, told).into_response();
    }
    next.run(request).await
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
    answer(&node.propose_as_leader(Batch(body)).await)
}

async fn read_index(State(node): State<Arc<Inner>>) -> Response {
    answer(&node.read_index_as_leader().await)
}
