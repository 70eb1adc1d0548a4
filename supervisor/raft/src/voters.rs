//! While this node leads: does what `corten-store` decides about who votes.
//!
//! It translates and never decides: the view is the membership with what this leader has heard from whom since it leads.
//! Whoever leads anew, or stood still itself, hears everybody as if for the first time: its own silence proves nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use corten_store::voters::{Change, Policy, Seat, View, decide, gives_way};
use openraft::ChangeMembers;
use tokio::time::{Instant, MissedTickBehavior};

use crate::inner::Inner;
use crate::members::{MemberError, behind};

/// How often the leader looks.
const LOOK: Duration = Duration::from_millis(200);
/// A pause in looking that is longer was a standstill of this node.
const STANDSTILL: Duration = Duration::from_secs(2);

/// Since when a leader expects to hear each member.
struct Expected {
    since: BTreeMap<u64, Instant>,
    /// Where the clock of the view begins.
    origin: Instant,
}

/// Runs for the node's life.
pub(crate) async fn keep(inner: Arc<Inner>) {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked = Instant::now();
    let mut expected = Expected {
        since: BTreeMap::new(),
        origin: looked,
    };
    let mut said = String::new();
    let mut silence = None;
    loop {
        tick.tick().await;
        let now = Instant::now();
        give_way(&inner, &mut expected, now, &mut silence);
        if !inner.leads() || now - looked > STANDSTILL {
            expected.since.clear();
        }
        looked = now;
        // A change would make the others believe in this leader anew.
        if !inner.leads() || silence.is_some() {
            continue;
        }
        if let Err(error) = step(&inner, &mut expected, now).await {
            let error = error.to_string();
            if said != error {
                tracing::warn!("the voters could not be changed yet: {error}");
            }
            said = error;
        }
        // A change that took long is no standstill.
        looked = looked.max(Instant::now() - LOOK);
    }
}

/// Falls silent as a leader whose disk is full; for four elections' time, in which the others elect another one.
fn give_way(inner: &Inner, expected: &mut Expected, now: Instant, silence: &mut Option<Instant>) {
    if let Some(since) = *silence {
        let room = !inner.no_space();
        if room || now - since > Duration::from_millis(4 * inner.config.election_ms) {
            inner.change_silence(|reasons| reasons.gives_way = false);
            *silence = None;
        }
        return;
    }
    // One that hands over is silent already.
    if inner.leads() && inner.no_space() && !inner.is_silent() {
        let (view, now_ms) = view(inner, expected, now);
        if gives_way(&view, &policy(inner), now_ms) {
            tracing::warn!("this leader's disk is full: it falls silent, so that another one is elected");
            inner.change_silence(|reasons| reasons.gives_way = true);
            *silence = Some(now);
        }
    }
}

fn policy(inner: &Inner) -> Policy {
    Policy {
        active_size: inner.config.active_size,
        remove_delay_ms: inner.config.remove_delay_ms,
        alive_ms: (3 * inner.config.election_ms).max(1000),
    }
}

/// Decides and does one step.
async fn step(inner: &Inner, expected: &mut Expected, now: Instant) -> Result<(), MemberError> {
    // Whoever holds it changes the members now; what comes of that is looked at next time.
    let Ok(_one_at_a_time) = inner.changing.try_lock() else {
        return Ok(());
    };
    let (view, now_ms) = view(inner, expected, now);
    let Some(decision) = decide(&view, &policy(inner), now_ms) else {
        return Ok(());
    };
    let why = decision.why;
    let members = inner.membership();
    match decision.change {
        Change::Settle(voters) => {
            let ids: Vec<String> = voters.iter().map(|id| format!("{id:x}")).collect();
            let stays = voters.contains(&inner.identity.member);
            let settled = inner.change(ChangeMembers::ReplaceAllVoters(voters), true);
            if stays {
                settled.await?;
            } else {
                // It steps down with the commit, and nobody is left to answer.
                let _ = tokio::time::timeout(inner.request_timeout(), settled).await;
            }
            tracing::info!("these members vote from now on: {}; {why}", ids.join(", "));
        }
        Change::Roles { up, down } => {
            let up = up.map(|id| (id, true));
            let roles: Vec<(u64, bool)> = up.into_iter().chain(down.map(|id| (id, false))).collect();
            inner.give_roles(&members, &roles).await?;
            for (id, to_vote) in roles {
                let role = if to_vote { "vote" } else { "stand by" };
                tracing::warn!("member {id:x} is to {role}: {why}");
            }
        }
        Change::Remove(id) => {
            inner.remember_removed(id).await?;
            inner
                .change(ChangeMembers::RemoveNodes([id].into()), false)
                .await?;
            tracing::warn!("member {id:x} is removed: {why}");
        }
    }
    Ok(())
}

/// The members as this leader sees them, and the time on the same clock.
fn view(inner: &Inner, expected: &mut Expected, now: Instant) -> (View, u64) {
    let metrics = inner.raft.metrics();
    let metrics = metrics.borrow();
    let members = metrics.membership_config.membership();
    let origin = expected.origin;
    let on_clock = |at: Instant| {
        let past = at.saturating_duration_since(origin).as_millis();
        u64::try_from(past).unwrap_or(u64::MAX)
    };
    let voters: Vec<u64> = members.voter_ids().collect();
    expected.since.retain(|id, _| members.get_node(id).is_some());
    let seats = members.nodes().map(|(id, peer)| {
        let since = *expected.since.entry(*id).or_insert(now);
        let heard = inner.heard.last(*id).map_or(since, |heard| heard.max(since));
        Seat {
            id: *id,
            votes: voters.contains(id),
            shall_vote: peer.to_vote,
            heard_ms: on_clock(heard),
            behind: behind(&metrics, *id),
            peer_urls: peer.urls(),
        }
    });
    let view = View {
        leader: inner.identity.member,
        seats: seats.collect(),
        unfinished: match &members.get_joint_config()[..] {
            [_, .., last] => Some(last.clone()),
            _ => None,
        },
    };
    (view, on_clock(now))
}
