//! Unit names: `prefix[@[instance]].type` (systemd.unit(5)), with fleet's rules for which are valid.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A valid unit name. Construct with [`UnitName::parse`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnitName(String);

/// Why a name is not a unit name; the texts are fleet's (contract `fleet.md` section 3).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The empty string.
    #[error("unit name cannot be empty")]
    Empty,
}

impl UnitName {
    /// Checks `name` against fleet's rules.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn parse(name: &str) -> Result<UnitName, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        Ok(UnitName(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
