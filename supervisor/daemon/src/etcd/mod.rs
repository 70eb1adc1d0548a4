//! etcd's client API on every node, version 2 and, in [`v3`], version 3: paths to resources, and what they share.
//!
//! What a request means is decided in `corten-store`; this face carries it there and back. It refuses bodies beyond
//! Go's limit. Source: contract `etcd.md` section 1.

mod answer;
mod auth;
mod formed;
mod keys;
mod members;
pub(crate) mod stats;
#[cfg(test)]
mod tests;
pub mod v3;
pub mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Request, Response};
use axum::middleware;
use corten_raft::Node;
use corten_store::keys::stats::ServingStats;
use corten_watch::v2;
use hyper::body::Incoming;

pub use auth::credentials::Passwords;
use prost_reflect::DescriptorError;
use v3::V3;

use crate::http::{Answering, App, First};
use crate::metrics::{Metrics, Source};

/// What the face needs to answer.
#[derive(Clone)]
pub struct Face {
    node: Node,
    hub: v2::Hub,
    watches: corten_watch::v3::Hub,
    metrics: Metrics,
    started_ms: u64,
    counters: Arc<Counters>,
    passwords: Arc<Passwords>,
}

#[derive(Default)]
struct Counters {
    gets_success: AtomicU64,
    gets_fail: AtomicU64,
    leader_since_ms: AtomicU64,
}

impl Face {
    /// A face of `node`; its watchers are fed through `hub`, those of v3 through `watches`.
    pub fn new(
        node: Node,
        hub: v2::Hub,
        watches: corten_watch::v3::Hub,
        metrics: Metrics,
        passwords: Arc<Passwords>,
    ) -> Face {
        let face = Face {
            node,
            hub,
            watches,
            metrics,
            started_ms: now_ms(),
            counters: Arc::new(Counters::default()),
            passwords,
        };
        face.counters.leader_since_ms.store(now_ms(), Ordering::Relaxed);
        face
    }

    /// Remembers since when the present leader leads, for /v2/stats/self, and that there is another one.
    pub fn leader_changed(&self) {
        if self.node.leader().borrow().is_some() {
            self.metrics.leader_seen();
        }
        self.counters.leader_since_ms.store(now_ms(), Ordering::Relaxed);
    }

    fn leader_since_ms(&self) -> u64 {
        self.counters.leader_since_ms.load(Ordering::Relaxed)
    }

    fn now_ms(&self) -> u64 {
        now_ms()
    }

    fn cluster_id(&self) -> u64 {
        self.node.cluster_id()
    }

    /// Where the log stands, for an answer from the state at `etcd_index`.
    fn at(&self, etcd_index: u64) -> answer::At {
        answer::At {
            cluster_id: self.node.cluster_id(),
            etcd_index,
            raft_index: self.node.raft_index(),
            term: self.node.term(),
        }
    }

    fn count_get(&self, success: bool) {
        let counter = if success {
            &self.counters.gets_success
        } else {
            &self.counters.gets_fail
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn serving_stats(&self) -> ServingStats {
        ServingStats {
            gets_success: self.counters.gets_success.load(Ordering::Relaxed),
            gets_fail: self.counters.gets_fail.load(Ordering::Relaxed),
            watchers: self.hub.len() as u64,
        }
    }
}

/// Milliseconds since the Unix epoch: the clock of TTLs.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Both versions; a v2 key ahead of all others.
///
/// # Errors
/// When the descriptions of the v3 messages do not decode.
pub fn app(face: &Face, v3: &V3) -> Result<App, DescriptorError> {
    let face = Arc::new(face.clone());
    let services = face.metrics.around_grpc(v3::router(v3));
    let gateway = v3::gateway::Gateway::new(services.clone(), v3.message_bytes())?;
    let rest = Router::new().fallback(serve).with_state(Arc::clone(&face));
    let routes = rest.merge(services).merge(v3::gateway::router(gateway));
    let routes = routes.layer(middleware::from_fn_with_state(Arc::clone(&face), formed::wait));
    Ok(App::new(routes, face))
}

async fn serve(State(face): State<Arc<Face>>, request: Request<Body>) -> Response<Body> {
    if let Some(response) = v3::unknown_service(&request) {
        return response;
    }
    let mut response = dispatch(&face, request).await;
    answer::let_browsers_in(response.headers_mut());
    response
}

/// What follows `prefix`, if `path` is that or something below it.
fn below<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

fn is_for_a_key<B>(request: &Request<B>) -> bool {
    below(request.uri().path(), keys::PREFIX).is_some() && request.method() != Method::OPTIONS
}

impl First for Face {
    fn takes(&self, request: &Request<Incoming>) -> bool {
        is_for_a_key(request) && self.node.is_formed()
    }

    fn answer(self: Arc<Self>, request: Request<Body>) -> Answering {
        Box::pin(async move {
            let mut response = keys::serve(&self, request).await;
            answer::let_browsers_in(response.headers_mut());
            Ok(response)
        })
    }
}

async fn dispatch(face: &Face, request: Request<Body>) -> Response<Body> {
    if request.method() == Method::OPTIONS {
        return Response::new(Body::empty());
    }
    if is_for_a_key(&request) {
        return keys::serve(face, request).await;
    }
    let path = request.uri().path().to_owned();
    if let Some(id) = below(&path, "/v2/members") {
        return members::serve(face, request, id).await;
    }
    if let Some(item) = below(&path, "/v2/auth") {
        return auth::serve(face, request, item).await;
    }
    plain(face, request.method(), &path).await
}

/// The resources that can only be read.
async fn plain(face: &Face, method: &Method, path: &str) -> Response<Body> {
    let known = [
        "/v2/machines",
        "/v2/stats/self",
        "/v2/stats/leader",
        "/v2/stats/store",
        "/version",
        "/health",
        "/metrics",
    ];
    if !known.contains(&path) {
        return answer::not_found();
    }
    let allowed = if path == "/v2/machines" { "GET,HEAD" } else { "GET" };
    if !allowed.split(',').any(|allowed| method.as_str() == allowed) {
        return answer::method_not_allowed(allowed);
    }
    match path {
        "/v2/machines" => members::machines(face),
        "/v2/stats/self" => stats::own(face),
        "/v2/stats/leader" => stats::leader(face),
        "/v2/stats/store" => stats::store(face),
        "/version" => stats::version(face),
        path => figures(face, path).await,
    }
}

/// /metrics and /health, which may have a listener of their own.
pub(crate) async fn figures(face: &Face, path: &str) -> Response<Body> {
    if path == "/health" {
        return stats::health(face).await;
    }
    face.metrics.answer(&Source {
        node: &face.node,
        v2_watchers: face.hub.len(),
        v3_watchers: face.watches.count(),
        v2_reads: (
            face.counters.gets_success.load(Ordering::Relaxed),
            face.counters.gets_fail.load(Ordering::Relaxed),
        ),
    })
}
