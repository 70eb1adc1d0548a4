//! Proposals: all that wait together go into one log entry, which the leader syncs once; a follower sends its batch to
//! the leader.
//!
//! A batch is gathered for as long as the one before it is on its way into the log, where it would only wait, too: the
//! busier the log, the larger the batches.
//!
//! A proposal that was certainly not made is tried again until its deadline. One that may have been made never is: it
//! fails as lost, because doing it twice could be wrong.

use std::sync::Arc;
use std::time::Duration;

use corten_store::{Command, Response};
use openraft::ServerState;
use openraft::error::ClientWriteError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::inner::Inner;
use crate::node::Applied;
use crate::observe::Spent;
use crate::peer::client::AskError;
use crate::peer::wire::{self, Committed, Refusal};
use crate::types::Batch;
use crate::{Leader, ProposeError};

/// The largest command, in bytes: a form of v2, and the largest limit that v3 may be given, are 10 MiB; and room for what
/// is around it. With it the longest batch, and the longest message to a peer, is well below what one takes.
pub(crate) const LONGEST_COMMAND: usize = (10 << 20) + (512 << 10);
/// Room for most commands, in bytes.
const COMMAND: usize = 512;
/// How many commands one entry carries at most.
const BATCH_COMMANDS: usize = 1024;
/// How many bytes of commands are gathered into one entry.
const BATCH_BYTES: usize = 1 << 20;
/// How many entries may be under way at once: one on its way into the log, one being applied and answered.
const UNDER_WAY: usize = 2;
/// How often those who are about to propose are let go first, as long as each time some do.
const TURNS: usize = 4;
/// The pause before a leader that cannot be reached is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// A command on its way into the log.
pub(crate) struct Proposal {
    command: Vec<u8>,
    deadline: Instant,
    answer: oneshot::Sender<Result<Applied, ProposeError>>,
    /// Its part of the bytes that may wait.
    _place: OwnedSemaphorePermit,
}

impl Proposal {
    /// Encodes a command, if there is room for it to wait. Who comes when there is none is refused and does not wait for
    /// room: that would take as much.
    pub fn new(
        command: &Command,
        deadline: Instant,
        answer: oneshot::Sender<Result<Applied, ProposeError>>,
        room: &Arc<Semaphore>,
    ) -> Result<Proposal, ProposeError> {
        let command = encoded(command)?;
        let bytes = u32::try_from(command.len()).unwrap_or(u32::MAX);
        let place = Arc::clone(room).try_acquire_many_owned(bytes);
        Ok(Proposal {
            command,
            deadline,
            answer,
            _place: place.map_err(|_| ProposeError::TooMany)?,
        })
    }

    /// Until when it is of use.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

/// Gathers proposals into batches for as long as the node runs.
pub(crate) async fn run(inner: Arc<Inner>, mut queue: mpsc::Receiver<Proposal>) {
    let places = Arc::new(Semaphore::new(UNDER_WAY));
    let mut committed = inner.log.committed();
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Some(first) = queue.recv().await else { break };
        let group = gather(first, &mut queue).await;
        committed.mark_unchanged();
        let (node, (end, ended)) = (Arc::clone(&inner), oneshot::channel::<()>());
        inner.spawn(async move {
            submit(&node, group).await;
            drop((place, end));
        });
        tokio::select! {
            changed = committed.changed() => if changed.is_err() { break },
            _ = ended => {}
        }
    }
}

/// A batch: what waits, and what comes while it is gathered. A lone proposal costs one turn of the scheduler.
async fn gather(first: Proposal, queue: &mut mpsc::Receiver<Proposal>) -> Vec<Proposal> {
    let mut bytes = first.command.len();
    let mut group = vec![first];
    for _ in 0..TURNS {
        let before = group.len();
        tokio::task::yield_now().await;
        while group.len() < BATCH_COMMANDS
            && bytes < BATCH_BYTES
            && let Ok(next) = queue.try_recv()
        {
            bytes += next.command.len();
            group.push(next);
        }
        if group.len() == before {
            break;
        }
    }
    group
}

/// Gets one batch committed, and tells its proposers.
async fn submit(inner: &Inner, group: Vec<Proposal>) {
    let batch = Batch::join(group.iter().map(|proposal| proposal.command.as_slice()));
    let deadline = group
        .iter()
        .map(|proposal| proposal.deadline)
        .min()
        .unwrap_or_else(Instant::now);
    let begun = Instant::now();
    let result = commit(inner, &batch, deadline).await;
    match result {
        Ok(committed) if committed.replies.0.len() == group.len() => {
            let Committed {
                raft_index,
                term,
                replies,
                spent,
            } = committed;
            for (proposal, reply) in group.into_iter().zip(replies.0) {
                let asked = proposal.deadline - inner.request_timeout();
                let applied = Applied {
                    response: reply.response,
                    etcd_index: reply.etcd_index,
                    raft_index,
                    term,
                    spent: Spent {
                        waiting: begun.saturating_duration_since(asked),
                        ..spent
                    },
                };
                let _ = proposal.answer.send(Ok(applied)); // the proposer may have gone
            }
        }
        result => {
            let error = result
                .err()
                .unwrap_or_else(|| ProposeError::Lost("the answers do not match".to_owned()));
            for proposal in group {
                let _ = proposal.answer.send(Err(error.clone()));
            }
        }
    }
}

