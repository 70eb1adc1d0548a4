//! Reading the fleet's tables.

use std::ops::ControlFlow;

use corten_spec::fleet::{JobState, UnitState};
use corten_spec::machine::MachineId;
use corten_spec::unit_name::UnitName;

use super::{MachineRecord, UnitRecord, key};
use crate::tables::{KeyRange, Read, StoreFault, Table, collect, load};

/// Every unit, by name.
///
/// # Errors
/// When the backend fails.
pub fn units(tx: &(impl Read + ?Sized)) -> Result<Vec<UnitRecord>, StoreFault> {
    collect(tx, Table::Units, &KeyRange::all())
}

/// One unit.
///
/// # Errors
/// When the backend fails.
pub fn unit(tx: &(impl Read + ?Sized), name: &UnitName) -> Result<Option<UnitRecord>, StoreFault> {
    load(tx, Table::Units, &key::unit(name))
}

/// Every machine ever seen, by id, those that left included (`present` false).
///
/// # Errors
/// When the backend fails.
pub fn machines(tx: &(impl Read + ?Sized)) -> Result<Vec<MachineRecord>, StoreFault> {
    collect(tx, Table::Machines, &KeyRange::all())
}

/// One machine.
///
/// # Errors
/// When the backend fails.
pub fn machine(tx: &(impl Read + ?Sized), id: &MachineId) -> Result<Option<MachineRecord>, StoreFault> {
    load(tx, Table::Machines, &key::machine(id))
}

/// Every reported state, by unit, then machine.
///
/// # Errors
/// When the backend fails.
pub fn states(tx: &(impl Read + ?Sized)) -> Result<Vec<UnitState>, StoreFault> {
    collect(tx, Table::States, &KeyRange::all())
}

/// What one machine reports of one unit.
///
/// # Errors
/// When the backend fails.
pub fn state(
    tx: &(impl Read + ?Sized),
    name: &UnitName,
    id: &MachineId,
) -> Result<Option<UnitState>, StoreFault> {
    load(tx, Table::States, &key::state(name, id))
}

/// What the machines report of one unit, by machine.
///
/// # Errors
/// When the backend fails.
pub fn states_of(tx: &(impl Read + ?Sized), name: &UnitName) -> Result<Vec<UnitState>, StoreFault> {
    collect(tx, Table::States, &KeyRange::prefix(&key::prefix(name.as_str())))
}

/// What one machine reports, by unit.
///
/// # Errors
/// When the backend fails.
pub fn states_on(tx: &(impl Read + ?Sized), id: &MachineId) -> Result<Vec<UnitState>, StoreFault> {
    let mut names = Vec::new();
    let prefix = key::prefix(&id.0);
    tx.scan(
        Table::StatesByMachine,
        &KeyRange::prefix(&prefix),
        &mut |row_key, _| {
            let mut state_key = row_key[prefix.len()..].to_vec();
            state_key.push(0);
            state_key.extend_from_slice(&prefix[..prefix.len() - 1]);
            names.push(state_key);
            Ok(ControlFlow::Continue(()))
        },
    )?;
    names
        .iter()
        .filter_map(|row_key| load(tx, Table::States, row_key).transpose())
        .collect()
}

/// fleet's current state of a unit, from what is reported: launched where any machine has launched it, loaded where any
/// knows it, else inactive.
///
/// # Errors
/// When the backend fails.
pub fn current_state(tx: &(impl Read + ?Sized), name: &UnitName) -> Result<JobState, StoreFault> {
    let states = states_of(tx, name)?;
    Ok(match states {
        states if states.iter().any(|s| s.launched) => JobState::Launched,
        states if states.is_empty() => JobState::Inactive,
        _ => JobState::Loaded,
    })
}
