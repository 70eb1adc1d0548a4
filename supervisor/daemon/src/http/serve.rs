//! The accept loop: one task per connection, HTTP/1.1 and HTTP/2 (without TLS: by prior knowledge) on the same socket,
//! header names as Go writes them (`X-Etcd-Index`), an orderly end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::authority::Mended;
use super::patient::Patient;
use crate::stop::Stop;

/// As long as what tells HTTP/2 from HTTP/1: its connection preface (RFC 9113 section 3.4).
const PREFACE: usize = 24;
/// Calls under way on one HTTP/2 connection. etcd sets no limit; each costs memory, so this is one nobody means to reach.
const CALLS: u32 = 16_384;
/// An HTTP/2 client from which nothing has come for so long is asked whether it is still there ...
const PING: Duration = Duration::from_secs(60);
/// ... and let go when it does not answer by then.
const PONG: Duration = Duration::from_secs(20);
/// What answers are given once the supervisor stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// An answer on its way.
pub type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// Answers some requests ahead of the routes, whose layers cost as much as a small read or write itself.
pub trait First: Send + Sync {
    /// Whether it answers this one.
    fn takes(&self, request: &Request<Incoming>) -> bool;
    /// The answer.
    fn answer(self: Arc<Self>, request: Request<Body>) -> Answering;
}

/// What a listener keeps its clients to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once; further ones wait in the kernel.
    pub connections: usize,
    /// A client that takes nothing of what is written to it for so long is let go; None waits for ever.
    pub stall: Option<Duration>,
    /// A client that has not sent its request's head by then is let go; idle connections count, too.
    pub head: Duration,
    /// Whether HTTP/2 is not understood.
    pub http1_only: bool,
}

impl Limits {
    /// What all listeners keep to.
    const COMMON: Limits = Limits {
        connections: usize::MAX,
        stall: None,
        head: Duration::from_secs(300),
        http1_only: false,
    };
}

/// What a listener serves: routes, and perhaps somebody ahead of them. Clones are handles to the same.
#[derive(Clone)]
pub struct App {
    routes: Router,
    first: Option<Arc<dyn First>>,
    limits: Limits,
    asks_who: bool,
    /// Who is on this connection, if the routes ask for it.
    from: Option<SocketAddr>,
}

impl From<Router> for App {
    fn from(routes: Router) -> App {
        App {
            routes,
            first: None,
            limits: Limits::COMMON,
            asks_who: false,
            from: None,
        }
    }
}

impl App {
    /// Routes that can answer everything, with `first` ahead of them.
    pub fn new(routes: Router, first: Arc<dyn First>) -> App {
        App {
            first: Some(first),
            ..routes.into()
        }
    }

    /// The same for clients that keep to `limits`.
    pub fn limited(self, limits: Limits) -> App {
        App { limits, ..self }
    }

    /// The same with each request telling the routes where it comes from, as `ConnectInfo<SocketAddr>`: it costs an allocation.
    pub fn asking_who(self) -> App {
        App {
            asks_who: true,
            ..self
        }
    }

    fn on_connection(&self, from: Option<SocketAddr>) -> App {
        App {
            from: from.filter(|_| self.asks_who),
            ..self.clone()
        }
    }

    /// The same routes within a layer, and nobody ahead of that.
    pub fn within(self, layer: impl FnOnce(Router) -> Router) -> App {
        App {
            limits: self.limits,
            asks_who: self.asks_who,
            ..layer(self.routes).into()
        }
    }
}

impl Service<Request<Incoming>> for App {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, mut request: Request<Incoming>) -> Answering {
        if let Some(from) = self.from {
            request.extensions_mut().insert(ConnectInfo(from));
        }
        match &self.first {
            Some(first) if first.takes(&request) => Arc::clone(first).answer(request.map(Body::new)),
            _ => Box::pin(self.routes.clone().oneshot(request.map(Body::new))),
        }
    }
}

/// Where a client comes from.
pub trait ClientAddress {
    /// Its address, unless it is on this machine and has none.
    fn tcp(&self) -> Option<SocketAddr>;
}

impl ClientAddress for SocketAddr {
    fn tcp(&self) -> Option<SocketAddr> {
        Some(*self)
    }
}

impl ClientAddress for tokio::net::unix::SocketAddr {
    fn tcp(&self) -> Option<SocketAddr> {
        None
    }
}

/// Serves `app` until `stop`; requests under way then have a second to end.
pub async fn serve<L>(mut listener: L, app: App, mut stop: Stop)
where
    L: Listener,
    L::Addr: ClientAddress,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            (stream, from) = listener.accept(), if connections.len() < app.limits.connections => {
                connections.spawn(connection(stream, app.on_connection(from.tcp()), stop.clone()));
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            _ = stop.stopped() => break,
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(FAREWELL, all).await.is_err() {
        connections.abort_all();
    }
}

async fn connection<S>(stream: S, app: App, mut stop: Stop)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    // The builder below has no deadline for the very first byte, which it needs to tell the versions apart.
    let mut stream = BufReader::with_capacity(PREFACE, Patient::new(stream, app.limits.stall));
    tokio::select! {
        first = tokio::time::timeout(app.limits.head, stream.fill_buf()) => match first {
            Ok(Ok(bytes)) if !bytes.is_empty() => {}
            _ => return,
        },
        () = stop.stopped() => return,
    }
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .title_case_headers(true)
        .timer(TokioTimer::new())
        .header_read_timeout(app.limits.head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(CALLS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    if app.limits.http1_only {
        builder = builder.http1_only();
    }
    let serving = builder.serve_connection(TokioIo::new(Mended::new(stream)), app);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        _ = stop.stopped() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
