//! What the tasks of a node share.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use corten_store::Command;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::identity::Identity;
use crate::linearize::Waiter;
use crate::log::LogStore;
use crate::node::{Applied, AppliedBatch};
use crate::observe::Sight;
use crate::peer::client::Client;
use crate::peer::network::Heard;
use crate::propose::Proposal;
use crate::seldom::Seldom;
use crate::silence::Silence;
use crate::slow::Slow;
use crate::snapshot::Snapshots;
use crate::state::State;
use crate::types::{LogId, Raft};
use crate::world::World;
use crate::{Config, Leader, ProposeError};

/// Where a proposal's answer comes.
pub(crate) type Answered = oneshot::Receiver<Result<Applied, ProposeError>>;

/// What the node's tasks share.
pub(crate) struct Inner {
    pub config: Config,
    pub world: World,
    pub identity: Identity,
    pub raft: Raft,
    pub log: LogStore,
    pub state: Arc<State>,
    pub snapshots: Arc<Snapshots>,
    pub client: Client,
    pub leader: watch::Sender<Option<Leader>>,
    /// Whether there is one that a majority follows.
    pub has_leader: watch::Sender<bool>,
    pub events: broadcast::Sender<Arc<AppliedBatch>>,
    pub applied: watch::Receiver<u64>,
    /// True once the cluster has decided its version: users' writes come after that.
    pub formed: watch::Sender<bool>,
    pub proposals: mpsc::Sender<Proposal>,
    /// A permit for each byte of proposals that may still wait.
    pub waiting: Arc<Semaphore>,
    pub reads: mpsc::Sender<Waiter>,
    pub tasks: Mutex<JoinSet<()>>,
    pub lock: Mutex<Option<File>>,
    /// One change of the members at a time.
    pub changing: tokio::sync::Mutex<()>,
    /// When each peer last answered this node as a leader.
    pub heard: Heard,
    pub silence: Silence,
    /// Held while a proposal is let in, so that who hands over can see to it that none is on its way.
    pub letting_in: tokio::sync::RwLock<()>,
    /// The last entry of the leader this node was when it ended, if it was one: it may still be the same.
    pub led_up_to: Option<LogId>,
    pub sight: Sight,
    pub slow: Slow,
    /// True once a peer has said that this member was removed.
    pub removed: watch::Receiver<bool>,
    /// Whether it votes and appends: not before it is sure that it has never done so and forgotten it.
    pub takes_part: watch::Sender<bool>,
    /// Why it never will.
    pub forgot: watch::Sender<Option<String>>,
    /// Who asked as a peer of another cluster.
    pub strangers: Seldom,
}

impl Inner {
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.config.request_timeout_ms())
    }

    /// Runs a task until the node stops.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // What has ended keeps its memory until somebody asks for it.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Whether the disk is full, for the log or for the state.
    pub fn no_space(&self) -> bool {
        self.log.no_space() || self.state.no_space()
    }

    /// Proposes without waiting for the cluster to be formed.
    pub async fn propose_now(&self, command: &Command, deadline: Instant) -> Result<Applied, ProposeError> {
        let (proposal, answered) = self.proposal(command, deadline)?;
        self.put_forward(proposal, answered).await
    }

    /// A proposal that counts among those that wait.
    pub fn proposal(
        &self,
        command: &Command,
        deadline: Instant,
    ) -> Result<(Proposal, Answered), ProposeError> {
        let (answer, answered) = oneshot::channel();
        let proposal = Proposal::new(command, deadline, answer, &self.waiting)?;
        Ok((proposal, answered))
    }

    /// Has a proposal written, and waits for its end.
    pub async fn put_forward(&self, proposal: Proposal, answered: Answered) -> Result<Applied, ProposeError> {
        let deadline = proposal.deadline();
        let stopped = || ProposeError::Stopped("it is shutting down".to_owned());
        match self.proposals.try_send(proposal) {
            Ok(()) => {}
            Err(TrySendError::Closed(_)) => return Err(stopped()),
            // Only who must wait for a place pays for a timer.
            Err(TrySendError::Full(proposal)) => {
                let placed = tokio::time::timeout_at(deadline, self.proposals.send(proposal)).await;
                placed
                    .map_err(|_| ProposeError::Timeout)?
                    .map_err(|_| stopped())?;
            }
        }
        answered.await.unwrap_or_else(|_| Err(stopped()))
    }
}
