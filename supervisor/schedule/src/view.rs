//! What the scheduler looks at. The caller fills it from the store; nothing here knows the store's insides.

use std::collections::BTreeMap;

use corten_spec::fleet::JobState;
use corten_spec::machine::{Machine, MachineId};
use corten_spec::unit_name::UnitName;
use corten_spec::x_fleet::Requirements;

/// One unit as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitView {
    /// What it asks of a machine.
    pub requirements: Requirements,
    /// What the operator wants.
    pub desired: JobState,
    /// The machine it is assigned to, present or not.
    pub assigned: Option<MachineId>,
    /// The reason stored for its being on no machine. None and not assigned: it has never been planned since it was
    /// last wanted, it is a new arrival (which matters for `Replaces=` only).
    pub unplaced: Option<String>,
}

/// The cluster at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// Machines present, with their effective metadata.
    pub machines: BTreeMap<MachineId, Machine>,
    /// All units.
    pub units: BTreeMap<UnitName, UnitView>,
}

/// What the caller knows that the view does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Machines that are absent may only be silent: after a change of leader or an outage of the store, until every
    /// machine had time to report. Units assigned to absent machines then stay assigned; everything else goes on.
    pub hold_absent: bool,
}
