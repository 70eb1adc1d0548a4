//! openraft's network over the peer client.
//!
//! openraft gives an AppendEntries one heartbeat's time and then drops it, to send the same entries again. On a slow
//! machine every attempt could so end just before its answer; the request therefore runs on by itself to its own, longer
//! end, and the next attempt finds the entries already written.

use std::time::Duration;

use bytes::Bytes;
use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{AnyError, BasicNode};
use serde::{Serialize, de::DeserializeOwned};

use super::client::{AskError, Client};
use super::wire::{self, path};
use crate::types::TypeConfig;

/// How long a message runs at most, whatever openraft still wants of it.
const LONGEST: Duration = Duration::from_secs(10);
/// The pause before an unreachable peer is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// Makes connections.
#[derive(Clone)]
pub struct Network {
    client: Client,
}

/// The connection to one peer.
pub struct Connection {
    client: Client,
    target: u64,
    urls: String,
}

type Failure<E> = RPCError<u64, BasicNode, RaftError<u64, E>>;

impl Network {
    /// A network over `client`.
    pub fn new(client: Client) -> Network {
        Network { client }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Connection {
        Connection {
            client: self.client.clone(),
            target,
            urls: node.addr.clone(),
        }
    }
}

impl Connection {
    /// Posts a message and reads the peer's result.
    async fn ask<Q, A, E>(&self, path: &'static str, message: &Q, timeout: Duration) -> Result<A, Failure<E>>
    where
        Q: Serialize,
        A: DeserializeOwned,
        E: std::error::Error + DeserializeOwned,
    {
        let odd = |cause: String| RPCError::Network(NetworkError::new(&AnyError::error(cause)));
        let body = Bytes::from(wire::encode(message).map_err(odd)?);
        let (client, urls) = (self.client.clone(), self.urls.clone());
        let running = tokio::spawn(async move { client.post(&urls, path, body, timeout).await });
        let answered = running
            .await
            .map_err(|e| RPCError::Network(NetworkError::new(&e)))?;
        let answer = answered.map_err(|e| match e {
            AskError::Broken { .. } => RPCError::Network(NetworkError::new(&e)),
            AskError::Unreachable { .. } | AskError::Status { .. } => {
                RPCError::Unreachable(Unreachable::new(&e))
            }
        })?;
        let result: Result<A, RaftError<u64, E>> = wire::decode(&answer).map_err(odd)?;
        result.map_err(|e| RPCError::RemoteError(RemoteError::new(self.target, e)))
    }
}

impl RaftNetwork<TypeConfig> for Connection {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Failure<openraft::error::Infallible>> {
        self.ask(path::APPEND, &rpc, LONGEST).await
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Failure<InstallSnapshotError>> {
        self.ask(path::SNAPSHOT, &rpc, option.hard_ttl()).await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, Failure<openraft::error::Infallible>> {
        self.ask(path::VOTE, &rpc, option.hard_ttl().max(Duration::from_secs(1)))
            .await
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(PAUSE))
    }
}
