//! /v2/auth, keys and members by users, guests and strangers; members, stats, version and health beside them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use rand::prelude::*;

use crate::common::{Asked, Pair, pick, seeds};

const SEEDS: u64 = 4;
/// etcd runs bcrypt for each of them.
const REQUESTS: usize = 300;

const USERS: &[&str] = &["root", "root", "ann", "bob", "guest", "%C3%BC"];
const ROLES: &[&str] = &["root", "guest", "guest", "r1", "r2", "r3"];
const NAMES: &[&str] = &["", "x", "root", "ann", "bob", "r1", "r2"];
const PASSWORDS: &[&str] = &["pw", "pw", "pw", "other", ""];
const PATTERNS: &[&str] = &["/*", "/a", "/a*", "/a/*", "/d/*", "/", "*", "x", "/%3C"];
const KEYS: &[&str] = &["", "/", "/a", "/a/", "/a/x", "/d/e", "/d", "/_h", "/%61"];
const OTHER: &[&str] = &[
    "/v2/auth",
    "/v2/auth/",
    "/v2/auth/enable/",
    "/v2/auth/enable/x",
    "/v2/auth/users/",
    "/v2/auth/users/a/b",
    "/v2/auth/usersx",
    "/v2/auth/roles/a/b",
    "/v2/auth/none",
];
const METHODS: &[&str] = &["GET", "GET", "PUT", "PUT", "PUT", "PUT", "DELETE", "POST", "HEAD"];

fn often(rng: &mut StdRng, percent: u32) -> bool {
    rng.random_range(0..100) < percent
}

fn method(rng: &mut StdRng) -> Method {
    pick(rng, METHODS).parse().unwrap()
}

