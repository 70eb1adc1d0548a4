//! The replicated state machine as a pure function: `apply(transaction, index, command) -> Outcome`.
//!
//! It holds etcd's v2 key tree with its history window, etcd's v3 keys with their revisions, leases and users, the
//! cluster's//! units, machines and unit states, and what the members say about themselves, all in named tables behind a small
//! transaction trait ([`tables`]), so that heed and an in-memory twin ([`memory::Memory`]) serve the same code.
//!
//! Refuses to do: anything that two replicas could do differently. No clock, randomness, file or socket is touched
//! here; times come in as milliseconds since the Unix epoch inside the commands.
//!
//! Danger: every node must reach the same tables from the same commands. A change here that alters what an old
//! command does makes replicas of two versions differ.

pub mod alarm;
pub mod auth;
pub mod command;
mod describe;
pub mod fleet;
pub mod keys;
pub mod kv;
pub mod lessor;
pub mod member;
pub mod memory;
pub mod meta;
pub mod restore;
pub mod tables;
pub mod v2auth;
pub mod voters;

pub use command::{Batch, Command, Event, LogIndex, Outcome, Response, apply};
pub use tables::StoreFault;
