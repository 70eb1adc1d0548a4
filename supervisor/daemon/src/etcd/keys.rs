//! /v2/keys: from HTTP to a request of the store, and its outcome back.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, header};
use corten_raft::ProposeError;
use corten_store::keys::request::Get;
use corten_store::keys::{self, Code, Watch, Write, form};
use corten_store::{Command, Response as Answer, StoreFault};
use corten_watch::v2::{self, Begun, Waiter};
use futures_util::stream;

use super::auth::credentials::{self, INSUFFICIENT};
use super::{Face, answer};

/// The longest form a client may send; Go's limit.
const BODY_LIMIT: usize = 10 << 20;

/// Where the keys are.
pub const PREFIX: &str = "/v2/keys";

/// Serves and counts one request for what is at [`PREFIX`] or below.
pub async fn serve(face: &Face, request: Request<Body>) -> Response<Body> {
    let counting = face.metrics.key_asked(request.method());
    let allowed = ["HEAD", "GET", "PUT", "POST", "DELETE"];
    let response = if allowed.contains(&request.method().as_str()) {
        let answered = understood(face, request).await;
        answered.unwrap_or_else(|error| answer::keys_error(face.cluster_id(), &error))
    } else {
        answer::method_not_allowed("HEAD,GET,PUT,POST,DELETE")
    };
    counting.answered(&response);
    response
}

async fn understood(face: &Face, request: Request<Body>) -> Result<Response<Body>, keys::Error> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let body = form_body(&head.method, &head.headers, body).await?;
    let pairs = form::pairs(head.uri.query().unwrap_or("").as_bytes(), &body)?;
    let path = form::unescape_path(path)?;
    let request = keys::parse(head.method.as_str(), &path, &pairs, face.now_ms())?;
    if !may(face, &head, &path, &pairs)
        .await
        .map_err(|fault| broken(&fault))?
    {
        return Err(keys::Error::new(Code::Unauthorized, INSUFFICIENT, 0));
    }
    match request {
        keys::Request::Get(get) => read(face, get).await,
        keys::Request::Watch(watch) => self::watch(face, watch),
        keys::Request::Write {
            write,
            no_value_on_success,
        } => self::write(face, write, no_value_on_success).await,
    }
}

/// Whether the sender may do this, where users matter. A key is looked up clean, so it is checked clean; the slash at its
/// end stays, as in etcd, to whose patterns `/a/` is not `/a`.
async fn may(face: &Face, head: &Parts, path: &str, pairs: &[(String, String)]) -> Result<bool, StoreFault> {
    if !credentials::are_required(face)? {
        return Ok(true);
    }
    let mut key = keys::path::clean(path);
    if path.is_empty() {
        key.clear();
    } else if path.ends_with('/') && key != "/" {
        key.push('/');
    }
    let write = head.method != Method::GET && head.method != Method::HEAD;
    let recursive = keys::request::is_recursive(pairs);
    credentials::may_use_key(face, &head.headers, &key, write, recursive).await
}

/// The body, where Go's ParseForm would read it.
async fn form_body(method: &Method, headers: &HeaderMap, body: Body) -> Result<Vec<u8>, keys::Error> {
    let sent = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let media_type = sent.split(';').next().unwrap_or("").trim();
    let is_form = media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded");
    if !is_form || !(method == Method::PUT || method == Method::POST) {
        return Ok(Vec::new());
    }
    let bytes = axum::body::to_bytes(body, BODY_LIMIT).await;
    bytes
        .map(Vec::from)
        .map_err(|_| keys::Error::new(Code::InvalidForm, "http: POST too large", 0))
}

async fn read(face: &Face, get: Get) -> Result<Response<Body>, keys::Error> {
    if get.quorum {
        face.node.linearize().await.map_err(|error| not_done(&error))?;
    }
    let found = face
        .node
        .read(|tx| keys::get(tx, &get, face.now_ms()))
        .map_err(|fault| broken(&fault))?;
    face.count_get(found.is_ok());
    let event = found?;
    let at = face.at(event.etcd_index);
    Ok(answer::keys(StatusCode::OK, at, Body::from(event.to_json())))
}

async fn write(face: &Face, write: Write, no_value: bool) -> Result<Response<Body>, keys::Error> {
    let applied = face
        .node
        .propose(Command::Keys(write))
        .await
        .map_err(|error| not_done(&error))?;
    let Answer::Keys(outcome) = applied.response else {
        return Err(keys::Error::new(
            Code::RaftInternal,
            "the store answered another question",
            0,
        ));
    };
    let event = outcome?;
    let status = if event.is_created() {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let at = answer::At {
        cluster_id: face.cluster_id(),
        etcd_index: event.etcd_index,
        raft_index: applied.raft_index,
        term: applied.term,
    };
    let body = if no_value {
        event.to_json_no_value()
    } else {
        event.to_json()
    };
    Ok(answer::keys(status, at, Body::from(body)))
}

fn watch(face: &Face, watch: Watch) -> Result<Response<Body>, keys::Error> {
    let is_stream = watch.stream;
    let begun = v2::begin(&face.node, &face.hub, watch).map_err(|fault| broken(&fault))?;
    let (begun, last) = begun?;
    let at = face.at(last);
    let body = match begun {
        Begun::Event(event) => once(event.to_json()),
        Begun::Waits(waiter) if is_stream => endless(waiter),
        Begun::Waits(waiter) => one(waiter),
    };
    Ok(answer::keys(StatusCode::OK, at, body))
}

type Frame = Result<bytes::Bytes, Infallible>;

/// One event from the past, chunked like the live ones.
fn once(json: Vec<u8>) -> Body {
    Body::from_stream(stream::iter([Frame::Ok(json.into())]))
}

fn one(waiter: Waiter) -> Body {
    Body::from_stream(stream::unfold(Some(waiter), |state| async move {
        let delivery = state?.next().await?;
        Some((Frame::Ok(delivery.json), None))
    }))
}

fn endless(waiter: Waiter) -> Body {
    Body::from_stream(stream::unfold(waiter, |mut waiter| async move {
        let delivery = waiter.next().await?;
        Some((Frame::Ok(delivery.json), waiter))
    }))
}

/// No quorum, no leader, no time: etcd's 300 with its words.
pub(super) fn not_done(error: &ProposeError) -> keys::Error {
    let cause = match error {
        ProposeError::NoLeader | ProposeError::Timeout => "etcdserver: request timed out".to_owned(),
        ProposeError::Lost(_) => {
            "etcdserver: request timed out, possibly due to previous leader failure".to_owned()
        }
        ProposeError::TooLarge { .. } => "etcdserver: request is too large".to_owned(),
        ProposeError::NoSpace
        | ProposeError::Refused(_)
        | ProposeError::Stopped(_)
        | ProposeError::TooMany => format!("etcdserver: {error}"),
    };
    keys::Error::new(Code::RaftInternal, cause, 0)
}

fn broken(fault: &StoreFault) -> keys::Error {
    tracing::error!(%fault, "the store could not be read");
    keys::Error::new(Code::RaftInternal, format!("etcdserver: {fault}"), 0)
}
