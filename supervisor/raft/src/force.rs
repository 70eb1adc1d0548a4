//! `--force-new-cluster`: a member cut out of a cluster whose majority is lost for good becomes a cluster of one.
//!
//! One entry is appended to its log, with a membership of this member alone and the term of the last entry; everything
//! before stays, also what was never committed: it may have been acknowledged by those who are gone.
//!
//! Danger: the others, should they live, are still the old cluster under the same id, and both would serve clients. It
//! is the operator's word that they are gone.

use std::collections::{BTreeMap, BTreeSet};

use openraft::{EntryPayload, Membership};

use crate::StartError;
use crate::identity::Identity;
use crate::log::LogStore;
use crate::state::State;
use crate::types::{Entry, LogId, Peer};

/// Appends the entry, unless this member already stands alone.
///
/// # Errors
/// When log or state fail, or hold nothing that could be carried on.
pub(crate) fn new_cluster(identity: Identity, log: &LogStore, state: &State) -> Result<(), StartError> {
    let failed = |e: &dyn std::fmt::Display| StartError::Raft(format!("no new cluster can be forced: {e}"));
    let applied = state.standing().map_err(|e| failed(&e))?.members;
    let logged = log.last_membership().map_err(|e| failed(&e))?;
    let members = logged.unwrap_or_else(|| applied.membership().clone());
    let Some(last) = log.last() else {
        return Ok(()); // Nothing was ever written here: the node forms its cluster anew.
    };
    let mut node = members
        .get_node(&identity.member)
        .cloned()
        .ok_or_else(|| failed(&"this member is not in the membership its data directory holds"))?;
    node.to_vote = true; // it may have stood by
    let all: Vec<u64> = members.nodes().map(|(id, _)| *id).collect();
    if all == [identity.member] {
        return Ok(());
    }
    let alone = Membership::new(
        vec![BTreeSet::from([identity.member])],
        BTreeMap::<u64, Peer>::from([(identity.member, node)]),
    );
    let entry = Entry {
        log_id: LogId::new(last.leader_id, last.index + 1),
        payload: EntryPayload::Membership(alone),
    };
    log.append_now(entry).map_err(|e| failed(&e))?;
    for gone in all.iter().filter(|id| **id != identity.member) {
        tracing::warn!("forced new cluster: member {gone:x} is removed");
    }
    Ok(())
}
