//! Adding, removing, moving and promoting members while the cluster runs.
//!
//! A new member first only listens: it becomes a voter once it has caught up, which the leader sees to by itself. So a
//! cluster never waits for the vote of a machine that has not been started yet. One that was added as a learner stays one
//! until it is promoted.
//!
//! A change needs the old and the new majority (Raft's joint consensus), and the leader asks the members that would be
//! left before it takes one out: a removal that would leave a cluster without a majority of living voters is refused, not
//! begun.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corten_store::{Command, member};
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, Membership, RaftMetrics};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::error::ProposeError;
use crate::identity;
use crate::node::{Inner, Node};
use crate::peer::client::AskError;
use crate::peer::wire::{self, path};
use crate::types::Peer;

/// How far behind the leader's log a member may be that becomes a voter, in entries.
const CAUGHT_UP: u64 = 100;
/// How often the leader looks whether a member has caught up.
const LOOK: Duration = Duration::from_millis(200);
/// How long a member may take to show that it lives.
const ALIVE_WITHIN: Duration = Duration::from_secs(2);
/// How long a learner's progress may take to reach the leader before it is not ready to be promoted.
const PROGRESS_WITHIN: Duration = Duration::from_secs(1);
/// The pause before a change that met another one is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// A change of the members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberChange {
    /// A new one, which is started afterwards with `initial-cluster-state existing`.
    Add {
        /// Its id; [`new_member_id`] makes one.
        id: u64,
        /// Where peers will reach it.
        peer_urls: Vec<String>,
        /// It shall not vote until it is promoted.
        learner: bool,
    },
    /// It leaves for good; its id is never used again.
    Remove {
        /// Who.
        id: u64,
    },
    /// It is reached elsewhere from now on.
    Update {
        /// Who.
        id: u64,
        /// Where.
        peer_urls: Vec<String>,
    },
    /// A learner becomes a voter.
    Promote {
        /// Who.
        id: u64,
    },
}

/// Why the members were not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum MemberError {
    /// A member has one of these peer URLs.
    #[error("membership: peerURL exists")]
    PeerUrlExists,
    /// A member has this id.
    #[error("membership: ID exists")]
    IdExists,
    /// No member has this id.
    #[error("membership: ID not found")]
    NotFound,
    /// The member was removed before.
    #[error("membership: ID removed")]
    Removed,
    /// Only a learner can be promoted.
    #[error("can only promote a learner member which is in sync with leader")]
    NotReady,
    /// The one to be promoted votes already.
    #[error("can only promote a learner member")]
    NotLearner,
    /// Too few of the voters that would be left live.
    #[error("re-configuration failed due to not enough started members")]
    TooFewAlive,
    /// It could not be committed.
    #[error(transparent)]
    Propose(#[from] ProposeError),
}

/// An id for a member with these URLs that is added at `now_ms`: never the id of one that was there before.
pub fn new_member_id(peer_urls: &[String], token: &str, now_ms: u64) -> u64 {
    identity::member_id(peer_urls, &format!("{token}{now_ms}"))
}

impl Node {
    /// Changes the members, on any node, and returns when the change is committed.
    ///
    /// # Errors
    /// See [`MemberError`].
    pub async fn change_members(&self, change: MemberChange) -> Result<(), MemberError> {
        let deadline = Instant::now() + self.inner.request_timeout();
        let mut leader = self.inner.leader.subscribe();
        loop {
            let leads = leader.borrow_and_update().clone();
            let result = match leads {
                Some(leads) if leads.is_me => self.inner.change_members_as_leader(&change).await,
                Some(leads) => self.inner.ask_to_change(&leads.peer_url, &change, deadline).await,
                None => Err(ProposeError::NoLeader.into()),
            };
            match result {
                Err(MemberError::Propose(ProposeError::NoLeader)) if Instant::now() < deadline => {
                    let _ = tokio::time::timeout(PAUSE, leader.changed()).await;
                }
                result => return result,
            }
        }
    }
}

impl Inner {
    async fn ask_to_change(
        &self,
        leader: &str,
        change: &MemberChange,
        deadline: Instant,
    ) -> Result<(), MemberError> {
        let body = Bytes::from(wire::encode(change).map_err(ProposeError::Stopped)?);
        let left = deadline.saturating_duration_since(Instant::now());
        match self.client.post(leader, path::MEMBERS, body, left).await {
            Ok(answer) => wire::decode::<Result<(), MemberError>>(&answer).map_err(ProposeError::Lost)?,
            Err(AskError::Unreachable { .. }) => Err(ProposeError::NoLeader.into()),
            Err(e) => Err(ProposeError::Lost(e.to_string()).into()),
        }
    }

