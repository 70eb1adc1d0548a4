//! The same random requests to a fresh server of ours and to a fresh etcd 3.4, one after the other: status, headers and body
//! must be the same, once times, ids and ports are masked.
//!
//! A failure names its seed; `SEED=n` runs that one alone.
#![allow(clippy::unwrap_used)]

mod auth;
mod common;
mod etcdctl;
mod figures;
mod keys;
mod v3;
