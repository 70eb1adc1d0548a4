//! What etcd's v3 data model promises, rule by rule.
#![allow(clippy::unwrap_used)]

mod history;
mod keys;
mod transactions;
mod wire;

use bytes::Bytes;
use corten_store::kv::*;
use corten_store::memory::Memory;
use corten_store::{Command as Any, Event, Response, apply};

fn b(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(key: &str, value: &str) -> Put {
    Put {
        key: b(key),
        value: b(value),
        ..Put::default()
    }
}

fn on_lease(key: &str, lease: LeaseId) -> Put {
    Put {
        lease,
        ..put(key, "v")
    }
}

fn delete(key: &str, range_end: &str) -> DeleteRange {
    DeleteRange {
        key: b(key),
        range_end: b(range_end),
        prev_kv: true,
    }
}

fn all() -> Range {
    Range {
        key: b("\0"),
        range_end: b("\0"),
        ..Range::default()
    }
}

fn compare(key: &str, result: CompareResult, target: Target) -> Compare {
    Compare {
        key: b(key),
        range_end: Bytes::new(),
        result,
        target,
    }
}

fn run(store: &mut Memory, command: Command) -> Result<Answer, Error> {
    match apply(store, 1, &Any::Kv(command)).unwrap().response {
        Response::Kv(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn events(store: &mut Memory, command: Command) -> Vec<(Action, String, i64)> {
    let outcome = apply(store, 1, &Any::Kv(command)).unwrap();
    let mut events = Vec::new();
    for event in outcome.events {
        let changes = match event {
            Event::Kv(changes) => changes,
            Event::Lease(..) => continue,
            other => panic!("{other:?}"),
        };
        for change in changes.changes.iter() {
            let key = String::from_utf8(change.kv.key.to_vec()).unwrap();
            assert_eq!(change.kv.mod_revision, changes.revision);
            events.push((change.action, key, change.kv.mod_revision));
        }
    }
    events
}

/// A store with the keys set, in order.
fn with(keys: &[(&str, &str)]) -> Memory {
    let mut store = Memory::new();
    for (key, value) in keys {
        run(&mut store, Command::Put(put(key, value))).unwrap();
    }
    store
}

fn shown(answer: &RangeAnswer) -> String {
    let kv = |kv: &KeyValue| {
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let (key, value) = (text(&kv.key), text(&kv.value));
        format!(
            "{key}={value}:{}/{}/{}",
            kv.create_revision, kv.mod_revision, kv.version
        )
    };
    let kvs: Vec<String> = answer.kvs.iter().map(kv).collect();
    let more = if answer.more { " more" } else { "" };
    format!("{} @{} of {}{more}", kvs.join(" "), answer.revision, answer.count)
}

fn read(store: &Memory, range: &Range) -> String {
    match corten_store::kv::range(store, range).unwrap() {
        Ok(answer) => shown(&answer),
        Err(error) => error.to_string(),
    }
}