/// Tries until the batch is committed and in this node's state, surely failed, or possibly lost.
async fn commit(inner: &Inner, batch: &Batch, deadline: Instant) -> Result<Committed, ProposeError> {
    let mut leader = inner.leader.subscribe();
    loop {
        let leads = leader.borrow_and_update().clone();
        match leads {
            Some(Leader { is_me: true, .. }) => {
                match within(deadline, inner.propose_as_leader(batch.clone(), None)).await? {
                    Err(Refusal::NotLeader) => {}
                    Err(Refusal::Failed(e)) => return Err(e),
                    Ok(committed) => return Ok(committed),
                }
            }
            Some(other) => match forward(inner, &other, batch, deadline).await? {
                None => {}
                Some(committed) => {
                    let mut applied = inner.applied.clone();
                    let caught_up = applied.wait_for(|index| *index >= committed.raft_index);
                    within(deadline, caught_up)
                        .await?
                        .map_err(|e| ProposeError::Stopped(e.to_string()))?;
                    return Ok(committed);
                }
            },
            None => {}
        }
        if Instant::now() >= deadline {
            return Err(ProposeError::NoLeader);
        }
        // A new leader, or the same one once more.
        let _ = tokio::time::timeout(PAUSE, leader.changed()).await;
    }
}

async fn within<T>(deadline: Instant, act: impl Future<Output = T>) -> Result<T, ProposeError> {
    tokio::time::timeout_at(deadline, act)
        .await
        .map_err(|_| ProposeError::Timeout)
}

/// Sends a batch to the leader; `None` if it was certainly not proposed.
async fn forward(
    inner: &Inner,
    leader: &Leader,
    batch: &Batch,
    deadline: Instant,
) -> Result<Option<Committed>, ProposeError> {
    let left = deadline.saturating_duration_since(Instant::now());
    let asked = inner
        .client
        .post(&leader.peer_url, wire::path::PROPOSE, batch.0.clone(), left)
        .await;
    let answer = match asked {
        Ok(answer) => answer,
        Err(AskError::Status {
            status: 400, body, ..
        }) => return Err(ProposeError::Refused(body)),
        Err(AskError::Unreachable { .. } | AskError::Status { .. }) => return Ok(None),
        Err(_) if Instant::now() >= deadline => return Err(ProposeError::Timeout),
        Err(e @ AskError::Broken { .. }) => return Err(ProposeError::Lost(e.to_string())),
    };
    match wire::decode::<Result<Committed, Refusal>>(&answer).map_err(ProposeError::Lost)? {
        Ok(committed) => Ok(Some(committed)),
        Err(Refusal::NotLeader) => Ok(None),
        // That is the leader, not this node.
        Err(Refusal::Failed(ProposeError::Stopped(cause))) => Err(ProposeError::Lost(cause)),
        Err(Refusal::Failed(e)) => Err(e),
    }
}

/// A command's bytes, unless it is too large.
fn encoded(command: &Command) -> Result<Vec<u8>, ProposeError> {
    let command = postcard::to_extend(command, Vec::with_capacity(COMMAND))
        .map_err(|e| ProposeError::Stopped(e.to_string()))?;
    if command.len() > LONGEST_COMMAND {
        return Err(ProposeError::TooLarge {
            size: command.len() as u64,
            limit: LONGEST_COMMAND as u64,
        });
    }
    Ok(command)
}

impl Inner {
    /// Proposes one command if this node leads, in `term` where one is given, and waits until it is committed; gives the
    /// state machine's answer.
    pub(crate) async fn propose_alone(
        &self,
        command: &Command,
        term: Option<u64>,
        deadline: Instant,
    ) -> Result<Response, ProposeError> {
        let command = encoded(command)?;
        let batch = Batch::join(std::iter::once(command.as_slice()));
        match within(deadline, self.propose_as_leader(batch, term)).await? {
            Ok(committed) => {
                let reply = committed.replies.0.into_iter().next();
                let reply = reply.ok_or_else(|| ProposeError::Lost("there is no answer".to_owned()))?;
                Ok(reply.response)
            }
            Err(Refusal::NotLeader) => Err(ProposeError::NoLeader),
            Err(Refusal::Failed(e)) => Err(e),
        }
    }

    /// Proposes a batch if this node leads, in `term` where one is given: what was decided in one term need not be right in
    /// the next.
    pub(crate) async fn propose_as_leader(
        &self,
        batch: Batch,
        term: Option<u64>,
    ) -> Result<Committed, Refusal> {
        let stopped = |cause: String| Refusal::Failed(ProposeError::Stopped(cause));
        let letting_in = self.letting_in.read().await;
        {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow();
            if let Err(fatal) = &metrics.running_state {
                return Err(stopped(fatal.to_string()));
            }
            let leads = metrics.state == ServerState::Leader
                && term.is_none_or(|term| term == metrics.current_term)
                && !self.is_silent();
            if !leads {
                return Err(Refusal::NotLeader);
            }
        }
        if self.no_space() {
            return Err(Refusal::Failed(ProposeError::NoSpace));
        }
        let begun = std::time::Instant::now();
        let answered = self
            .raft
            .client_write_ff(batch)
            .await
            .map_err(|e| stopped(e.to_string()))?;
        drop(letting_in);
        match answered.await {
            Ok(Ok(written)) => Ok(Committed {
                raft_index: written.log_id.index,
                term: written.log_id.leader_id.term,
                replies: written.data,
                spent: self.sight.trail.spent(written.log_id.index, begun),
            }),
            // The entry may have been appended before leadership was lost, and another may yet commit it.
            Ok(Err(ClientWriteError::ForwardToLeader(_))) => Err(Refusal::Failed(ProposeError::Lost(
                "the leader changed meanwhile".to_owned(),
            ))),
            Ok(Err(e)) => Err(Refusal::Failed(ProposeError::Lost(e.to_string()))),
            Err(_) => Err(stopped("raft has ended".to_owned())),
        }
    }
}
