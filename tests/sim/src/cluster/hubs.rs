//! The hubs of a node, which hand on what it applies to those who watch: the real ones. While faults happen they do not
//! always get to run at once, so that what is applied, what is handed out and what is read differ, as between threads.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use corten_raft::Node;
use corten_watch::{v2, v3};
use tokio::time::sleep;

use super::FAULTS_END_MS;
use super::machine::Around;

/// Events that may wait for a v2 watcher: few, so that who looks seldom is dropped.
const QUEUE: usize = 5;
/// For how long a hub runs at most before it must wait, in ms.
const RUNS_MS: u64 = 400;
/// For how long it must wait at most.
const WAITS_MS: u64 = 150;

/// Both.
#[derive(Clone)]
pub struct Hubs {
    pub v2: v2::Hub,
    pub v3: v3::Hub,
}

impl Hubs {
    /// Those of a node, which runs in the present runtime.
    ///
    /// # Errors
    /// When the node's state cannot be read.
    pub fn begin(node: &Node, around: &Arc<Around>) -> Result<Hubs, String> {
        let (v2, feed) = v2::Hub::begin(node, QUEUE);
        let running = v2::hub::run(v2.clone(), feed, || {});
        tokio::spawn(tardily(running, Arc::clone(around)));
        let (v3, feed) = v3::Hub::begin(node).map_err(|e| e.to_string())?;
        let running = v3::hub::run(node.clone(), v3.clone(), feed, || {});
        tokio::spawn(tardily(running, Arc::clone(around)));
        Ok(Hubs { v2, v3 })
    }
}

async fn tardily(work: impl Future<Output = ()>, around: Arc<Around>) {
    let mut work = pin!(work);
    while around.at_ms() < FAULTS_END_MS {
        let runs = Duration::from_millis(around.draw(1, RUNS_MS));
        tokio::select! {
            biased;
            () = &mut work => return,
            () = sleep(runs) => {}
        }
        sleep(Duration::from_millis(around.draw(1, WAITS_MS))).await;
    }
    work.await;
}
