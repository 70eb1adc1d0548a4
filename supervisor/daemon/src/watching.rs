//! Feeding the watchers of the etcd face from what is applied.

use std::sync::Arc;

use corten_raft::{AppliedBatch, Node};
use corten_store::Event;
use tokio::sync::broadcast::error::RecvError;

use crate::etcd::Face;
use crate::etcd::hub::Hub;
use crate::pulse::{BEAT, Pulse};
use crate::stop::Stop;

/// Runs for the supervisor's life. When it ends, every watch ends.
pub async fn run(node: Node, hub: Hub, face: Face, pulse: Pulse, mut stop: Stop) {
    let mut events = node.events();
    let mut leader = node.leader();
    leader.mark_changed(); // the present one counts, too
    loop {
        pulse.beat();
        tokio::select! {
            batch = events.recv() => match batch {
                Ok(batch) if batch.reset => {
                    tracing::warn!("the state came from another member as a whole: watches end");
                    hub.clear();
                }
                Ok(batch) => publish(&hub, &batch),
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "events came faster than watchers could be told: their watches end");
                    hub.clear();
                }
                Err(RecvError::Closed) => break,
            },
            changed = leader.changed() => if changed.is_ok() { face.leader_changed() },
            () = tokio::time::sleep(BEAT) => {}
            () = stop.stopped() => break,
        }
    }
    hub.clear();
}

fn publish(hub: &Hub, batch: &Arc<AppliedBatch>) {
    for event in &batch.events {
        if let Event::Key(notice) = event {
            hub.publish(notice);
        }
    }
}
