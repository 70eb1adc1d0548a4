//! Linearizable reads without a log entry: the leader makes sure by a round of heartbeats that it still leads, and says up
//! to where a reader must have applied. All that wait share one round.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::LogIdOptionExt;
use openraft::error::{CheckIsLeaderError, RaftError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::inner::Inner;
use crate::peer::wire::{self, Refusal};
use crate::{Leader, ProposeError};

/// A reader who waits; it learns when the leader's word was there.
pub(crate) type Waiter = oneshot::Sender<Result<Instant, ProposeError>>;

/// The pause before the leader is asked again.
const PAUSE: Duration = Duration::from_millis(50);
/// How long one answer of the leader may take.
const ROUND: Duration = Duration::from_secs(2);

/// Serves readers for as long as the node runs.
pub(crate) async fn run(inner: Arc<Inner>, mut queue: mpsc::Receiver<Waiter>) {
    while let Some(first) = queue.recv().await {
        let mut waiters = vec![first];
        while let Ok(next) = queue.try_recv() {
            waiters.push(next);
        }
        let deadline = Instant::now() + inner.request_timeout();
        let index = read_index(&inner, deadline).await;
        let (node, confirmed) = (Arc::clone(&inner), Instant::now());
        inner.spawn(async move {
            let result = match index {
                Ok(index) => caught_up(&node, index, deadline).await.map(|()| confirmed),
                Err(e) => Err(e),
            };
            for waiter in waiters {
                let _ = waiter.send(result.clone()); // the reader may have gone
            }
        });
    }
}

async fn caught_up(inner: &Inner, index: u64, deadline: Instant) -> Result<(), ProposeError> {
    let mut applied = inner.applied.clone();
    match tokio::time::timeout_at(deadline, applied.wait_for(|applied| *applied >= index)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) => Err(ProposeError::Stopped(e.to_string())),
        Err(_) => Err(ProposeError::Timeout),
    }
}

/// Asks whoever leads until there is an answer or the time is over.
async fn read_index(inner: &Inner, deadline: Instant) -> Result<u64, ProposeError> {
    let mut leader = inner.leader.subscribe();
    loop {
        let leads = leader.borrow_and_update().clone();
        let answer = match leads {
            Some(Leader { is_me: true, .. }) => inner.read_index_as_leader().await,
            Some(other) => ask(inner, &other).await,
            None => Err(Refusal::NotLeader),
        };
        match answer {
            Ok(index) => return Ok(index),
            Err(Refusal::Failed(e @ ProposeError::Stopped(_))) => return Err(e),
            Err(_) if Instant::now() >= deadline => return Err(ProposeError::NoLeader),
            Err(_) => {
                let _ = tokio::time::timeout(PAUSE, leader.changed()).await;
            }
        }
    }
}

async fn ask(inner: &Inner, leader: &Leader) -> Result<u64, Refusal> {
    let answer = inner
        .client
        .post(&leader.peer_url, wire::path::READ_INDEX, Bytes::new(), ROUND)
        .await;
    let answer = answer.map_err(|_| Refusal::NotLeader)?;
    wire::decode::<Result<u64, Refusal>>(&answer).unwrap_or(Err(Refusal::NotLeader))
}

impl Inner {
    /// Up to where a reader must have applied, if this node still leads.
    pub(crate) async fn read_index_as_leader(&self) -> Result<u64, Refusal> {
        if self.is_silent() {
            return Err(Refusal::NotLeader); // the question would make the others believe in this leader anew
        }
        match self.raft.get_read_log_id().await {
            // A leader that was started again leads on in its term. What it had committed, and acknowledged, before its power
            // went it may not know yet; that it lies in its log, it does.
            Ok((read, _)) => Ok(read.max(self.led_up_to).index().unwrap_or(0)),
            Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(_))) => Err(Refusal::NotLeader),
            Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))) => {
                Err(Refusal::Failed(ProposeError::NoLeader))
            }
            Err(RaftError::Fatal(fatal)) => Err(Refusal::Failed(ProposeError::Stopped(fatal.to_string()))),
        }
    }
}
