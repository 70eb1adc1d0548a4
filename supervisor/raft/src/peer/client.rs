//! Asking a peer something over HTTP.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, header};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::wire::{CLUSTER_HEADER, LONGEST_BODY};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(90);

/// A pool of connections to all peers; clones share it.
#[derive(Clone)]
pub struct Client {
    http: HyperClient<HttpConnector, Full<Bytes>>,
    cluster: u64,
}

/// Why a peer did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No connection: the request was not sent.
    #[error("{url}: {cause}")]
    Unreachable {
        /// Where to.
        url: String,
        /// Why not.
        cause: String,
    },
    /// The connection broke or the time ran out: the peer may have acted.
    #[error("{url}: {cause}")]
    Broken {
        /// Where to.
        url: String,
        /// What happened.
        cause: String,
    },
    /// The peer answered, with an error.
    #[error("{url}: HTTP status {status}: {body}")]
    Status {
        /// Where to.
        url: String,
        /// The status.
        status: u16,
        /// The body as text.
        body: String,
    },
}

impl Client {
    /// A client for the peers of `cluster`.
    pub fn new(cluster: u64) -> Client {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        let http = HyperClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Client { http, cluster }
    }

    /// Posts `body` to `path` at the first of a peer's URLs (comma-separated) that can be reached.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn post(
        &self,
        urls: &str,
        path: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, AskError> {
        let mut last = AskError::Unreachable {
            url: urls.to_owned(),
            cause: "it has no URL".to_owned(),
        };
        for base in urls.split(',').filter(|base| !base.is_empty()) {
            let url = format!("{}{path}", base.trim_end_matches('/'));
            match tokio::time::timeout(timeout, self.post_one(&url, body.clone())).await {
                Ok(Err(e @ AskError::Unreachable { .. })) => last = e,
                Ok(answer) => return answer,
                Err(_) => {
                    return Err(AskError::Broken {
                        url,
                        cause: format!("no answer within {timeout:?}"),
                    });
                }
            }
        }
        Err(last)
    }

    async fn post_one(&self, url: &str, body: Bytes) -> Result<Bytes, AskError> {
        let broken = |cause: String| AskError::Broken {
            url: url.to_owned(),
            cause,
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(CLUSTER_HEADER, format!("{:x}", self.cluster))
            .body(Full::new(body))
            .map_err(|e| AskError::Unreachable {
                url: url.to_owned(),
                cause: e.to_string(),
            })?;
        let answer = self
            .http
            .request(request)
            .await
            .map_err(|e| match e.is_connect() {
                true => AskError::Unreachable {
                    url: url.to_owned(),
                    cause: chain(&e),
                },
                false => broken(chain(&e)),
            })?;
        let status = answer.status();
        let limited = Limited::new(answer.into_body(), LONGEST_BODY);
        let body = limited
            .collect()
            .await
            .map_err(|e| broken(e.to_string()))?
            .to_bytes();
        if !status.is_success() {
            let body = String::from_utf8_lossy(&body).trim().to_owned();
            return Err(AskError::Status {
                url: url.to_owned(),
                status: status.as_u16(),
                body,
            });
        }
        Ok(body)
    }
}

/// An error with its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
