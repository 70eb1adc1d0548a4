//! Every file of `units/` is what its place says: unit files parse, presets name units, accounts and paths are whole.
//!
//! What only systemd can judge is judged by systemd-analyze in `tests/image.rs`.
#![allow(clippy::unwrap_used)]

use corten_spec::unit_file::UnitFile;
use corten_spec::unit_name::UnitName;
use std::fs;
use std::path::{Path, PathBuf};

fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../units")
}

/// Files below a folder of `units/`, with their names; links are followed only as names.
fn files(folder: &str) -> Vec<(String, String)> {
    let mut found: Vec<_> = fs::read_dir(units().join(folder))
        .unwrap()
        .map(|e| e.unwrap())
        .filter(|e| e.file_type().unwrap().is_file())
        .map(|e| {
            (
                e.file_name().into_string().unwrap(),
                fs::read_to_string(e.path()).unwrap(),
            )
        })
        .collect();
    found.sort();
    assert!(!found.is_empty(), "units/{folder} is empty");
    found
}

#[test]
fn every_unit_parses_and_says_what_it_is() {
    for (name, text) in files("usr/lib/systemd/system") {
        UnitName::parse(&name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let unit = UnitFile::parse(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(!unit.description().is_empty(), "{name} has no Description=");
        for section in unit.sections() {
            let known = ["Unit", "Install", "Service", "Socket", "Path", "Timer", "Mount"].contains(&section);
            assert!(known, "{name}: unknown section [{section}]");
        }
    }
}

#[test]
fn every_link_leads_to_a_unit() {
    let mut folders = vec![units().join("usr/lib/systemd/system")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|e| e.unwrap()) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if let Ok(target) = fs::read_link(entry.path()) {
                let debians = target.to_string_lossy().ends_with("multi-user.target");
                assert!(
                    debians || entry.path().exists(),
                    "{} leads nowhere",
                    entry.path().display()
                );
            }
        }
    }
}

#[test]
fn presets_name_units_once_and_end_with_nothing_else() {
    for (file, text) in files("usr/lib/systemd/system-preset") {
        let lines: Vec<&str> = text
            .lines()
            .filter(|l| !l.is_empty() && !l.starts_with('#'))
            .collect();
        for (i, line) in lines.iter().enumerate() {
            let (verb, unit) = line.split_once(' ').unwrap_or_else(|| panic!("{file}: {line}"));
            assert!(["enable", "disable"].contains(&verb), "{file}: {line}");
            assert!(unit == "*" || UnitName::parse(unit).is_ok(), "{file}: {line}");
            assert!(!lines[..i].contains(line), "{file}: {line} stands twice");
        }
        assert_eq!(lines.last(), Some(&"disable *"), "{file}");
    }
}

#[test]
fn accounts_and_paths_have_their_columns() {
    for (file, text) in files("usr/lib/sysusers.d") {
        for line in text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
            assert!(matches!(&line[..2], "u " | "g " | "m "), "{file}: {line}");
            assert!(line.split_ascii_whitespace().count() >= 3, "{file}: {line}");
        }
    }
    for (file, text) in files("usr/lib/tmpfiles.d") {
        for line in text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            assert!(words.len() >= 5 && words[1].starts_with('/'), "{file}: {line}");
            assert!(
                words[2] == "-" || u32::from_str_radix(words[2], 8).is_ok(),
                "{file}: {line}"
            );
        }
    }
}
