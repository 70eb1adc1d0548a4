//! openraft's network over the peer client.
//!
//! openraft gives an AppendEntries one heartbeat's time and then drops it, to send the same entries again. On a slow
//! machine every attempt could so end just before its answer; the request therefore runs on by itself to its own, longer
//! end, and the next attempt finds the entries already written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use openraft::AnyError;
use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::client::{AskError, Client};
use super::wire::{self, path};
use crate::observe::{Observation, Sight};
use crate::types::{Peer, TypeConfig};

/// How long a message runs at most, whatever openraft still wants of it.
const LONGEST: Duration = Duration::from_secs(10);
/// How many messages to one peer may be under way.
const UNDER_WAY: usize = 4;
/// The pause before an unreachable peer is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// Makes connections.
#[derive(Clone)]
pub struct Network {
    client: Client,
    silent: Silent,
    heard: Heard,
    sight: Sight,
}

/// Who left the last message unanswered, so that a change of that is said once.
type Silent = Arc<Mutex<BTreeSet<u64>>>;

/// When each peer last answered a message of a leader's.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<BTreeMap<u64, Times>>>);

#[derive(Clone, Copy, Default)]
struct Times {
    answered: Option<Instant>,
    followed: Option<Instant>,
}

impl Heard {
    fn note(&self, peer: u64, note: impl FnOnce(&mut Times)) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        note(heard.entry(peer).or_default());
    }

    fn times(&self, peer: u64) -> Times {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get(&peer).copied().unwrap_or_default()
    }

    /// When `peer` last answered.
    pub fn last(&self, peer: u64) -> Option<Instant> {
        self.times(peer).answered
    }

    /// When the last message was sent that `peer` took as its leader's: it has voted for nobody else before that.
    pub fn followed(&self, peer: u64) -> Option<Instant> {
        self.times(peer).followed
    }
}

/// The connection to one peer.
pub struct Connection {
    client: Client,
    target: u64,
    urls: String,
    silent: Silent,
    heard: Heard,
    sight: Sight,
    /// Messages that still run although openraft has given them up.
    under_way: Arc<Semaphore>,
}

type Failure<E> = RPCError<u64, Peer, RaftError<u64, E>>;

impl Network {
    /// A network over `client`, which notes in `heard` who answers.
    pub fn new(client: Client, heard: Heard, sight: Sight) -> Network {
        Network {
            client,
            silent: Silent::default(),
            heard,
            sight,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, node: &Peer) -> Connection {
        Connection {
            client: self.client.clone(),
            target,
            urls: node.addr.clone(),
            silent: Arc::clone(&self.silent),
            heard: self.heard.clone(),
            sight: self.sight.clone(),
            under_way: Arc::new(Semaphore::new(UNDER_WAY)),
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
        let (client, urls, target) = (self.client.clone(), self.urls.clone(), self.target);
        // Each holds its body: a peer that hangs must not cost more than these.
        let Ok(place) = Arc::clone(&self.under_way).try_acquire_owned() else {
            let busy = AnyError::error(format!("{UNDER_WAY} messages to {urls} wait for an answer"));
            return Err(RPCError::Unreachable(Unreachable::new(&busy)));
        };
        let (sight, to, bytes) = (self.sight.clone(), self.target, body.len() as u64);
        let running = tokio::spawn(async move {
            let _place = place;
            sight.see(Observation::PeerAsked { to, bytes });
            let begun = Instant::now();
            let answered = client.post_to(Some(target), &urls, path, body, timeout).await;
            sight.see(match &answered {
                Ok(_) => Observation::PeerAnswered {
                    to,
                    took: begun.elapsed(),
                },
                Err(_) => Observation::PeerFailed { to },
            });
            answered
        });
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

impl Connection {
    /// Says when the peer stops answering and when it answers again.
    fn note<E: std::error::Error>(&self, failure: Option<&Failure<E>>) {
        if failure.is_none() {
            self.heard
                .note(self.target, |times| times.answered = Some(Instant::now()));
        }
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            Some(failure) if silent.insert(self.target) => {
                tracing::warn!("member {:x} does not answer: {failure}", self.target);
            }
            None if silent.remove(&self.target) => tracing::info!("member {:x} answers again", self.target),
            _ => {}
        }
    }
}

impl RaftNetwork<TypeConfig> for Connection {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Failure<openraft::error::Infallible>> {
        let sent = Instant::now();
        let answer = self.ask(path::APPEND, &rpc, LONGEST).await;
        self.note(answer.as_ref().err());
        if matches!(answer, Ok(ref answer) if !matches!(answer, AppendEntriesResponse::HigherVote(_))) {
            self.heard.note(self.target, |times| {
                times.followed = times.followed.max(Some(sent))
            });
        }
        answer
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Failure<InstallSnapshotError>> {
        let answer = self.ask(path::SNAPSHOT, &rpc, option.hard_ttl()).await;
        self.note(answer.as_ref().err());
        answer
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
