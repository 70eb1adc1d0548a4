//! Nodes with real disks and connections. One binary, because each would compile openraft anew.
#![allow(clippy::unwrap_used)]

mod backup;
mod cluster;
mod common;
mod full;
mod kill;
mod leases;
mod members;
mod transfer;
mod voters;
