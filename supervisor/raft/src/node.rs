//! The node as its users see it.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use corten_store::tables::Table;
use corten_store::{Command, Event, Response, StoreFault, member, meta};
use openraft::ServerState;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::identity::Identity;
use crate::linearize::Waiter;
use crate::log::LogStore;
use crate::observe::{Observation, Sight, Spent};
use crate::peer::client::Client;
use crate::peer::network::Heard;
use crate::peer::server;
use crate::propose::Proposal;
use crate::silence::Silence;
use crate::slow::Slow;
use crate::snapshot::Snapshots;
use crate::state::{ReadTx, State};
use crate::types::{LogId, Raft};
use crate::world::{Simulated, World};
use crate::{Config, Leader, Member, PeerError, ProposeError, StartError, StateSize, Status};

/// How long a message to the leader may take.
const POST: Duration = Duration::from_secs(5);

/// A command's fate, once it is committed and in this node's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The state machine's answer.
    pub response: Response,
    /// The v2 store's index after the command.
    pub etcd_index: u64,
    /// The log entry that carried it, perhaps with others.
    pub raft_index: u64,
    /// The term it was committed in.
    pub term: u64,
    /// Where its time went.
    pub spent: Spent,
}

/// What a batch of log entries changed, in log order, with the v2 index after it. Sent after its commit: a reader woken
/// by it sees the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedBatch {
    /// What changed.
    pub events: Vec<Event>,
    /// The v2 store's index after the batch.
    pub etcd_index: u64,
    /// The last log entry of the batch.
    pub raft_index: u64,
    /// The whole state was replaced by a snapshot: watchers missed what lies between and must read anew.
    pub reset: bool,
}

/// A running node. Clones are handles to the same node; [`Node::shutdown`] ends it.
#[derive(Clone)]
pub struct Node {
    pub(crate) inner: Arc<Inner>,
}

/// Where a proposal's answer comes.
type Answered = oneshot::Receiver<Result<Applied, ProposeError>>;

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

    pub fn leads(&self) -> bool {
        self.leader.borrow().as_ref().is_some_and(|leader| leader.is_me)
    }

    /// Whether this node leads in `term` as Raft itself has it now.
    pub fn leads_in(&self, term: u64) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        metrics.state == ServerState::Leader && metrics.current_term == term
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
    fn proposal(&self, command: &Command, deadline: Instant) -> Result<(Proposal, Answered), ProposeError> {
        let (answer, answered) = oneshot::channel();
        let proposal = Proposal::new(command, deadline, answer, &self.waiting)?;
        Ok((proposal, answered))
    }

    async fn put_forward(&self, proposal: Proposal, answered: Answered) -> Result<Applied, ProposeError> {
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

/// A proposal somebody waits for; dropped without an end, nobody does any more.
struct UnderWay<'s> {
    sight: &'s Sight,
    begun: Instant,
    done: bool,
}

impl<'s> UnderWay<'s> {
    fn begin(sight: &'s Sight, begun: Instant) -> UnderWay<'s> {
        sight.see(Observation::ProposalBegan);
        UnderWay {
            sight,
            begun,
            done: false,
        }
    }

    fn end(mut self, done: bool) -> Duration {
        self.done = done;
        self.begun.elapsed()
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let (took, done) = (self.begun.elapsed(), self.done);
        self.sight.see(Observation::ProposalEnded { took, done });
    }
}

impl Node {
    /// Starts a node: forms the initial cluster with an empty data directory, else carries on with what it holds.
    ///
    /// Returns as soon as the node runs; a leader may not be there yet. The caller serves [`Node::peer_router`] on the
    /// peer URLs.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: Config) -> Result<Node, StartError> {
        crate::start::start(config, World::real()).await
    }

