//! Keys that have run out. The leader looks when the next one is due and says the time in a command; nobody's clock is
//! asked when the command is applied.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::event::{Action, Event, Node, Notice};
use super::history::{self, Row};
use super::tree;
use crate::meta::Meta;
use crate::tables::{KeyRange, Read, StoreFault, Table, Write};

/// When the next key or directory expires, in ms since the Unix epoch.
///
/// # Errors
/// When the backend fails.
pub fn next_expiry(tx: &(impl Read + ?Sized)) -> Result<Option<u64>, StoreFault> {
    Ok(first(tx)?.map(|(at, _)| at))
}

/// The first row of the queue: its time and key.
fn first(tx: &(impl Read + ?Sized)) -> Result<Option<(u64, String)>, StoreFault> {
    let mut found = None;
    tx.scan(Table::Expiry, &KeyRange::all(), &mut |key, value| {
        let at = key
            .first_chunk::<8>()
            .map(|bytes| u64::from_be_bytes(*bytes))
            .ok_or_else(|| corrupt(key))?;
        found = Some((at, String::from_utf8_lossy(value).into_owned()));
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

fn corrupt(key: &[u8]) -> StoreFault {
    StoreFault::Corrupt {
        table: Table::Expiry.name(),
        key: key.to_vec(),
        cause: "no node stands where the queue says".to_owned(),
    }
}

/// Deletes what expires at or before `now_ms`, the earliest first; one index each.
pub(crate) fn expire(
    tx: &mut (impl Write + ?Sized),
    meta: &mut Meta,
    now_ms: u64,
) -> Result<Vec<Notice>, StoreFault> {
    let mut notices = Vec::new();
    while let Some((at, key)) = first(tx)?.filter(|(at, _)| *at <= now_ms) {
        let found = tree::find(tx, meta.etcd_index, &key)?.map_err(|_| corrupt(key.as_bytes()))?;
        if found.stored.expire_ms != Some(at) {
            return Err(corrupt(key.as_bytes()));
        }
        let removed = tree::remove(tx, &found)?;
        let index = meta.etcd_index + 1;
        let node = Node {
            key: found.key.clone(),
            dir: found.stored.is_dir(),
            modified_index: index,
            created_index: found.stored.created,
            ..Node::default()
        };
        let prev_node = Some(found.stored.show(&found.key, now_ms));
        let event = Arc::new(Event {
            action: Action::Expire,
            node,
            prev_node,
            etcd_index: index,
        });
        history::record(
            tx,
            meta,
            &Row::Key {
                event: Arc::clone(&event),
                refresh: false,
            },
        )?;
        meta.stats.expire_count += 1;
        notices.push(Notice { event, removed });
    }
    Ok(notices)
}
