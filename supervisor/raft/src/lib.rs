//! One node of the replicated store: openraft over a durable log of our own and a heed state, with the peers over HTTP.
//!
//! Refuses to decide what a command means: that is `corten-store`'s. Refuses to acknowledge anything that is not on the
//! disks of a quorum.
//!
//! ```text
//! propose --> one batch of all that waits --> openraft --> log: one write, one fdatasync
//!                 (a follower's goes to the leader)    `--> peers
//! committed --> state machine: one heed transaction --> watchers (broadcast) --> the proposers' answers
//! ```
//!
//! The data directory: `identity` and `lock` ([`mod@identity`]), `log/` ([`mod@log`]), `state/` and `state.mark`
//! ([`mod@state`]), `snap/` ([`mod@snapshot`]). The log is the truth; the state can be made anew from the newest snapshot
//! and the log behind it.

// openraft's errors are large, and every function it calls or is called by returns them.
#![allow(clippy::result_large_err)]

mod backup;
mod config;
mod disk;
mod duties;
mod end;
mod error;
mod following;
mod force;
mod found;
mod identity;
mod inner;
mod join;
mod lead;
pub mod lessor;
mod linearize;
mod log;
mod members;
mod node;
pub mod observe;
mod peer;
mod propose;
pub mod seldom;
mod silence;
mod slow;
mod snapshot;
mod start;
mod state;
pub mod tls;
mod transfer;
mod types;
mod voters;
mod world;

/// The readers of what a disk keeps, as functions of bytes alone, for tests/fuzz.
pub mod fuzz {
    pub use crate::log::fuzz::{read_payload, read_segment, segment};
    pub use crate::snapshot::fuzz::{beginning, block, read_snapshot, snapshot};
}

pub use backup::{Backup, RestoreError, inspect, restore};
pub use config::{Config, Leader, Member, REMOVE_DELAY_MS, StateSize, Status};
pub use disk::{Disk, File};
pub use error::{PeerError, ProposeError, StartError};
pub use identity::{cluster_id, has_data, member_id};
pub use members::{MemberChange, MemberError, new_member_id};
pub use node::{Applied, AppliedBatch, Node};
pub use observe::{Observation, Observer};
pub use peer::client::AskError;
pub use state::ReadTx;
pub use transfer::MoveLeaderError;
pub use world::{Carried, Simulated};
