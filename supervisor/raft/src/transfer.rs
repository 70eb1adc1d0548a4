//! Handing leadership to another member, which openraft 0.9 has no word for.
//!
//! | step | who | what |
//! |---|---|---|
//! | 1 | leader | takes no more proposals (they wait), and waits until what it has taken is applied and the target has it all |
//! | 2 | leader | sends no more heartbeats |
//! | 3 | target | stands for election, at once and then when nobody believes in the leader any more |
//! | 4 | others | refuse while they believe in the leader, which ends an election's time after its last heartbeat; the leader itself does not, if it has led for so long, so that of three members two agree at once |
//!
//! Safe at every step, as an election is one whatever caused it; the price of a failure is an election that nobody wanted.
//! The leader waits for the outcome no longer than for any request, and then goes on as before.
//!
//! Two dangers. A target that lacks one entry can never win: so the last entry is asked for when none can come any more. A
//! target that stands again makes what it is being answered void: so it gives each election the time that disks need.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::{LogIdOptionExt, ServerState};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::inner::Inner;
use crate::node::Node;
use crate::peer::wire::path;

/// Why leadership was not handed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum MoveLeaderError {
    /// This node does not lead.
    #[error("this member does not lead")]
    NotLeader,
    /// The target is no member, or does not vote.
    #[error("the member to lead is none that votes")]
    BadTarget,
    /// The target did not lead in time.
    #[error("the member to lead did not win an election in time")]
    Timeout,
}

impl Node {
    /// Hands leadership to `target`, if this node leads; returns once the target does.
    ///
    /// # Errors
    /// See [`MoveLeaderError`].
    pub async fn move_leader(&self, target: u64) -> Result<(), MoveLeaderError> {
        let inner = &self.inner;
        if !inner.leads() {
            return Err(MoveLeaderError::NotLeader);
        }
        if target == inner.identity.member {
            return Ok(());
        }
        let deadline = Instant::now() + inner.request_timeout();
        // The members must stay as they are meanwhile.
        let _one_at_a_time = inner.changing.lock().await;
        let url = inner.voter_url(target).ok_or(MoveLeaderError::BadTarget)?;
        let handing_over = async {
            let quiet = Quiet::begin(inner).await;
            inner.has_whole_log(target).await?;
            quiet.no_heartbeats();
            tracing::info!("leadership is handed to member {target:x}");
            let left = deadline.saturating_duration_since(Instant::now());
            let asked = inner.client.post(&url, path::ELECT, Bytes::new(), left).await;
            asked.map_err(|error| {
                tracing::warn!(%error, "member {target:x} does not stand for election");
                MoveLeaderError::Timeout
            })?;
            let mut leader = inner.leader.subscribe();
            let leads = leader.wait_for(|leader| leader.as_ref().is_some_and(|leader| leader.id == target));
            leads.await.map(|_| ()).map_err(|_| MoveLeaderError::Timeout)
        };
        tokio::time::timeout_at(deadline, handing_over)
            .await
            .unwrap_or(Err(MoveLeaderError::Timeout))
    }
}

impl Node {
    /// Hands leadership to whoever is best placed, while this node is still served to its peers: once it has ended, they
    /// would wait for its heartbeats first. Does nothing if it does not lead, or no other member that votes is there.
    pub async fn hand_over(&self) {
        let inner = &self.inner;
        let election = Duration::from_millis(inner.config.election_ms);
        let Some(target) = inner.successor(election).filter(|_| inner.leads()) else {
            return;
        };
        let handing = tokio::time::timeout(2 * election, self.move_leader(target));
        match handing.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::info!("leadership was not handed over: {error}"),
            Err(_) => tracing::info!("leadership was not handed over in time"),
        }
    }
}

/// The leader's silence while it hands over; ends when dropped.
struct Quiet<'i>(&'i Inner);

impl<'i> Quiet<'i> {
    /// Returns once every proposal that was let in is on its way to the log.
    async fn begin(inner: &'i Inner) -> Quiet<'i> {
        let _nobody_between = inner.letting_in.write().await;
        inner.change_silence(|reasons| reasons.hands_over = true);
        Quiet(inner)
    }

    fn no_heartbeats(&self) {
        self.0.change_silence(|reasons| reasons.handed_all = true);
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        self.0.change_silence(|reasons| {
            (reasons.hands_over, reasons.handed_all) = (false, false);
        });
    }
}

impl Inner {
    fn voter_url(&self, id: u64) -> Option<String> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let members = metrics.membership_config.membership();
        members.voter_ids().find(|voter| *voter == id)?;
        Some(members.get_node(&id)?.addr.clone())
    }

    /// The voter that has most of this leader's log, of those that have answered so lately.
    fn successor(&self, lately: Duration) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let replication = metrics.replication.as_ref()?;
        let voters = metrics.membership_config.membership().voter_ids();
        voters
            .filter(|voter| self.heard.last(*voter).is_some_and(|at| at.elapsed() < lately))
            .max_by_key(|voter| replication.get(voter).copied().flatten().index())
    }

    /// Waits until everything in this leader's log is applied here, and a follower has it.
    async fn has_whole_log(&self, target: u64) -> Result<(), MoveLeaderError> {
        // Raft answers in turn: after it has logged what it was given before. Its figures may be older.
        let answered = self.raft.with_raft_state(|_| ()).await;
        answered.map_err(|_| MoveLeaderError::NotLeader)?;
        let last = self.log.last().index();
        let mut metrics = self.raft.metrics();
        let all = metrics.wait_for(|metrics| {
            let matched = metrics
                .replication
                .as_ref()
                .and_then(|all| all.get(&target).copied().flatten());
            metrics.state != ServerState::Leader
                || matched.index() >= last && metrics.last_applied.index() >= last
        });
        let leads = all
            .await
            .is_ok_and(|metrics| metrics.state == ServerState::Leader);
        if leads {
            Ok(())
        } else {
            Err(MoveLeaderError::NotLeader)
        }
    }

    /// Stands for election until this node leads, or who asked for it has gone or waits no more.
    pub(crate) async fn stand_for_election(self: &Arc<Self>) -> bool {
        let election = Duration::from_millis(self.config.election_ms);
        let begun = Instant::now();
        let deadline = begun + self.request_timeout();
        // When nobody believes in the leader any more, though its last heartbeat was still under way.
        let mut again = begun + election + Duration::from_millis(self.config.heartbeat_ms);
        let mut leader = self.leader.subscribe();
        while Instant::now() < deadline {
            if self.raft.trigger().elect().await.is_err() {
                return false;
            }
            let won = leader.wait_for(|leader| leader.as_ref().is_some_and(|leader| leader.is_me));
            if tokio::time::timeout_at(again.min(deadline), won).await.is_ok() {
                return true;
            }
            again += election;
        }
        false
    }
}
