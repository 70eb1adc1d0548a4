//! Freeing what compactions left behind, in small steps through the log, so that every replica frees the same.

use std::time::Duration;

use corten_raft::Node;
use corten_store::{Command, Response, alarm, kv};
use tonic::Status;

use super::{error, unexpected};
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
/// When it could not be written, or an alarm forbids it.
pub async fn all(node: &Node) -> Result<(), Status> {
    let is_pending = || node.read(|tx| kv::sweep_pending(tx));
    while is_pending().map_err(|fault| error::reading(&fault))? {
        let swept = node.propose(Command::Kv(kv::Command::Sweep)).await;
        match swept.map_err(|error| error::proposing(&error))?.response {
            Response::Kv(Ok(_)) => {}
            Response::Kv(Err(refused)) => return Err(error::refused(refused)),
            _ => return Err(unexpected()),
        }
    }
    Ok(())
}

/// Whether there is something to free, and no alarm that the data is corrupt: then it stays as it is.
fn is_pending(node: &Node) -> bool {
    let pending = node.read(|tx| Ok(kv::sweep_pending(tx)? && alarm::permits_reading(tx)?.is_ok()));
    pending.unwrap_or_else(|error| {
        tracing::debug!(%error, "whether there is something to free is not known");
        false
    })
}

async fn step(node: &Node, term: u64) -> bool {
    let command = Command::Kv(kv::Command::Sweep);
    match node.propose_leading(term, &command).await {
        Ok(Response::Kv(Ok(_))) => true,
        other => {
            tracing::debug!(?other, "nothing could be freed yet");
            false
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use corten_raft::Config;
    use corten_store::alarm::{Alarm, Change, Kind};

    use super::*;

    /// More changes than a compaction itself sweeps.
    const CHANGES: usize = 2500;

    fn puts(count: usize) -> Command {
        let put = |at: usize| kv::Put {
            key: format!("k{at}").into(),
            value: "v".into(),
            ..kv::Put::default()
        };
        Command::Kv(kv::Command::Txn(kv::Txn {
            success: (0..count).map(|at| kv::Op::Put(put(at))).collect(),
            ..kv::Txn::default()
        }))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn while_the_data_is_corrupt_nothing_is_freed_and_nobody_tries_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new("n0", folder.path());
        config.initial_cluster = vec![("n0".to_owned(), "http://127.0.0.1:1".to_owned())];
        let node = Node::start(config).await.unwrap();
        for _ in 0..2 {
            node.propose(puts(CHANGES)).await.unwrap();
        }
        let revision = node.read(|tx| kv::revision(tx)).unwrap();
        let compacted = node.propose(Command::Kv(kv::Command::Compact { revision })).await;
        assert!(matches!(compacted.unwrap().response, Response::Kv(Ok(_))));
        assert!(is_pending(&node));

        let alarm = Alarm {
            member: node.member_id(),
            kind: Kind::Corrupt,
        };
        node.propose(Command::Alarm(Change::Activate(alarm)))
            .await
            .unwrap();
        assert!(!is_pending(&node), "the leader does not try");
        let refused = all(&node).await.unwrap_err();
        assert_eq!(refused.message(), "etcdserver: corrupt cluster");
        assert!(
            !step(&node, node.leading_term().unwrap()).await,
            "nor is a refusal a step"
        );

        node.propose(Command::Alarm(Change::Deactivate(alarm)))
            .await
            .unwrap();
        all(&node).await.unwrap();
        assert!(!is_pending(&node));
        node.shutdown().await;
    }
}
