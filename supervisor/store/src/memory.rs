//! The in-memory twin of the heed state: the same tables in ordered maps. For tests and the simulation.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use crate::tables::{KeyRange, Read, StoreFault, Table, Visit, Write};

/// All tables in memory. Changes take effect at once; clone it to keep a state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    tables: BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Memory {
    /// An empty state.
    pub fn new() -> Memory {
        Memory::default()
    }

    /// Every row, in table and key order: what two replicas must agree on.
    pub fn rows(&self) -> impl Iterator<Item = (Table, &[u8], &[u8])> {
        self.tables
            .iter()
            .flat_map(|(t, rows)| rows.iter().map(|(k, v)| (*t, k.as_slice(), v.as_slice())))
    }
}

impl Read for Memory {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<&[u8]>, StoreFault> {
        Ok(self
            .tables
            .get(&table)
            .and_then(|rows| rows.get(key))
            .map(Vec::as_slice))
    }

    fn scan(&self, table: Table, range: &KeyRange, visit: &mut Visit<'_>) -> Result<(), StoreFault> {
        let Some(rows) = self.tables.get(&table) else {
            return Ok(());
        };
        if range.upto.as_ref().is_some_and(|upto| *upto <= range.from) {
            return Ok(());
        }
        let upto = range.upto.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        for (key, value) in rows.range::<[u8], _>((Bound::Included(range.from.as_slice()), upto)) {
            if let ControlFlow::Break(()) = visit(key, value)? {
                break;
            }
        }
        Ok(())
    }
}

impl Write for Memory {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreFault> {
        self.tables
            .entry(table)
            .or_default()
            .insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<bool, StoreFault> {
        let Some(rows) = self.tables.get_mut(&table) else {
            return Ok(false);
        };
        let was = rows.remove(key).is_some();
        if rows.is_empty() {
            self.tables.remove(&table);
        }
        Ok(was)
    }
}
