//! Reading a key or listing a directory.

use super::error::Error;
use super::event::{Action, Event, Node};
use super::tree::{self, Body, Found, Stored};
use super::{path, request};
use crate::meta;
use crate::tables::{Read, StoreFault};

/// Answers a GET. `now_ms` is the clock the `ttl` fields are counted from. Listings are sorted by key, hidden names left
/// out.
///
/// # Errors
/// 100 or 104 with the part of the key that is missing or a file. The outer error is the storage's.
pub fn get(
    tx: &(impl Read + ?Sized),
    request: &request::Get,
    now_ms: u64,
) -> Result<Result<Event, Error>, StoreFault> {
    let etcd_index = meta::etcd_index(tx)?;
    let found = match tree::find(tx, etcd_index, &request.key)? {
        Ok(found) => found,
        Err(error) => return Ok(Err(error)),
    };
    let node = show(tx, &found, request.recursive, now_ms)?;
    Ok(Ok(Event {
        action: Action::Get,
        node,
        prev_node: None,
        etcd_index,
    }))
}

fn show(tx: &(impl Read + ?Sized), found: &Found, recursive: bool, now_ms: u64) -> Result<Node, StoreFault> {
    let mut node = found.stored.show(&found.key, now_ms);
    if let Body::Dir(dir) = found.stored.body {
        node.nodes = list(tx, dir, &found.key, recursive, now_ms)?;
    }
    Ok(node)
}

fn list(
    tx: &(impl Read + ?Sized),
    dir: u64,
    dir_key: &str,
    recursive: bool,
    now_ms: u64,
) -> Result<Vec<Node>, StoreFault> {
    let shown = |(name, stored): (String, Stored)| {
        let key = path::join(dir_key, &name);
        let mut node = stored.show(&key, now_ms);
        if let (Body::Dir(id), true) = (&stored.body, recursive) {
            node.nodes = list(tx, *id, &key, recursive, now_ms)?;
        }
        Ok(node)
    };
    tree::children(tx, dir)?
        .into_iter()
        .filter(|(name, _)| !path::is_hidden_name(name))
        .map(shown)
        .collect()
}
