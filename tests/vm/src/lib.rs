//! Verbs for tests on real images in real (virtual) machines, and the clusters of the demonstration and the benchmark.
//!
//! Knows the product only as its users do: the image's files, its programs, SSH.

pub mod bench;
pub mod cluster;
pub mod condition;
pub mod config;
pub mod damage;
pub mod demo;
pub mod faults;
pub mod fleetctl;
pub mod host;
pub mod layout;
pub mod make;
pub mod registry;
pub mod rig;
pub mod service;
pub mod state;
pub mod steps;
pub mod web_image;

pub use cluster::{Cluster, Plan};
pub use fleetctl::Fleetctl;
