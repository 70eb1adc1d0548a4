//! Asking a peer something over HTTP.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{HeaderMap, Method, Request, StatusCode, header};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::watch;

use super::wire::{CLUSTER_HEADER, LONGEST_BODY, MEMBER_HEADER, TARGET_HEADER};
use crate::identity::Identity;
use crate::tls::{ClientTls, Connector};
use crate::world::{Simulated, World};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(90);

/// A pool of connections to all peers; clones share it.
#[derive(Clone)]
pub struct Client {
    way: Way,
    cluster: u64,
    /// Who asks; `None` for a node that does not know yet.
    member: Option<u64>,
    /// Set once a peer has answered that this member was removed.
    removed: Arc<watch::Sender<bool>>,
}

/// How requests go.
#[derive(Clone)]
enum Way {
    Http(Arc<HyperClient<Connector, Full<Bytes>>>),
    Simulated(Arc<dyn Simulated>),
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
    /// A client of no member yet, for a node that asks about a cluster, or which one it is to join (0).
    pub(crate) fn of_stranger(cluster: u64, tls: Option<ClientTls>, world: &World) -> Client {
        Client::new(cluster, None, tls, world)
    }

    /// A member's client, and whether a peer has said that the member was removed. Peers with `https` URLs need `tls`.
    pub(crate) fn of_member(
        identity: Identity,
        tls: Option<ClientTls>,
        world: &World,
    ) -> (Client, watch::Receiver<bool>) {
        let client = Client::new(identity.cluster, Some(identity.member), tls, world);
        let removed = client.removed.subscribe();
        (client, removed)
    }

    fn new(cluster: u64, member: Option<u64>, tls: Option<ClientTls>, world: &World) -> Client {
        let http = || {
            HyperClient::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .build(Connector::new(CONNECT, tls))
        };
        Client {
            way: match &world.simulated {
                Some(machine) => Way::Simulated(Arc::clone(machine)),
                None => Way::Http(Arc::new(http())),
            },
            cluster,
            member,
            removed: Arc::default(),
        }
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
        self.post_to(None, urls, path, body, timeout).await
    }

    /// The same, for one member only: whoever else lives there now refuses it.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn post_to(
        &self,
        target: Option<u64>,
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
            match tokio::time::timeout(timeout, self.ask(Method::POST, &url, target, body.clone())).await {
                Ok(Err(e @ AskError::Unreachable { .. })) => last = e,
                Ok(answer) => return answer.map(|(_, body)| body),
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

    /// Gets `path` from one URL of a peer: headers and body.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn get(
        &self,
        base: &str,
        path: &str,
        timeout: Duration,
    ) -> Result<(HeaderMap, Bytes), AskError> {
        let url = format!("{}{path}", base.trim_end_matches('/'));
        match tokio::time::timeout(timeout, self.ask(Method::GET, &url, None, Bytes::new())).await {
            Ok(answer) => answer,
            Err(_) => Err(AskError::Broken {
                url,
                cause: format!("no answer within {timeout:?}"),
            }),
        }
    }

    async fn ask(
        &self,
        method: Method,
        url: &str,
        target: Option<u64>,
        body: Bytes,
    ) -> Result<(HeaderMap, Bytes), AskError> {
        let broken = |cause: String| AskError::Broken {
            url: url.to_owned(),
            cause,
        };
        let mut request = Request::builder();
        if let Some(member) = self.member {
            request = request.header(MEMBER_HEADER, format!("{member:x}"));
        }
        if let Some(target) = target {
            request = request.header(TARGET_HEADER, format!("{target:x}"));
        }
        let request = request
            .method(method)
            .uri(url)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(CLUSTER_HEADER, format!("{:x}", self.cluster))
            .body(body)
            .map_err(|e| AskError::Unreachable {
                url: url.to_owned(),
                cause: e.to_string(),
            })?;
        let (head, body) = match &self.way {
            Way::Simulated(machine) => machine.carry(request).await?.into_parts(),
            Way::Http(http) => {
                let answer =
                    http.request(request.map(Full::new))
                        .await
                        .map_err(|e| match e.is_connect() {
                            true => AskError::Unreachable {
                                url: url.to_owned(),
                                cause: chain(&e),
                            },
                            false => broken(chain(&e)),
                        })?;
                let (head, body) = answer.into_parts();
                let limited = Limited::new(body, LONGEST_BODY);
                let body = limited.collect().await.map_err(|e| broken(e.to_string()))?;
                (head, body.to_bytes())
            }
        };
        let status = head.status;
        if !status.is_success() {
            if status == StatusCode::GONE {
                self.removed.send_replace(true);
            }
            let body = String::from_utf8_lossy(&body).trim().to_owned();
            return Err(AskError::Status {
                url: url.to_owned(),
                status: status.as_u16(),
                body,
            });
        }
        Ok((head.headers, body))
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
