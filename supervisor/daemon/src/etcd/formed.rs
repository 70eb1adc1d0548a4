//! A member that has not known its cluster yet says nothing of it: not that a key is not there, nor that there are no
//! members. Requests wait as long as a write would. etcd does not even listen before that.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response};
use axum::middleware::Next;
use corten_raft::ProposeError;
use tonic::Status;

use super::{Face, answer, keys, v3};

/// A layer of the routes: lets a request through once this member knows its cluster.
pub async fn wait(State(face): State<Arc<Face>>, request: Request<Body>, next: Next) -> Response<Body> {
    let path = request.uri().path();
    let is_grpc = v3::is_grpc(&request);
    let concerns_it = is_grpc || path.starts_with("/v2/") || path.starts_with("/v3");
    if !concerns_it || face.node.once_formed().await.is_ok() {
        return next.run(request).await;
    }
    match is_grpc {
        true => Status::unavailable("etcdserver: no leader").into_http(),
        false => answer::keys_error(face.node.cluster_id(), &keys::not_done(&ProposeError::NoLeader)),
    }
}
