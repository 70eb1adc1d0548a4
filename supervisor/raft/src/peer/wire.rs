//! What goes over the peers' wire besides openraft's own messages.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::ProposeError;
use crate::observe::Spent;
use crate::types::Replies;

/// The header naming the cluster, lower-case hexadecimal.
pub const CLUSTER_HEADER: &str = "x-corten-cluster";

/// The paths, one per message.
pub mod path {
    /// AppendEntries.
    pub const APPEND: &str = "/corten/raft/v1/append";
    /// RequestVote.
    pub const VOTE: &str = "/corten/raft/v1/vote";
    /// A piece of a snapshot.
    pub const SNAPSHOT: &str = "/corten/raft/v1/snapshot";
    /// A follower's batch of proposals.
    pub const PROPOSE: &str = "/corten/raft/v1/propose";
    /// A follower asks up to where it must have applied to read what is current.
    pub const READ_INDEX: &str = "/corten/raft/v1/read-index";
    /// A node with an empty data directory asks whether its member (a `u64`) has been here before.
    pub const KNOWN: &str = "/corten/raft/v1/known";
    /// The leader wants this member to lead in its place.
    pub const ELECT: &str = "/corten/raft/v1/elect";
    /// A change of the members, for the leader.
    pub const MEMBERS: &str = "/corten/raft/v1/members";
}

/// The header naming the sending member, lower-case hexadecimal; a node without an identity yet sends none.
pub const MEMBER_HEADER: &str = "x-corten-member";

/// The header naming the member a message is for, lower-case hexadecimal. Where one member was reached another may live by
/// now, whose word must not be taken for the former's.
pub const TARGET_HEADER: &str = "x-corten-target";

/// The longest body a peer accepts, in bytes: entries of a few MiB, twice over.
pub const LONGEST_BODY: usize = 64 << 20;

/// The answer to forwarded proposals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// The entry that carried them.
    pub raft_index: u64,
    /// Its term.
    pub term: u64,
    /// The answers, in order.
    pub replies: Replies,
    /// Where their time went at the leader.
    pub spent: Spent,
}

/// Why a leader did not serve a follower.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// It is not the leader; nothing was done.
    NotLeader,
    /// It tried.
    Failed(ProposeError),
}

/// Encodes a message.
///
/// # Errors
/// When a value does not fit postcard; none of ours does that.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, String> {
    postcard::to_stdvec(message).map_err(|e| format!("a message does not encode: {e}"))
}

/// Decodes a message.
///
/// # Errors
/// When the peer speaks another version.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    postcard::from_bytes(bytes).map_err(|e| format!("a message is not of this version: {e}"))
}
