//! How much of a machine is reserved, and how loaded that makes it.

use corten_spec::machine::Machine;
use corten_spec::resources::{Capacity, Resources};

/// What a unit that reserves nothing counts for, in thousandths of a machine.
const MODEST: usize = 10;

/// One machine's account.
#[derive(Debug, Clone, Default)]
pub struct Room {
    has: Capacity,
    reserved: Resources,
    /// Units that reserve something.
    reserving: usize,
}

impl Room {
    /// Nothing reserved yet.
    pub fn of(machine: &Machine) -> Room {
        Room {
            has: Capacity::of(machine),
            ..Room::default()
        }
    }

    /// The machine has something else now.
    pub fn resize(&mut self, machine: &Machine) {
        self.has = Capacity::of(machine);
    }

    /// A unit that reserves this came.
    pub fn take(&mut self, reserves: Resources) {
        self.reserved = self.reserved.plus(reserves);
        self.reserving += usize::from(!reserves.is_none());
    }

    /// A unit that reserves this left.
    pub fn give(&mut self, reserves: Resources) {
        self.reserved = self.reserved.minus(reserves);
        self.reserving -= usize::from(!reserves.is_none());
    }

    /// In thousandths of the machine, with `units` on it: what is reserved of that of which less is left, and a
    /// hundredth of the machine for each unit that reserves nothing. Without reserves that is the order of their number.
    pub fn load(&self, units: usize) -> usize {
        let part = |reserved: u64, has: Option<u64>| match has {
            Some(has) if has > 0 => {
                usize::try_from(u128::from(reserved) * 1000 / u128::from(has)).unwrap_or(usize::MAX / 2)
            }
            _ => 0,
        };
        let modest = (units - self.reserving) * MODEST;
        if self.reserving == 0 {
            return modest;
        }
        let cpu = part(self.reserved.cpu_percent, self.has.cpu_percent);
        modest + cpu.max(part(self.reserved.memory_bytes, self.has.memory_bytes))
    }

    /// What is missing for a unit that reserves this, when those that reserve `leaving` are gone. A machine that does
    /// not know what it has, has none to reserve.
    pub fn lacks(
        &self,
        reserves: Resources,
        leaving: impl IntoIterator<Item = Resources>,
    ) -> Option<&'static str> {
        if reserves.is_none() {
            return None;
        }
        let taken = leaving.into_iter().fold(self.reserved, Resources::minus);
        let together = taken.plus(reserves);
        let lacks = |asked: u64, together: u64, has: Option<u64>| asked > 0 && together > has.unwrap_or(0);
        if lacks(reserves.cpu_percent, together.cpu_percent, self.has.cpu_percent) {
            Some("CPU")
        } else if lacks(
            reserves.memory_bytes,
            together.memory_bytes,
            self.has.memory_bytes,
        ) {
            Some("memory")
        } else {
            None
        }
    }
}
