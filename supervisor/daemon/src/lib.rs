//! The supervisor: one process per machine that keeps a replica of the store, serves etcd's and fleet's APIs, schedules
//! while it leads, and makes this machine's systemd run what is assigned to it.
//!
//! It translates and never decides: what a command does is `corten-store`'s, where a unit goes `corten-schedule`'s,
//! what systemd is asked to do `corten-agent`'s decision.

pub mod agent;
pub mod bootstrap;
mod chain;
mod clock;
pub mod cloud_config;
pub mod cluster;
pub mod etcd;
pub mod etcd_program;
pub mod fleet;
pub mod http;
pub mod identity;
pub mod journal;
pub mod listeners;
pub mod member;
pub mod metrics;
pub mod notify;
pub mod pulse;
pub mod run;
pub mod settings;
mod status;
pub mod stop;
pub mod supervisor;
pub mod systemd;
#[cfg(test)]
mod testing;
pub mod tls;
mod watching;
