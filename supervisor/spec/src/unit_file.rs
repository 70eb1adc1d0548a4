//! Unit files as fleet stores them: an ordered list of options, with the hash that identifies a content.

use serde::{Deserialize, Serialize};

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
