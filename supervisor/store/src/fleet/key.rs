//! Row keys of the fleet's tables. Unit names and machine ids hold no NUL, which therefore parts them.

use corten_spec::machine::MachineId;
use corten_spec::unit_name::UnitName;

/// Longest unit name or machine id that can be a key, in bytes; systemd's names end at 255.
pub(super) const LONGEST: usize = 255;

pub(super) fn unit(name: &UnitName) -> Vec<u8> {
    part(name.as_str())
}

pub(super) fn machine(id: &MachineId) -> Vec<u8> {
    part(&id.0)
}

/// Unit, then machine.
pub(super) fn state(name: &UnitName, id: &MachineId) -> Vec<u8> {
    joined(name.as_str(), &id.0)
}

/// Machine, then unit.
pub(super) fn state_by_machine(id: &MachineId, name: &UnitName) -> Vec<u8> {
    joined(&id.0, name.as_str())
}

/// The prefix of all rows of one unit or machine in the two state tables.
pub(super) fn prefix(first: &str) -> Vec<u8> {
    let mut key = part(first);
    key.push(0);
    key
}

fn joined(first: &str, second: &str) -> Vec<u8> {
    let mut key = prefix(first);
    key.extend_from_slice(&part(second));
    key
}

/// Cut at [`LONGEST`] so that LMDB's limit holds whatever a client sends; the faces refuse such names before.
fn part(text: &str) -> Vec<u8> {
    text.as_bytes()[..text.len().min(LONGEST)].to_vec()
}
