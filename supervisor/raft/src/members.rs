//! Adding, removing, moving and promoting members while the cluster runs.
//!
//! A new member first only listens: it becomes a voter once it has caught up, which the leader sees to by itself
//! ([`crate::voters`]). So a cluster never waits for the vote of a machine that has not been started yet. One that was added
//! as a learner stands by until it is promoted, or takes the place of a voter that is gone.
//!
//! A change needs the old and the new majority (Raft's joint consensus), and the leader asks the members that would be
//! left before it takes one out: a removal that would leave a cluster without a majority of living voters is refused, not
//! begun.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use corten_store::voters::CAUGHT_UP;
use corten_store::{Command, member};
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, LogIdOptionExt, Membership, RaftMetrics};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::error::ProposeError;
use crate::identity;
use crate::inner::Inner;
use crate::node::Node;
use crate::peer::client::{AskError, Client};
use crate::peer::wire::{self, path};
use crate::types::Peer;

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
    /// A machine asks to be a member: as a standby, or in the place of a member that was reached where it lives and has
    /// lost its data.
    Join {
        /// Its id, a new one.
        id: u64,
        /// Where peers reach it.
        peer_urls: Vec<String>,
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
    /// Changes the members, on any node, and returns when the change is committed and [`Node::members`] shows it.
    ///
    /// # Errors
    /// See [`MemberError`].
    pub async fn change_members(&self, change: MemberChange) -> Result<(), MemberError> {
        let deadline = Instant::now() + self.inner.request_timeout();
        self.commit_change(&change, deadline).await?;
        // Who is out is told nothing more.
        let goes = MemberChange::Remove { id: self.member_id() };
        if change != goes {
            // What is made stays made, if this node learns of it or not.
            let _ = tokio::time::timeout_at(deadline, self.knows_the_members()).await;
        }
        Ok(())
    }

    /// Waits until this node knows the members as they are now.
    async fn knows_the_members(&self) -> Result<(), ProposeError> {
        self.linearize().await?;
        let applied = *self.inner.applied.borrow();
        let mut metrics = self.inner.raft.metrics();
        let shown = metrics.wait_for(|metrics| metrics.last_applied.index().unwrap_or(0) >= applied);
        let stopped = |_| ProposeError::Stopped("raft has ended".to_owned());
        shown.await.map(|_| ()).map_err(stopped)
    }

    async fn commit_change(&self, change: &MemberChange, deadline: Instant) -> Result<(), MemberError> {
        let mut leader = self.inner.leader.subscribe();
        loop {
            let leads = leader.borrow_and_update().clone();
            let result = match leads {
                Some(leads) if leads.is_me => self.inner.change_members_as_leader(change).await,
                Some(leads) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.inner
                        .client
                        .change_members(&leads.peer_url, change, left)
                        .await
                }
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

impl Client {
    /// Asks a member, which does it if it leads.
    pub(crate) async fn change_members(
        &self,
        urls: &str,
        change: &MemberChange,
        timeout: Duration,
    ) -> Result<(), MemberError> {
        let body = Bytes::from(wire::encode(change).map_err(ProposeError::Stopped)?);
        match self.post(urls, path::MEMBERS, body, timeout).await {
            Ok(answer) => wire::decode::<Result<(), MemberError>>(&answer).map_err(ProposeError::Lost)?,
            Err(AskError::Unreachable { .. }) => Err(ProposeError::NoLeader.into()),
            Err(e) => Err(ProposeError::Lost(e.to_string()).into()),
        }
    }
}

impl Inner {
    pub(crate) fn membership(&self) -> Membership<u64, Peer> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.membership().clone()
    }

    /// Changes the members if this node leads.
    pub(crate) async fn change_members_as_leader(&self, change: &MemberChange) -> Result<(), MemberError> {
        // One that gives way makes no change; one that hands over holds the lock below.
        if !self.leads() || self.silence().gives_way {
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
                self.change(ChangeMembers::AddNodes(BTreeMap::from([(*id, peer)])), true)
                    .await
            }
            MemberChange::Update { id, peer_urls } => {
                let old = self.known(&now, *id)?;
                self.check_urls(&now, *id, peer_urls)?;
                let peer = Peer {
                    addr: peer_urls.join(","),
                    to_vote: old.to_vote,
                };
                self.change(ChangeMembers::SetNodes(BTreeMap::from([(*id, peer)])), true)
                    .await
            }
            MemberChange::Promote { id } => {
                let peer = self.known(&now, *id)?;
                if now.voter_ids().any(|voter| voter == *id) {
                    return Err(MemberError::NotLearner);
                }
                let caught_up = has_caught_up(&self.raft.metrics().borrow(), *id);
                // What it once had says nothing of one that has died since, or lost its disk.
                if !caught_up || !lives(&self.client, *id, &peer.addr).await {
                    return Err(MemberError::NotReady);
                }
                self.give_roles(&now, &[(*id, true)]).await?;
                self.change(ChangeMembers::AddVoterIds(BTreeSet::from([*id])), true)
                    .await
            }
            MemberChange::Join { id, peer_urls } => self.join(&now, *id, peer_urls).await,
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
        self.remember_removed(id).await?;
        let one = BTreeSet::from([id]);
        if id == self.identity.member {
            tokio::select! {
                changed = self.change(ChangeMembers::RemoveVoters(one), false) => changed,
                // It steps down with the commit, and nobody is left to answer.
                () = self.is_out() => Ok(()),
            }
        } else if votes {
            self.change(ChangeMembers::RemoveVoters(one), false).await
        } else {
            self.change(ChangeMembers::RemoveNodes(one), false).await
        }
    }

    /// Done before a removal: whatever happens in between, the id stays removed, and removing it again ends it.
    pub(crate) async fn remember_removed(&self, id: u64) -> Result<(), MemberError> {
        let deadline = Instant::now() + self.request_timeout();
        self.propose_alone(&Command::RemoveMember(id), None, deadline)
            .await?;
        Ok(())
    }

    async fn join(
        &self,
        now: &Membership<u64, Peer>,
        id: u64,
        peer_urls: &[String],
    ) -> Result<(), MemberError> {
        if now.get_node(&id).is_some() {
            return self.members_are_committed().await; // asked again: the answer was lost, or is not known yet
        }
        if self.is_removed(id)? {
            return Err(MemberError::Removed);
        }
        let mut new = Peer {
            addr: peer_urls.join(","),
            to_vote: false,
        };
        let mut roles = BTreeMap::new();
        for (old, peer) in now.nodes() {
            if !peer.urls().iter().any(|url| peer_urls.contains(url)) {
                continue;
            }
            if lives(&self.client, *old, &peer.addr).await {
                return Err(MemberError::PeerUrlExists);
            }
            new.to_vote |= peer.to_vote;
            let stands_by = Peer {
                to_vote: false,
                ..peer.clone()
            };
            roles.insert(*old, stands_by);
        }
        for old in roles.keys() {
            tracing::warn!("member {old:x} has lost its data: its machine joins as {id:x}, in its place");
        }
        roles.insert(id, new);
        // One change: so the number of those that are to vote stays as it is.
        self.change(ChangeMembers::SetNodes(roles), true).await
    }

    /// Waits until the members, as this leader counts them, are so for good.
    async fn members_are_committed(&self) -> Result<(), MemberError> {
        let mut metrics = self.raft.metrics();
        let committed = metrics.wait_for(|metrics| {
            metrics.last_applied.map(|id| id.index) >= metrics.membership_config.log_id().map(|id| id.index)
        });
        match tokio::time::timeout(self.request_timeout(), committed).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ProposeError::Stopped("raft has ended".to_owned()).into()),
            Err(_) => Err(ProposeError::Timeout.into()),
        }
    }

    /// Changes who is to vote.
    pub(crate) async fn give_roles(
        &self,
        now: &Membership<u64, Peer>,
        roles: &[(u64, bool)],
    ) -> Result<(), MemberError> {
        let mut nodes = BTreeMap::new();
        for (id, to_vote) in roles {
            let mut peer = self.known(now, *id)?;
            if peer.to_vote != *to_vote {
                peer.to_vote = *to_vote;
                nodes.insert(*id, peer);
            }
        }
        match nodes.is_empty() {
            true => Ok(()),
            false => self.change(ChangeMembers::SetNodes(nodes), true).await,
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
        for voter in left.iter().copied() {
            let (client, own) = (self.client.clone(), voter == self.identity.member);
            let addr = now.get_node(&voter).map(|peer| peer.addr.clone());
            asked.spawn(async move { own || lives(&client, voter, &addr.unwrap_or_default()).await });
        }
        let alive = asked.join_all().await.into_iter().filter(|alive| *alive).count();
        alive > left.len() / 2
    }

    /// Gives a member's acknowledgements the time to arrive: what a learner has, its own clients see first.
    async fn catches_up(&self, id: u64) {
        if self.membership().get_node(&id).is_some() {
            let mut metrics = self.raft.metrics();
            let caught_up = metrics.wait_for(|metrics| has_caught_up(metrics, id));
            let _ = tokio::time::timeout(PROGRESS_WITHIN, caught_up).await;
        }
    }

    /// Proposes one change; voters that are left out stay as learners where `retain` says so.
    pub(crate) async fn change(
        &self,
        change: ChangeMembers<u64, Peer>,
        retain: bool,
    ) -> Result<(), MemberError> {
        let deadline = Instant::now() + self.request_timeout();
        loop {
            let changed = self.raft.change_membership(change.clone(), retain);
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

/// Whether the member itself answers at these URLs; another one there does not count.
async fn lives(client: &Client, id: u64, urls: &str) -> bool {
    let Ok(body) = wire::encode(&id) else {
        return false;
    };
    let body = Bytes::from(body);
    let asked = client.post_to(Some(id), urls, path::KNOWN, body, ALIVE_WITHIN);
    asked.await.is_ok()
}

/// How many entries of this leader's log a member lacks; `None` while that is not known.
pub(crate) fn behind(metrics: &RaftMetrics<u64, Peer>, id: u64) -> Option<u64> {
    let matching = metrics.replication.as_ref()?.get(&id)?.as_ref()?.index;
    Some(metrics.last_log_index.unwrap_or(0).saturating_sub(matching))
}

fn has_caught_up(metrics: &RaftMetrics<u64, Peer>, id: u64) -> bool {
    behind(metrics, id).is_some_and(|behind| behind <= CAUGHT_UP)
}
