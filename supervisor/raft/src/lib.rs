//! One node of the replicated store: openraft over a durable log of our own and a heed state, with the peers over HTTP.
//!
//! Refuses to decide what a command means: that is `corten-store`'s. Refuses to acknowledge anything that is not on the
//! disks of a quorum.

pub mod config;
pub mod error;
pub mod node;
pub mod state;

pub use config::{Config, Leader, Member, Status};
pub use error::{PeerError, ProposeError, StartError};
pub use node::{Applied, AppliedBatch, Node};
pub use state::ReadTx;
