//! Transactions: first every compare is looked at, then what can go wrong, then the chosen operations are done.
//!
//! After the check nothing can fail any more but the storage: there is no half-done transaction to undo.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use super::answer::{OpAnswer, TxnAnswer};
use super::error::Error;
use super::key::{self, Span};
use super::read::{self, Lookup};
use super::request::{Compare, CompareResult, DeleteRange, Op, Put, Range, Target, Txn};
use super::rows::{self, Pointer, Standing};
use super::write::Session;
use crate::tables::{Read, StoreFault, Table, Write};

/// What of a transaction is done.
struct Chosen<'r> {
    succeeded: bool,
    steps: Vec<Step<'r>>,
}

enum Step<'r> {
    /// With the revision to read at, if that can be read.
    Range(&'r Range, Result<i64, Error>),
    Put(&'r Put),
    DeleteRange(&'r DeleteRange),
    Txn(Chosen<'r>),
}

impl Txn {
    /// Whether no operation of it writes: then it need not go through the log.
    pub fn is_read_only(&self) -> bool {
        let reads = |op: &Op| match op {
            Op::Range(_) | Op::Empty => true,
            Op::Put(_) | Op::DeleteRange(_) => false,
            Op::Txn(txn) => txn.is_read_only(),
        };
        self.success.iter().all(reads) && self.failure.iter().all(reads)
    }
}

/// Answers a transaction that only reads.
///
/// # Panics
/// If it is not [`Txn::is_read_only`].
///
/// # Errors
/// Those of [`range`](super::range). The outer error is the storage's.
pub fn read_txn(tx: &(impl Read + ?Sized), txn: &Txn) -> Lookup<TxnAnswer> {
    assert!(
        txn.is_read_only(),
        "a transaction that writes goes through the log"
    );
    let standing = rows::standing(tx)?;
    let chosen = choose(tx, &standing, txn)?;
    if let Err(error) = check_ranges(&chosen) {
        return Ok(Err(error));
    }
    let mut answer = read(tx, standing.revision, &chosen)?;
    answer.revision = standing.revision;
    Ok(Ok(answer))
}

fn read(tx: &(impl Read + ?Sized), revision: i64, chosen: &Chosen<'_>) -> Result<TxnAnswer, StoreFault> {
    let mut responses = Vec::with_capacity(chosen.steps.len());
    for step in &chosen.steps {
        match step {
            Step::Range(range, at) => {
                responses.push(OpAnswer::Range(read::range_at(tx, revision, range, checked(at))?));
            }
            Step::Txn(chosen) => responses.push(OpAnswer::Txn(read(tx, revision, chosen)?)),
            Step::Put(_) | Step::DeleteRange(_) => {} // asserted by the caller
        }
    }
    Ok(answered(chosen, responses))
}

/// Does a transaction.
pub(super) fn apply<T: Write + ?Sized>(session: &mut Session<'_, T>, txn: &Txn) -> Lookup<TxnAnswer> {
    let chosen = choose(session.tx, &session.standing, txn)?;
    if let Err(error) = check_puts(session, &chosen)? {
        return Ok(Err(error));
    }
    if let Err(error) = check_ranges(&chosen) {
        return Ok(Err(error));
    }
    let mut answer = run(session, &chosen)?;
    answer.revision = session.revision();
    Ok(Ok(answer))
}

fn check_puts<T: Write + ?Sized>(session: &Session<'_, T>, chosen: &Chosen<'_>) -> Lookup<()> {
    for step in &chosen.steps {
        let checked = match step {
            Step::Put(put) => session.check_put(put)?,
            Step::Txn(chosen) => check_puts(session, chosen)?,
            Step::Range(..) | Step::DeleteRange(_) => Ok(()),
        };
        if checked.is_err() {
            return Ok(checked);
        }
    }
    Ok(Ok(()))
}

/// etcd looks at them after the puts.
fn check_ranges(chosen: &Chosen<'_>) -> Result<(), Error> {
    chosen.steps.iter().try_for_each(|step| match step {
        Step::Range(_, at) => at.map(|_| ()),
        Step::Txn(chosen) => check_ranges(chosen),
        Step::Put(_) | Step::DeleteRange(_) => Ok(()),
    })
}

fn checked(at: &Result<i64, Error>) -> i64 {
    at.expect("the ranges were looked at first")
}

fn run<T: Write + ?Sized>(
    session: &mut Session<'_, T>,
    chosen: &Chosen<'_>,
) -> Result<TxnAnswer, StoreFault> {
    let mut responses = Vec::with_capacity(chosen.steps.len());
    for step in &chosen.steps {
        responses.push(match step {
            Step::Range(range, at) => OpAnswer::Range(read::range_at(
                session.tx,
                session.revision(),
                range,
                checked(at),
            )?),
            Step::Put(put) => OpAnswer::Put(session.put(put)?),
            Step::DeleteRange(delete) => OpAnswer::DeleteRange(session.delete_range(delete)?),
            Step::Txn(chosen) => OpAnswer::Txn(run(session, chosen)?),
        });
    }
    Ok(answered(chosen, responses))
}

fn answered(chosen: &Chosen<'_>, responses: Vec<OpAnswer>) -> TxnAnswer {
    TxnAnswer {
        revision: 0,
        succeeded: chosen.succeeded,
        responses,
    }
}

/// Looks at the compares, and at the revisions that the chosen ranges want.
fn choose<'r>(
    tx: &(impl Read + ?Sized),
    standing: &Standing,
    txn: &'r Txn,
) -> Result<Chosen<'r>, StoreFault> {
    let mut succeeded = true;
    for compare in &txn.compare {
        if !holds(tx, compare)? {
            succeeded = false;
            break;
        }
    }
    let ops = if succeeded { &txn.success } else { &txn.failure };
    let mut steps = Vec::with_capacity(ops.len());
    for op in ops {
        steps.push(match op {
            Op::Range(range) => Step::Range(range, read::wanted_in_txn(standing, range)),
            Op::Put(put) => Step::Put(put),
            Op::DeleteRange(delete) => Step::DeleteRange(delete),
            Op::Txn(txn) => Step::Txn(choose(tx, standing, txn)?),
            Op::Empty => continue, // refused before
        });
    }
    Ok(Chosen { succeeded, steps })
}

/// Whether all keys of a compare's range stand to its target as it says.
fn holds(tx: &(impl Read + ?Sized), compare: &Compare) -> Result<bool, StoreFault> {
    let span = Span::new(&compare.key, &compare.range_end);
    let (mut any, mut all) = (false, true);
    key::walk(tx, Table::KvLatest, &span, &mut |key, row| {
        any = true;
        let pointer = rows::pointer(Table::KvLatest, key, row)?;
        all = match &compare.target {
            Target::Value(wanted) => {
                let kv = read::load_kv(tx, bytes::Bytes::copy_from_slice(key), &pointer)?;
                stands(compare.result, kv.value.cmp(wanted))
            }
            _ => holds_for(compare, &pointer),
        };
        Ok(if all {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        })
    })?;
    Ok(match (any, &compare.target) {
        (true, _) => all,
        (false, Target::Value(_)) => false,
        (false, _) => holds_for(compare, &Pointer::default()),
    })
}

fn holds_for(compare: &Compare, pointer: &Pointer) -> bool {
    let order = match &compare.target {
        Target::Version(wanted) => pointer.version.cmp(wanted),
        Target::Create(wanted) => pointer.create.cmp(wanted),
        Target::Mod(wanted) => pointer.at.main.cmp(wanted),
        Target::Lease(wanted) => pointer.lease.cmp(wanted),
        Target::Value(_) => return false,
    };
    stands(compare.result, order)
}

fn stands(result: CompareResult, order: Ordering) -> bool {
    match result {
        CompareResult::Equal => order.is_eq(),
        CompareResult::NotEqual => order.is_ne(),
        CompareResult::Greater => order.is_gt(),
        CompareResult::Less => order.is_lt(),
    }
}
