//! What clients read.

use bytes::Bytes;
use corten_raft::Node;
use corten_store::keys::{self, Code};
use corten_store::kv;

use super::{Ask, End, Face, Operation, Seen};

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
    let value = found
        .kvs
        .first()
        .and_then(|kv| std::str::from_utf8(&kv.value).ok()?.parse().ok());
    Ok((value, found.revision as u64))
}
