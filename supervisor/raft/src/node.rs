//! The node (signatures first).

use std::sync::Arc;

use corten_store::{Command, Event, Response, StoreFault};
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, watch};

use crate::{Config, Leader, Member, PeerError, ProposeError, ReadTx, StartError, Status};

/// A command's fate, once it is committed and in this node's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The state machine's answer.
    pub response: Response,
    /// The v2 store's index after the command.
    pub etcd_index: u64,
    /// The log entry that carried it.
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
}

/// A running node. Clones are handles to the same node.
#[derive(Clone)]
pub struct Node {}

impl Node {
    /// Starts a node: forms the initial cluster with an empty data directory, else carries on with what it holds.
    ///
    /// Returns as soon as the node runs; a leader may not be there yet.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(_config: Config) -> Result<Node, StartError> {
        todo!()
    }

    /// The peers' routes, to be served on the peer listener.
    pub fn peer_router(&self) -> axum::Router {
        todo!()
    }

    /// Proposes a command, on any node, and waits until it is committed and in this node's state.
    ///
    /// # Errors
    /// See [`ProposeError`], which says whether the command may still take effect.
    pub async fn propose(&self, _command: Command) -> Result<Applied, ProposeError> {
        todo!()
    }

    /// Runs `f` on a consistent view of the local state, which may lag behind the leader's.
    ///
    /// # Errors
    /// When the state's storage fails, or what `f` returns.
    pub fn read<T>(&self, _f: impl FnOnce(&ReadTx<'_>) -> Result<T, StoreFault>) -> Result<T, StoreFault> {
        todo!()
    }

    /// Waits until the local state holds everything that was acknowledged before this call.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn linearize(&self) -> Result<(), ProposeError> {
        todo!()
    }

    /// This node's view of itself.
    pub fn status(&self) -> Status {
        todo!()
    }

    /// Who leads, and when that changes.
    pub fn leader(&self) -> watch::Receiver<Option<Leader>> {
        todo!()
    }

    /// What is applied from now on. A receiver that lags is told so and must read the state again.
    pub fn events(&self) -> broadcast::Receiver<Arc<AppliedBatch>> {
        todo!()
    }

    /// The cluster's members, by id.
    pub fn members(&self) -> Vec<Member> {
        todo!()
    }

    /// Posts `body` to `path` on the leader's peer listener.
    ///
    /// # Errors
    /// See [`PeerError`]; [`PeerError::IsMe`] when this node leads.
    pub async fn post_to_leader(&self, _path: &str, _body: Vec<u8>) -> Result<Vec<u8>, PeerError> {
        todo!()
    }

    /// Stops the node; its files are then free.
    pub async fn shutdown(&self) {
        todo!()
    }
}
