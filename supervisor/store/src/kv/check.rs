//! What is wrong with a request whatever the state (etcd 3.4, `v3rpc/key.go`): looked at before it is proposed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;

use super::error::Error;
use super::request::{DeleteRange, Op, Put, Range, Txn};

/// etcd's default for the most operations in a transaction (`--max-txn-ops`).
pub const MAX_TXN_OPS: usize = 128;

/// Looks at a range.
///
/// # Errors
/// [`Error::EmptyKey`].
pub fn range(range: &Range) -> Result<(), Error> {
    not_empty(&range.key)
}

/// Looks at a put.
///
/// # Errors
/// [`Error::EmptyKey`], [`Error::ValueProvided`], [`Error::LeaseProvided`].
pub fn put(put: &Put) -> Result<(), Error> {
    not_empty(&put.key)?;
    if put.ignore_value && !put.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if put.ignore_lease && put.lease != 0 {
        return Err(Error::LeaseProvided);
    }
    Ok(())
}

/// Looks at a deletion.
///
/// # Errors
/// [`Error::EmptyKey`].
pub fn delete_range(delete: &DeleteRange) -> Result<(), Error> {
    not_empty(&delete.key)
}

/// Looks at a transaction: its operations, their number (what nested ones may hold is what the outer left over, so the
/// depth is bounded too), and whether a key is changed twice.
///
/// # Errors
/// Those of the operations, [`Error::KeyNotFound`] for an empty one, [`Error::TooManyOps`], [`Error::DuplicateKey`].
pub fn txn(txn: &Txn, max_ops: usize) -> Result<(), Error> {
    operations(txn, max_ops)?;
    touched(&txn.success)?;
    touched(&txn.failure)?;
    Ok(())
}

fn not_empty(key: &[u8]) -> Result<(), Error> {
    if key.is_empty() {
        Err(Error::EmptyKey)
    } else {
        Ok(())
    }
}

/// The part of [`txn`] that the state machine relies on; it looks at it again, with no limit.
pub(super) fn operations(txn: &Txn, max_ops: usize) -> Result<(), Error> {
    let count = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    let Some(left) = max_ops.checked_sub(count) else {
        return Err(Error::TooManyOps);
    };
    txn.compare
        .iter()
        .try_for_each(|compare| not_empty(&compare.key))?;
    txn.success
        .iter()
        .chain(&txn.failure)
        .try_for_each(|op| match op {
            Op::Range(op) => range(op),
            Op::Put(op) => put(op),
            Op::DeleteRange(op) => delete_range(op),
            Op::Txn(nested) => operations(nested, left),
            Op::Empty => Err(Error::KeyNotFound), // etcd's word for it
        })
}

/// What a list of operations changes.
#[derive(Default)]
struct Touched<'r> {
    puts: BTreeSet<&'r Bytes>,
    /// Deleted ranges, disjoint: first key -> the first key no longer in it.
    deletes: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl<'r> Touched<'r> {
    /// Joins a range with those it meets, so that looking a key up stays cheap whatever a client sends.
    fn delete(&mut self, mut from: Vec<u8>, mut end: Vec<u8>) {
        if end <= from {
            return;
        }
        while let Some((known_from, known_end)) = self.deletes.range::<Vec<u8>, _>(..=&end).next_back() {
            if *known_end < from {
                break;
            }
            let known = (known_from.clone(), known_end.clone());
            self.deletes.remove(&known.0);
            from = from.min(known.0);
            end = end.max(known.1);
        }
        self.deletes.insert(from, end);
    }

    fn deletes(&self, key: &[u8]) -> bool {
        let upto_key = (Bound::Unbounded, Bound::Included(key));
        let before = self.deletes.range::<[u8], _>(upto_key).next_back();
        before.is_some_and(|(_, end)| key < end.as_slice())
    }

    fn put(&mut self, key: &'r Bytes) -> Result<(), Error> {
        if self.deletes(key) || !self.puts.insert(key) {
            return Err(Error::DuplicateKey);
        }
        Ok(())
    }
}

/// The range a deletion covers. As etcd 3.4 does not see one of everything from a key on (`range_end` a zero byte) as a
/// conflict, neither do we: it is an empty range here.
fn deleted(delete: &DeleteRange) -> (Vec<u8>, Vec<u8>) {
    let end = if delete.range_end.is_empty() {
        [&delete.key[..], &[0]].concat()
    } else {
        delete.range_end.to_vec()
    };
    (delete.key.to_vec(), end)
}

/// Refuses two puts of one key, and a put of a key that is deleted beside it. Only one side of a nested transaction is
/// done, so the same key may be put on both.
fn touched(ops: &[Op]) -> Result<Touched<'_>, Error> {
    let mut touched = Touched::default();
    for op in ops {
        if let Op::DeleteRange(delete) = op {
            let (from, end) = deleted(delete);
            touched.delete(from, end);
        }
    }
    for op in ops {
        if let Op::Txn(nested) = op {
            nested_in(&mut touched, nested)?;
        }
    }
    for op in ops {
        if let Op::Put(put) = op {
            touched.put(&put.key)?;
        }
    }
    Ok(touched)
}

fn nested_in<'r>(touched: &mut Touched<'r>, nested: &'r Txn) -> Result<(), Error> {
    let then = self::touched(&nested.success)?;
    let other = self::touched(&nested.failure)?;
    let puts: BTreeSet<&Bytes> = then.puts.union(&other.puts).copied().collect();
    puts.into_iter().try_for_each(|key| touched.put(key))?;
    for (from, end) in then.deletes.into_iter().chain(other.deletes) {
        touched.delete(from, end);
    }
    Ok(())
}
