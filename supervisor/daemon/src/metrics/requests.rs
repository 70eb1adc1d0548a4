//! What clients ask for: gRPC calls by method and code, v2 requests by method.
//!
//! Only methods of the API are counted: a client that makes up names must not make up figures. A call that streams ends
//! with its stream, so its code is that of the trailers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::{self, Next};
use axum::response::Response;
use corten_etcd_api::DESCRIPTORS;
use http_body_util::BodyExt;
use prometheus::{HistogramVec, IntCounter, IntCounterVec};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use tonic::{Code, Status};

use super::{Made, Maker, Metrics, figures};

/// Counted around the services and the keys.
pub(super) struct Requests {
    /// By path.
    methods: BTreeMap<String, Arc<Rpc>>,
    received: IntCounterVec,
    failed: IntCounterVec,
    successful: HistogramVec,
    /// By kind and the client's version.
    clients: IntCounterVec,
    healthy: IntCounter,
    unhealthy: IntCounter,
}

/// One gRPC method.
struct Rpc {
    /// grpc_type, grpc_service, grpc_method.
    labels: [String; 3],
    streams: bool,
    started: IntCounter,
    ok: IntCounter,
    handled: IntCounterVec,
}

impl Requests {
    pub fn new(maker: &Maker<'_>) -> Made<Requests> {
        let labels = ["grpc_type", "grpc_service", "grpc_method"];
        let started = maker.counters(
            "grpc_server_started_total",
            "Total number of RPCs started on the server.",
            &labels,
        )?;
        let handled = maker.counters(
            "grpc_server_handled_total",
            "Total number of RPCs completed on the server, regardless of success or failure.",
            &[labels[0], labels[1], labels[2], "grpc_code"],
        )?;
        let pool = DescriptorPool::decode(DESCRIPTORS).map_err(|e| prometheus::Error::Msg(e.to_string()))?;
        let methods = pool
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .map(|method| {
                let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
                (path, Arc::new(Rpc::new(&method, &started, &handled)))
            });
        Ok(Requests {
            methods: methods.collect(),
            received: maker.counters(
                "etcd_http_received_total",
                "Counter of requests received into the system (successfully parsed and authd).",
                &["method"],
            )?,
            failed: maker.counters(
                "etcd_http_failed_total",
                "Counter of handle failures of requests (non-watches), by method (GET/PUT etc.) and code (400, 500 etc.).",
                &["method", "code"],
            )?,
            successful: maker.histograms(
                "etcd_http_successful_duration_seconds",
                "Bucketed histogram of processing time (s) of successfully handled requests (non-watches), by method (GET/PUT etc.).",
                &["method"],
                0.0005,
                13,
            )?,
            clients: maker.counters(
                "etcd_server_client_requests_total",
                "The total number of client requests per client version.",
                &["type", "client_api_version"],
            )?,
            healthy: maker.counter(
                "etcd_server_health_success",
                "The total number of successful health checks",
            )?,
            unhealthy: maker.counter(
                "etcd_server_health_failures",
                "The total number of failed health checks",
            )?,
        })
    }

    pub fn health(&self, healthy: bool) {
        match healthy {
            true => self.healthy.inc(),
            false => self.unhealthy.inc(),
        }
    }

    fn client(&self, method: &Rpc, headers: &HeaderMap) {
        let kind = if method.labels[0] == "unary" {
            "unary"
        } else {
            "stream"
        };
        self.clients.with_label_values(&[kind, version(headers)]).inc();
    }
}

/// The API's version that a client says it is of; `unknown` for one that says nothing, or what no version is.
fn version(headers: &HeaderMap) -> &str {
    let said = headers
        .get("client-api-version")
        .and_then(|said| said.to_str().ok());
    let is_version = |said: &&str| {
        let minor = said.strip_prefix("3.").unwrap_or_default();
        (1..=2).contains(&minor.len()) && minor.bytes().all(|digit| digit.is_ascii_digit())
    };
    said.filter(is_version).unwrap_or("unknown")
}

