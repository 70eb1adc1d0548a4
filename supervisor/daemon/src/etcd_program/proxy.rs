//! etcd's v2 proxy: a process on a machine that is no member passes clients' requests on to the members.
//!
//! It asks the members' peer URLs (`GET /members`) who they are and where clients reach them, again and again, and sends
//! each request to the first that answers; one that fails is left alone for a while. Answers stream through, so watches
//! work. It speaks v2 only, as etcd's. Refuses to keep anything: a request that no member took ends with 503.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri, header, uri};
use bytes::Bytes;
use corten_raft::seldom::{Seldom, left_out};
use corten_raft::tls::Connector;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::browsers;
use crate::bootstrap;
use crate::chain::chain;
use crate::http::Socket;
use crate::listeners::Listeners;
use crate::settings::{Alone, Proxy, ProxyMode};
use crate::stop::{self, Stop, Stopper};
use crate::{member, tls};

/// A request's body is kept until a member has taken it; Go's limit for forms.
const LONGEST_BODY: usize = 10 << 20;
/// A list of members is short.
const LONGEST_LIST: usize = 1 << 20;
/// How long a member may take to say who the members are.
const LIST: Duration = Duration::from_secs(5);
/// How soon the members are asked again while none is known.
const SOON: Duration = Duration::from_secs(1);
/// Headers that concern one connection only (RFC 9110, 7.6.1).
const HOP_BY_HOP: [header::HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

type Http = Client<Connector, Full<Bytes>>;

/// A proxy, serving.
pub(crate) struct Running {
    stopper: Stopper,
    tasks: JoinSet<()>,
}

struct Passing {
    http: Http,
    readonly: bool,
    failure_wait: Duration,
    endpoints: Mutex<Endpoints>,
}

/// Where clients reach the members, and until when each is left alone.
#[derive(Default)]
struct Endpoints {
    urls: Vec<String>,
    failed: BTreeMap<String, Instant>,
}

impl Running {
    /// Opens the clients' sockets and serves.
    ///
    /// # Errors
    /// When members or sockets cannot be had.
    pub(crate) async fn start(settings: &Alone) -> anyhow::Result<Running> {
        let mut etcd = settings.etcd.clone();
        etcd.listen_peer.clear();
        let listeners = Listeners::of_store(&etcd).await?;
        Running::serve(settings, listeners.clients).await
    }

    /// Serves on these sockets.
    ///
    /// # Errors
    /// When the members' first list cannot be had, or a certificate.
    pub(crate) async fn serve(settings: &Alone, sockets: Vec<Socket>) -> anyhow::Result<Running> {
        let etcd = &settings.etcd;
        let peers: Vec<String> = bootstrap::look(etcd)
            .await?
            .into_iter()
            .map(|(_, url)| url)
            .collect();
        tracing::info!("proxy: this proxy supports v2 API only!");
        tracing::info!("proxy: using peer urls [{}]", peers.join(" "));
        let proxy = &settings.proxy;
        let passing = Arc::new(Passing {
            http: client(proxy, tls::client(&etcd.client_tls)?),
            readonly: proxy.mode == ProxyMode::Readonly,
            failure_wait: proxy.failure_wait,
            endpoints: Mutex::default(),
        });
        let (stopper, stop) = stop::channel();
        let mut tasks = JoinSet::new();
        let asking = client(proxy, tls::client(&etcd.peer_tls)?);
        tasks.spawn(refresh(
            Arc::clone(&passing),
            asking,
            peers,
            proxy.refresh_interval,
            stop.clone(),
        ));
        let (secure, plain): (Vec<Socket>, Vec<Socket>) = sockets.into_iter().partition(Socket::is_tls);
        for (sockets, tls) in [(secure, true), (plain, false)] {
            let routes = Router::new().fallback(pass).with_state(Arc::clone(&passing));
            for socket in &sockets {
                let address = socket
                    .address()
                    .map(|address| address.to_string())
                    .unwrap_or_default();
                tracing::info!("proxy: listening for client requests on {address}");
            }
            member::serve_on(
                &mut tasks,
                sockets,
                &browsers::guarded(routes.into(), settings, tls),
                &stop,
            );
        }
        Ok(Running { stopper, tasks })
    }

    /// Stops serving.
    pub(crate) async fn stop(mut self) {
        self.stopper.stop();
        while self.tasks.join_next().await.is_some() {}
    }
}

fn client(proxy: &Proxy, tls: Option<corten_raft::tls::ClientTls>) -> Http {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .build(Connector::new(proxy.dial_timeout, tls))
}

#[derive(Deserialize)]
struct Member {
    #[serde(default, rename = "peerURLs")]
    peer_urls: Vec<String>,
    #[serde(default, rename = "clientURLs")]
    client_urls: Vec<String>,
}

/// Keeps the list of endpoints true.
async fn refresh(
    passing: Arc<Passing>,
    http: Http,
    mut peers: Vec<String>,
    interval: Duration,
    mut stop: Stop,
) {
    let unanswered = Seldom::default();
    loop {
        let mut pause = SOON.min(interval);
        if let Some(members) = ask_any(&http, &peers, &unanswered).await {
            let urls: Vec<String> = members
                .iter()
                .flat_map(|member| member.client_urls.clone())
                .collect();
            let mut endpoints = passing.lock();
            if endpoints.urls != urls {
                tracing::info!("proxy: endpoints are {}", urls.join(", "));
                endpoints.urls = urls;
            }
            if !endpoints.urls.is_empty() {
                pause = interval;
            }
            // Members come and go; who was listed first may be gone one day.
            let known: Vec<String> = members.into_iter().flat_map(|member| member.peer_urls).collect();
            if !known.is_empty() {
                peers = known;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause.max(Duration::from_millis(10))) => {}
            () = stop.stopped() => return,
        }
    }
}

async fn ask_any(http: &Http, peers: &[String], unanswered: &Seldom) -> Option<Vec<Member>> {
    let mut reasons = Vec::new();
    for peer in peers {
        match tokio::time::timeout(LIST, ask(http, peer)).await {
            Ok(Ok(members)) => return Some(members),
            Ok(Err(why)) => reasons.push(format!("{peer}: {}", chain(&why))),
            Err(_) => reasons.push(format!("{peer}: no answer within {LIST:?}")),
        }
    }
    let reasons = reasons.join("; ");
    if let Some(times) = unanswered.speaks_of(&reasons, Instant::now()) {
        let before = left_out(times);
        tracing::warn!(
            "proxy: could not retrieve cluster information from the given URLs: {reasons}{before}"
        );
    }
    None
}

async fn ask(http: &Http, peer: &str) -> anyhow::Result<Vec<Member>> {
    let url: Uri = format!("{}/members", peer.trim_end_matches('/')).parse()?;
    let answer = http.get(url).await?;
    if !answer.status().is_success() {
        anyhow::bail!("it answers with {}", answer.status());
    }
    let body = Limited::new(answer.into_body(), LONGEST_LIST).collect().await;
    let body = body.map_err(|why| anyhow::anyhow!(why))?;
    Ok(serde_json::from_slice(&body.to_bytes())?)
}

impl Passing {
    fn lock(&self) -> std::sync::MutexGuard<'_, Endpoints> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The endpoints to try, in order.
    fn available(&self) -> Vec<String> {
        let now = Instant::now();
        let mut endpoints = self.lock();
        endpoints.failed.retain(|_, until| *until > now);
        let failed = endpoints.failed.clone();
        endpoints
            .urls
            .iter()
            .filter(|url| !failed.contains_key(*url))
            .cloned()
            .collect()
    }

    fn failed(&self, url: &str, why: &dyn std::fmt::Display) {
        tracing::warn!("proxy: marked endpoint {url} unavailable: {why}");
        self.lock()
            .failed
            .insert(url.to_owned(), Instant::now() + self.failure_wait);
    }
}

async fn pass(State(passing): State<Arc<Passing>>, request: Request) -> Response<Body> {
    if request.uri().path() == "/v2/config/local/proxy" {
        let body = serde_json::json!({ "endpoints": passing.available() }).to_string();
        return answer(StatusCode::OK, &body, "application/json");
    }
    if passing.readonly && request.method() != Method::GET {
        return answer(StatusCode::NOT_IMPLEMENTED, "", "text/plain");
    }
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, LONGEST_BODY).await else {
        return refused(
            StatusCode::BAD_REQUEST,
            "httpproxy: the request's body is too long or broken off",
        );
    };
    let endpoints = passing.available();
    if endpoints.is_empty() {
        return refused(
            StatusCode::SERVICE_UNAVAILABLE,
            "httpproxy: zero endpoints currently available",
        );
    }
    for endpoint in &endpoints {
        let mut headers = head.headers.clone();
        one_hop(&mut headers);
        // The client sets its own host and length.
        headers.remove(header::HOST);
        headers.remove(header::CONTENT_LENGTH);
        let Some(uri) = target(endpoint, &head.uri) else {
            continue;
        };
        let mut asked = hyper::Request::new(Full::new(body.clone()));
        *asked.method_mut() = head.method.clone();
        *asked.uri_mut() = uri;
        *asked.headers_mut() = headers;
        match passing.http.request(asked).await {
            Ok(answer) => {
                let mut answer = answer.map(Body::new);
                one_hop(answer.headers_mut());
                return answer;
            }
            Err(error) => passing.failed(endpoint, &error),
        }
    }
    let text = format!(
        "httpproxy: unable to get response from {} endpoint(s)",
        endpoints.len()
    );
    refused(StatusCode::BAD_GATEWAY, &text)
}

/// The request's path and query at another place.
fn target(endpoint: &str, asked: &Uri) -> Option<Uri> {
    let mut parts = endpoint.parse::<Uri>().ok()?.into_parts();
    let path = asked.path_and_query().map_or("/", uri::PathAndQuery::as_str);
    parts.path_and_query = Some(path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

fn one_hop(headers: &mut HeaderMap) {
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove("keep-alive");
}

fn refused(status: StatusCode, text: &str) -> Response<Body> {
    tracing::warn!("proxy: {text}");
    answer(status, &format!("{{\"message\":\"{text}\"}}"), "application/json")
}

fn answer(status: StatusCode, body: &str, content_type: &'static str) -> Response<Body> {
    let mut answer = Response::new(Body::from(body.to_owned()));
    *answer.status_mut() = status;
    let value = header::HeaderValue::from_static(content_type);
    answer.headers_mut().insert(header::CONTENT_TYPE, value);
    answer
}
