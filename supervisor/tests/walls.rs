//! The walls of the house (ARCHITECTURE.md, "Rooms and arrows"): which room may depend on which, what a pure room may
//! not name, where `unsafe` may stand, and under which licences our dependencies come.
//!
//! Reads only `cargo metadata` and the sources; needs no network, because Cargo.lock pins everything.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{CargoOpt, Metadata, MetadataCommand, Package};

/// Every arrow that may exist between our crates; anything else is a wall.
const ARROWS: &[(&str, &[&str])] = &[
    ("corten-spec", &[]),
    ("corten-store", &["corten-spec"]),
    ("corten-etcd-api", &[]),
    ("corten-schedule", &["corten-spec"]),
    ("corten-agent", &["corten-spec"]),
    ("corten-raft", &["corten-spec", "corten-store"]),
    ("corten-watch", &["corten-store", "corten-raft"]),
    ("corten-container", &["corten-spec"]),
    (
        "corten-daemon",
        &[
            "corten-spec",
            "corten-store",
            "corten-etcd-api",
            "corten-schedule",
            "corten-agent",
            "corten-raft",
            "corten-watch",
            "corten-container",
        ],
    ),
    (
        "corten-cli",
        &["corten-spec", "corten-container", "corten-etcd-api"],
    ),
    ("corten", &["corten-daemon", "corten-cli"]),
    ("corten-image", &["corten-spec"]),
    ("corten-init", &[]),
    ("corten-qemu", &[]),
    (
        "corten-sim",
        &[
            "corten-spec",
            "corten-store",
            "corten-schedule",
            "corten-agent",
            "corten-raft",
            "corten-watch",
        ],
    ),
    ("corten-vm", &["corten-spec", "corten-qemu", "corten-image"]),
    (
        "corten-fuzz",
        &["corten-spec", "corten-store", "corten-etcd-api", "corten-raft"],
    ),
    ("corten-store-bench", &["corten-etcd-api"]),
];

/// Rooms that decide and never do.
const PURE: &[&str] = &[
    "corten-spec",
    "corten-store",
    "corten-etcd-api",
    "corten-schedule",
    "corten-agent",
];

/// Names by which a pure room would reach a clock, a file, a socket, the environment, randomness or a runtime.
const FORBIDDEN_IN_PURE: &[&str] = &[
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "ToSocketAddrs",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "tokio",
    "rand::",
    "RandomState",
    "HashMap",
    "HashSet",
    "nix::",
    "libc::",
];

/// Crates a pure room may not depend on, whatever it names in its sources.
const FORBIDDEN_CRATES_IN_PURE: &[&str] = &[
    "tokio", "nix", "libc", "rand", "hyper", "axum", "heed", "zbus", "tracing",
];

/// The rooms in which a module may allow `unsafe`, and how many such modules each may have.
const UNSAFE_MODULES: &[(&str, usize)] = &[
    ("corten-container", 1),
    ("corten-init", 1),
    ("corten-raft", 1),
    ("corten-sim", 1),
];

/// Licences that Apache-2.0 code may be shipped with.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "MIT",
    "MIT-0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "0BSD",
    "CC0-1.0",
    "Unlicense",
    "BSL-1.0",
    "OLDAP-2.8",
    "CDLA-Permissive-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MPL-2.0",
];

/// Crates that name no licence in their manifest, and the one their licence file holds.
const LICENCE_BY_FILE: &[(&str, &str)] = &[("rust-criu", "MIT")];

fn metadata() -> Metadata {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    MetadataCommand::new()
        .manifest_path(root)
        .features(CargoOpt::AllFeatures)
        .exec()
        .unwrap()
}

fn ours(meta: &Metadata) -> Vec<&Package> {
    meta.workspace_packages()
}

fn sources(package: &Package) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![
        package
            .manifest_path
            .parent()
            .unwrap()
            .join("src")
            .into_std_path_buf(),
    ];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// The product's part of a source file: its in-file test module (always last) may use what the product may not.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

