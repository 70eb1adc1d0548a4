//! What operators do about the members.

use corten_raft::{MemberChange, MemberError, Node};

use super::{Ask, End, Seen, failed, seen};
use crate::cluster::world::url;

/// Changes the members.
pub async fn change(node: &Node, ask: &Ask) -> End {
    let change = match *ask {
        Ask::Add(machine, id) => MemberChange::Add {
            id,
            peer_urls: vec![url(machine)],
            learner: true,
        },
        Ask::Promote(id) => MemberChange::Promote { id },
        Ask::Remove(id) => MemberChange::Remove { id },
        _ => return End::Nothing("it is about no member".to_owned()),
    };
    match node.change_members(change).await {
        Ok(()) => seen(Seen::Done),
        Err(MemberError::Propose(error)) => failed(&error),
        Err(_) => seen(Seen::Refused),
    }
}