fn list(rng: &mut StdRng, from: &[&'static str]) -> String {
    let count = rng.random_range(0..3);
    let items: Vec<String> = (0..count).map(|_| format!("\"{}\"", pick(rng, from))).collect();
    format!("[{}]", items.join(","))
}

fn permissions(rng: &mut StdRng) -> String {
    let mut kv = vec![];
    for name in ["read", "write"] {
        if often(rng, 70) {
            kv.push(format!("\"{name}\":{}", list(rng, PATTERNS)));
        }
    }
    format!("{{\"kv\":{{{}}}}}", kv.join(","))
}

/// A user to be put: its name, and its JSON.
fn user(rng: &mut StdRng) -> (&'static str, String) {
    let name = pick(rng, USERS);
    let shown = match name {
        "%C3%BC" => "ü",
        _ if often(rng, 4) => pick(rng, NAMES),
        name => name,
    };
    let mut fields = vec![format!("\"user\":\"{shown}\"")];
    if often(rng, 70) {
        fields.push(format!("\"password\":\"{}\"", pick(rng, PASSWORDS)));
    }
    for (field, percent) in [("roles", 25), ("grant", 30), ("revoke", 20)] {
        if often(rng, percent) {
            fields.push(format!("\"{field}\":{}", list(rng, ROLES)));
        }
    }
    (name, format!("{{{}}}", fields.join(",")))
}

fn role(rng: &mut StdRng) -> (&'static str, String) {
    let name = pick(rng, ROLES);
    let shown = if often(rng, 4) { pick(rng, NAMES) } else { name };
    let mut fields = vec![format!("\"role\":\"{shown}\"")];
    if often(rng, 50) {
        fields.push(format!("\"permissions\":{}", permissions(rng)));
    }
    if often(rng, 50) {
        // an empty one is kept by etcd, and shown again
        let field = pick(rng, &["grant", "revoke"]);
        fields.push(format!(
            "\"{field}\":{{\"kv\":{{\"read\":[\"{}\"],\"write\":{}}}}}",
            pick(rng, PATTERNS),
            list(rng, PATTERNS)
        ));
    }
    (name, format!("{{{}}}", fields.join(",")))
}

fn credentials(rng: &mut StdRng) -> Option<String> {
    let basic = |text: String| Some(format!("Basic {}", STANDARD.encode(text)));
    match rng.random_range(0..100) {
        0..45 => basic("root:pw".to_owned()),
        45..70 => None,
        70..90 => {
            let name = pick(rng, &["root", "ann", "bob", "guest", "nobody"]);
            basic(format!("{name}:{}", pick(rng, PASSWORDS)))
        }
        90..96 => Some(String::new()),
        _ => Some(pick(rng, &["Basic", "Basic !", "Bearer x", "Basic cm9vdA=="]).to_owned()),
    }
}

fn request(rng: &mut StdRng) -> Asked {
    let mut asked = match rng.random_range(0..100) {
        0..12 => Asked::form(method(rng), "/v2/auth/enable", ""),
        12..37 => {
            let (name, mut body) = user(rng);
            let method = method(rng);
            if often(rng, 5) {
                body = pick(rng, &["", "{", "[]", "null", "{\"user\":7}"]).to_owned();
            }
            let mut asked = Asked::form(method, &format!("/v2/auth/users/{name}"), "");
            asked.body = body;
            asked
        }
        37..60 => {
            let (name, mut body) = role(rng);
            let method = method(rng);
            if often(rng, 5) {
                body = pick(rng, &["", "{", "[]", "null", "{\"role\":\"r1\",\"grant\":7}"]).to_owned();
            }
            let mut asked = Asked::form(method, &format!("/v2/auth/roles/{name}"), "");
            asked.body = body;
            asked
        }
        60..66 => Asked::form(
            method(rng),
            pick(rng, &["/v2/auth/users", "/v2/auth/roles", "/v2/auth/users/"]),
            "",
        ),
        66..69 => Asked::form(method(rng), pick(rng, OTHER), ""),
        69..88 => {
            let query = pick(rng, &["", "", "?recursive=true", "?recursive=true", "?dir=true"]);
            let path = format!("/v2/keys{}{query}", pick(rng, KEYS));
            let method = method(rng);
            let form = if method == Method::PUT || method == Method::POST {
                "value=1"
            } else {
                ""
            };
            Asked::form(method, &path, form)
        }
        88..94 => {
            let path = pick(
                rng,
                &[
                    "/v2/members",
                    "/v2/members/",
                    "/v2/members/leader",
                    "/v2/members/zz",
                ],
            );
            let mut asked = Asked::form(method(rng), path, "");
            if often(rng, 60) {
                asked
                    .headers
                    .push(("Content-Type", "application/json".to_owned()));
            }
            asked.body = pick(
                rng,
                &[
                    "",
                    "{",
                    "{\"peerURLs\":[\"bad\"]}",
                    "{\"peerURLs\":[\"http://\"]}",
                    "{\"peerURLs\":[\"http://a:1,http://b:1\"]}",
                    "{\"peerURLs\":[\"http://a:1/b\"]}",
                    "{\"peerURLs\":[\"http://a:x\"]}",
                    "{\"peerURLs\":[]}",
                    "{}",
                    "{\"peerURLs\":7}",
                ],
            )
            .to_owned();
            asked
        }
        _ => Asked::form(
            pick(rng, &["GET", "GET", "GET", "HEAD", "PUT"]).parse().unwrap(),
            pick(
                rng,
                &[
                    "/v2/stats/store",
                    "/v2/stats/self",
                    "/v2/stats/leader",
                    "/version",
                    "/health",
                    "/v2/machines",
                ],
            ),
            "",
        ),
    };
    if let Some(value) = credentials(rng) {
        asked.headers.push(("Authorization", value));
    }
    asked
}

/// Runs one seed on fresh servers; the first difference ends it.
async fn differ(seed: u64) -> Option<String> {
    let mut pair = Pair::start().await;
    let mut rng = StdRng::seed_from_u64(seed);
    for number in 0..REQUESTS {
        let asked = request(&mut rng);
        if let Some(difference) = pair.differs(&asked).await {
            return Some(format!("seed {seed}, request {number}: {difference}"));
        }
    }
    None
}

#[tokio::test]
#[ignore = "needs Debian's etcd-server on the PATH and corten built"]
async fn users_and_roles_are_etcds() {
    let mut found = vec![];
    for seed in seeds(SEEDS) {
        found.extend(differ(seed).await);
    }
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}
