//! What must hold for any bytes whatever, one function per parser that reads what others wrote: requests of both APIs, the
//! log and the snapshots as a disk gives them back, unit files, cloud-configs.
//!
//! The same functions are run by libFuzzer (`tests/fuzz/run`, which needs a C++ compiler) and by the ordinary test `seeded`,
//! which changes good inputs at random and needs nothing. A target panics where it finds something.

mod config;
mod disk;
mod request;

/// A parser, what is fed to it to begin with, and its property.
pub struct Target {
    /// The name, which is also that of the libFuzzer program.
    pub name: &'static str,
    /// Good inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Panics where the property does not hold.
    pub check: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "v2_request",
        seeds: request::v2_seeds,
        check: request::v2,
    },
    Target {
        name: "v3_json",
        seeds: request::v3_seeds,
        check: request::v3,
    },
    Target {
        name: "log_segment",
        seeds: disk::segment_seeds,
        check: disk::segment,
    },
    Target {
        name: "log_record",
        seeds: disk::record_seeds,
        check: disk::record,
    },
    Target {
        name: "snapshot",
        seeds: disk::snapshot_seeds,
        check: disk::snapshot,
    },
    Target {
        name: "unit_file",
        seeds: config::unit_seeds,
        check: config::unit_file,
    },
    Target {
        name: "container",
        seeds: config::container_seeds,
        check: config::container,
    },
    Target {
        name: "cloud_config",
        seeds: config::cloud_seeds,
        check: config::cloud_config,
    },
];

/// Runs one by name.
///
/// # Panics
/// When there is none of that name, or its property does not hold.
pub fn check(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("a target of this name").check)(data);
}
