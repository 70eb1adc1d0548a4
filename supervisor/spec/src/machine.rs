//! Machines: the members of a cluster, as fleet's users know them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::resources::Resources;

/// A machine's id: the content of /etc/machine-id, 32 lower-case hexadecimal digits (machine-id(5)).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MachineId(pub String);

impl MachineId {
    /// The first eight characters, as fleetctl shows them (fewer if the id is shorter).
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }

    /// Is this the machine `MachineID=wanted` asks for? The full id or its first eight characters, as in fleet's code
    /// (its documentation claims the full id only).
    pub fn is_meant_by(&self, wanted: &str) -> bool {
        wanted == self.0 || (wanted.len() == 8 && wanted == self.short())
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What `MachineMetadata=` asks for: every key must have one of its values.
pub type MetadataRequirements = BTreeMap<String, BTreeSet<String>>;

/// The metadata by which a machine says what is wrong with it. Beyond fleet.
pub const TROUBLE: &str = "trouble";

/// Whether units are placed on a machine: its metadata `scheduling`, and whether it has trouble. Beyond fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduling {
    /// They are.
    Open,
    /// `cordon`: it takes no new units.
    Cordoned,
    /// It has trouble: likewise.
    Troubled,
    /// `drain`: nor do those on it stay. Global units do.
    Drained,
}

/// A machine as `fleetctl list-machines` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Who it is.
    pub id: MachineId,
    /// The address its units are reached at; empty when unknown.
    pub primary_ip: String,
    /// `key=value` pairs that units select machines by.
    pub metadata: BTreeMap<String, String>,
    /// The processors and the memory it found of itself; 0 where it could not tell. What its metadata says goes before.
    pub found: Resources,
}

impl Machine {
    /// Has every required key one of its wanted values here?
    pub fn satisfies(&self, required: &MetadataRequirements) -> bool {
        self.lacks(required).is_none()
    }

    /// What is wrong with it, in its own words.
    pub fn trouble(&self) -> Option<&str> {
        let trouble = self.metadata.get(TROUBLE)?;
        Some(trouble.as_str()).filter(|trouble| !trouble.is_empty())
    }

    /// The same for the operator: `machine 0123abcd has trouble: systemd does not answer`.
    pub fn trouble_in_words(&self) -> Option<String> {
        let trouble = self.trouble()?;
        Some(format!("machine {} has trouble: {trouble}", self.id.short()))
    }

    /// Whether units are placed on it. A word that means nothing keeps nobody away.
    pub fn scheduling(&self) -> Scheduling {
        match self.metadata.get("scheduling").map(String::as_str) {
            Some("drain") => Scheduling::Drained,
            _ if self.trouble().is_some() => Scheduling::Troubled,
            Some("cordon") => Scheduling::Cordoned,
            _ => Scheduling::Open,
        }
    }

    /// The first requirement not met, as `role=db` or `role=db|web` for the operator; None when all are met.
    pub fn lacks(&self, required: &MetadataRequirements) -> Option<String> {
        let (key, wanted) = required
            .iter()
            .find(|(key, wanted)| !self.metadata.get(*key).is_some_and(|has| wanted.contains(has)))?;
        Some(format!(
            "{key}={}",
            wanted.iter().map(String::as_str).collect::<Vec<_>>().join("|")
        ))
    }
}

/// Parses FLEET_METADATA, `k=v,k=v`: blanks around keys and values are dropped, a later pair wins over an earlier one,
/// anything without `=` is ignored, as fleet does.
pub fn parse_metadata(text: &str) -> BTreeMap<String, String> {
    text.split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .filter(|(key, _)| !key.is_empty())
        .collect()
}

/// Static metadata overlaid by what was patched through the API; a patch to the empty string hides the key.
pub fn effective_metadata(
    fixed: &BTreeMap<String, String>,
    patched: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut metadata = fixed.clone();
    metadata.extend(patched.iter().map(|(key, value)| (key.clone(), value.clone())));
    metadata.retain(|_, value| !value.is_empty());
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn parses_metadata_as_fleet_does() {
        assert_eq!(
            parse_metadata("role=db, disk = ssd"),
            pairs(&[("role", "db"), ("disk", "ssd")])
        );
        assert_eq!(parse_metadata(""), pairs(&[]));
        assert_eq!(
            parse_metadata("junk,a=b=c,a2=,=x"),
            pairs(&[("a", "b=c"), ("a2", "")])
        );
    }

    #[test]
    fn same_key_is_or_different_keys_are_and() {
        let machine = Machine {
            id: MachineId("0123456789abcdef0123456789abcdef".to_owned()),
            primary_ip: String::new(),
            metadata: pairs(&[("role", "db"), ("disk", "ssd")]),
            found: Default::default(),
        };
        let need = |wanted: &[(&str, &str)]| {
            let mut required = MetadataRequirements::new();
            for (k, v) in wanted {
                required
                    .entry((*k).to_owned())
                    .or_default()
                    .insert((*v).to_owned());
            }
            machine.lacks(&required)
        };
        assert_eq!(need(&[]), None);
        assert_eq!(need(&[("role", "db"), ("role", "web"), ("disk", "ssd")]), None);
        assert_eq!(
            need(&[("role", "web"), ("role", "app")]),
            Some("role=app|web".to_owned())
        );
        assert_eq!(need(&[("role", "db"), ("zone", "a")]), Some("zone=a".to_owned()));
        assert!(machine.id.is_meant_by("01234567") && machine.id.is_meant_by(&machine.id.0));
        assert!(!machine.id.is_meant_by("0123"));
    }

    #[test]
    fn trouble_is_as_a_cordon_and_ends_no_drain() {
        let why = "systemd does not answer";
        for (metadata, scheduling, trouble) in [
            (pairs(&[]), Scheduling::Open, None),
            (pairs(&[("trouble", "")]), Scheduling::Open, None),
            (pairs(&[("trouble", why)]), Scheduling::Troubled, Some(why)),
            (
                pairs(&[("trouble", why), ("scheduling", "cordon")]),
                Scheduling::Troubled,
                Some(why),
            ),
            (
                pairs(&[("trouble", why), ("scheduling", "drain")]),
                Scheduling::Drained,
                Some(why),
            ),
        ] {
            let machine = Machine {
                id: MachineId(String::new()),
                primary_ip: String::new(),
                metadata,
                found: Default::default(),
            };
            assert_eq!((machine.scheduling(), machine.trouble()), (scheduling, trouble));
        }
    }

    #[test]
    fn patches_overlay_and_hide() {
        let fixed = pairs(&[("role", "db"), ("disk", "ssd")]);
        let patched = pairs(&[("role", ""), ("zone", "a")]);
        assert_eq!(
            effective_metadata(&fixed, &patched),
            pairs(&[("disk", "ssd"), ("zone", "a")])
        );
    }
}
