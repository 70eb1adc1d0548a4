//! Feeding the watchers of the v2 face from what is applied, and telling it of each new leader.

use corten_raft::Node;
use corten_watch::v2::hub::{self, Feed, Hub};

use crate::etcd::Face;
use crate::pulse::Pulse;
use crate::stop::Stop;

/// Runs for the supervisor's life. When it ends, every watch ends.
pub async fn run(hub: Hub, feed: Feed, node: Node, face: Face, pulse: Pulse, mut stop: Stop) {
    tokio::select! {
        () = hub::run(hub.clone(), feed, || pulse.beat()) => {}
        () = note_leaders(&node, &face) => {}
        () = stop.stopped() => {}
    }
    hub.clear();
}

/// The present one counts, too. Ends with the node.
async fn note_leaders(node: &Node, face: &Face) {
    let mut leader = node.leader();
    loop {
        face.leader_changed();
        if leader.changed().await.is_err() {
            return;
        }
    }
}
