//! Kernel modules out of the initramfs.
//!
//! The image builder resolves dependencies and leaves `/modules/list`:
//! ```text
//! load FILE                     always, in this order
//! want PATTERN FILE [FILE..]    at once, in this order, when a device's modalias matches PATTERN (* ? [..])
//! if PATTERN FILE [FILE..]      the same, but only while the disk is not found without
//! ```
//! Refuses: to judge. A module that does not load (no such hardware) is noted and the boot goes on; a disk that then
//! does not appear is named by [`crate::disk`].

use crate::kmsg;
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::time::Instant;

/// Where the builder puts modules and their list.
const FOLDER: &str = "/modules";
/// Buses whose devices may carry a disk.
const BUSES: [&str; 6] = ["pci", "virtio", "vmbus", "xen", "scsi", "acpi"];

/// A line of the list.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Load(&'a str),
    Want(&'a str, Vec<&'a str>),
    If(&'a str, Vec<&'a str>),
}

/// The list, and which of its modules were tried.
#[derive(Debug)]
pub struct Modules {
    list: String,
    tried: BTreeSet<String>,
}

impl Modules {
    /// Reads the list and loads what is always needed or wanted.
    pub fn load_always() -> Self {
        let list = fs::read_to_string(format!("{FOLDER}/list")).unwrap_or_default();
        let mut tried = BTreeSet::new();
        let aliases = modaliases();
        for line in list.lines().filter_map(parse_line) {
            match line {
                Line::Load(file) => load(file, &mut tried),
                Line::Want(pattern, files) if asked_for(pattern, &aliases) => {
                    files.iter().for_each(|f| load(f, &mut tried));
                }
                Line::Want(..) | Line::If(..) => {}
            }
        }
        Self { list, tried }
    }

    /// Loads what the hardware seen by now asks for, until no more is found.
    pub fn load_for_hardware(&mut self) {
        loop {
            let aliases = modaliases();
            let before = self.tried.len();
            for line in self.list.lines().filter_map(parse_line) {
                if let Line::If(pattern, files) = line
                    && asked_for(pattern, &aliases)
                {
                    files.iter().for_each(|f| load(f, &mut self.tried));
                }
            }
            if self.tried.len() == before {
                return;
            }
        }
    }
}

/// Notes how long the boot took up to here.
pub fn note_time(what: &str, started: Instant) {
    kmsg::info(&format!(
        "{what} ready after {} ms",
        started.elapsed().as_millis()
    ));
}

fn load(file: &str, tried: &mut BTreeSet<String>) {
    if !tried.insert(file.to_owned()) {
        return;
    }
    let result = File::open(format!("{FOLDER}/{file}"))
        .map_err(|e| e.to_string())
        .and_then(|f| {
            finit_module(&f, c"", ModuleInitFlags::empty())
                .or_else(ignore_absent)
                .map_err(|e| e.to_string())
        });
    if let Err(error) = result {
        kmsg::warning(&format!("module {file}: {error}"));
    }
}

/// Already there, or no such hardware: nothing to tell.
fn ignore_absent(error: Errno) -> Result<(), Errno> {
    if matches!(error, Errno::EEXIST | Errno::ENODEV) {
        Ok(())
    } else {
        Err(error)
    }
}

fn modaliases() -> BTreeSet<String> {
    BUSES
        .iter()
        .filter_map(|bus| fs::read_dir(format!("/sys/bus/{bus}/devices")).ok())
        .flat_map(|devices| devices.flatten())
        .filter_map(|device| fs::read_to_string(device.path().join("modalias")).ok())
        .map(|alias| alias.trim_end().to_owned())
        .collect()
}

fn parse_line(line: &str) -> Option<Line<'_>> {
    let mut words = line.split_ascii_whitespace();
    match words.next()? {
        "load" => words.next().map(Line::Load),
        "want" => Some(Line::Want(words.next()?, words.collect())),
        "if" => Some(Line::If(words.next()?, words.collect())),
        _ => None,
    }
}

fn asked_for(pattern: &str, aliases: &BTreeSet<String>) -> bool {
    aliases.iter().any(|a| matches(pattern.as_bytes(), a.as_bytes()))
}

/// Matches as fnmatch does: `*`, `?` and `[..]` with ranges.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.first(), text.first()) {
        (None, None) => true,
        (Some(b'*'), _) => matches(&pattern[1..], text) || (!text.is_empty() && matches(pattern, &text[1..])),
        (Some(b'['), Some(c)) => match pattern.iter().position(|p| *p == b']') {
            Some(end) => in_set(&pattern[1..end], *c) && matches(&pattern[end + 1..], &text[1..]),
            None => false,
        },
        (Some(b'?'), Some(_)) => matches(&pattern[1..], &text[1..]),
        (Some(p), Some(c)) => p == c && matches(&pattern[1..], &text[1..]),
        _ => false,
    }
}

fn in_set(set: &[u8], c: u8) -> bool {
    let mut at = 0;
    while at < set.len() {
        if at + 2 < set.len() && set[at + 1] == b'-' {
            if (set[at]..=set[at + 2]).contains(&c) {
                return true;
            }
            at += 3;
        } else if set[at] == c {
            return true;
        } else {
            at += 1;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        assert_eq!(parse_line("load a.ko"), Some(Line::Load("a.ko")));
        assert_eq!(
            parse_line("if virtio:d00000008v* b.ko c.ko"),
            Some(Line::If("virtio:d00000008v*", vec!["b.ko", "c.ko"]))
        );
        assert_eq!(parse_line("want a* b.ko"), Some(Line::Want("a*", vec!["b.ko"])));
        assert_eq!(parse_line(""), None);
    }

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("virtio:d00000008v*", "virtio:d00000008v00001AF4", true),
            ("virtio:d00000008v*", "virtio:d00000002v00001AF4", false),
            (
                "pci:v*d*sv*sd*bc01sc06i01*",
                "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01",
                true,
            ),
            ("scsi:t-0x0[0-4]*", "scsi:t-0x00", true),
            ("scsi:t-0x0[5-9]*", "scsi:t-0x00", false),
            ("a?c", "abc", true),
            ("a[", "ab", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }
}
