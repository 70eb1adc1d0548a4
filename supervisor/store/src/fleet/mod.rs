//! The fleet's tables: units, machines, and what the machines report of the units. They do not touch the v2 tree or its
//! index.
//!
//! Applying refuses to decide anything: which machine gets a unit is the scheduler's, when a machine is lost the leader's by its
//! [`leases`]; both come as commands.

pub mod change;
mod key;
pub mod leases;
pub mod read;

pub use change::apply;
pub use read::{current_state, machine, machines, state, states, states_of, states_on, unit, units};

pub use corten_spec::fleet::Decision;
use corten_spec::fleet::{Assignment, JobState, UnitState};
use corten_spec::machine::{Machine, MachineId};
use corten_spec::unit_file::UnitFile;
use corten_spec::unit_name::UnitName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A change of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Creates a unit, or replaces its content and desired state in place; an assignment stays.
    SetUnit {
        /// The unit.
        name: UnitName,
        /// Its file.
        file: UnitFile,
        /// What is wanted of it.
        desired: JobState,
    },
    /// Changes what is wanted of a unit.
    SetDesired {
        /// The unit.
        name: UnitName,
        /// What is wanted of it.
        desired: JobState,
    },
    /// Forgets a unit. Reported states stay until the machines say they are gone.
    DestroyUnit {
        /// The unit.
        name: UnitName,
    },
    /// A machine registers.
    Join {
        /// The machine as it describes itself.
        machine: Machine,
        /// Another one each time it joins.
        session: u64,
    },
    /// A machine's lease ran out, or it leaves cleanly. Its unit states go with it.
    Leave {
        /// The machine.
        id: MachineId,
        /// Only if it is still in this session; `None` whatever its session.
        session: Option<u64>,
    },
    /// Sets or removes one metadata value over what the machine says itself; outlives a rejoin.
    PatchMetadata {
        /// The machine.
        id: MachineId,
        /// The key.
        key: String,
        /// The value; `None` removes the key.
        value: Option<String>,
    },
    /// The scheduler's decisions. One for a unit that is gone is skipped.
    Assign(Vec<Decision>),
    /// A machine reports its units' states.
    Report {
        /// The machine.
        machine: MachineId,
        /// States that are new or changed.
        states: Vec<UnitState>,
        /// Units it no longer knows.
        gone: Vec<UnitName>,
    },
}

/// A unit as the cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRecord {
    /// Its name.
    pub name: UnitName,
    /// Its file.
    pub file: UnitFile,
    /// What is wanted of it.
    pub desired: JobState,
    /// Where it is placed.
    pub assigned: Option<Assignment>,
    /// Why it is placed nowhere, if the scheduler has said so.
    pub unplaced: Option<String>,
}

/// A machine as the cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineRecord {
    /// What it says of itself, with the patches over its metadata.
    pub machine: Machine,
    /// The session it joined with last.
    pub session: u64,
    /// Whether it is here. A record of one that left keeps its patches.
    pub present: bool,
    /// The metadata as the machine gave it.
    pub own_metadata: BTreeMap<String, String>,
    /// What was patched over it.
    pub patches: BTreeMap<String, Option<String>>,
}

/// Something that changed, for watchers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// A unit was created, changed, assigned or destroyed.
    Unit(UnitName),
    /// A machine joined, left or changed.
    Machine(MachineId),
    /// A machine's report of a unit changed or went.
    State {
        /// The unit.
        unit: UnitName,
        /// The machine.
        machine: MachineId,
    },
}

/// What the proposer of a fleet command learns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Done; something changed.
    Done,
    /// All was so already.
    Unchanged,
    /// There is no such unit.
    NoSuchUnit(UnitName),
    /// There is no such machine, or it has left.
    NoSuchMachine(MachineId),
    /// The machine has joined again since; nothing was done.
    OtherSession(MachineId),
}
