//! /metrics after the same requests: what means the same has the same name, type, labels and value. And what gRPC itself
//! refuses.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use corten_etcd_api::etcdserverpb::PutRequest;
use corten_etcd_api::etcdserverpb::kv_client::KvClient;
use hyper::Method;
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::common::{Asked, Pair};

/// What is compared.
const FIGURES: &[&str] = &[
    "etcd_mvcc_put_total",
    "etcd_mvcc_delete_total",
    "etcd_mvcc_range_total",
    "etcd_mvcc_txn_total",
    "etcd_debugging_mvcc_put_total",
    "etcd_debugging_mvcc_delete_total",
    "etcd_debugging_mvcc_range_total",
    "etcd_debugging_mvcc_txn_total",
    "etcd_debugging_mvcc_total_put_size_in_bytes",
    "etcd_debugging_lease_granted_total",
    "etcd_debugging_lease_revoked_total",
    "etcd_debugging_auth_revision",
    "etcd_server_client_requests_total",
    "etcd_server_health_success",
    "etcd_server_health_failures",
    "etcd_server_snapshot_apply_in_progress_total",
];
/// What takes its time: only name, type and limits can be.
const TIMES: &[&str] = &[
    "etcd_snap_fsync_duration_seconds",
    "etcd_snap_db_fsync_duration_seconds",
    "etcd_debugging_snap_save_total_duration_seconds",
];

fn b64(text: &str) -> Value {
    STANDARD.encode(text).into()
}

/// Requests of every kind that is counted.
fn requests() -> Vec<(&'static str, Value)> {
    let put = json!({ "request_put": { "key": b64("t"), "value": b64("22") } });
    let put_back = json!({ "request_put": { "key": b64("u"), "value": b64("2"), "prev_kv": true } });
    let get = json!({ "request_range": { "key": b64("a") } });
    let delete = json!({ "request_delete_range": { "key": b64("t"), "prev_kv": true } });
    let is_there = json!({ "key": b64("a"), "target": "VERSION", "result": "GREATER", "version": "0" });
    let is_not = json!({ "key": b64("a"), "target": "VERSION", "version": "0" });
    let nested = json!({ "request_txn": { "compare": [is_there], "success": [put, get] } });
    vec![
        ("/v3/kv/put", json!({ "key": b64("a"), "value": b64("12345") })),
        (
            "/v3/kv/put",
            json!({ "key": b64("a"), "value": b64("1"), "prev_kv": true }),
        ),
        (
            "/v3/kv/put",
            json!({ "key": b64("a"), "value": b64("2"), "ignore_lease": true }),
        ),
        ("/v3/kv/range", json!({ "key": b64("a") })),
        ("/v3/kv/range", json!({ "key": b64("a"), "serializable": true })),
        ("/v3/kv/range", json!({ "key": b64("") })),
        (
            "/v3/kv/txn",
            json!({ "compare": [is_there], "success": [put, delete, get] }),
        ),
        (
            "/v3/kv/txn",
            json!({ "compare": [is_not], "success": [put], "failure": [put_back] }),
        ),
        ("/v3/kv/txn", json!({ "success": [get, get] })),
        ("/v3/kv/txn", json!({ "success": [get] })),
        ("/v3/kv/txn", json!({ "success": [put] })),
        ("/v3/kv/txn", json!({ "success": [nested] })),
        ("/v3/lease/grant", json!({ "ID": "77", "TTL": "100" })),
        ("/v3/lease/grant", json!({ "ID": "77", "TTL": "100" })),
        ("/v3/kv/put", json!({ "key": b64("l"), "lease": "77" })),
        ("/v3/kv/put", json!({ "key": b64("m"), "lease": "77" })),
        ("/v3/lease/revoke", json!({ "ID": "77" })),
        ("/v3/kv/deleterange", json!({ "key": b64("a"), "prev_kv": true })),
        ("/v3/kv/deleterange", json!({ "key": b64("nosuch") })),
        ("/v3/kv/compaction", json!({ "revision": "3" })),
        ("/v3/maintenance/status", json!({})),
        ("/v3/auth/user/add", json!({ "name": "ann", "password": "pw" })),
    ]
}

/// A server's figures by name and labels, and the types by name.
#[derive(Debug, Default)]
struct Read {
    values: BTreeMap<String, f64>,
    types: BTreeMap<String, String>,
    limits: BTreeMap<String, Vec<String>>,
}

async fn read(pair: &mut Pair, at: usize) -> Read {
    let answer = pair.ask(at, &Asked::form(Method::GET, "/metrics", "")).await;
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    let mut found = Read::default();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) {
            found.types.insert(name.to_owned(), kind.to_owned());
        } else if let Some((name, rest)) = line.split_once("_bucket{le=\"") {
            let limit = rest.split('"').next().unwrap_or_default();
            let limit = limit
                .parse::<f64>()
                .map_or(limit.to_owned(), |limit| limit.to_string());
            found.limits.entry(name.to_owned()).or_default().push(limit);
        } else if let Some((name, value)) = line.rsplit_once(' ')
            && !line.starts_with('#')
        {
            found.values.insert(name.to_owned(), value.parse().unwrap());
        }
    }
    found
}

/// What of two looks can be compared with another server.
fn comparable(before: &Read, after: &Read) -> Vec<String> {
    let mut lines = vec![];
    for name in FIGURES {
        lines.push(format!("{name} is a {:?}", after.types.get(*name)));
        let own = after
            .values
            .iter()
            .filter(|(labelled, _)| labelled.split('{').next() == Some(name));
        for (labelled, value) in own {
            let grown = value - before.values.get(labelled).unwrap_or(&0.0);
            lines.push(format!("{labelled} grew by {grown}"));
        }
    }
    for name in TIMES {
        lines.push(format!(
            "{name} is a {:?} with {:?}",
            after.types.get(*name),
            after.limits.get(*name)
        ));
    }
    lines
}

#[tokio::test]
#[ignore = "needs Debian's etcd-server on the PATH and corten built"]
async fn what_means_the_same_is_counted_the_same() {
    let mut pair = Pair::start().await;
    let mut found = vec![];
    for at in [0, 1] {
        let before = read(&mut pair, at).await;
        for (path, body) in requests() {
            let asked = Asked {
                method: Method::POST,
                path: path.to_owned(),
                headers: vec![],
                body: body.to_string(),
            };
            pair.ask(at, &asked).await;
        }
        pair.ask(at, &Asked::form(Method::GET, "/health", "")).await;
        let after = read(&mut pair, at).await;
        found.push(comparable(&before, &after));
    }
    let [ours, theirs] = &found[..] else {
        unreachable!("two servers")
    };
    assert_eq!(ours.join("\n"), theirs.join("\n"));
}

#[tokio::test]
#[ignore = "needs Debian's etcd-server on the PATH and corten built"]
async fn a_message_that_is_too_long_is_refused_in_etcds_words() {
    let pair = Pair::start().await;
    let mut refused = vec![];
    for port in pair.ports().await {
        let put = PutRequest {
            key: "k".into(),
            value: vec![b'v'; 3 << 20].into(),
            ..PutRequest::default()
        };
        let to = Channel::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
        let channel = to.connect().await.unwrap();
        let status = KvClient::new(channel).put(put).await.unwrap_err();
        refused.push((status.code(), status.message().to_owned()));
    }
    assert_eq!(refused[0], refused[1]);
}
