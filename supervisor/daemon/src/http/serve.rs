//! The accept loop: one task per connection, HTTP/1.1 and HTTP/2 (without TLS: by prior knowledge) on the same socket,
//! header names as Go writes them (`X-Etcd-Index`), an orderly end.

use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinSet;

use crate::stop::Stop;

/// A client that has not sent its request's head by then is let go; idle connections count, too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(300);
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

/// Serves `app` until `stop`; requests under way then have a second to end.
pub async fn serve<L>(mut listener: L, app: Router, mut stop: Stop)
where
    L: Listener,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            (stream, _) = listener.accept() => {
                connections.spawn(connection(stream, app.clone(), stop.clone()));
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

async fn connection<S>(stream: S, app: Router, mut stop: Stop)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    // The builder below has no deadline for the very first byte, which it needs to tell the versions apart.
    let mut stream = BufReader::with_capacity(PREFACE, stream);
    tokio::select! {
        first = tokio::time::timeout(HEAD_TIMEOUT, stream.fill_buf()) => match first {
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
        .header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(CALLS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    let serving = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
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
