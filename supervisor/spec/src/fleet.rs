//! What fleet adds to units: job states, assignments, the state a machine reports for a unit.
//! Source: contract `fleet.md`, sections 2 to 4.

use serde::{Deserialize, Serialize};

use crate::machine::MachineId;
use crate::unit_name::UnitName;

/// The three states fleet knows for a unit, desired and current.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Known to the cluster, on no machine.
    Inactive,
    /// On a machine, known to its systemd, not started by us.
    Loaded,
    /// On a machine and started. Says nothing about systemd's success.
    Launched,
}

/// A unit placed on a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Where.
    pub machine: MachineId,
    /// Why there, in words for the operator.
    pub reason: String,
}

/// One step of a plan, and what the store writes for it: where a unit is from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The unit.
    pub unit: UnitName,
    /// Its machine from now on; None takes it off its machine, or says why it is on none.
    pub machine: Option<MachineId>,
    /// Why, in words for the operator.
    pub reason: String,
}

impl JobState {
    /// The state as the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Inactive => "inactive",
            JobState::Loaded => "loaded",
            JobState::Launched => "launched",
        }
    }

    /// The state called `text`, if there is one.
    pub fn parse(text: &str) -> Option<JobState> {
        [JobState::Inactive, JobState::Loaded, JobState::Launched]
            .into_iter()
            .find(|s| s.as_str() == text)
    }
}

impl std::fmt::Display for JobState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one machine reports of one unit (fleet's UnitState).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    /// The unit.
    pub name: UnitName,
    /// The machine that reports.
    pub machine: MachineId,
    /// SHA-1 of the unit file the machine runs, 40 hexadecimal digits.
    pub hash: String,
    /// systemd's LoadState.
    pub load: String,
    /// systemd's ActiveState.
    pub active: String,
    /// systemd's SubState.
    pub sub: String,
    /// True once the machine's agent has asked systemd to start it (fleet's job-state == target).
    pub launched: bool,
    /// Why systemd did not run it when it was asked to: what it answered, or how the start job ended. Empty if it did. Of a
    /// unit that was not launched: why the machine has not even loaded it.
    pub start_error: String,
}

impl UnitState {
    /// Does the machine have the unit, or does it only say why it has not?
    pub fn is_loaded(&self) -> bool {
        self.launched || self.start_error.is_empty()
    }
}
