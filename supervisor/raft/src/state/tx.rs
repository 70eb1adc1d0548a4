//! heed transactions as the store's: [`ReadTx`] and [`WriteTx`].

use std::ops::{Bound, ControlFlow};

use corten_store::StoreFault;
use corten_store::tables::{KeyRange, Read, Table, Visit, Write};
use heed::types::Bytes;
use heed::{Database, PutFlags, RoTxn, RwTxn, WithoutTls};

/// A table on disk.
pub(super) type Db = Database<'static, Bytes, Bytes>;

/// The tables, by number, and Raft's own.
#[derive(Clone, Copy)]
pub(super) struct Tables {
    pub tables: [Db; Table::ALL.len()],
    /// Raft's own rows: the last applied entry, the members.
    pub raft: Db,
}

impl Tables {
    pub fn of(&self, table: Table) -> Db {
        self.tables[table as usize - 1]
    }
}

/// A consistent view of the local state.
pub struct ReadTx<'e> {
    pub(super) tables: Tables,
    pub(super) txn: RoTxn<'e, WithoutTls>,
}

/// A change of the local state under way; dropped without a commit it leaves no trace.
pub(super) struct WriteTx<'e> {
    pub tables: Tables,
    pub txn: RwTxn<'e>,
}

/// What heed reports, as the store's fault.
pub(super) fn fault(error: heed::Error) -> StoreFault {
    match error {
        heed::Error::Mdb(heed::MdbError::MapFull) => {
            StoreFault::NoSpace("the state has reached its size limit".to_owned())
        }
        heed::Error::Io(e) if crate::log::is_full(&e) => StoreFault::NoSpace(e.to_string()),
        error => StoreFault::Backend(error.to_string()),
    }
}

fn scan(db: Db, txn: &RoTxn<'_>, range: &KeyRange, visit: &mut Visit<'_>) -> Result<(), StoreFault> {
    if range.upto.as_ref().is_some_and(|upto| *upto <= range.from) {
        return Ok(());
    }
    let from = match range.from.as_slice() {
        [] => Bound::Unbounded, // LMDB knows no empty key
        from => Bound::Included(from),
    };
    let upto = range.upto.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    for row in db.range(txn, &(from, upto)).map_err(fault)? {
        let (key, value) = row.map_err(fault)?;
        if let ControlFlow::Break(()) = visit(key, value)? {
            break;
        }
    }
    Ok(())
}

impl Read for ReadTx<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<&[u8]>, StoreFault> {
        self.tables.of(table).get(&self.txn, key).map_err(fault)
    }

    fn scan(&self, table: Table, range: &KeyRange, visit: &mut Visit<'_>) -> Result<(), StoreFault> {
        scan(self.tables.of(table), &self.txn, range, visit)
    }
}

impl Read for WriteTx<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<&[u8]>, StoreFault> {
        self.tables.of(table).get(&self.txn, key).map_err(fault)
    }

    fn scan(&self, table: Table, range: &KeyRange, visit: &mut Visit<'_>) -> Result<(), StoreFault> {
        scan(self.tables.of(table), &self.txn, range, visit)
    }
}

impl Write for WriteTx<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreFault> {
        self.tables
            .of(table)
            .put(&mut self.txn, key, value)
            .map_err(fault)
    }

    /// LMDB then fills pages to the end instead of splitting them in halves.
    fn append(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreFault> {
        self.tables
            .of(table)
            .put_with_flags(&mut self.txn, PutFlags::APPEND, key, value)
            .map_err(fault)
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<bool, StoreFault> {
        self.tables.of(table).delete(&mut self.txn, key).map_err(fault)
    }
}
