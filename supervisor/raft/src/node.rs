//! The node as its users see it.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use corten_store::tables::Table;
use corten_store::{Command, Event, Response, StoreFault, member, meta};
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::Instant;

use crate::inner::Inner;
use crate::observe::{Observation, Sight, Spent};
use crate::peer::server;
use crate::state::ReadTx;
use crate::world::{Simulated, World};
use crate::{Config, Member, ProposeError, StartError, StateSize, Status};

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

    /// This node's view of itself.
    pub fn status(&self) -> Status {
        let metrics = self.inner.raft.metrics().borrow().clone();
        let applied_index = *self.inner.applied.borrow();
        let committed = *self.inner.log.committed().borrow();
        let unheard = metrics.millis_since_quorum_ack.map(Duration::from_millis);
        let leader = self.inner.leader.borrow().as_ref().map(|leader| leader.id);
        Status {
            member_id: self.inner.identity.member,
            cluster_id: self.inner.identity.cluster,
            leader_id: leader.filter(|_| *self.inner.has_leader.borrow()).unwrap_or(0),
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

    /// Whether this node knows its cluster: from its own data, or since the cluster was formed.
    pub fn is_formed(&self) -> bool {
        // Of a node that has come back without a majority, only its data says so.
        *self.inner.formed.borrow()
            || self
                .read(|tx| Ok(meta::read(tx)?.version.is_some()))
                .unwrap_or(false)
    }

    /// Waits until this node knows its cluster, as long as a request may take.
    ///
    /// # Errors
    /// [`ProposeError::NoLeader`] when it does not in time.
    pub async fn once_formed(&self) -> Result<(), ProposeError> {
        if self.is_formed() {
            return Ok(());
        }
        let mut formed = self.formed();
        let waited = tokio::time::timeout(self.inner.request_timeout(), formed.wait_for(|formed| *formed));
        match waited.await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(ProposeError::NoLeader),
        }
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
}
