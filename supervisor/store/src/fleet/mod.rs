//! The fleet's tables: units, machines, and what the machines report of the units. They do not touch the v2 tree or its
//! index.
//!
//! Applying refuses to decide anything: which machine gets a unit is the scheduler's, when a machine is lost the leader's by its
//! [`leases`]; both come as commands.

pub mod change;
mod key;
pub mod leases;
pub mod read;
mod rollout;

pub use change::apply;
pub use read::{machine, machines, rolling, state, states, states_of, states_on, unit, units};
pub use rollout::{Rollout, Waiting};

pub use corten_spec::fleet::Decision;
use corten_spec::fleet::{Assignment, JobState, UnitState};
use corten_spec::machine::{Machine, MachineId};
use corten_spec::unit_file::UnitFile;
use corten_spec::unit_name::UnitName;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

/// A change of the fleet. Part of the log's format, encoded by position: variants are only added at the end, and fields to none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Creates a unit, or replaces its content and desired state in place; an assignment stays. Another content ends a roll.
    SetUnit {
        /// The unit.
        name: UnitName,
        /// Its file.
        file: UnitFile,
        /// What is wanted of it.
        desired: JobState,
    },
    /// Changes what is wanted of a unit. All but launched ends a roll.
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
        /// Another one each time it joins, one more than before: of two joins of one supervisor, the one asked for first
        /// does nothing if it comes last.
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
    /// [`Command::SetUnit`] for a global unit, a few machines at a time. With the content it has, the roll that is under way
    /// has another limit from now on.
    RollUnit {
        /// The unit.
        name: UnitName,
        /// Its file; it must be placed as the one before.
        file: UnitFile,
        /// What is wanted of it.
        desired: JobState,
        /// On so many machines it may be down because of that.
        max_unavailable: NonZeroU32,
    },
    /// The scheduler's decision: these machines may take a unit's new file.
    Allow {
        /// The unit.
        unit: UnitName,
        /// The new file's hash: nothing happens when the unit has another one meanwhile.
        hash: String,
        /// Who may; perhaps nobody, when only the reason is another one.
        machines: BTreeSet<MachineId>,
        /// What the roll waits for now.
        reason: String,
    },
    /// The scheduler's decision: the roll of a unit is over. Whoever has not the new file takes it.
    EndRollout {
        /// The unit.
        unit: UnitName,
        /// As in [`Command::Allow`].
        hash: String,
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
    /// The roll to `file` that is under way. In a table of its own.
    #[serde(skip)]
    pub rollout: Option<Rollout>,
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
    /// The unit is not global, and so cannot be rolled; nothing was done.
    NotGlobal(UnitName),
    /// The unit's new file is placed otherwise than the old, and so cannot be rolled; nothing was done.
    PlacedOtherwise(UnitName),
}
