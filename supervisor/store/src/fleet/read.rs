//! Reading the fleet's tables.

use std::ops::ControlFlow;

use corten_spec::fleet::UnitState;
use corten_spec::machine::MachineId;
use corten_spec::unit_name::UnitName;

use super::{MachineRecord, Rollout, UnitRecord, key};
use crate::tables::{KeyRange, Read, StoreFault, Table, collect, decode, load};

/// Every unit, by name.
///
/// # Errors
/// When the backend fails.
pub fn units(tx: &(impl Read + ?Sized)) -> Result<Vec<UnitRecord>, StoreFault> {
    let mut units: Vec<UnitRecord> = collect(tx, Table::Units, &KeyRange::all())?;
    for record in rolling(tx)? {
        let name = record.name.as_str();
        if let Ok(at) = units.binary_search_by(|unit| unit.name.as_str().cmp(name)) {
            units[at] = record;
        }
    }
    Ok(units)
}

/// One unit.
///
/// # Errors
/// When the backend fails.
pub fn unit(tx: &(impl Read + ?Sized), name: &UnitName) -> Result<Option<UnitRecord>, StoreFault> {
    let unit: Option<UnitRecord> = load(tx, Table::Units, &key::unit(name))?;
    let Some(mut unit) = unit else {
        return Ok(None);
    };
    unit.rollout = rollout(tx, name)?;
    Ok(Some(unit))
}

fn rollout(tx: &(impl Read + ?Sized), name: &UnitName) -> Result<Option<Rollout>, StoreFault> {
    load(tx, Table::Rollouts, &key::unit(name))
}

/// The units with a roll under way, by name.
///
/// # Errors
/// When the backend fails.
pub fn rolling(tx: &(impl Read + ?Sized)) -> Result<Vec<UnitRecord>, StoreFault> {
    let mut rows: Vec<(Vec<u8>, Rollout)> = Vec::new();
    tx.scan(Table::Rollouts, &KeyRange::all(), &mut |row_key, row| {
        rows.push((row_key.to_vec(), decode(Table::Rollouts, row_key, row)?));
        Ok(ControlFlow::Continue(()))
    })?;
    let mut units = Vec::new();
    for (row_key, rollout) in rows {
        let unit: Option<UnitRecord> = load(tx, Table::Units, &row_key)?;
        units.extend(unit.map(|unit| UnitRecord {
            rollout: Some(rollout),
            ..unit
        }));
    }
    Ok(units)
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