#[test]
fn only_the_drawn_arrows_exist() {
    let meta = metadata();
    let allowed: BTreeMap<&str, BTreeSet<&str>> = ARROWS
        .iter()
        .map(|(from, to)| (*from, to.iter().copied().collect()))
        .collect();
    for package in ours(&meta) {
        let name = package.name.as_str();
        let may = allowed
            .get(name)
            .unwrap_or_else(|| panic!("room {name} is not drawn in ARROWS"));
        for dependency in &package.dependencies {
            let test_only = dependency.kind == cargo_metadata::DependencyKind::Development;
            let on_ours = dependency.name == "corten" || dependency.name.starts_with("corten-");
            assert!(
                !on_ours || test_only || may.contains(dependency.name.as_str()),
                "{name} -> {}: this arrow is not in the house",
                dependency.name
            );
        }
    }
}

#[test]
fn pure_rooms_reach_nothing_outside() {
    let meta = metadata();
    for package in ours(&meta)
        .into_iter()
        .filter(|p| PURE.contains(&p.name.as_str()))
    {
        for dependency in package
            .dependencies
            .iter()
            .filter(|d| d.kind == cargo_metadata::DependencyKind::Normal)
        {
            let name = dependency.name.as_str();
            assert!(
                !FORBIDDEN_CRATES_IN_PURE.contains(&name),
                "{} is pure, but depends on {name}",
                package.name
            );
        }
        for path in sources(package) {
            let text = std::fs::read_to_string(&path).unwrap();
            for (number, line) in without_tests(&text).lines().enumerate() {
                let code = line.split("//").next().unwrap_or(line);
                for name in FORBIDDEN_IN_PURE {
                    assert!(
                        !code.contains(name),
                        "{}:{}: a pure room names {name}",
                        path.display(),
                        number + 1
                    );
                }
            }
        }
    }
}

#[test]
fn unsafe_stands_only_where_the_house_says() {
    let meta = metadata();
    for package in ours(&meta) {
        let modules = sources(package)
            .into_iter()
            .filter(|path| {
                std::fs::read_to_string(path)
                    .unwrap()
                    .contains("allow(unsafe_code)")
            })
            .collect::<Vec<_>>();
        let may = UNSAFE_MODULES
            .iter()
            .find(|(name, _)| *name == package.name.as_str())
            .map_or(0, |(_, n)| *n);
        assert!(
            modules.len() <= may,
            "{}: unsafe in {modules:?}, allowed in {may} modules",
            package.name
        );
    }
}

#[test]
fn the_harness_does_not_know_the_product() {
    let meta = metadata();
    let qemu = ours(&meta)
        .into_iter()
        .find(|p| p.name.as_str() == "corten-qemu")
        .unwrap();
    for path in sources(qemu) {
        let text = std::fs::read_to_string(&path).unwrap().to_lowercase();
        let found = text
            .lines()
            .enumerate()
            .find(|(_, l)| l.contains("corten") && !l.contains("corten_qemu") && !l.contains("corten-qemu"));
        assert!(
            found.is_none(),
            "{}: {found:?}: qemu/ knows nothing of Corten",
            path.display()
        );
    }
}

#[test]
fn dependencies_come_under_licences_we_can_ship() {
    let meta = metadata();
    for package in meta.packages.iter().filter(|p| p.source.is_some()) {
        let by_file = LICENCE_BY_FILE
            .iter()
            .find(|(name, _)| *name == package.name.as_str());
        let licence = package
            .license
            .clone()
            .or(by_file.map(|(_, l)| (*l).to_owned()))
            .unwrap_or_default();
        let licence = licence.replace('/', " OR ");
        let fits = licence.split(" OR ").any(|choice| {
            choice
                .split(" AND ")
                .all(|one| LICENCES.contains(&one.trim_matches(|c: char| " ()".contains(c))))
        });
        let by_parts = licence.split(" AND ").all(|part| {
            part.split(" OR ")
                .any(|one| LICENCES.contains(&one.trim_matches(|c: char| " ()".contains(c))))
        });
        assert!(
            fits || by_parts,
            "{} {} is under {licence:?}",
            package.name,
            package.version
        );
    }
}

#[test]
fn every_source_file_says_its_duty() {
    let meta = metadata();
    for package in ours(&meta) {
        for path in sources(package) {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(
                text.starts_with("//!"),
                "{}: does not open with //!",
                path.display()
            );
        }
    }
}
