//! /v2/keys: every parameter, right and wrong.

use hyper::Method;
use rand::prelude::*;

use crate::common::{Asked, Pair, pick, seeds};

/// How many different sequences, each on fresh servers.
const SEEDS: u64 = 8;
/// How many requests each has: more than the history window of 1000 events.
const REQUESTS: usize = 1500;

// Clean ones only: Go's router redirects the others, ours serves them.
const KEYS: &[&str] = &[
    "/a",
    "/b",
    "/a/x",
    "/a/y",
    "/a/x/deep",
    "/d",
    "/d/e",
    "/d/e/f",
    "/_h",
    "/d/_h",
    "/d/_h/z",
    "/",
    "",
    "/a/",
    "/%C3%BC",
    "/with%20space",
    "/q",
];
const VALUES: &[&str] = &["", "1", "2", "%C3%A9", "%3Cb%3E%26", "a+b"];
const BOOLS: &[&str] = &["true", "false", "1", "0", "T", "F", "", "yes", "TRUE"];
const NUMBERS: &[&str] = &["0", "4", "5", "12", "abc", "", "-1", "18446744073709551616"];
const TTLS: &[&str] = &["1000", "2000", "", "x", "-5"];

/// One random request. Most are of the kinds that clients send, some are wrong on purpose.
fn request(rng: &mut StdRng, written: u64) -> Asked {
    let (mut query, mut form) = (vec![], vec![]);
    let method = match rng.random_range(0..100) {
        0..45 => Method::PUT,
        45..55 => Method::POST,
        55..70 => Method::DELETE,
        70..97 => Method::GET,
        97..98 => Method::HEAD,
        98..99 => Method::OPTIONS,
        _ => Method::PATCH,
    };
    let often = |rng: &mut StdRng, percent: u32| rng.random_range(0..100) < percent;
    if method == Method::PUT || method == Method::POST {
        if often(rng, 80) {
            form.push(format!("value={}", pick(rng, VALUES)));
        }
        if often(rng, 15) {
            form.push(format!("ttl={}", pick(rng, TTLS)));
        }
        if often(rng, 20) {
            form.push(format!("prevExist={}", pick(rng, BOOLS)));
        }
        if often(rng, 15) {
            form.push(format!("dir={}", pick(rng, BOOLS)));
        }
        if often(rng, 5) {
            form.push(format!("refresh={}", pick(rng, BOOLS)));
        }
        if often(rng, 3) {
            form.push(format!("noValueOnSuccess={}", pick(rng, BOOLS)));
        }
    }
    if method != Method::GET && often(rng, 15) {
        query.push(format!("prevValue={}", pick(rng, VALUES)));
    }
    if method != Method::GET && often(rng, 10) {
        let index = if often(rng, 70) {
            rng.random_range(1..written + 6).to_string()
        } else {
            pick(rng, NUMBERS).to_owned()
        };
        query.push(format!("prevIndex={index}"));
    }
    if method == Method::DELETE && often(rng, 40) {
        query.push(format!(
            "{}={}",
            pick(rng, &["dir", "recursive"]),
            pick(rng, BOOLS)
        ));
    }
    if method == Method::GET {
        for name in ["recursive", "sorted", "quorum", "stream"] {
            if often(rng, if name == "stream" { 2 } else { 25 }) {
                query.push(format!("{name}={}", pick(rng, BOOLS)));
            }
        }
        // A watch of what has happened is answered at once; index 4 is outdated after a thousand events.
        if often(rng, 10) && written > 1100 {
            query.retain(|part| !part.starts_with("stream"));
            query.push(format!("wait=true&waitIndex={}", pick(rng, &["4", "5", "abc"])));
        }
    }
    if (method == Method::GET || method == Method::DELETE) && often(rng, 3) {
        query.push(format!("noValueOnSuccess={}", pick(rng, BOOLS)));
    }
    if often(rng, 1) {
        query.push(pick(rng, &["value=%zz", "wait=true", "unknown=1", "ttl="]).to_owned());
        if method == Method::GET {
            query.clear(); // a watch of what is to come would wait
        }
    }
    let query = if query.is_empty() {
        String::new()
    } else {
        format!("?{}", query.join("&"))
    };
    Asked::form(
        method,
        &format!("/v2/keys{}{query}", pick(rng, KEYS)),
        &form.join("&"),
    )
}

/// Runs one seed on fresh servers; the first difference ends it.
async fn differ(seed: u64) -> Option<String> {
    let mut pair = Pair::start().await;
    let mut rng = StdRng::seed_from_u64(seed);
    for number in 0..REQUESTS {
        let asked = request(&mut rng, pair.written);
        if let Some(difference) = pair.differs(&asked).await {
            return Some(format!("seed {seed}, request {number}: {difference}"));
        }
    }
    None
}

#[tokio::test]
#[ignore = "needs Debian's etcd-server on the PATH and corten built"]
async fn v2_answers_are_etcds() {
    let mut found = vec![];
    for seed in seeds(SEEDS) {
        found.extend(differ(seed).await);
    }
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}
