//! What goes back: JSON bodies as Go writes them, and fleet's error shape.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

/// An error answer: `{"error":{"code":N,"message":"..."}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status, repeated as code.
    pub status: StatusCode,
    /// fleet's text; empty where fleet says nothing.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Refusal {
        Refusal {
            status,
            message: message.into(),
        }
    }

    /// 400 with this text.
    pub fn bad_request(message: impl std::fmt::Display) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, message.to_string())
    }

    /// The cluster cannot answer: no leader, no quorum, or too slow. `why` goes to the journal only.
    pub fn unavailable(why: &dyn std::fmt::Display) -> Refusal {
        tracing::warn!(%why, "a fleet API request could not be answered");
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "fleet server unable to communicate with etcd",
        )
    }

    /// Our own fault. `why` goes to the journal only, as with fleet.
    pub fn internal(why: &dyn std::fmt::Display) -> Refusal {
        tracing::error!(%why, "a fleet API request failed");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "")
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorDetail<'a>,
}

#[derive(Serialize)]
struct ErrorDetail<'a> {
    code: u16,
    message: &'a str,
}

/// A body-less answer.
pub fn empty(status: StatusCode) -> Response<Body> {
    finish(status, Body::empty(), false)
}

/// Like [`empty`], with the JSON content type fleet sets even then.
pub fn empty_json(status: StatusCode) -> Response<Body> {
    finish(status, Body::empty(), true)
}

/// A JSON answer: compact, HTML characters escaped as Go does.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_string(value) {
        Ok(text) => finish(status, Body::from(escape_html(&text)), true),
        Err(error) => refusal(&Refusal::internal(&error)),
    }
}

/// An error answer.
pub fn refusal(refusal: &Refusal) -> Response<Body> {
    let body = ErrorBody {
        error: ErrorDetail {
            code: refusal.status.as_u16(),
            message: &refusal.message,
        },
    };
    let text = serde_json::to_string(&body).unwrap_or_default();
    finish(refusal.status, Body::from(escape_html(&text)), true)
}

fn finish(status: StatusCode, body: Body, json: bool) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::SERVER,
        HeaderValue::from_static(concat!("fleetd/1.0.0 corten/", env!("CARGO_PKG_VERSION"))),
    );
    if json {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}

/// In JSON these three stand inside strings only, so the escape is safe anywhere.
fn escape_html(text: &str) -> String {
    text.replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
}
