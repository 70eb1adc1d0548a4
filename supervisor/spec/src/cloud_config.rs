//! cloud-config as coreos-cloudinit had it (contract `os-image.md` section 2), from text to decision:
//!
//! ```text
//! bytes -unpacked-> text -substitute-> text -form-> script, cloud-config, …
//!     cloud-config -yaml-> tree with lines -validate-> report
//!                                          -decode---> CloudConfig + errors -plan(facts)-> steps, commands, report
//! ```
//!
//! Nothing here reads or writes anything: the daemon's `cloud_config` finds the datasource, states the facts, and
//! carries out the steps. A bad value costs the entry it stands in and is named with its line, never the machine.

pub mod accounts;
pub mod checks;
pub mod cmdline;
pub mod config;
pub mod decode;
pub mod encoding;
mod foresee;
pub mod merge;
pub mod metadata;
pub mod network;
pub mod plan;
pub mod report;
pub mod schema;
pub mod substitute;
pub mod user_data;
pub mod validate;
pub mod yaml;
