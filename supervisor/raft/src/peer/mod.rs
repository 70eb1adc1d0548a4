//! Peers talk HTTP/1.1 with keep-alive and postcard bodies, below `/corten/raft/v1/` on the peer listener.
//!
//! Every message of Raft says which cluster it is meant for, so that a member with a stale address list is refused instead
//! of believed.

pub mod client;
pub mod network;
pub mod server;
pub mod wire;
