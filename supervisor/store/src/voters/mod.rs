//! Who votes: the decision by which a cluster keeps its wanted number of voters while machines come, go and stay away.
//!
//! Every member has a role, to vote or to stand by, and a standing, whether it votes now. The decision brings both into
//! line, one step at a time; the leader does the step and asks again. The view is the leader's own: whom it has heard.
//!
//! | state | step |
//! |---|---|
//! | a majority of the voters is silent | none: nothing could be committed |
//! | a change was left half-way by an earlier leader | finish it |
//! | one that is to vote has caught up; one that is to stand by still votes | the former votes in the latter's place |
//! | a silent member at whose address another one lives | it is removed: its machine has lost its disk and joined anew |
//! | fewer are to vote than wanted | the readiest standby is to vote |
//! | more are to vote than wanted | one is to stand by, the longest silent first |
//! | one that is to vote has been silent for the delay | the readiest standby takes its role |
//!
//! Wanted is what the policy fixes, else the number of those that are to vote: what founded the cluster, and what the
//! operator has added and removed since. A member that was replaced keeps its id and its data, and stands by.
//!
//! Refuses: to take a voter out before the one in its place has caught up, and to leave a set of voters of which no
//! majority lives. So nothing that was acknowledged can be lost, and a cluster without a ready standby stays as it is.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use crate::member::MemberId;

/// How far behind the leader's log a member may be that is to vote, in entries.
pub const CAUGHT_UP: u64 = 100;

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// Who.
    pub id: MemberId,
    /// It votes now.
    pub votes: bool,
    /// Its role is to vote.
    pub shall_vote: bool,
    /// When it was heard last, or first expected; of the leader itself: now. Milliseconds of the leader's clock.
    pub heard_ms: u64,
    /// How many entries of the leader's log it lacks; `None` while it has not been heard at all.
    pub behind: Option<u64>,
    /// Where peers reach it.
    pub peer_urls: Vec<String>,
}

/// The members as their leader sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The leader.
    pub leader: MemberId,
    /// All members, by id.
    pub seats: Vec<Seat>,
    /// The voters an unfinished change leads to.
    pub unfinished: Option<BTreeSet<MemberId>>,
}

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How many are to vote; `None` for as many as have that role.
    pub active_size: Option<usize>,
    /// How long a voter may be silent before a standby takes its place, in ms; `None` for ever.
    pub remove_delay_ms: Option<u64>,
    /// For how long after it was heard a member counts as living, in ms.
    pub alive_ms: u64,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Exactly these vote from now on, by way of a majority of both the old and the new.
    Settle(BTreeSet<MemberId>),
    /// New roles, in one change.
    Roles {
        /// To vote.
        up: Option<MemberId>,
        /// To stand by.
        down: Option<MemberId>,
    },
    /// It is a member no longer.
    Remove(MemberId),
}

/// A step and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What is to be done.
    pub change: Change,
    /// Why, for the log.
    pub why: String,
}

/// The next step, if there is one. `now_ms` is on the clock of the seats' `heard_ms`.
pub fn decide(view: &View, policy: &Policy, now_ms: u64) -> Option<Decision> {
    let table = Table { view, policy, now_ms };
    let voters: BTreeSet<MemberId> = table.ids(|seat| seat.votes);
    if !table.majority_lives(&voters) {
        return None;
    }
    if let Some(voters) = &view.unfinished {
        return decided(
            Change::Settle(voters.clone()),
            "an earlier leader left this change half-way",
        );
    }
    table
        .settle(&voters)
        .or_else(|| table.remove())
        .or_else(|| table.resize())
        .or_else(|| table.replace())
}

/// Whether a leader whose own disk is full had better fall silent, so that another one is elected: only if the others have a
/// majority without it. A leader without one stays, and serves reads.
pub fn gives_way(view: &View, policy: &Policy, now_ms: u64) -> bool {
    let table = Table { view, policy, now_ms };
    let voters = table.ids(|seat| seat.votes);
    let others = table.ids(|seat| seat.votes && seat.id != view.leader && table.is_ready(seat));
    others.len() > voters.len() / 2
}

fn decided(change: Change, why: impl fmt::Display) -> Option<Decision> {
    Some(Decision {
        change,
        why: why.to_string(),
    })
}

struct Table<'v> {
    view: &'v View,
    policy: &'v Policy,
    now_ms: u64,
}

