//! Freeing what compactions left behind, in small steps through the log, so that every replica frees the same.

use std::time::Duration;

use corten_raft::{Node, ProposeError};
use corten_store::{Command, kv};

use crate::pulse::{BEAT, Pulse};
use crate::stop::Stop;

/// Between two steps, so that clients' writes come through.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs for the supervisor's life; acts while this node leads.
pub async fn run(node: Node, pulse: Pulse, mut stop: Stop) {
    loop {
        pulse.beat();
        let pause = match node.leading_term() {
            Some(term) if is_pending(&node) && step(&node, term).await => PAUSE,
            _ => BEAT,
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.stopped() => return,
        }
    }
}

/// Returns when nothing is left to be freed.
///
/// # Errors
/// See [`ProposeError`].
pub async fn all(node: &Node) -> Result<(), ProposeError> {
    while is_pending(node) {
        node.propose(Command::Kv(kv::Command::Sweep)).await?;
    }
    Ok(())
}

fn is_pending(node: &Node) -> bool {
    node.read(|tx| kv::sweep_pending(tx)).unwrap_or_else(|error| {
        tracing::debug!(%error, "whether there is something to free is not known");
        false
    })
}

async fn step(node: &Node, term: u64) -> bool {
    let command = Command::Kv(kv::Command::Sweep);
    match node.propose_leading(term, &command).await {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(%error, "nothing could be freed yet");
            false
        }
    }
}
