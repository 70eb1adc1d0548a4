//! The heed state (signatures first).

use corten_store::StoreFault;
use corten_store::tables::{KeyRange, Read, Table, Visit};

/// A consistent view of the local state.
pub struct ReadTx<'e> {
    _env: std::marker::PhantomData<&'e ()>,
}

impl Read for ReadTx<'_> {
    fn get(&self, _table: Table, _key: &[u8]) -> Result<Option<&[u8]>, StoreFault> {
        todo!()
    }

    fn scan(&self, _table: Table, _range: &KeyRange, _visit: &mut Visit<'_>) -> Result<(), StoreFault> {
        todo!()
    }
}
