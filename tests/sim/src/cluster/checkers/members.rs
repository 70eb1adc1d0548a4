//! What an operator was told of the members is so: who was taken out is never a member again, and no more or fewer vote than
//! founded the cluster, were promoted and taken out.

use std::ops::RangeInclusive;

use corten_raft::Member;

use super::Recorded;
use crate::cluster::client::{Ask, End, Seen};

/// How many may vote in the end. Who is promoted may have been about to vote anyway, in the place of a member that lost its
/// disk; who is removed may have stood by.
pub fn voters(founders: usize, recorded: &[Recorded]) -> RangeInclusive<usize> {
    let (mut least, mut most) = (founders, founders);
    for one in recorded {
        let may_be_done = match &one.ended {
            Some((_, End::Answer { seen, .. })) => *seen == Seen::Done,
            Some((_, End::Nothing(_))) => false,
            _ => true,
        };
        match one.operation.ask {
            Ask::Promote(_) if may_be_done => most += 1,
            Ask::Remove(_) if may_be_done => least = least.saturating_sub(1),
            _ => {}
        }
    }
    least..=most
}

/// Checks that nobody is among the members who was taken out.
///
/// # Errors
/// The first who is.
pub fn at_the_end(members: &[Member], recorded: &[Recorded]) -> Result<(), String> {
    for one in recorded {
        if let Ask::Remove(id) = one.operation.ask
            && let Some((_, End::Answer { seen: Seen::Done, .. })) = one.ended
            && members.iter().any(|member| member.id == id)
        {
            return Err(format!("member {id:x} was removed, and is among {members:?}"));
        }
    }
    Ok(())
}