    /// Starts a node on a simulated machine, within the current runtime.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start_simulated(config: Config, machine: Arc<dyn Simulated>) -> Result<Node, StartError> {
        crate::start::start(config, World::simulated(machine)).await
    }

    /// The peers' routes, to be served on the peer listener.
    pub fn peer_router(&self) -> axum::Router {
        server::router(Arc::clone(&self.inner))
    }

    /// Proposes a command, on any node (a follower sends it to the leader), and waits until it is committed and in this
    /// node's state.
    ///
    /// # Errors
    /// See [`ProposeError`], which says whether the command may still take effect.
    pub async fn propose(&self, command: Command) -> Result<Applied, ProposeError> {
        let begun = Instant::now();
        let under_way = UnderWay::begin(&self.inner.sight, begun);
        let result = self
            .propose_once_formed(&command, begun + self.inner.request_timeout())
            .await;
        let took = under_way.end(result.is_ok());
        let went = result.as_ref().map(|applied| applied.spent);
        self.inner.slow.proposal(&command, took, went);
        result
    }

    async fn propose_once_formed(
        &self,
        command: &Command,
        deadline: Instant,
    ) -> Result<Applied, ProposeError> {
        let (proposal, answered) = self.inner.proposal(command, deadline)?;
        if !*self.inner.formed.borrow() {
            let mut formed = self.inner.formed.subscribe();
            let waited = tokio::time::timeout_at(deadline, formed.wait_for(|formed| *formed)).await;
            waited
                .map_err(|_| ProposeError::NoLeader)?
                .map_err(|e| ProposeError::Stopped(e.to_string()))?;
        }
        self.inner.put_forward(proposal, answered).await
    }

    /// Runs `f` on a consistent view of the local state, which may lag behind the leader's.
    ///
    /// # Errors
    /// When the state's storage fails, or what `f` returns.
    pub fn read<T>(&self, f: impl FnOnce(&ReadTx<'_>) -> Result<T, StoreFault>) -> Result<T, StoreFault> {
        self.inner.state.read(f)
    }

    /// Waits until the local state holds everything that was acknowledged before this call.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn linearize(&self) -> Result<(), ProposeError> {
        let begun = Instant::now();
        let (answer, answered) = oneshot::channel();
        let stopped = || ProposeError::Stopped("it is shutting down".to_owned());
        self.inner.reads.send(answer).await.map_err(|_| stopped())?;
        let result = answered.await.unwrap_or_else(|_| Err(stopped()));
        let took = begun.elapsed();
        self.inner.sight.see(Observation::ReadConfirmed {
            took,
            done: result.is_ok(),
        });
        let confirmed = result.as_ref().map(|at| at.saturating_duration_since(begun));
        self.inner.slow.read(took, confirmed);
        result.map(|_| ())
    }

    /// Whether this node leads now, made sure of by a round of heartbeats to a majority.
    pub async fn proves_to_lead(&self) -> bool {
        self.inner.read_index_as_leader().await.is_ok()
    }

    /// The term this node leads in, if it does.
    pub fn leads(&self) -> Option<u64> {
        let leader = self.inner.leader.borrow();
        leader
            .as_ref()
            .filter(|leader| leader.is_me)
            .map(|leader| leader.term)
    }

    /// While this node leads: how long ago a majority surely took it for the leader. Another one cannot have been elected
    /// before that.
    pub fn led_ago(&self) -> Option<Duration> {
        if !self.inner.leads() {
            return None;
        }
        let now = Instant::now();
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow();
        let followed = |voter: &u64| match *voter == self.inner.identity.member {
            true => Some(now),
            false => self.inner.heard.followed(*voter),
        };
        let groups = metrics.membership_config.membership().get_joint_config();
        let since = |voters: &BTreeSet<u64>| {
            let mut times: Vec<Option<Instant>> = voters.iter().map(followed).collect();
            times.sort_unstable();
            times.into_iter().rev().nth(voters.len() / 2).flatten()
        };
        let led: Option<Vec<Instant>> = groups.iter().map(since).collect();
        Some(now - led?.into_iter().min()?)
    }

    /// Proposes a command if this node leads in `term`: what a leader has decided must not reach the log by way of the next
    /// one, nor in a later term of its own. Gives the state machine's answer, which may be a refusal.
    ///
    /// # Errors
    /// [`ProposeError::NoLeader`] when it does not; else as [`Node::propose`].
    pub async fn propose_leading(&self, term: u64, command: &Command) -> Result<Response, ProposeError> {
        let deadline = Instant::now() + self.inner.request_timeout();
        self.inner.propose_alone(command, Some(term), deadline).await
    }

    /// This node's view of itself.
    pub fn status(&self) -> Status {
        let metrics = self.inner.raft.metrics().borrow().clone();
        let applied_index = *self.inner.applied.borrow();
        let committed = *self.inner.log.committed().borrow();
        let unheard = metrics.millis_since_quorum_ack.map(Duration::from_millis);
        Status {
            member_id: self.inner.identity.member,
            cluster_id: self.inner.identity.cluster,
            leader_id: self.inner.leader.borrow().as_ref().map_or(0, |leader| leader.id),
            term: metrics.current_term,
            raft_index: metrics.last_log_index.unwrap_or(0),
            applied_index,
            committed_index: committed.map_or(0, |id| id.index).max(applied_index),
            etcd_index: self.read(|tx| meta::etcd_index(tx)).unwrap_or(0),
            without_quorum: unheard.is_some_and(|time| time > self.inner.request_timeout()),
            no_space: self.inner.no_space(),
        }
    }

    /// This member's id.
    pub fn member_id(&self) -> u64 {
        self.inner.identity.member
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> u64 {
        self.inner.identity.cluster
    }

    /// The Raft term, as far as this node has heard. Cheaper than a whole [`Node::status`].
    pub fn term(&self) -> u64 {
        self.inner.raft.metrics().borrow().current_term
    }

    /// The last log entry this node has. Cheaper than a whole [`Node::status`].
    pub fn raft_index(&self) -> u64 {
        self.inner.raft.metrics().borrow().last_log_index.unwrap_or(0)
    }

    /// How much room the state takes.
    ///
    /// # Errors
    /// When the state's storage fails.
    pub fn state_size(&self) -> Result<StateSize, StoreFault> {
        self.inner.state.size()
    }

    /// How many rows a table has.
    ///
    /// # Errors
    /// When the state's storage fails.
    pub fn rows(&self, table: Table) -> Result<u64, StoreFault> {
        self.inner.state.rows(table)
    }

    /// The local state as a snapshot file without a name, open at its begin. Blocks while it is written.
    ///
    /// # Errors
    /// When it cannot be written, with the reason.
    pub fn export(&self) -> Result<File, String> {
        let inner = &self.inner;
        inner.snapshots.export(&inner.state).map_err(|e| e.to_string())
    }

    /// Who leads, and when that changes.
    pub fn leader(&self) -> watch::Receiver<Option<Leader>> {
        self.inner.leader.subscribe()
    }

    /// Whether the cluster is formed: it has had a leader and decided its version, and this node knows. Never false again.
    pub fn formed(&self) -> watch::Receiver<bool> {
        self.inner.formed.subscribe()
    }

    /// What is applied from now on. A receiver that lags is told so and must read the state again.
    pub fn events(&self) -> broadcast::Receiver<Arc<AppliedBatch>> {
        self.inner.events.subscribe()
    }

    /// The cluster's members, by id.
    pub fn members(&self) -> Vec<Member> {
        let published = self.read(|tx| member::members(tx)).unwrap_or_default();
        let metrics = self.inner.raft.metrics().borrow().clone();
        let members = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = members.voter_ids().collect();
        members
            .nodes()
            .map(|(id, node)| (*id, node.urls()))
            .map(|(id, urls)| {
                let attributes = published.iter().find(|attributes| attributes.id == id);
                Member {
                    id,
                    name: attributes.map(|a| a.name.clone()).unwrap_or_default(),
                    peer_urls: urls,
                    client_urls: attributes.map(|a| a.client_urls.clone()).unwrap_or_default(),
                    learner: !voters.contains(&id),
                }
            })
            .collect()
    }

    /// Posts `body` to `path` on the leader's peer listener.
    ///
    /// # Errors
    /// See [`PeerError`]; [`PeerError::IsMe`] when this node leads.
    pub async fn post_to_leader(&self, path: &str, body: Vec<u8>) -> Result<Vec<u8>, PeerError> {
        let leader = self.inner.leader.borrow().clone().ok_or(PeerError::NoLeader)?;
        if leader.is_me {
            return Err(PeerError::IsMe);
        }
        let client = &self.inner.client;
        let answer = client
            .post(&leader.peer_url, path, Bytes::from(body), POST)
            .await?;
        Ok(answer.to_vec())
    }

    /// Waits until the node is of no use any more, and says why: Raft has stopped by itself because its storage failed (its
    /// process had better be restarted), the cluster has removed this member, or it has been one before and lost its data.
    pub async fn failed(&self) -> String {
        let mut removed = self.inner.removed.clone();
        let mut forgot = self.inner.forgot.subscribe();
        tokio::select! {
            Ok(why) = forgot.wait_for(Option::is_some) => why.clone().unwrap_or_default(),
            Ok(_) = removed.wait_for(|removed| *removed) => {
                "the member has been permanently removed from the cluster".to_owned()
            }
            why = self.raft_failed() => why,
        }
    }

    async fn raft_failed(&self) -> String {
        // These end with Raft. The other figures, which say why, change with every entry.
        let mut metrics = self.inner.raft.server_metrics();
        while metrics.changed().await.is_ok() {}
        match &self.inner.raft.metrics().borrow().running_state {
            Err(fatal) => fatal.to_string(),
            Ok(()) => "raft has ended".to_owned(),
        }
    }

    /// Builds a snapshot now and purges the log behind it.
    ///
    /// # Errors
    /// When Raft has stopped.
    pub async fn snapshot(&self) -> Result<(), ProposeError> {
        self.inner
            .raft
            .trigger()
            .snapshot()
            .await
            .map_err(|e| ProposeError::Stopped(e.to_string()))
    }

    /// Stops the node; its files are then free.
    pub async fn shutdown(&self) {
        let inner = Arc::clone(&self.inner);
        inner.log.give_up();
        let mut tasks = std::mem::take(&mut *inner.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        if let Err(e) = inner.raft.shutdown().await {
            tracing::error!(error = %e, "raft did not end well");
        }
        let world = inner.world.clone();
        let closing = world.blocking(move || {
            inner.log.close();
            inner.state.close();
            inner.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        });
        if let Err(e) = closing.await {
            tracing::error!(error = %e, "log and state did not close well");
        }
    }
}
