//! Whether this node leads, since when that is sure, and what only a leader does; how the others reach it.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use corten_store::{Command, Response};
use openraft::ServerState;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::inner::Inner;
use crate::node::Node;
use crate::{Leader, PeerError, ProposeError};

/// How long a message to the leader may take.
const POST: Duration = Duration::from_secs(5);

impl Inner {
    /// Whether this node leads, as far as it has noticed.
    pub fn leads(&self) -> bool {
        self.leader.borrow().as_ref().is_some_and(|leader| leader.is_me)
    }

    /// Whether this node leads in `term` as Raft itself has it now.
    pub fn leads_in(&self, term: u64) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        metrics.state == ServerState::Leader && metrics.current_term == term
    }
}

impl Node {
    /// Who leads, and when that changes.
    pub fn leader(&self) -> watch::Receiver<Option<Leader>> {
        self.inner.leader.subscribe()
    }

    /// Whether this node leads now, made sure of by a round of heartbeats to a majority.
    pub async fn proves_to_lead(&self) -> bool {
        self.inner.read_index_as_leader().await.is_ok()
    }

    /// The term this node leads in, if it does.
    pub fn leading_term(&self) -> Option<u64> {
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
}
