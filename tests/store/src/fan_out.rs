//! Many watchers of one key, each on a connection of its own: from the PUT to the last receipt.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use corten_etcd_api::etcdserverpb::watch_request::RequestUnion;
use corten_etcd_api::etcdserverpb::{WatchCreateRequest, WatchRequest};
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use hyper::Method;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;

use corten_store_bench::client::Client;

use crate::grpc;
use crate::load::Face;

/// How many watch.
const WATCHERS: usize = 1000;
/// How many PUTs one figure is the median of.
const PUTS: usize = 20;
/// How long the last watcher may take.
const WITHIN: Duration = Duration::from_secs(10);

/// The median over some PUTs, in ms.
pub async fn measure(port: u16, face: Face) -> Result<f64> {
    let (heard, mut hearing) = mpsc::unbounded_channel();
    let mut watching = JoinSet::new();
    for _ in 0..WATCHERS {
        match face {
            Face::V2 => watch_v2(port, &mut watching, heard.clone()).await?,
            Face::V3 => watch_v3(port, &mut watching, heard.clone()).await?,
        }
    }
    let median = match face {
        Face::V2 => {
            let mut writer = Client::connect(port).await?;
            let put = async |number: usize| {
                writer.put("/watched", &number.to_string()).await?;
                anyhow::Ok(())
            };
            told(&mut hearing, put).await?
        }
        Face::V3 => {
            let mut writer = grpc::kv(port).await?;
            let put = async |_| {
                writer.put(grpc::put("/watched".to_owned())).await?;
                anyhow::Ok(())
            };
            told(&mut hearing, put).await?
        }
    };
    watching.shutdown().await;
    Ok(median)
}

/// Puts again and again, and waits each time until all have heard.
async fn told(
    hearing: &mut UnboundedReceiver<Instant>,
    mut put: impl AsyncFnMut(usize) -> Result<()>,
) -> Result<f64> {
    let mut times = Vec::with_capacity(PUTS);
    for number in 0..PUTS {
        let begun = Instant::now();
        put(number).await?;
        let mut last = begun;
        for _ in 0..WATCHERS {
            let at = tokio::time::timeout(WITHIN, hearing.recv()).await;
            last = last.max(
                at.context("a watcher heard nothing")?
                    .context("no watcher is left")?,
            );
        }
        times.push((last - begun).as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[PUTS / 2])
}

async fn watch_v2(port: u16, watching: &mut JoinSet<()>, heard: UnboundedSender<Instant>) -> Result<()> {
    let mut client = Client::connect(port).await?;
    // The head of the answer comes once the watch is registered.
    let path = "/v2/keys/watched?wait=true&stream=true";
    let answer = client.send(Method::GET, path, String::new()).await?;
    watching.spawn(async move {
        let _client = client;
        let mut body = answer.into_body();
        // Both servers send each event as one chunk.
        while let Some(Ok(frame)) = body.frame().await {
            if frame.data_ref().is_some_and(|data| !data.is_empty()) {
                let _ = heard.send(Instant::now()); // nobody counts any more at the end
            }
        }
    });
    Ok(())
}

async fn watch_v3(port: u16, watching: &mut JoinSet<()>, heard: UnboundedSender<Instant>) -> Result<()> {
    let mut client = grpc::watch(port).await?;
    let create = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
            key: "/watched".into(),
            ..WatchCreateRequest::default()
        })),
    };
    // The stream of requests stays open: its end would end the watch.
    let requests = stream::once(async { create }).chain(stream::pending());
    let mut answers = client.watch(requests).await?.into_inner();
    let first = answers.message().await?.context("the watch has ended")?;
    ensure!(first.created, "the watch was not created");
    watching.spawn(async move {
        let _client = client;
        while let Ok(Some(answer)) = answers.message().await {
            if !answer.events.is_empty() {
                let _ = heard.send(Instant::now()); // nobody counts any more at the end
            }
        }
    });
    Ok(())
}
