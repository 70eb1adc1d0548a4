//! Machines: the members of a cluster, as fleet's users know them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A machine's id: the content of /etc/machine-id, 32 lower-case hexadecimal digits (machine-id(5)).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MachineId(pub String);

impl MachineId {
    /// The first eight characters, as fleetctl shows them (fewer if the id is shorter).
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
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
}
