//! Requests of etcd's v2 API (path, query and form) and of the v3 JSON gateway.

use corten_etcd_api::json::{self, Methods};
use corten_store::keys::{self, Request, form, path};
use corten_store::memory::Memory;
use corten_store::{Command, apply};
use prost::Message;
use prost_reflect::DynamicMessage;

const NOW_MS: u64 = 1_700_000_000_000;

/// `METHOD PATH[?QUERY][ FORM]`, as the store's script of a real etcd's answers has them.
pub fn v2_seeds() -> Vec<Vec<u8>> {
    include_str!("../../../supervisor/store/tests/keys.txt")
        .lines()
        .filter_map(|line| line.strip_prefix("> "))
        .map(|line| line.replacen("/v2/keys", "", 1).into_bytes())
        .collect()
}

/// A request is refused in etcd's way or carried out; its key is clean, and what was written can be read.
pub fn v2(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut words = text.splitn(3, ' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let body = words.next().unwrap_or_default();
    if !["HEAD", "GET", "PUT", "POST", "DELETE"].contains(&method) {
        return;
    }
    let (raw_path, query) = target.split_once('?').unwrap_or((target, ""));
    let (Ok(pairs), Ok(key)) = (
        form::pairs(query.as_bytes(), body.as_bytes()),
        form::unescape_path(raw_path),
    ) else {
        return;
    };
    let clean = path::clean(&key);
    assert_eq!(path::clean(&clean), clean, "a clean key stays clean");
    let Ok(Request::Write { write, .. }) = keys::parse(method, &key, &pairs, NOW_MS) else {
        return;
    };
    assert!(write.key.starts_with('/') && path::clean(&write.key) == write.key);
    let mut store = Memory::new();
    let command = Command::Keys(write);
    let first = apply(&mut store, 1, &command).expect("memory does not fail");
    let mut twin = Memory::new();
    assert_eq!(
        apply(&mut twin, 1, &command).expect("memory does not fail"),
        first,
        "equal commands give equal outcomes"
    );
    let root = keys::request::Get {
        key: "/".to_owned(),
        recursive: true,
        sorted: true,
        quorum: false,
    };
    let listing = keys::get(&store, &root, NOW_MS).expect("memory does not fail");
    if let Ok(event) = listing {
        event.to_json();
    }
}

/// `PATH` below /v3, a line end, and the body.
pub fn v3_seeds() -> Vec<Vec<u8>> {
    let known = [
        (
            "/kv/put",
            r#"{"key":"Zm9v","value":"YmFy","lease":"7","prev_kv":true,"ignore_lease":false}"#,
        ),
        (
            "/kv/range",
            r#"{"key":"AA==","range_end":"AA==","limit":3,"revision":"-1","sort_order":"DESCEND","sort_target":1}"#,
        ),
        (
            "/kv/txn",
            r#"{"compare":[{"result":"EQUAL","target":"CREATE","key":"Zg==","createRevision":"0"}],"success":[{"requestPut":{"key":"Zg==","value":"MQ=="}}],"failure":[{"request_txn":{"success":[{"requestRange":{"key":"Zg=="}}]}}]}"#,
        ),
        (
            "/watch",
            "{\"create_request\":{\"key\":\"Zg==\",\"start_revision\":1,\"filters\":[\"NOPUT\",1]}}\n{\"progress_request\":{}}",
        ),
        ("/lease/grant", r#"{"TTL":"9223372036854775807","ID":-1}"#),
        (
            "/auth/role/grant",
            r#"{"name":"r","perm":{"permType":"READWRITE","key":"Zg==","range_end":"AA=="}}"#,
        ),
        (
            "/maintenance/alarm",
            r#"{"action":"ACTIVATE","memberID":"1","alarm":"NOSPACE"}"#,
        ),
    ];
    let mut seeds: Vec<Vec<u8>> = known
        .iter()
        .map(|(path, body)| format!("{path}\n{body}").into_bytes())
        .collect();
    seeds.extend(Methods::paths().map(|path| format!("{path}\n{{}}").into_bytes()));
    seeds
}

/// A body is refused or read; what was read is the same once it went over the wire, or through JSON again.
pub fn v3(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (path, body) = data.split_at(end);
    let methods = Methods::new().expect("our own descriptors");
    let Some(method) = methods.at(&format!("/v3{}", String::from_utf8_lossy(path))) else {
        return;
    };
    let Ok(messages) = json::read(&method, body.get(1..).unwrap_or_default()) else {
        return;
    };
    for message in messages {
        let wire = message.encode_to_vec();
        let received = DynamicMessage::decode(method.input(), wire.as_slice()).expect("our own encoding");
        assert_eq!(received.encode_to_vec(), wire);
        let Ok(text) = json::write(&message) else { continue };
        let again = json::read(&method, &text).expect("our own JSON");
        assert_eq!(
            again[0].encode_to_vec(),
            wire,
            "{}",
            String::from_utf8_lossy(&text)
        );
    }
}
