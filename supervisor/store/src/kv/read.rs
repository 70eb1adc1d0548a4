//! Reading keys: which a range holds at a revision, and their values.
//!
//! At the current revision a range is a walk over [`Table::KvLatest`]. At an older one the keys that were deleted since
//! stand in [`Table::KvGone`], and a key that changed since is followed back along its changes, by milestones where it
//! has many. Values are loaded last, for what is answered only.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::answer::{KeyValue, Place, RangeAnswer};
use super::error::Error;
use super::key::{self, Cursor, Span};
use super::request::{Range, SortOrder, SortTarget};
use super::rows::{self, Pointer, Standing};
use crate::tables::{Read, StoreFault, Table, load};

/// A storage fault, or etcd's error, or what was asked for.
pub type Lookup<T> = Result<Result<T, Error>, StoreFault>;

/// A key that a range holds, without its value.
pub(super) type Found = (Bytes, Pointer);

/// Answers a range.
///
/// # Errors
/// [`Error::EmptyKey`], [`Error::FutureRevision`], [`Error::Compacted`]. The outer error is the storage's.
pub fn range(tx: &(impl Read + ?Sized), request: &Range) -> Lookup<RangeAnswer> {
    let standing = rows::standing(tx)?;
    if request.key.is_empty() {
        return Ok(Err(Error::EmptyKey));
    }
    match wanted_revision(&standing, request) {
        Err(error) => Ok(Err(error)),
        Ok(at) => range_at(tx, standing.revision, request, at).map(Ok),
    }
}

/// The revision a range is to be read at.
fn wanted_revision(standing: &Standing, request: &Range) -> Result<i64, Error> {
    if request.revision <= 0 {
        return Ok(i64::MAX);
    }
    wanted_in_txn(standing, request)
}

/// The same in a transaction: there etcd takes a negative revision for a compacted one, once there was a compaction.
pub(super) fn wanted_in_txn(standing: &Standing, request: &Range) -> Result<i64, Error> {
    match request.revision {
        0 => Ok(i64::MAX),
        at if at > standing.revision => Err(Error::FutureRevision),
        at if at < standing.compacted => Err(Error::Compacted),
        ..0 => Ok(i64::MAX),
        at => Ok(at),
    }
}

/// Answers a range at `at`; `revision` is the current one.
pub(super) fn range_at(
    tx: &(impl Read + ?Sized),
    revision: i64,
    request: &Range,
    at: i64,
) -> Result<RangeAnswer, StoreFault> {
    let span = Span::new(&request.key, &request.range_end);
    let (mut found, count) = if at >= revision {
        latest(tx, &span, keep(request))?
    } else {
        past(tx, &span, at, keep(request))?
    };
    found.retain(|(_, pointer)| within_bounds(request, pointer));
    let (kvs, more) = if request.sort_target == SortTarget::Value {
        let mut kvs = with_values(tx, found)?;
        sort(&mut kvs, request.sort_order, |a, b| a.value.cmp(&b.value));
        let more = cut(&mut kvs, request.limit);
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        (kvs, more)
    } else {
        sort_by_pointer(&mut found, request);
        let more = cut(&mut found, request.limit);
        let kvs = if request.keys_only {
            found.into_iter().map(|(key, at)| key_only(key, &at)).collect()
        } else {
            with_values(tx, found)?
        };
        (kvs, more)
    };
    Ok(RangeAnswer {
        revision,
        kvs,
        more,
        count,
    })
}

/// How many keys of the range must be looked at closer, from its first; the rest is only counted.
///
/// As in etcd 3.4, a range with a limit and a sort target but no order sorts only the first keys up to the limit, and
/// one more.
fn keep(request: &Range) -> usize {
    let in_key_order = request.sort_order == SortOrder::None
        || (request.sort_order == SortOrder::Ascend && request.sort_target == SortTarget::Key);
    let bounded = request.min_mod_revision != 0
        || request.max_mod_revision != 0
        || request.min_create_revision != 0
        || request.max_create_revision != 0;
    match usize::try_from(request.limit) {
        _ if request.count_only => 0,
        Ok(limit @ 1..) if in_key_order && !bounded => limit.saturating_add(1),
        _ => usize::MAX,
    }
}

fn within_bounds(request: &Range, pointer: &Pointer) -> bool {
    let within = |value: i64, min: i64, max: i64| (min == 0 || value >= min) && (max == 0 || value <= max);
    within(
        pointer.at.main,
        request.min_mod_revision,
        request.max_mod_revision,
    ) && within(
        pointer.create,
        request.min_create_revision,
        request.max_create_revision,
    )
}

