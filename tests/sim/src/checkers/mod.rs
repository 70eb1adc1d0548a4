//! What must hold, one file for each promise. A checker looks and judges; it changes nothing, and it uses the plain
//! definitions of `corten_spec::placement` rather than the code it checks.

pub mod fences;
pub mod layout;
pub mod leftovers;
pub mod neighbours;
pub mod plans;
pub mod rest;
pub mod rolls;
pub mod storm;
