//! Servers of the store, ours and Debian's etcd, started alike on loopback: what the benchmark and the differential test
//! share.

pub mod client;
pub mod server;
