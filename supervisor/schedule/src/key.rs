//! Where units and machines stand: a position that stays the same while they exist, and what they are ordered by.

use std::sync::Arc;

/// A unit's position in the slab of units; it may be another unit's once this one is gone.
pub type UnitIx = u32;
/// A machine's position in the slab of machines.
pub type MachineIx = u32;

/// A unit by its priority and name, or a machine by its id, as an element of an ordered set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// A unit's priority, negated, so that the most important comes first; 0 for global units and machines.
    pub rank: i64,
    /// The name of the unit, or the id of the machine.
    pub name: Arc<str>,
    /// Its position.
    pub ix: u32,
}