fn sort_by_pointer(found: &mut [Found], request: &Range) {
    let by: fn(&Found, &Found) -> Ordering = match request.sort_target {
        SortTarget::Version => |a, b| a.1.version.cmp(&b.1.version),
        SortTarget::Create => |a, b| a.1.create.cmp(&b.1.create),
        SortTarget::Mod => |a, b| a.1.at.main.cmp(&b.1.at.main),
        SortTarget::Key | SortTarget::Value => match request.sort_order {
            SortOrder::Descend => |a, b| a.0.cmp(&b.0),
            SortOrder::None | SortOrder::Ascend => return,
        },
    };
    sort(found, request.sort_order, by);
}

fn sort<T>(items: &mut [T], order: SortOrder, by: impl Fn(&T, &T) -> Ordering) {
    match order {
        SortOrder::Descend => items.sort_by(|a, b| by(b, a)),
        SortOrder::None | SortOrder::Ascend => items.sort_by(by),
    }
}

/// Keeps at most `limit`; says whether something went.
fn cut<T>(items: &mut Vec<T>, limit: i64) -> bool {
    match usize::try_from(limit) {
        Ok(limit @ 1..) if items.len() > limit => {
            items.truncate(limit);
            true
        }
        _ => false,
    }
}

fn key_only(key: Bytes, pointer: &Pointer) -> KeyValue {
    KeyValue {
        key,
        create_revision: pointer.create,
        mod_revision: pointer.at.main,
        version: pointer.version,
        value: Bytes::new(),
        lease: pointer.lease,
    }
}

fn with_values(tx: &(impl Read + ?Sized), found: Vec<Found>) -> Result<Vec<KeyValue>, StoreFault> {
    found
        .into_iter()
        .map(|(key, pointer)| load_kv(tx, key, &pointer))
        .collect()
}

/// The key with its value, as its newest change left it.
pub(super) fn load_kv(
    tx: &(impl Read + ?Sized),
    key: Bytes,
    pointer: &Pointer,
) -> Result<KeyValue, StoreFault> {
    let Some(record) = rows::record(tx, pointer.at)? else {
        return Err(StoreFault::Corrupt {
            table: Table::KvRevisions.name(),
            key: rows::place_key(pointer.at).to_vec(),
            cause: format!("the newest change of key {key:?} is missing"),
        });
    };
    Ok(KeyValue {
        value: Bytes::copy_from_slice(record.value),
        ..key_only(key, pointer)
    })
}

/// The key's row, if it exists now.
pub(super) fn find(tx: &(impl Read + ?Sized), key: &[u8]) -> Result<Option<Pointer>, StoreFault> {
    load(tx, Table::KvLatest, &key::row(key))
}

/// The first `keep` keys of `span` that exist now, and how many there are.
pub(super) fn latest(
    tx: &(impl Read + ?Sized),
    span: &Span<'_>,
    keep: usize,
) -> Result<(Vec<Found>, i64), StoreFault> {
    let (mut found, mut count) = (Vec::new(), 0);
    key::walk(tx, Table::KvLatest, span, &mut |key, row| {
        if found.len() < keep {
            let pointer = rows::pointer(Table::KvLatest, key, row)?;
            found.push((Bytes::copy_from_slice(key), pointer));
        }
        count += 1;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((found, count))
}

/// The first `keep` keys of `span` that existed at the revision `at`, and how many there were.
fn past(
    tx: &(impl Read + ?Sized),
    span: &Span<'_>,
    at: i64,
    keep: usize,
) -> Result<(Vec<Found>, i64), StoreFault> {
    let (mut found, mut count) = (Vec::new(), 0);
    let mut latest = Cursor::new(tx, Table::KvLatest, span);
    let mut gone = Cursor::new(tx, Table::KvGone, span);
    loop {
        let from_gone = match (latest.peek()?, gone.peek()?) {
            (None, None) => return Ok((found, count)),
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (Some((live, _)), Some((dead, _))) => dead < live,
        };
        let next = if from_gone { gone.take()? } else { latest.take()? };
        let Some((key, pointer)) = next else { continue };
        let Some(then) = follow_back(tx, pointer, at)? else {
            continue;
        };
        if found.len() < keep {
            found.push((key, then));
        }
        count += 1;
    }
}

/// What the key was at the revision `at`, which is not compacted away.
///
/// A change that is missing was a deletion at or before the compacted revision: every other is still there.
fn follow_back(tx: &(impl Read + ?Sized), newest: Pointer, at: i64) -> Result<Option<Pointer>, StoreFault> {
    if newest.at.main <= at {
        return Ok((newest.version != 0).then_some(newest));
    }
    let mut place: Place = newest.at;
    while let Some(record) = rows::record(tx, place)? {
        if place.main <= at {
            return Ok((!record.is_deletion()).then(|| Pointer {
                at: place,
                create: record.create,
                version: record.version,
                lease: record.lease,
                ..Pointer::default()
            }));
        }
        place = match (record.milestone, record.prev) {
            (Some(milestone), _) if milestone.main > at => milestone,
            (_, Some(prev)) => prev,
            (_, None) => return Ok(None),
        };
    }
    Ok(None)
}
