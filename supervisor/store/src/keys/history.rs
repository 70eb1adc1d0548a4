//! The history window: the last events of the whole tree, for clients that come back and ask what they missed.
//!
//! Every increment of the etcd index is one row, internal writes included, so the window is an index range without gaps up
//! to the last index. How long it is belongs to the state and is changed by a command: every member drops the same rows.
//! After it has been lengthened, it begins where it did until it is full.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::{Code, Error};
use super::event::{Action, Event};
use super::path;
use super::watch::Watch;
use crate::meta::{self, Meta};
use crate::tables::{KeyRange, Read, StoreFault, Table, Write, decode, encode};

/// How many events are kept where nobody decides otherwise, as in etcd.
pub const HISTORY: u64 = 1000;

/// A row of the window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Row {
    /// An internal write that no client may watch.
    Internal,
    /// A key event.
    Key {
        /// What happened.
        event: Arc<Event>,
        /// A refresh: kept for the count, skipped by scans.
        refresh: bool,
    },
}

/// Counts the index up and records what happened at it.
pub(crate) fn record(tx: &mut (impl Write + ?Sized), meta: &mut Meta, row: &Row) -> Result<(), StoreFault> {
    meta.etcd_index += 1;
    let row = encode(Table::History, row)?;
    tx.append(Table::History, &meta.etcd_index.to_be_bytes(), &row)?;
    if meta.etcd_index > meta.history {
        tx.delete(Table::History, &(meta.etcd_index - meta.history).to_be_bytes())?;
    }
    Ok(())
}

/// Keeps `events` of them from now on, at least one; what is older goes.
pub(crate) fn resize(tx: &mut (impl Write + ?Sized), meta: &mut Meta, events: u64) -> Result<(), StoreFault> {
    meta.history = events.max(1);
    let kept_from = meta.etcd_index.saturating_sub(meta.history) + 1;
    for index in first(tx)?.unwrap_or(kept_from)..kept_from {
        tx.delete(Table::History, &index.to_be_bytes())?;
    }
    Ok(())
}

/// The first index in the window; `None` while it is empty.
fn first(tx: &(impl Read + ?Sized)) -> Result<Option<u64>, StoreFault> {
    let mut first = None;
    tx.scan(Table::History, &KeyRange::all(), &mut |key, _| {
        first = key.try_into().ok().map(u64::from_be_bytes);
        Ok(std::ops::ControlFlow::Break(()))
    })?;
    Ok(first)
}

/// What a watcher finds when it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The first event at or after the wanted index: answer with it at once, exactly one (etcd's stream watchers too).
    Event(Arc<Event>),
    /// Nothing yet: wait for live events from this index on.
    WaitFrom(u64),
}

/// Looks for the first event a new watcher wants in the window. The second value is the current etcd index.
///
/// # Errors
/// 401 when the index has left the window. The outer error is the storage's.
pub fn scan(tx: &(impl Read + ?Sized), watch: &Watch) -> Result<Result<(Found, u64), Error>, StoreFault> {
    let last = meta::etcd_index(tx)?;
    let since = if watch.since == 0 { last + 1 } else { watch.since };
    let first = first(tx)?.unwrap_or(0);
    if since < first {
        let cause = format!("the requested history has been cleared [{first}/{since}]");
        return Ok(Err(Error::new(Code::EventIndexCleared, cause, last)));
    }
    let mut found = Found::WaitFrom(since);
    let range = KeyRange::starting_at(since.to_be_bytes().to_vec());
    tx.scan(Table::History, &range, &mut |key, row| {
        if let Row::Key {
            event,
            refresh: false,
        } = decode(Table::History, key, row)?
            && wanted(watch, &event)
        {
            found = Found::Event(event);
            return Ok(std::ops::ControlFlow::Break(()));
        }
        Ok(std::ops::ControlFlow::Continue(()))
    })?;
    Ok(Ok((found, last)))
}

/// etcd's match for past events: unlike the live one it hides nothing, and takes a deleted directory's key as a plain
/// prefix.
fn wanted(watch: &Watch, event: &Event) -> bool {
    let key = &event.node.key;
    let deleted_dir = matches!(event.action, Action::Delete | Action::Expire)
        && event.prev_node.as_ref().is_some_and(|prev| prev.dir);
    *key == watch.key
        || (watch.recursive && path::is_below(&watch.key, key))
        || (deleted_dir && watch.key.starts_with(key.as_str()))
}
