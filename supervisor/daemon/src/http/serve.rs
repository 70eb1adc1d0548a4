//! The accept loop: one task per connection, header names as Go writes them (`X-Etcd-Index`), an orderly end.

use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::task::JoinSet;

use crate::stop::Stop;

/// A client that has not sent its request's head by then is let go; idle connections count, too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(300);
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
    let mut builder = http1::Builder::new();
    builder
        .title_case_headers(true)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
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