impl Table<'_> {
    fn ids(&self, which: impl Fn(&Seat) -> bool) -> BTreeSet<MemberId> {
        let seats = self.view.seats.iter();
        seats.filter(|seat| which(seat)).map(|seat| seat.id).collect()
    }

    fn silent_ms(&self, seat: &Seat) -> u64 {
        match seat.id == self.view.leader {
            true => 0,
            false => self.now_ms.saturating_sub(seat.heard_ms),
        }
    }

    fn lives(&self, seat: &Seat) -> bool {
        self.silent_ms(seat) <= self.policy.alive_ms
    }

    fn is_ready(&self, seat: &Seat) -> bool {
        self.lives(seat) && seat.behind.is_some_and(|behind| behind <= CAUGHT_UP)
    }

    fn majority_lives(&self, voters: &BTreeSet<MemberId>) -> bool {
        let living = self.ids(|seat| voters.contains(&seat.id) && self.lives(seat));
        living.len() > voters.len() / 2
    }

    /// Standings follow roles.
    fn settle(&self, voters: &BTreeSet<MemberId>) -> Option<Decision> {
        let joining = self.ids(|seat| seat.shall_vote && !seat.votes && self.is_ready(seat));
        let mut next: BTreeSet<MemberId> = voters.union(&joining).copied().collect();
        let all_in = self.ids(|seat| seat.shall_vote).is_subset(&next);
        let leaving = self.ids(|seat| seat.votes && !seat.shall_vote);
        if all_in {
            next.retain(|id| !leaving.contains(id));
        }
        if next == *voters || !self.majority_lives(&next) {
            return None;
        }
        let list = |ids: &BTreeSet<MemberId>| {
            let ids: Vec<String> = ids.iter().map(|id| format!("{id:x}")).collect();
            ids.join(", ")
        };
        let why = match (joining.is_empty(), all_in && !leaving.is_empty()) {
            (false, false) => format!("{} caught up", list(&joining)),
            (false, true) => format!(
                "{} caught up and takes the place of {}",
                list(&joining),
                list(&leaving)
            ),
            _ => format!("{} is to stand by", list(&leaving)),
        };
        decided(Change::Settle(next), why)
    }

    /// Members whose machines have lost their disks and joined anew.
    fn remove(&self) -> Option<Decision> {
        let successor = |seat: &Seat| {
            let mut others = self.view.seats.iter().filter(|other| other.id != seat.id);
            others.find(|other| {
                let same = other.peer_urls.iter().any(|url| seat.peer_urls.contains(url));
                same && self.lives(other) && !self.lives(seat)
            })
        };
        let mut idle = self
            .view
            .seats
            .iter()
            .filter(|seat| !seat.votes && !seat.shall_vote);
        let (gone, by) = idle.find_map(|seat| Some((seat, successor(seat)?)))?;
        let why = format!("member {:x} lives where it was reached", by.id);
        decided(Change::Remove(gone.id), why)
    }

    /// The readiest standby: the one that lacks least.
    fn standby(&self) -> Option<&Seat> {
        let mut standbys: Vec<&Seat> = self.view.seats.iter().collect();
        standbys.retain(|seat| !seat.shall_vote && !seat.votes && self.is_ready(seat));
        standbys.into_iter().min_by_key(|seat| (seat.behind, seat.id))
    }

    /// As many are to vote as are wanted.
    fn resize(&self) -> Option<Decision> {
        let wanted = self.policy.active_size?;
        let voting = self.ids(|seat| seat.shall_vote);
        if voting.len() < wanted {
            let up = self.standby()?.id;
            let why = format!("{} are to vote, {wanted} are wanted", voting.len());
            return decided(
                Change::Roles {
                    up: Some(up),
                    down: None,
                },
                why,
            );
        }
        if voting.len() <= wanted {
            return None;
        }
        let mut spare: Vec<&Seat> = self.view.seats.iter().collect();
        spare.retain(|seat| seat.shall_vote && seat.id != self.view.leader);
        let down = spare
            .into_iter()
            .max_by_key(|seat| (!self.lives(seat), seat.behind, seat.id))?;
        let left: BTreeSet<MemberId> = voting.iter().copied().filter(|id| *id != down.id).collect();
        if !self.majority_lives(&left) {
            return None;
        }
        let why = format!("{} are to vote, {wanted} are wanted", voting.len());
        decided(
            Change::Roles {
                up: None,
                down: Some(down.id),
            },
            why,
        )
    }

    /// A voter that has been silent too long gives its role to a standby.
    fn replace(&self) -> Option<Decision> {
        let delay_ms = self.policy.remove_delay_ms?;
        let gone = self.view.seats.iter().filter(|seat| seat.shall_vote);
        let gone = gone.max_by_key(|seat| (self.silent_ms(seat), seat.id))?;
        let silent_ms = self.silent_ms(gone);
        if silent_ms < delay_ms.max(self.policy.alive_ms) {
            return None;
        }
        let up = self.standby()?.id;
        let why = format!("member {:x} has not answered for {} s", gone.id, silent_ms / 1000);
        decided(
            Change::Roles {
                up: Some(up),
                down: Some(gone.id),
            },
            why,
        )
    }
}