    fn membership(&self) -> Membership<u64, Peer> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.membership().clone()
    }

    /// Changes the members if this node leads.
    pub(crate) async fn change_members_as_leader(&self, change: &MemberChange) -> Result<(), MemberError> {
        if !self.leads() {
            return Err(ProposeError::NoLeader.into());
        }
        if let MemberChange::Promote { id } = change {
            self.catches_up(*id).await;
        }
        let _one_at_a_time = self.changing.lock().await;
        let now = self.membership();
        match change {
            MemberChange::Add {
                id,
                peer_urls,
                learner,
            } => {
                self.check_urls(&now, *id, peer_urls)?;
                if now.get_node(id).is_some() {
                    return Err(MemberError::IdExists);
                }
                if self.is_removed(*id)? {
                    return Err(MemberError::Removed);
                }
                let peer = Peer {
                    addr: peer_urls.join(","),
                    to_vote: !learner,
                };
                self.change(ChangeMembers::AddNodes(BTreeMap::from([(*id, peer)])))
                    .await
            }
            MemberChange::Update { id, peer_urls } => {
                let old = self.known(&now, *id)?;
                self.check_urls(&now, *id, peer_urls)?;
                let peer = Peer {
                    addr: peer_urls.join(","),
                    to_vote: old.to_vote,
                };
                self.change(ChangeMembers::SetNodes(BTreeMap::from([(*id, peer)])))
                    .await
            }
            MemberChange::Promote { id } => {
                self.known(&now, *id)?;
                if now.voter_ids().any(|voter| voter == *id) {
                    return Err(MemberError::NotLearner);
                }
                if !self.has_caught_up(*id) {
                    return Err(MemberError::NotReady);
                }
                self.change(ChangeMembers::AddVoterIds(BTreeSet::from([*id])))
                    .await
            }
            MemberChange::Remove { id } => {
                self.known(&now, *id)?;
                self.remove(&now, *id).await
            }
        }
    }

    async fn remove(&self, now: &Membership<u64, Peer>, id: u64) -> Result<(), MemberError> {
        let votes = now.voter_ids().any(|voter| voter == id);
        if votes && !self.enough_live_without(now, id).await {
            return Err(MemberError::TooFewAlive);
        }
        let deadline = Instant::now() + self.request_timeout();
        // Remembered first: whatever happens in between, the id stays removed, and removing it again ends it.
        self.propose_alone(&Command::RemoveMember(id), deadline).await?;
        let one = BTreeSet::from([id]);
        if id == self.identity.member {
            tokio::select! {
                changed = self.change(ChangeMembers::RemoveVoters(one)) => changed,
                // It steps down with the commit, and nobody is left to answer.
                () = self.is_out() => Ok(()),
            }
        } else if votes {
            self.change(ChangeMembers::RemoveVoters(one)).await
        } else {
            self.change(ChangeMembers::RemoveNodes(one)).await
        }
    }

    /// Returns once this node has applied that it is no member.
    async fn is_out(&self) {
        let mut metrics = self.raft.metrics();
        let out = metrics.wait_for(|metrics| {
            let members = &metrics.membership_config;
            members.membership().get_node(&self.identity.member).is_none()
                && metrics.last_applied.map(|id| id.index) >= members.log_id().map(|id| id.index)
        });
        if out.await.is_err() {
            std::future::pending::<()>().await; // Raft has ended, which the change itself reports
        }
    }

    /// Whether a member was removed and is out. One that is on its way out still takes part.
    pub(crate) fn has_removed(&self, id: u64) -> bool {
        self.membership().get_node(&id).is_none() && self.is_removed(id).unwrap_or(false)
    }

    fn is_removed(&self, id: u64) -> Result<bool, MemberError> {
        let removed = self.state.read(|tx| member::is_removed(tx, id));
        removed.map_err(|fault| ProposeError::Stopped(fault.to_string()).into())
    }

    /// The member, or why there is none.
    fn known(&self, now: &Membership<u64, Peer>, id: u64) -> Result<Peer, MemberError> {
        match now.get_node(&id) {
            Some(peer) => Ok(peer.clone()),
            None if self.is_removed(id)? => Err(MemberError::Removed),
            None => Err(MemberError::NotFound),
        }
    }

    /// No other member may have one of the URLs.
    fn check_urls(&self, now: &Membership<u64, Peer>, id: u64, urls: &[String]) -> Result<(), MemberError> {
        let taken = now
            .nodes()
            .filter(|(other, _)| **other != id)
            .any(|(_, peer)| peer.urls().iter().any(|url| urls.contains(url)));
        if taken {
            Err(MemberError::PeerUrlExists)
        } else {
            Ok(())
        }
    }

    /// Whether a majority of the voters that would be left answers now.
    async fn enough_live_without(&self, now: &Membership<u64, Peer>, id: u64) -> bool {
        let left: BTreeSet<u64> = now.voter_ids().filter(|voter| *voter != id).collect();
        let mut asked = JoinSet::new();
        for voter in &left {
            let (client, own) = (self.client.clone(), *voter == self.identity.member);
            let addr = now
                .get_node(voter)
                .map(|peer| peer.addr.clone())
                .unwrap_or_default();
            let Ok(body) = wire::encode(voter) else { continue };
            asked.spawn(async move {
                own || client
                    .post(&addr, path::KNOWN, Bytes::from(body), ALIVE_WITHIN)
                    .await
                    .is_ok()
            });
        }
        let alive = asked.join_all().await.into_iter().filter(|alive| *alive).count();
        alive > left.len() / 2
    }

    /// Whether a member has nearly all of the log; only the leader knows.
    fn has_caught_up(&self, id: u64) -> bool {
        has_caught_up(&self.raft.metrics().borrow(), id)
    }

    /// Gives a member's acknowledgements the time to arrive: what a learner has, its own clients see first.
    async fn catches_up(&self, id: u64) {
        if self.membership().get_node(&id).is_some() {
            let mut metrics = self.raft.metrics();
            let caught_up = metrics.wait_for(|metrics| has_caught_up(metrics, id));
            let _ = tokio::time::timeout(PROGRESS_WITHIN, caught_up).await;
        }
    }

    async fn change(&self, change: ChangeMembers<u64, Peer>) -> Result<(), MemberError> {
        let deadline = Instant::now() + self.request_timeout();
        loop {
            let changed = self.raft.change_membership(change.clone(), false);
            let changed = tokio::time::timeout_at(deadline, changed)
                .await
                .map_err(|_| ProposeError::Timeout)?;
            match changed {
                Ok(_) => return Ok(()),
                // The last change of an earlier leader is not committed yet.
                Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                    ChangeMembershipError::InProgress(_),
                ))) if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
                    return Err(ProposeError::Lost("the leader changed meanwhile".to_owned()).into());
                }
                Err(RaftError::APIError(e)) => return Err(ProposeError::Refused(e.to_string()).into()),
                Err(RaftError::Fatal(e)) => return Err(ProposeError::Stopped(e.to_string()).into()),
            }
        }
    }
}

