//! Replays a real etcd's answers (`keys.txt`) against the store: same status, index and body, byte for byte but times.
#![allow(clippy::unwrap_used)]

use corten_store::keys::{self, Request, form, parse};
use corten_store::member::Attributes;
use corten_store::memory::Memory;
use corten_store::{Command, Response, apply, meta};

const NOW: u64 = 1_795_360_318_868;

/// A fresh single member, as etcd is after its three internal writes.
fn fresh() -> Memory {
    let mut store = Memory::new();
    let me = Attributes {
        id: 0xbfb3_8348_b1f5_c11d,
        name: "n1".to_owned(),
        peer_urls: vec!["http://127.0.0.1:24012".to_owned()],
        client_urls: vec!["http://127.0.0.1:24011".to_owned()],
    };
    apply(&mut store, 2, &Command::Member(me)).unwrap();
    apply(&mut store, 3, &Command::Version("3.4.0".to_owned())).unwrap();
    store
}

/// Status, index and body of one request.
fn answer(store: &mut Memory, method: &str, target: &str, body: &str) -> (u16, u64, String) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parsed = form::pairs(query.as_bytes(), body.as_bytes()).and_then(|pairs| {
        parse(
            method,
            &form::unescape_path(&path["/v2/keys".len()..])?,
            &pairs,
            NOW,
        )
    });
    let result = match parsed {
        Err(error) => Err(error),
        Ok(Request::Get(get)) => keys::get(store, &get, NOW)
            .unwrap()
            .map(|e| (200, e.etcd_index, e.to_json())),
        Ok(Request::Watch(_)) => panic!("no watches in the script"),
        Ok(Request::Write {
            write,
            no_value_on_success,
        }) => {
            let outcome = apply(store, 1, &Command::Keys(write)).unwrap();
            let Response::Keys(result) = outcome.response else {
                panic!("{:?}", outcome.response)
            };
            result.map(|event| {
                let json = if no_value_on_success {
                    event.to_json_no_value()
                } else {
                    event.to_json()
                };
                (if event.is_created() { 201 } else { 200 }, event.etcd_index, json)
            })
        }
    };
    let (status, index, json) = result.unwrap_or_else(|e| (e.code.http_status(), e.index, e.to_json()));
    let json = String::from_utf8(json).unwrap();
    assert!(json.ends_with('\n'), "{json:?}");
    (
        status,
        index,
        if method == "HEAD" {
            String::new()
        } else {
            masked(json.trim_end())
        },
    )
}

/// Times as T.
fn masked(json: &str) -> String {
    let mut out = String::new();
    let mut rest = json;
    while let Some((before, after)) = rest.split_once("\"expiration\":\"") {
        out.push_str(before);
        out.push_str("\"expiration\":\"T");
        rest = &after[after.find('"').unwrap()..];
    }
    out + rest
}

#[test]
fn answers_are_etcds() {
    let mut store = fresh();
    let script = include_str!("keys.txt");
    let mut played = 0;
    for block in script.split("\n> ").skip(1) {
        let mut lines = block.lines().filter(|line| !line.starts_with('#'));
        let mut request = lines.next().unwrap().splitn(3, ' ');
        let (method, target) = (request.next().unwrap(), request.next().unwrap());
        let expected_head = lines.next().unwrap().trim_start_matches("< ");
        let expected_body = lines.next().unwrap_or_default();
        let (status, index, body) = answer(&mut store, method, target, request.next().unwrap_or_default());
        assert_eq!(
            format!("{status} {index}\n{body}"),
            format!("{expected_head}\n{expected_body}"),
            "> {block}"
        );
        played += 1;
    }
    assert!(played > 45, "only {played} requests in the script");
}

#[test]
fn a_fresh_member_counts_what_etcd_counts() {
    let store = fresh();
    let serving = keys::stats::ServingStats {
        gets_success: 1,
        gets_fail: 1,
        watchers: 0,
    };
    assert_eq!(
        meta::read(&store).unwrap().stats.to_json(serving),
        "{\"getsSuccess\":1,\"getsFail\":1,\"setsSuccess\":2,\"setsFail\":0,\"deleteSuccess\":0,\"deleteFail\":0,\
         \"updateSuccess\":0,\"updateFail\":0,\"createSuccess\":1,\"createFail\":0,\"compareAndSwapSuccess\":0,\
         \"compareAndSwapFail\":0,\"compareAndDeleteSuccess\":0,\"compareAndDeleteFail\":0,\"expireCount\":0,\
         \"watchers\":0}"
    );
}
