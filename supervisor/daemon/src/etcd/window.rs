//! The length of the v2 history, as the leader was told: it becomes part of the state, so that all members drop the same.

use corten_raft::Node;
use corten_store::{Command, meta};

use crate::pulse::{BEAT, Pulse};
use crate::stop::Stop;

/// Runs for the member's life; acts while this node leads and the state says otherwise than `events`.
pub async fn run(node: Node, events: u64, pulse: Pulse, mut stop: Stop) {
    let mut leader = node.leader();
    loop {
        pulse.beat();
        leader.mark_unchanged();
        if let Some(term) = node.leading_term()
            && node
                .read(|tx| Ok(meta::read(tx)?.history))
                .is_ok_and(|now| now != events)
        {
            match node.propose_leading(term, &Command::History(events)).await {
                Ok(_) => tracing::info!("the v2 history holds {events} events from now on"),
                Err(error) => tracing::debug!(%error, "the v2 history could not be resized yet"),
            }
        }
        tokio::select! {
            _ = leader.changed() => {}
            () = tokio::time::sleep(BEAT) => {}
            () = stop.stopped() => return,
        }
    }
}
