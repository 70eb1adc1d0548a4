//! fleet's API and requests nobody would mean: each is answered, none as the server's own failure, and it serves on.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::testing::{self, ask, until};

/// How many are sent.
const REQUESTS: usize = 400;

const METHODS: [&str; 8] = ["GET", "PUT", "PUT", "PUT", "PATCH", "DELETE", "POST", "FROB"];
const PATHS: [&str; 14] = [
    "/fleet/v1/units",
    "/fleet/v1/units/a.service",
    "/fleet/v1/units/a%40.service",
    "/fleet/v1/units/a%40%00.service",
    "/fleet/v1/units/%ff",
    "/fleet/v1/units/a.frob",
    "/v1-alpha/units/b.service",
    "/fleet/v1/state",
    "/fleet/v1/state/a.service",
    "/fleet/v1/state?unitName=%25&machineID=..",
    "/fleet/v1/units?nextPageToken=////",
    "/fleet/v1/machines",
    "/fleet/v1/discovery",
    "/",
];
const BODIES: [&str; 7] = [
    r#"{"name":"a.service","desiredState":"launched","options":[{"section":"Service","name":"ExecStart","value":"/bin/a"}]}"#,
    r#"{"options":[{"section":"X-Fleet","name":"Global","value":"true"},{"section":"X-Fleet","name":"MachineOf","value":"a"}]}"#,
    r#"{"options":[{"section":"X-Fleet","name":"Conflicts","value":"[a-"}],"desiredState":"loaded"}"#,
    r#"{"options":[{"section":"","name":"","value":"\u0000\n[Install]\nA=b"}]}"#,
    r#"{"desiredState":"frob"}"#,
    r#"[{"op":"add","path":"/0000/metadata/a","value":{"value":"b"}},{"op":"remove","path":"/x/metadata/"}]"#,
    "",
];

/// A good body with some bytes of it changed, cut, or repeated very often.
fn body() -> impl Strategy<Value = String> {
    let changes = vec((any::<prop::sample::Index>(), "\\PC"), 0..4);
    (
        select(&BODIES[..]),
        changes,
        any::<prop::sample::Index>(),
        0..20u8,
    )
        .prop_map(|(body, changes, cut, fate)| {
            let mut text: Vec<char> = body.chars().collect();
            for (at, new) in changes {
                if !text.is_empty() {
                    let at = at.index(text.len());
                    text.splice(at..=at, new.chars());
                }
            }
            match fate {
                0 => "[".repeat(100_000),
                1 => text.iter().collect::<String>().repeat(20_000),
                2..6 => text[..cut.index(text.len() + 1)].iter().collect(),
                _ => text.into_iter().collect(),
            }
        })
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_asked_is_answered() {
    let mut machines = testing::cluster(1, Duration::from_secs(30)).await;
    let to = machines[0].fleet;
    let types = select(
        &[
            "application/json",
            "application/json",
            "application/json",
            "",
            "text/plain",
        ][..],
    );
    let requests = (select(&METHODS[..]), select(&PATHS[..]), types, body());
    let mut runner = TestRunner::deterministic();
    for _ in 0..REQUESTS {
        let (method, path, content_type, body) = requests.new_tree(&mut runner).unwrap().current();
        let answer = ask(to, method, path, content_type, &body).await;
        let asked = || {
            format!(
                "{method} {path} {content_type} {}",
                body.chars().take(200).collect::<String>()
            )
        };
        assert!(
            (200..500).contains(&answer.status),
            "{}: {}",
            asked(),
            answer.line()
        );
        if answer.header("Content-Type") == Some("application/json") && !answer.body.is_empty() {
            let parsed: Result<serde_json::Value, _> = serde_json::from_str(&answer.body);
            assert!(parsed.is_ok(), "{}: {}", asked(), answer.line());
        }
    }
    let good = r#"{"desiredState":"launched","options":[{"section":"Service","name":"ExecStart","value":"/bin/a"}]}"#;
    let path = "/fleet/v1/units/good.service";
    assert_eq!(
        ask(to, "PUT", path, "application/json", good).await.line(),
        "201 "
    );
    until("a unit is started as before", async || {
        machines[0].systemd.runs("good.service").then_some(())
    })
    .await;
    machines[0].stop().await;
}
