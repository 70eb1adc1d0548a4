//! Many watchers of one key: from the PUT to the last receipt.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use http_body_util::BodyExt;
use hyper::Method;
use tokio::sync::mpsc;

use corten_store_bench::client::Client;

/// How many watch.
const WATCHERS: usize = 1000;
/// How many PUTs one figure is the median of.
const PUTS: usize = 20;
/// How long the last watcher may take.
const WITHIN: Duration = Duration::from_secs(10);

/// The median over some PUTs, in ms.
pub async fn measure(port: u16) -> Result<f64> {
    let (heard, mut hearing) = mpsc::unbounded_channel();
    let mut watching = tokio::task::JoinSet::new();
    for _ in 0..WATCHERS {
        let mut client = Client::connect(port).await?;
        // The head of the answer comes once the watch is registered.
        let answer = client
            .send(
                Method::GET,
                "/v2/keys/watched?wait=true&stream=true",
                String::new(),
            )
            .await?;
        let heard = heard.clone();
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
    }
    let mut writer = Client::connect(port).await?;
    let mut times = Vec::with_capacity(PUTS);
    for number in 0..PUTS {
        let begun = Instant::now();
        writer.put("/watched", &number.to_string()).await?;
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
    watching.shutdown().await;
    times.sort_by(f64::total_cmp);
    Ok(times[PUTS / 2])
}
