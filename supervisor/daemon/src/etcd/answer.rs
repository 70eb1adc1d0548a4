//! What goes back to etcd's clients: headers named and ordered as etcd's, bodies byte for byte.
//! Source: contract `etcd.md` sections 1.1 and 1.5, and its transcript.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use corten_store::keys;

/// Header names, as hyper wants them; they go out in title case, as Go's do.
const CLUSTER_ID: HeaderName = HeaderName::from_static("x-etcd-cluster-id");
const ETCD_INDEX: HeaderName = HeaderName::from_static("x-etcd-index");
const RAFT_INDEX: HeaderName = HeaderName::from_static("x-raft-index");
const RAFT_TERM: HeaderName = HeaderName::from_static("x-raft-term");

/// How many headers most answers have: room for them is made once.
const HEADERS: usize = 8;

/// Where in the log an answer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// The cluster.
    pub cluster_id: u64,
    /// The v2 store's index.
    pub etcd_index: u64,
    /// The log's index.
    pub raft_index: u64,
    /// The term.
    pub term: u64,
}

/// A key event, or any other success of the keys API.
pub fn keys(status: StatusCode, at: At, body: Body) -> Response<Body> {
    let mut response = json(status, body);
    let headers = response.headers_mut();
    headers.insert(CLUSTER_ID, hex(at.cluster_id));
    headers.insert(ETCD_INDEX, HeaderValue::from(at.etcd_index));
    headers.insert(RAFT_INDEX, HeaderValue::from(at.raft_index));
    headers.insert(RAFT_TERM, HeaderValue::from(at.term));
    response
}

/// An error of the keys API.
pub fn keys_error(cluster_id: u64, error: &keys::Error) -> Response<Body> {
    let status = StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, Body::from(error.to_json()));
    let headers = response.headers_mut();
    headers.insert(CLUSTER_ID, hex(cluster_id));
    headers.insert(ETCD_INDEX, HeaderValue::from(error.index));
    response
}

/// JSON without the keys API's headers.
pub fn json(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    with_type(status, body.into(), "application/json")
}

/// JSON of the members and auth APIs.
pub fn cluster_json(status: StatusCode, cluster_id: u64, body: impl Into<Body>) -> Response<Body> {
    let mut response = json(status, body);
    response.headers_mut().insert(CLUSTER_ID, hex(cluster_id));
    response
}

/// `{"message":"..."}`, the error shape of the members and auth APIs.
pub fn message(status: StatusCode, cluster_id: u64, text: &str) -> Response<Body> {
    let mut body = b"{\"message\":".to_vec();
    keys::json::string(&mut body, text);
    body.push(b'}');
    cluster_json(status, cluster_id, body)
}

/// Adds the cluster's id.
pub fn name_cluster(response: &mut Response<Body>, cluster_id: u64) {
    response.headers_mut().insert(CLUSTER_ID, hex(cluster_id));
}

/// The same from before the cluster is named.
pub fn message_alone(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = message(status, 0, text);
    response.headers_mut().remove(CLUSTER_ID);
    response
}

/// Plain text.
pub fn text(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    with_type(status, body.into(), "text/plain; charset=utf-8")
}

/// What Go's `http.Error` sends.
pub fn plain_error(status: StatusCode, body: &'static str) -> Response<Body> {
    let mut response = text(status, body);
    response.headers_mut().insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// 204 with the cluster's id.
pub fn no_content(cluster: u64) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(CLUSTER_ID, hex(cluster));
    response
}

/// 404 as Go's router sends it.
pub fn not_found() -> Response<Body> {
    plain_error(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// 405 with the methods that are allowed.
pub fn method_not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = plain_error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

fn with_type(status: StatusCode, body: Body, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().reserve(HEADERS);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// etcd 3.4 lets scripts of any origin in, on every answer.
pub fn let_browsers_in(headers: &mut HeaderMap) {
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "accept, content-type, authorization",
    );
    set(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        "POST, GET, OPTIONS, PUT, DELETE",
    );
    set(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
}

fn hex(id: u64) -> HeaderValue {
    HeaderValue::try_from(format!("{id:x}")).unwrap_or(HeaderValue::from_static("0"))
}
