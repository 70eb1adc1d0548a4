//! The node as its users see it.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use corten_store::{Command, Event, Response, StoreFault, member, meta};
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::identity::Identity;
use crate::linearize::Waiter;
use crate::log::LogStore;
use crate::peer::client::{AskError, Client};
use crate::peer::server;
use crate::propose::Proposal;
use crate::state::{ReadTx, State};
use crate::types::Raft;
use crate::{Config, Leader, Member, PeerError, ProposeError, StartError, Status};

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

/// What the node's tasks share.
pub(crate) struct Inner {
    pub config: Config,
    pub identity: Identity,
    pub raft: Raft,
    pub log: LogStore,
    pub state: Arc<State>,
    pub client: Client,
    pub leader: watch::Sender<Option<Leader>>,
    pub events: broadcast::Sender<Arc<AppliedBatch>>,
    pub applied: watch::Receiver<u64>,
    /// True once the cluster has decided its version: users' writes come after that.
    pub formed: watch::Sender<bool>,
    pub proposals: mpsc::Sender<Proposal>,
    pub reads: mpsc::Sender<Waiter>,
    pub tasks: Mutex<JoinSet<()>>,
    pub lock: Mutex<Option<File>>,
}

impl Inner {
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.config.request_timeout_ms())
    }

    /// Runs a task until the node stops.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .spawn(task);
    }

    pub fn leads(&self) -> bool {
        self.leader.borrow().as_ref().is_some_and(|leader| leader.is_me)
    }

    /// Proposes without waiting for the cluster to be formed.
    pub async fn propose_now(&self, command: &Command, deadline: Instant) -> Result<Applied, ProposeError> {
        let (answer, answered) = oneshot::channel();
        let proposal = Proposal::new(command, deadline, answer)?;
        let stopped = || ProposeError::Stopped("it is shutting down".to_owned());
        if tokio::time::timeout_at(deadline, self.proposals.send(proposal))
            .await
            .map_err(|_| ProposeError::Timeout)?
            .is_err()
        {
            return Err(stopped());
        }
        answered.await.unwrap_or_else(|_| Err(stopped()))
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
        crate::start::start(config).await
    }

    /// The peers' routes, to be served on the peer listener.
    pub fn peer_router(&self) -> axum::Router {
        server::router(Arc::clone(&self.inner))
    }

    /// Proposes a command, on any node, and waits until it is committed and in this node's state.
    ///
    /// # Errors
    /// See [`ProposeError`], which says whether the command may still take effect.
    pub async fn propose(&self, command: Command) -> Result<Applied, ProposeError> {
        let deadline = Instant::now() + self.inner.request_timeout();
        if !*self.inner.formed.borrow() {
            let mut formed = self.inner.formed.subscribe();
            let waited = tokio::time::timeout_at(deadline, formed.wait_for(|formed| *formed)).await;
            waited
                .map_err(|_| ProposeError::NoLeader)?
                .map_err(|e| ProposeError::Stopped(e.to_string()))?;
        }
        self.inner.propose_now(&command, deadline).await
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
        let (answer, answered) = oneshot::channel();
        let stopped = || ProposeError::Stopped("it is shutting down".to_owned());
        self.inner.reads.send(answer).await.map_err(|_| stopped())?;
        answered.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// This node's view of itself.
    pub fn status(&self) -> Status {
        let metrics = self.inner.raft.metrics().borrow().clone();
        Status {
            member_id: self.inner.identity.member,
            cluster_id: self.inner.identity.cluster,
            leader_id: self.inner.leader.borrow().as_ref().map_or(0, |leader| leader.id),
            term: metrics.current_term,
            raft_index: metrics.last_log_index.unwrap_or(0),
            applied_index: *self.inner.applied.borrow(),
            etcd_index: self.read(|tx| meta::etcd_index(tx)).unwrap_or(0),
            no_space: self.inner.log.no_space(),
        }
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
        let nodes = metrics
            .membership_config
            .nodes()
            .map(|(id, node)| (*id, node.addr.clone()));
        nodes
            .map(|(id, urls)| {
                let attributes = published.iter().find(|attributes| attributes.id == id);
                Member {
                    id,
                    name: attributes.map(|a| a.name.clone()).unwrap_or_default(),
                    peer_urls: urls.split(',').map(str::to_owned).collect(),
                    client_urls: attributes.map(|a| a.client_urls.clone()).unwrap_or_default(),
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
        match self
            .inner
            .client
            .post(&leader.peer_url, path, Bytes::from(body), POST)
            .await
        {
            Ok(answer) => Ok(answer.to_vec()),
            Err(AskError::Unreachable { url, cause } | AskError::Broken { url, cause }) => {
                Err(PeerError::Unreachable { url, cause })
            }
            Err(AskError::Status { url, status, body }) => Err(PeerError::Status { url, status, body }),
        }
    }

    /// Waits until Raft has stopped by itself, because its storage failed; says why. The node is then of no use and its
    /// process had better be restarted.
    pub async fn failed(&self) -> String {
        let mut metrics = self.inner.raft.metrics();
        let stopped = metrics.wait_for(|metrics| metrics.running_state.is_err()).await;
        match stopped.map(|metrics| metrics.running_state.clone()) {
            Ok(Err(fatal)) => fatal.to_string(),
            _ => "raft has ended".to_owned(),
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
        let closing = tokio::task::spawn_blocking(move || {
            inner.log.close();
            inner.state.close();
            inner.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        });
        if let Err(e) = closing.await {
            tracing::error!(error = %e, "log and state did not close well");
        }
    }
}
