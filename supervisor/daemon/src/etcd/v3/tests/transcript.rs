//! The same JSON requests that a real etcd was sent, and the same answers.

use std::net::SocketAddr;

use super::TTL;
use crate::testing::{self, ask, chunk, head, send};

const FORM: &str = "application/x-www-form-urlencoded";

/// Ids and terms as N.
fn masked(json: &str) -> String {
    let mut masked = json.to_owned();
    for name in ["cluster_id", "member_id", "raft_term"] {
        let mark = format!("\"{name}\":\"");
        let mut parts = masked.split(&mark);
        let mut out = parts.next().unwrap().to_owned();
        for part in parts {
            out = format!("{out}{mark}N{}", &part[part.find('"').unwrap()..]);
        }
        masked = out;
    }
    masked
}

/// Sends a request; status and as many lines as the body has or, where it may never end, as are expected.
async fn played(
    to: SocketAddr,
    path: &str,
    body: &str,
    expected: usize,
    endless: bool,
) -> (u16, Vec<String>) {
    let target = format!("/v3/{path}");
    let (status, text) = if endless {
        let mut stream = send(to, "POST", &target, FORM, body).await;
        let status = head(&mut stream).await.status;
        let mut text = String::new();
        while text.lines().count() < expected {
            let more = chunk(&mut stream).await;
            assert!(!more.is_empty(), "{path} {body} ends after {text}");
            text += &more;
        }
        (status, text)
    } else {
        let answer = ask(to, "POST", &target, FORM, body).await;
        (answer.status, answer.body)
    };
    (status, text.lines().map(masked).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_etcds_over_json() {
    let mut machines = testing::cluster(1, TTL).await;
    let to = machines[0].clients;
    let mut count = 0;
    for block in include_str!("gateway.txt").split("\n> ").skip(1) {
        let mut lines = block.lines();
        let (path, body) = lines.next().unwrap().split_once(' ').unwrap();
        let status: u16 = lines.next().unwrap().trim_start_matches("< ").parse().unwrap();
        let expected: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        let endless = ["watch", "election/observe"].contains(&path);
        let (got_status, got) = played(to, path, body, expected.len(), endless).await;
        assert_eq!(
            (got_status, got),
            (status, expected.iter().map(|l| (*l).to_owned()).collect()),
            "{path} {body}"
        );
        count += 1;
    }
    assert!(count > 140, "only {count} requests in the transcript");
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_frame_is_etcds() {
    let mut machines = testing::cluster(1, TTL).await;
    let to = machines[0].clients;
    let answer = ask(to, "POST", "/v3beta/kv/put", FORM, "{\"key\":\"YQ==\"}").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    assert_eq!(
        answer.header("Grpc-Metadata-Content-Type"),
        Some("application/grpc")
    );
    assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("*"));
    let get = ask(to, "GET", "/v3/kv/range", "", "").await;
    assert_eq!(get.line(), "405 Method Not Allowed\n");
    assert_eq!(ask(to, "POST", "/v3/kv/range", "", "{").await.status, 400);
    assert_eq!(
        ask(to, "POST", "/v3/nosuch", "", "").await.line(),
        "404 Not Found\n"
    );
    machines[0].stop().await;
}
