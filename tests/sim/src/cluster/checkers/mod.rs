//! What must hold, one file for each promise.

pub mod acknowledged;
pub mod current;
pub mod expiry;
pub mod history;
pub mod leases;
pub mod linear;
pub mod members;
pub mod past;
pub mod replicas;
pub mod watch;

use super::client::{End, Operation};

/// An operation of a client, with when it began and ended. One that has not ended may yet have an effect.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub operation: Operation,
    pub began_ms: u64,
    pub ended: Option<(u64, End)>,
}
