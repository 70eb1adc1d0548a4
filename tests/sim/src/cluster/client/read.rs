//! What clients read.

use bytes::Bytes;
use corten_raft::Node;
use corten_store::keys::history::{self, Found};
use corten_store::keys::{self, Code, Watch};
use corten_store::{kv, meta};

use super::{Ask, End, Face, Operation, Seen, seen};

/// Reads a key.
pub async fn current(node: &Node, operation: &Operation) -> End {
    if operation.ask == Ask::Read
        && let Err(e) = node.linearize().await
    {
        return End::Nothing(e.to_string());
    }
    let found = match operation.face {
        Face::V2 => read_v2(node, operation.key()),
        Face::V3 => read_v3(node, operation.key_bytes()),
    };
    match found {
        Ok((value, place)) => End::Answer {
            seen: Seen::Value(value),
            place,
            entry: 0,
        },
        Err(e) => End::Nothing(e),
    }
}

/// A v2 key's value, and the index of the store.
fn read_v2(node: &Node, key: String) -> Result<(Option<u64>, u64), String> {
    let get = keys::request::Get {
        key,
        recursive: false,
        sorted: false,
        quorum: true,
    };
    match node
        .read(|tx| keys::get(tx, &get, 0))
        .map_err(|e| e.to_string())?
    {
        Ok(event) => Ok((
            event.node.value.and_then(|value| value.parse().ok()),
            event.etcd_index,
        )),
        Err(error) if error.code == Code::KeyNotFound => Ok((None, error.index)),
        Err(error) => Err(format!("{error:?}")),
    }
}

/// A v3 key's value, and the revision of the store.
fn read_v3(node: &Node, key: Bytes) -> Result<(Option<u64>, u64), String> {
    let range = kv::Range {
        key,
        ..kv::Range::default()
    };
    let found = node.read(|tx| kv::range(tx, &range)).map_err(|e| e.to_string())?;
    let found = found.map_err(|e| e.to_string())?;
    Ok((value(&found), found.revision as u64))
}

fn value(found: &kv::RangeAnswer) -> Option<u64> {
    std::str::from_utf8(&found.kvs.first()?.value).ok()?.parse().ok()
}

/// Reads a v3 key as it was.
pub async fn at(node: &Node, operation: &Operation, revision: u64) -> End {
    if let Err(e) = node.linearize().await {
        return End::Nothing(e.to_string());
    }
    let range = kv::Range {
        key: operation.key_bytes(),
        revision: revision as i64,
        ..kv::Range::default()
    };
    match node.read(|tx| kv::range(tx, &range)) {
        Ok(Ok(found)) => End::Answer {
            seen: Seen::Value(value(&found)),
            place: found.revision as u64,
            entry: 0,
        },
        Ok(Err(kv::Error::Compacted)) => seen(Seen::Compacted),
        Ok(Err(e)) => seen(Seen::Wrong(e.to_string())),
        Err(e) => End::Nothing(e.to_string()),
    }
}

/// What a watcher of everything finds on this node that begins at an index or revision.
pub fn watch_from(node: &Node, face: Face, from: u64) -> End {
    let found = match face {
        Face::V2 => first_v2(node, from),
        Face::V3 => page_v3(node, from, 1).map(|page| match page {
            Page::Of(revisions, upto) => revisions.first().copied().map_or(Seen::NoEvent(upto), of_event),
            Page::Compacted(at) => Seen::Cleared(at),
        }),
    };
    found.map_or_else(End::Nothing, seen)
}

fn of_event((at, changes): (u64, usize)) -> Seen {
    Seen::Event(at, changes)
}

/// What the v3 history holds from a revision on.
pub enum Page {
    /// Revisions, with how many changes each has; and the store's revision.
    Of(Vec<(u64, usize)>, u64),
    /// Nothing: it begins at this revision.
    Compacted(u64),
}

/// Some of the v3 history.
pub fn page_v3(node: &Node, from: u64, limit: usize) -> Result<Page, String> {
    let page = node.read(|tx| {
        Ok(match kv::events_from(tx, from as i64, limit)? {
            Ok(page) => Page::Of(
                page.revisions
                    .iter()
                    .map(|it| (it.revision as u64, it.changes.len()))
                    .collect(),
                kv::revision(tx)? as u64,
            ),
            Err(_) => Page::Compacted(kv::compact_revision(tx)? as u64),
        })
    });
    page.map_err(|e| e.to_string())
}

/// The first event in v2's history, whose window must hold exactly as many indexes as the store says.
pub fn first_v2(node: &Node, from: u64) -> Result<Seen, String> {
    let watch = Watch {
        key: "/".to_owned(),
        recursive: true,
        stream: false,
        since: from,
    };
    let (found, meta) = node
        .read(|tx| Ok((history::scan(tx, &watch)?, meta::read(tx)?)))
        .map_err(|e| e.to_string())?;
    let is_cleared = from + meta.history <= meta.etcd_index;
    Ok(match found {
        Ok((Found::Event(event), _)) if !is_cleared => Seen::Event(event.index(), 1),
        Ok((Found::WaitFrom(_), _)) if !is_cleared => Seen::NoEvent(meta.etcd_index),
        Err(error)
            if is_cleared && error.code == Code::EventIndexCleared && error.index == meta.etcd_index =>
        {
            Seen::Cleared(meta.etcd_index)
        }
        other => Seen::Wrong(format!("{other:?}, with {meta:?}")),
    })
}
