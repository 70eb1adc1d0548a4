//! The rows of the v3 tables.

use std::ops::ControlFlow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::answer::{KeyValue, Place};
use super::key;
use super::request::LeaseId;
use crate::tables::{KeyRange, Read, StoreFault, Table, Write, decode, load, store};

/// The v3 data's row in [`Table::Meta`].
const STANDING: &[u8] = b"k";

/// Every so many changes of a key, one is a milestone.
const STRIDE: u64 = 64;

/// Where the v3 data stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    /// The current revision.
    pub revision: i64,
    /// What was compacted last; -1 before the first time.
    pub compacted: i64,
    /// What lies before it, and before `compacted`, is swept (see [`super::compact`]).
    pub swept: Place,
}

impl Default for Standing {
    fn default() -> Self {
        Standing {
            revision: 1,
            compacted: -1,
            swept: Place::default(),
        }
    }
}

/// A row of [`Table::KvLatest`] and [`Table::KvGone`]: all of a key but its value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pointer {
    /// Where the newest change is.
    pub at: Place,
    pub create: i64,
    /// 0 for a deletion.
    pub version: i64,
    pub lease: LeaseId,
    /// The last milestone before the newest change, or that change itself if it is one.
    pub milestone: Option<Place>,
    /// Changes since the last milestone.
    pub steps: u64,
    /// Only where the row's key does not hold it.
    pub long_key: Option<Bytes>,
}

/// A row of [`Table::KvRevisions`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record<'r> {
    /// The key's change before this one; it may have been compacted away.
    pub prev: Option<Place>,
    /// A milestone before this one: a way to go back faster. It may have been compacted away.
    pub milestone: Option<Place>,
    pub create: i64,
    /// 0 for a deletion.
    pub version: i64,
    pub lease: LeaseId,
    #[serde(borrow, serialize_with = "bytes")]
    pub key: &'r [u8],
    #[serde(borrow, serialize_with = "bytes")]
    pub value: &'r [u8],
}

/// In one piece instead of byte by byte; the encoding is the same.
fn bytes<S: serde::Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}

impl Pointer {
    /// What points to the change made at `at` after `self` (or after nothing).
    pub fn followed_by(before: Option<&Pointer>, at: Place) -> Pointer {
        let steps = before.map_or(0, |before| before.steps) + 1;
        let milestone = before.and_then(|before| before.milestone);
        let here = steps >= STRIDE;
        Pointer {
            at,
            milestone: if here { Some(at) } else { milestone },
            steps: if here { 0 } else { steps },
            ..Pointer::default()
        }
    }
}

impl Record<'_> {
    pub fn is_deletion(&self) -> bool {
        self.version == 0
    }

    /// The key as this change left it.
    pub fn kv(&self, at: Place) -> KeyValue {
        KeyValue {
            key: Bytes::copy_from_slice(self.key),
            create_revision: self.create,
            mod_revision: at.main,
            version: self.version,
            value: Bytes::copy_from_slice(self.value),
            lease: self.lease,
        }
    }
}

/// The row key of a place.
pub(super) fn place_key(at: Place) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&at.main.max(0).to_be_bytes());
    key[8..].copy_from_slice(&at.sub.to_be_bytes());
    key
}

/// The place of a row key.
pub(super) fn place_of(key: &[u8]) -> Result<Place, StoreFault> {
    let (main, sub) = key.split_at_checked(8).unwrap_or_default();
    match (main.try_into(), sub.try_into()) {
        (Ok(main), Ok(sub)) => Ok(Place {
            main: i64::from_be_bytes(main),
            sub: u32::from_be_bytes(sub),
        }),
        _ => Err(StoreFault::Corrupt {
            table: Table::KvRevisions.name(),
            key: key.to_vec(),
            cause: "a revision's row key has 12 bytes".to_owned(),
        }),
    }
}

/// Decodes a row of [`Table::KvLatest`] or [`Table::KvGone`].
pub(super) fn pointer(table: Table, key: &[u8], row: &[u8]) -> Result<Pointer, StoreFault> {
    decode(table, key, row)
}

/// Writes a key's row.
pub(super) fn put_pointer(
    tx: &mut (impl Write + ?Sized),
    table: Table,
    key: &Bytes,
    mut pointer: Pointer,
) -> Result<(), StoreFault> {
    pointer.long_key = key::is_long(key).then(|| key.clone());
    store(tx, table, &key::row(key), &pointer)
}

/// The change at `at`, unless it is compacted away.
pub(super) fn record<T: Read + ?Sized>(tx: &T, at: Place) -> Result<Option<Record<'_>>, StoreFault> {
    let key = place_key(at);
    let Some(row) = tx.get(Table::KvRevisions, &key)? else {
        return Ok(None);
    };
    decode_record(&key, row).map(Some)
}

pub(super) fn decode_record<'r>(key: &[u8], row: &'r [u8]) -> Result<Record<'r>, StoreFault> {
    postcard::from_bytes(row).map_err(|e| StoreFault::Corrupt {
        table: Table::KvRevisions.name(),
        key: key.to_vec(),
        cause: e.to_string(),
    })
}

/// Adds the change at `at`, the newest of all.
pub(super) fn add_record(
    tx: &mut (impl Write + ?Sized),
    at: Place,
    record: &Record<'_>,
) -> Result<(), StoreFault> {
    let row = Vec::with_capacity(record.key.len() + record.value.len() + 64);
    let row = postcard::to_extend(record, row)
        .map_err(|e| StoreFault::Backend(format!("a revision does not encode: {e}")))?;
    tx.append(Table::KvRevisions, &place_key(at), &row)
}

/// What [`scan_records`] calls for each change.
pub(super) type VisitRecord<'v> = dyn FnMut(Place, &Record<'_>) -> Result<ControlFlow<()>, StoreFault> + 'v;

/// Visits the changes from `from` on, in order.
pub(super) fn scan_records(
    tx: &(impl Read + ?Sized),
    from: Place,
    visit: &mut VisitRecord<'_>,
) -> Result<(), StoreFault> {
    let range = KeyRange::starting_at(place_key(from).to_vec());
    tx.scan(Table::KvRevisions, &range, &mut |key, row| {
        visit(place_of(key)?, &decode_record(key, row)?)
    })
}

/// Where the v3 data stands.
pub(super) fn standing(tx: &(impl Read + ?Sized)) -> Result<Standing, StoreFault> {
    Ok(load(tx, Table::Meta, STANDING)?.unwrap_or_default())
}

pub(super) fn put_standing(tx: &mut (impl Write + ?Sized), standing: &Standing) -> Result<(), StoreFault> {
    store(tx, Table::Meta, STANDING, standing)
}