fn has_caught_up(metrics: &RaftMetrics<u64, Peer>, id: u64) -> bool {
    let matching = metrics
        .replication
        .as_ref()
        .and_then(|all| all.get(&id))
        .and_then(|matching| matching.map(|log_id| log_id.index));
    matching.is_some_and(|matching| matching + CAUGHT_UP >= metrics.last_log_index.unwrap_or(0))
}

/// While this node leads: makes voters of the members that shall vote and have caught up.
pub(crate) async fn promote(inner: Arc<Inner>) {
    let (mut metrics, mut leader) = (inner.raft.server_metrics(), inner.leader.subscribe());
    loop {
        metrics.mark_unchanged();
        leader.mark_unchanged();
        let waiting = waiting(&inner);
        for id in waiting.iter().filter(|id| inner.has_caught_up(**id)) {
            let change = MemberChange::Promote { id: *id };
            match inner.change_members_as_leader(&change).await {
                Ok(()) => tracing::info!("member {id:x} has caught up and votes from now on"),
                Err(MemberError::NotReady) => {}
                Err(e) => tracing::debug!("member {id:x} could not become a voter yet: {e}"),
            }
        }
        if waiting.is_empty() {
            let changed = tokio::select! {
                changed = metrics.changed() => changed,
                changed = leader.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        } else {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The members that shall vote and do not yet, if this node leads.
fn waiting(inner: &Inner) -> Vec<u64> {
    if !inner.leads() {
        return Vec::new();
    }
    let now = inner.membership();
    let voters: BTreeSet<u64> = now.voter_ids().collect();
    now.nodes()
        .filter(|(id, peer)| peer.to_vote && !voters.contains(id))
        .map(|(id, _)| *id)
        .collect()
}
