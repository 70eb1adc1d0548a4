//! Keys as rows: any bytes of any length, in byte order, in tables whose keys must stay below 511 bytes.
//!
//! ```text
//! up to SHORT bytes   the key itself
//! longer              its first SHORT bytes | SHA-256 of the whole key       the row's value holds the whole key
//! ```
//!
//! A row's length tells which it is. Rows stand in the order of their keys, but for long keys that share their first
//! SHORT bytes: those lie side by side in the order of their hashes, and are sorted when read. Such a run is held in
//! memory; whoever stores millions of keys that differ only after 400 bytes pays for it.

use std::borrow::Cow;
use std::ops::ControlFlow;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::rows::{self, Pointer};
use crate::tables::{KeyRange, Read, StoreFault, Table};

/// Longest key, in bytes, that is a row's key as it is.
pub(super) const SHORT: usize = 400;
/// Length of a SHA-256.
const HASH: usize = 32;
/// How many keys a [`Cursor`] holds.
const PAGE: usize = 256;

/// The row key of `key`.
pub(crate) fn row(key: &[u8]) -> Cow<'_, [u8]> {
    if key.len() <= SHORT {
        return Cow::Borrowed(key);
    }
    let mut row = Vec::with_capacity(SHORT + HASH);
    row.extend_from_slice(&key[..SHORT]);
    row.extend_from_slice(&Sha256::digest(key));
    Cow::Owned(row)
}

/// Whether a key does not fit into its row's key.
pub(super) fn is_long(key: &[u8]) -> bool {
    key.len() > SHORT
}

/// The keys a request is about.
#[derive(Debug, Clone)]
pub(super) enum Span<'r> {
    /// This one.
    One(&'r [u8]),
    /// From the first, and up to but without the second where there is one.
    Many(&'r [u8], Option<&'r [u8]>),
}

impl<'r> Span<'r> {
    /// What `key` and `range_end` mean in a request.
    pub fn new(key: &'r [u8], range_end: &'r [u8]) -> Span<'r> {
        match range_end {
            [] => Span::One(key),
            [0] => Span::Many(key, None),
            end => Span::Many(key, Some(end)),
        }
    }

    /// Whether the key is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Span::One(one) => key == *one,
            Span::Many(from, upto) => key >= *from && upto.is_none_or(|upto| key < upto),
        }
    }

    /// The rows that may hold its keys; with long bounds a few too many.
    fn rows(from: &[u8], upto: Option<&[u8]>) -> KeyRange {
        let upto = upto.map(|upto| {
            let mut row = upto[..upto.len().min(SHORT)].to_vec();
            if is_long(upto) {
                row.extend_from_slice(&[u8::MAX; HASH + 1]); // after every long key that begins so
            }
            row
        });
        KeyRange {
            from: from[..from.len().min(SHORT)].to_vec(),
            upto,
        }
    }
}

/// What [`walk`] calls for each key with its row in [`Table::KvLatest`] or [`Table::KvGone`].
pub(super) type VisitKey<'v> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreFault> + 'v;

/// Long keys that share their beginning.
#[derive(Default)]
struct Run(Vec<(Bytes, Vec<u8>)>);

impl Run {
    fn continues(&self, row_key: &[u8]) -> bool {
        self.0
            .last()
            .is_some_and(|(key, _)| key[..SHORT] == row_key[..SHORT])
    }

    fn flush(&mut self, span: &Span<'_>, visit: &mut VisitKey<'_>) -> Result<ControlFlow<()>, StoreFault> {
        self.0.sort_unstable();
        for (key, row) in self.0.drain(..) {
            if span.contains(&key) && visit(&key, &row)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Visits the keys of `span` that are in `table`, in order.
pub(super) fn walk(
    tx: &(impl Read + ?Sized),
    table: Table,
    span: &Span<'_>,
    visit: &mut VisitKey<'_>,
) -> Result<(), StoreFault> {
    let (from, upto) = match span {
        Span::One(key) => {
            return match tx.get(table, &row(key))? {
                Some(row) => visit(key, row).map(|_| ()),
                None => Ok(()),
            };
        }
        Span::Many(from, upto) => (*from, *upto),
    };
    if upto.is_some_and(|upto| upto <= from) {
        return Ok(());
    }
    let (mut run, mut ended) = (Run::default(), false);
    tx.scan(table, &Span::rows(from, upto), &mut |row_key, row| {
        let long = row_key.len() > SHORT;
        if !(long && run.continues(row_key)) && run.flush(span, visit)?.is_break() {
            ended = true;
            return Ok(ControlFlow::Break(()));
        }
        if long {
            let pointer: Pointer = rows::pointer(table, row_key, row)?;
            run.0.push((pointer.long_key.unwrap_or_default(), row.to_vec()));
        } else if span.contains(row_key) {
            let flow = visit(row_key, row)?;
            ended = flow.is_break();
            return Ok(flow);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if !ended {
        let _ = run.flush(span, visit)?; // nothing comes after, so a wish to end is met
    }
    Ok(())
}

/// The keys of a range one by one, read in pages.
pub(super) struct Cursor<'t, T: ?Sized> {
    tx: &'t T,
    table: Table,
    upto: Option<Vec<u8>>,
    /// Where the next page begins; `None` behind the last.
    next: Option<Vec<u8>>,
    page: std::vec::IntoIter<(Bytes, Pointer)>,
}

impl<'t, T: Read + ?Sized> Cursor<'t, T> {
    /// At the beginning of `span`.
    pub fn new(tx: &'t T, table: Table, span: &Span<'_>) -> Self {
        let (from, upto) = match span {
            Span::One(key) => (key.to_vec(), Some(after(key))),
            Span::Many(from, upto) => (from.to_vec(), upto.map(<[u8]>::to_vec)),
        };
        Cursor {
            tx,
            table,
            upto,
            next: Some(from),
            page: Vec::new().into_iter(),
        }
    }

    /// The next key, which the cursor keeps.
    pub fn peek(&mut self) -> Result<Option<&(Bytes, Pointer)>, StoreFault> {
        if self.page.as_slice().is_empty() {
            self.turn()?;
        }
        Ok(self.page.as_slice().first())
    }

    /// The next key.
    pub fn take(&mut self) -> Result<Option<(Bytes, Pointer)>, StoreFault> {
        self.peek()?;
        Ok(self.page.next())
    }

    fn turn(&mut self) -> Result<(), StoreFault> {
        let Some(from) = self.next.take() else {
            return Ok(());
        };
        let table = self.table;
        let mut page: Vec<(Bytes, Pointer)> = Vec::new();
        let span = Span::Many(&from, self.upto.as_deref());
        walk(self.tx, table, &span, &mut |key, row| {
            page.push((Bytes::copy_from_slice(key), rows::pointer(table, key, row)?));
            Ok(if page.len() < PAGE {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })?;
        if page.len() == PAGE {
            self.next = page.last().map(|(key, _)| after(key));
        }
        self.page = page.into_iter();
        Ok(())
    }
}

/// The first key after `key`.
fn after(key: &[u8]) -> Vec<u8> {
    let mut after = key.to_vec();
    after.push(0);
    after
}