impl Rpc {
    fn new(method: &MethodDescriptor, started: &IntCounterVec, handled: &IntCounterVec) -> Rpc {
        let kind = match (method.is_client_streaming(), method.is_server_streaming()) {
            (false, false) => "unary",
            (true, false) => "client_stream",
            (false, true) => "server_stream",
            (true, true) => "bidi_stream",
        };
        let service = method.parent_service().full_name().to_owned();
        let labels = [kind.to_owned(), service, method.name().to_owned()];
        let [kind, service, name] = labels.each_ref().map(String::as_str);
        Rpc {
            streams: method.is_server_streaming(),
            started: started.with_label_values(&[kind, service, name]),
            ok: handled.with_label_values(&[kind, service, name, "OK"]),
            handled: handled.clone(),
            labels,
        }
    }

    fn ended(&self, code: Code) {
        if code == Code::Ok {
            return self.ok.inc();
        }
        let [kind, service, name] = self.labels.each_ref().map(String::as_str);
        let code = format!("{code:?}"); // tonic's names are Go's, but for one
        let code = if code == "Cancelled" { "Canceled" } else { &code };
        self.handled.with_label_values(&[kind, service, name, code]).inc();
    }
}

/// A call under way; one that is given up by its client counts as cancelled.
struct Call {
    method: Arc<Rpc>,
    code: Option<Code>,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.method.ended(self.code.unwrap_or(Code::Cancelled));
    }
}

fn code_of(headers: &HeaderMap) -> Option<Code> {
    Status::from_header_map(headers).map(|status| status.code())
}

pub(super) fn around_grpc(routes: Router, metrics: &Metrics) -> Router {
    routes.layer(middleware::from_fn_with_state(metrics.clone(), grpc))
}

async fn grpc(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let requests = &figures(&metrics).requests;
    let Some(method) = requests.methods.get(request.uri().path()) else {
        return next.run(request).await;
    };
    method.started.inc();
    requests.client(method, request.headers());
    let mut call = Call {
        method: Arc::clone(method),
        code: None,
    };
    let answer = next.run(request).await;
    call.code = code_of(answer.headers());
    if call.code.is_some() || answer.body().is_end_stream() {
        return answer;
    }
    if !call.method.streams {
        // A single answer is whole by now; its trailers say what its being here says.
        call.code = Some(Code::Ok);
        return answer;
    }
    answer.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let call = &mut call; // the whole of it, which ends with the body
            if let Some(trailers) = frame.trailers_ref() {
                call.code = code_of(trailers);
            }
            frame
        }))
    })
}

/// A request for a v2 key under way.
pub struct KeyAsked<'r> {
    requests: &'r Requests,
    method: &'static str,
    begun: Instant,
}

impl KeyAsked<'_> {
    pub(super) fn begin<'r>(requests: &'r Requests, method: &Method) -> KeyAsked<'r> {
        let method = match method.as_str() {
            "GET" => "GET",
            "PUT" => "PUT",
            "POST" => "POST",
            "DELETE" => "DELETE",
            "HEAD" => "HEAD",
            _ => "other",
        };
        requests.received.with_label_values(&[method]).inc();
        KeyAsked {
            requests,
            method,
            begun: Instant::now(),
        }
    }

    /// Counts how it went.
    pub fn answered(self, answer: &Response<Body>) {
        let KeyAsked {
            requests,
            method,
            begun,
        } = self;
        // A watch, whose body has no end yet, is no question of time.
        if answer.status().is_success() && answer.body().size_hint().exact().is_some() {
            let took = begun.elapsed().as_secs_f64();
            requests.successful.with_label_values(&[method]).observe(took);
        } else if !answer.status().is_success() {
            let code = answer.status();
            requests.failed.with_label_values(&[method, code.as_str()]).inc();
        }
    }
}
