//! Unit files as fleet stores them: an ordered list of options, with the hash that identifies a content.
//!
//! Printing groups options by section, sections in the order first seen, one blank line between them; comments and
//! blank lines of the original are gone. The hash is SHA-1 over that text (contract `fleet.md` section 2, Hash).
//! Parsing is in [`crate::unit_parse`].

use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::unit_parse::{self, UnitFileError};

/// The most bytes that a unit file may have as it is printed: every machine has every unit of the cluster in its store.
pub const SIZE_MAX: usize = 3 << 19;

/// One `name=value` line of a unit file, with its section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitOption {
    /// Section name without brackets.
    pub section: String,
    /// Option name.
    pub name: String,
    /// Value, trimmed; continuation lines are kept verbatim.
    pub value: String,
}

/// A unit file: its options in the order given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnitFile {
    /// The options, in order.
    pub options: Vec<UnitOption>,
}

impl UnitFile {
    /// Parses the text of a unit file.
    ///
    /// # Errors
    /// The first line that fleet would refuse, with its number.
    pub fn parse(text: &str) -> Result<UnitFile, UnitFileError> {
        unit_parse::parse(text)
    }

    /// SHA-1 of the printed file, 40 lower-case hexadecimal digits.
    pub fn hash(&self) -> String {
        let digest = Sha1::digest(self.to_string().as_bytes());
        let mut hex = String::with_capacity(2 * digest.len());
        for byte in digest {
            // A string takes everything.
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }

    /// Every value of `name` in `section`, in order.
    pub fn values<'a>(&'a self, section: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.options
            .iter()
            .filter(move |o| o.section == section && o.name == name)
            .map(|o| o.value.as_str())
    }

    /// The first `Description=` of `[Unit]`, or the empty string, as `fleetctl list-unit-files` shows it.
    pub fn description(&self) -> &str {
        self.values("Unit", "Description").next().unwrap_or("")
    }

    /// Has it an `[Install]` section, so that it is enabled after it is linked?
    pub fn has_install(&self) -> bool {
        self.options.iter().any(|o| o.section == "Install")
    }

    /// Section names in the order first seen.
    pub fn sections(&self) -> Vec<&str> {
        let mut sections: Vec<&str> = Vec::new();
        for option in &self.options {
            if !sections.contains(&option.section.as_str()) {
                sections.push(&option.section);
            }
        }
        sections
    }
}

impl fmt::Display for UnitFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, section) in self.sections().into_iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            writeln!(f, "[{section}]")?;
            for option in self.options.iter().filter(|o| o.section == section) {
                writeln!(f, "{}={}", option.name, option.value)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_fleet_does() {
        // fleet's functional fixture hello.service.
        let hello =
            "[Service]\nExecStart=/bin/bash -c \"while true; do echo Hello, World!; sleep 1; done\"\n";
        let file = UnitFile::parse(hello).unwrap();
        assert_eq!(file.to_string(), hello);
        assert_eq!(file.hash(), "3750b3e9f3962a56c7582929426e9abb012754cf");
        assert_eq!(
            UnitFile::default().hash(),
            "da39a3ee5e6b4b0d3255bfef95601890afd80709"
        );
    }

    #[test]
    fn prints_grouped_by_section() {
        let file = UnitFile::parse("[Unit]\nA=1\n[Service]\nB=2\n# no\n[Unit]\nC=3\n").unwrap();
        assert_eq!(file.to_string(), "[Unit]\nA=1\nC=3\n\n[Service]\nB=2\n");
        assert_eq!(file.sections(), ["Unit", "Service"]);
    }

    #[test]
    fn answers_questions_about_itself() {
        let file = UnitFile::parse("[Unit]\nDescription=one\nDescription=two\n[Install]\nWantedBy=x.target")
            .unwrap();
        assert_eq!(file.description(), "one");
        assert!(file.has_install());
        assert_eq!(
            file.values("Unit", "Description").collect::<Vec<_>>(),
            ["one", "two"]
        );
        assert_eq!(UnitFile::default().description(), "");
    }
}
