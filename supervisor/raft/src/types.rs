//! The types openraft is told about: what an entry carries, what applying it answers.

use bytes::Bytes;
use corten_store::{Command, Response};
use serde::{Deserialize, Serialize};

use crate::snapshot::SnapshotFile;

openraft::declare_raft_types!(
    /// Corten's Raft: an entry carries a batch of commands, a snapshot is a file.
    pub TypeConfig:
        D = Batch,
        R = Replies,
        NodeId = u64,
        Node = Peer,
        SnapshotData = SnapshotFile,
);

/// A member as Raft's membership keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its peer URLs, separated by commas.
    pub addr: String,
    /// It shall vote as soon as it has caught up; one that does vote already has this, too.
    pub to_vote: bool,
}

impl Peer {
    /// A member that votes.
    pub fn voter(peer_urls: &[String]) -> Peer {
        Peer {
            addr: peer_urls.join(","),
            to_vote: true,
        }
    }

    /// Its peer URLs, one by one.
    pub fn urls(&self) -> Vec<String> {
        self.addr.split(',').map(str::to_owned).collect()
    }
}

/// A position in the log, with the term and leader that wrote it.
pub type LogId = openraft::LogId<u64>;
/// A vote, promised or won.
pub type Vote = openraft::Vote<u64>;
/// A log entry.
pub type Entry = openraft::Entry<TypeConfig>;
/// The running Raft.
pub type Raft = openraft::Raft<TypeConfig>;
/// The members as of some entry.
pub type StoredMembership = openraft::StoredMembership<u64, Peer>;
/// What a snapshot says of itself.
pub type SnapshotMeta = openraft::SnapshotMeta<u64, Peer>;
/// A failure of log or state, as openraft carries it.
pub type StorageError = openraft::StorageError<u64>;
/// What is wrong with the storage.
pub type StorageIOError = openraft::StorageIOError<u64>;

/// Commands of one log entry, encoded once by their proposer: the postcard form of `Vec<Command>`.
///
/// Many proposals share one entry because openraft 0.9 syncs its log once per entry: the batch is the group commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Batch(pub Bytes);

impl Batch {
    /// Joins commands that are encoded each by itself.
    pub fn join<'c>(commands: impl ExactSizeIterator<Item = &'c [u8]> + Clone) -> Batch {
        let size: usize = commands.clone().map(<[u8]>::len).sum();
        let mut out = Vec::with_capacity(10 + size);
        let mut count = commands.len() as u64;
        while count >= 0x80 {
            out.push((count & 0x7f) as u8 | 0x80); // postcard's varint
            count >>= 7;
        }
        out.push(count as u8);
        for command in commands {
            out.extend_from_slice(command);
        }
        Batch(Bytes::from(out))
    }

    /// The commands.
    ///
    /// # Errors
    /// When the bytes are not what a proposer of this version writes.
    pub fn commands(&self) -> Result<Vec<Command>, postcard::Error> {
        postcard::from_bytes(&self.0)
    }
}

/// The answers to an entry's commands, in order; none for an entry without commands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Replies(pub Vec<Reply>);

/// The answer to one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The state machine's.
    pub response: Response,
    /// The v2 index after it.
    pub etcd_index: u64,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_joined_batch_decodes_to_its_commands() {
        for count in [0usize, 1, 127, 128, 300, 20_000] {
            let commands: Vec<Command> = (0..count as u64)
                .map(|now_ms| Command::ExpireKeys { now_ms })
                .collect();
            let encoded: Vec<Vec<u8>> = commands.iter().map(|c| postcard::to_stdvec(c).unwrap()).collect();
            assert_eq!(
                Batch::join(encoded.iter().map(Vec::as_slice)).commands().unwrap(),
                commands
            );
        }
    }
}
