//! Users and roles over a socket, a single member behind it; the answers are a real etcd 3.4.23's.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::testing::{self, ask};

const TTL: Duration = Duration::from_secs(30);
const DENIED: &str = "401 {\"message\":\"Insufficient credentials\"}";
const KEY_DENIED: &str = "401 {\"errorCode\":110,\"message\":\"The request requires user authentication\",\
                          \"cause\":\"Insufficient credentials\",\"index\":0}\n";
const ROOT: &str = r#"{"role":"root","permissions":{"kv":{"read":["/*"],"write":["/*"]}}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn users_roles_and_guests() {
    let mut machines = testing::cluster(1, TTL).await;
    let to = machines[0].clients;
    // Who asks ("" names nobody), method, target, body, answer.
    let script: &[(&str, &str, &str, &str, &str)] = &[
        ("", "GET", "/v2/auth/enable", "", "200 {\"enabled\":false}\n"),
        ("", "GET", "/v2/auth/users", "", "200 {\"users\":null}\n"),
        ("", "POST", "/v2/auth/users", "", "405 Method Not Allowed\n"),
        (
            "",
            "GET",
            "/v2/auth/users/a/b",
            "",
            "400 {\"message\":\"Invalid path\"}",
        ),
        ("", "GET", "/v2/auth", "", "404 404 page not found\n"),
        (
            "",
            "PUT",
            "/v2/auth/enable",
            "",
            "409 {\"message\":\"auth: No root user available, please create one\"}",
        ),
        (
            "",
            "DELETE",
            "/v2/auth/enable",
            "",
            "409 {\"message\":\"auth: already disabled\"}",
        ),
        (
            "",
            "PUT",
            "/v2/auth/users/root",
            "{",
            "400 {\"message\":\"Invalid JSON in request body.\"}",
        ),
        (
            "",
            "PUT",
            "/v2/auth/users/root",
            "{\"user\":\"x\"}",
            "400 {\"message\":\"User JSON name does not match the name in the URL\"}",
        ),
        (
            "",
            "PUT",
            "/v2/auth/users/root",
            "{\"user\":\"root\",\"password\":\"pw\"}",
            "201 {\"user\":\"root\",\"roles\":[\"root\"]}\n",
        ),
        (
            "",
            "PUT",
            "/v2/auth/roles/r",
            "{\"role\":\"r\",\"permissions\":{\"kv\":{\"read\":[\"/a\",\"/d/*\"]}}}",
            "201 {\"role\":\"r\",\"permissions\":{\"kv\":{\"read\":[\"/a\",\"/d/*\"],\"write\":null}}}\n",
        ),
        (
            "",
            "PUT",
            "/v2/auth/users/ann",
            "{\"user\":\"ann\",\"password\":\"x\",\"roles\":[\"r\"]}",
            "200 {\"user\":\"ann\",\"roles\":[\"r\"]}\n",
        ),
        ("", "PUT", "/v2/keys/a", "", "201 "),
        ("", "PUT", "/v2/auth/enable", "", "200 "),
        ("", "GET", "/v2/auth/enable", "", "200 {\"enabled\":true}\n"),
        ("", "GET", "/v2/auth/roles", "", DENIED),
        ("ann:x", "GET", "/v2/auth/roles/r", "", DENIED),
        ("root:no", "DELETE", "/v2/auth/enable", "", DENIED),
        ("", "GET", "/v2/keys/a", "", "200 "),
        ("ann:x", "GET", "/v2/keys/a", "", "200 "),
        ("ann:no", "GET", "/v2/keys/a", "", KEY_DENIED),
        ("ann:x", "DELETE", "/v2/keys/a", "", KEY_DENIED),
        ("ann:x", "GET", "/v2/keys/d/x/../../b", "", KEY_DENIED),
        (
            "root:pw",
            "PUT",
            "/v2/auth/roles/guest",
            "{\"role\":\"guest\",\"revoke\":{\"kv\":{\"read\":[\"/*\"],\"write\":[\"/*\"]}}}",
            "200 {\"role\":\"guest\",\"permissions\":{\"kv\":{\"read\":[],\"write\":[]}}}\n",
        ),
        ("", "GET", "/v2/keys/a", "", KEY_DENIED),
        ("", "GET", "/v2/keys/a?wait=true", "", KEY_DENIED),
        ("root:pw", "GET", "/v2/keys/a", "", "200 "),
        ("", "POST", "/v2/members", "{}", DENIED),
        ("ann:x", "DELETE", "/v2/members/zz", "", DENIED),
        (
            "root:pw",
            "DELETE",
            "/v2/members/zz",
            "",
            "404 {\"message\":\"No such member: zz\"}",
        ),
        (
            "root:pw",
            "DELETE",
            "/v2/auth/users/root",
            "",
            "403 {\"message\":\"auth: Cannot delete root user while auth is enabled.\"}",
        ),
        (
            "root:pw",
            "PUT",
            "/v2/auth/users/root",
            "{\"user\":\"root\",\"password\":\"new\"}",
            "200 {\"user\":\"root\",\"roles\":[\"root\"]}\n",
        ),
        ("root:pw", "GET", "/v2/keys/a", "", KEY_DENIED),
        ("root:new", "DELETE", "/v2/auth/enable", "", "200 "),
        ("", "GET", "/v2/keys/a", "", "200 "),
    ];
    for (who, method, target, body, expected) in script {
        let mut kind = if target.starts_with("/v2/keys") {
            "application/x-www-form-urlencoded".to_owned()
        } else {
            "application/json".to_owned()
        };
        if !who.is_empty() {
            // One more header behind the content's type.
            kind += &format!("\r\nAuthorization: Basic {}", STANDARD.encode(who));
        }
        let answer = ask(to, method, target, &kind, body).await;
        let line = answer.line();
        let is_whole = expected.len() > 4;
        assert!(
            line == *expected || !is_whole && line.starts_with(expected),
            "{who} {method} {target}: {line}, expected {expected}"
        );
    }
    let roles = ask(to, "GET", "/v2/auth/roles/root", "", "").await;
    assert_eq!(roles.line(), format!("200 {ROOT}\n"));
    assert!(roles.header("X-Etcd-Cluster-Id").is_some());
    machines[0].stop().await;
}
