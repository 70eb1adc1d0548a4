//! This machine in its cluster: leases of machines, the scheduler's loop, our own registration.

#[cfg(test)]
mod bench;
pub mod heard;
pub mod heartbeat;
pub mod leader;
pub mod membership;
mod rolls;
mod view;
