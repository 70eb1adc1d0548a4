//! /metrics: the figures of this member in Prometheus' text form, under etcd's names where the meaning is etcd's, else
//! under `corten_store_`.
//!
//! What happens is counted when it happens ([`live`], [`requests`]); what can be looked at is looked at when somebody asks
//! ([`now`]). The crate `prometheus` writes the same text as etcd's own library, which OpenMetrics' crates do not.

mod done;
mod live;
mod now;
mod requests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use corten_raft::Node;
use corten_store::kv::Work;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::{etcd, metrics};
use live::Live;
use now::Now;
use requests::{KeyAsked, Requests};

/// How the text calls itself.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The figures. Clones are handles to the same.
#[derive(Clone)]
pub struct Metrics(Arc<Figures>);

struct Figures {
    registry: Registry,
    live: Arc<Live>,
    requests: Requests,
    /// One scrape at a time sets these and reads them.
    now: Mutex<Now>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// Whom a scrape asks.
pub struct Source<'s> {
    /// The store.
    pub node: &'s Node,
    /// How many v2 watchers there are.
    pub v2_watchers: usize,
    /// How many v3 watchers there are.
    pub v3_watchers: usize,
    /// Reads of the v2 tree that went well, and that did not.
    pub v2_reads: (u64, u64),
}

impl Metrics {
    /// Figures of one member; `quota` is what its v3 data may take, in bytes, and negative for no limit.
    ///
    /// # Errors
    /// When two of them have one name; only we could cause it.
    pub fn new(quota: i64) -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let maker = Maker(&registry);
        Ok(Metrics(Arc::new(Figures {
            live: Arc::new(Live::new(&maker)?),
            requests: Requests::new(&maker)?,
            now: Mutex::new(Now::new(&maker, quota)?),
            registry,
        })))
    }

    /// Who is told by the node how its work goes.
    pub fn observer(&self) -> Arc<dyn corten_raft::Observer> {
        Arc::clone(&self.0.live) as Arc<dyn corten_raft::Observer>
    }

    /// Another leader was seen.
    pub fn leader_seen(&self) {
        self.0.live.leader_changes.inc();
    }

    /// Counts v3 data that was read.
    pub fn read(&self, work: &Work) {
        self.0.live.done.count(work);
    }

    /// Counts a check of this member's health.
    pub fn health_asked(&self, healthy: bool) {
        self.0.requests.health(healthy);
    }

    /// Counts what passes through the gRPC services.
    pub fn around_grpc(&self, routes: Router) -> Router {
        requests::around_grpc(routes, self)
    }

    /// Counts a request for a v2 key, which begins now.
    pub fn key_asked(&self, method: &Method) -> KeyAsked<'_> {
        KeyAsked::begin(&self.0.requests, method)
    }

    /// The text.
    ///
    /// # Errors
    /// When it cannot be written; only we could cause it.
    pub fn text(&self, source: &Source<'_>) -> Result<String, prometheus::Error> {
        let now = self.0.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.look(source);
        let mut text = String::new();
        TextEncoder::new().encode_utf8(&self.0.registry.gather(), &mut text)?;
        Ok(text)
    }

    /// The answer to a scrape.
    pub fn answer(&self, source: &Source<'_>) -> Response {
        match self.text(source) {
            Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        }
    }
}

/// /metrics and /health alone, for `--listen-metrics-urls`.
pub fn router(face: etcd::Face) -> Router {
    async fn serve(State(face): State<etcd::Face>, request: axum::extract::Request) -> Response {
        let path = request.uri().path();
        if !matches!(path, "/metrics" | "/health") || request.method() != Method::GET {
            return StatusCode::NOT_FOUND.into_response();
        }
        etcd::figures(&face, path).await
    }
    Router::new().fallback(serve).with_state(face)
}

/// Makes figures and registers them.
struct Maker<'r>(&'r Registry);

type Made<T> = Result<T, prometheus::Error>;

impl Maker<'_> {
    fn kept<T: prometheus::core::Collector + Clone + 'static>(&self, made: T) -> Made<T> {
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn counter(&self, name: &str, help: &str) -> Made<IntCounter> {
        self.kept(IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Made<IntCounterVec> {
        self.kept(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Made<IntGauge> {
        self.kept(IntGauge::new(name, help)?)
    }

    fn float(&self, name: &str, help: &str) -> Made<Gauge> {
        self.kept(Gauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Made<IntGaugeVec> {
        self.kept(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// With `count` limits from `first` on, in seconds, each twice the one before; etcd's way.
    fn histogram(&self, name: &str, help: &str, first: f64, count: usize) -> Made<Histogram> {
        let limits = prometheus::exponential_buckets(first, 2.0, count)?;
        self.kept(Histogram::with_opts(
            HistogramOpts::new(name, help).buckets(limits),
        )?)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        first: f64,
        count: usize,
    ) -> Made<HistogramVec> {
        let limits = prometheus::exponential_buckets(first, 2.0, count)?;
        self.kept(HistogramVec::new(
            HistogramOpts::new(name, help).buckets(limits),
            labels,
        )?)
    }
}

/// Figures by something, each looked up under its label once.
struct By<K, T>(Mutex<BTreeMap<K, Arc<T>>>);

impl<K: Ord, T> By<K, T> {
    fn new() -> By<K, T> {
        By(Mutex::new(BTreeMap::new()))
    }

    fn of(&self, key: K, make: impl FnOnce(&K) -> T) -> Arc<T> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(&key) {
            return Arc::clone(found);
        }
        let made = Arc::new(make(&key));
        known.insert(key, Arc::clone(&made));
        made
    }
}

/// The figures behind `metrics`, for the layers.
fn figures(metrics: &metrics::Metrics) -> &Figures {
    &metrics.0
}
