//! The v3 load: one program over tonic's client and etcd's messages, one connection and one request under way per client.
//!
//! Both servers meet the same client; it runs on one thread, as wrk does.

use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use corten_etcd_api::etcdserverpb::kv_client::KvClient;
use corten_etcd_api::etcdserverpb::watch_client::WatchClient;
use corten_etcd_api::etcdserverpb::{PutRequest, RangeRequest};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rand::RngExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::codegen::Service;

use crate::load::{KEYS, Load, Measured, VALUE};

/// How many connections fill a server.
const FILLERS: usize = 64;

/// One HTTP/2 connection, as tonic's clients want it.
#[derive(Debug, Clone)]
pub struct Connection(SendRequest<Body>);

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// Connects to a port on loopback; with the connection comes what its requests are for.
async fn connect(port: u16) -> Result<(Connection, Uri)> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok((Connection(sender), format!("http://127.0.0.1:{port}").parse()?))
}

/// A client of keys, on a connection of its own.
pub async fn kv(port: u16) -> Result<KvClient<Connection>> {
    let (connection, origin) = connect(port).await?;
    Ok(KvClient::with_origin(connection, origin))
}

/// A client that watches, on a connection of its own.
pub async fn watch(port: u16) -> Result<WatchClient<Connection>> {
    let (connection, origin) = connect(port).await?;
    Ok(WatchClient::with_origin(connection, origin))
}

/// A put of a value of the benchmark's size.
pub fn put(key: String) -> PutRequest {
    PutRequest {
        key: key.into(),
        value: vec![b'x'; VALUE].into(),
        ..PutRequest::default()
    }
}

/// Puts the keys `<prefix>0` up to `count`.
pub async fn fill(port: u16, prefix: &'static str, count: usize) -> Result<()> {
    let mut tasks = JoinSet::new();
    for first in 0..FILLERS {
        tasks.spawn(async move {
            let mut client = kv(port).await?;
            for number in (first..count).step_by(FILLERS) {
                client.put(put(format!("{prefix}{number}"))).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// One request to a random key of those that `fill` made below `/bench/k`.
async fn ask(client: &mut KvClient<Connection>, load: Load, number: usize) -> Result<()> {
    let key = format!("/bench/k{number}");
    match load {
        Load::Put => {
            client.put(put(key)).await?;
        }
        Load::Get | Load::QuorumGet => {
            let request = RangeRequest {
                key: key.into(),
                serializable: load == Load::Get,
                ..RangeRequest::default()
            };
            let found = client.range(request).await?.into_inner();
            ensure!(found.kvs.len() == 1, "a key that was put is not there");
        }
    }
    Ok(())
}

/// Loads the server on `port` with so many clients for a while.
pub async fn run(port: u16, load: Load, clients: usize, lasting: Duration) -> Result<Measured> {
    let mut ready = Vec::with_capacity(clients);
    for _ in 0..clients {
        ready.push(kv(port).await?);
    }
    let begun = Instant::now();
    let until = begun + lasting;
    let mut tasks = JoinSet::new();
    for mut client in ready {
        tasks.spawn(async move {
            let mut took = Vec::new();
            let mut at = Instant::now();
            while at < until {
                let number = rand::rng().random_range(0..KEYS);
                ask(&mut client, load, number).await?;
                let done = Instant::now();
                took.push(done - at);
                at = done;
            }
            anyhow::Ok(took)
        });
    }
    let mut took = Vec::new();
    while let Some(done) = tasks.join_next().await {
        took.extend(done??);
    }
    let seconds = begun.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |part: usize| {
        let found = took.get((took.len() * part / 100).min(took.len().saturating_sub(1)));
        found.map(|time| time.as_secs_f64() * 1e3)
    };
    Ok(Measured {
        per_second: took.len() as f64 / seconds,
        p50_ms: at(50).context("no request was answered")?,
        p99_ms: at(99).context("no request was answered")?,
    })
}
