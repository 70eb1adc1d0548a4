//! Two servers, the same request to both, and what of the answers must be equal.

use std::path::Path;

use corten_store_bench::client::Client;
use corten_store_bench::server::{Cluster, Program};
use hyper::{Method, Request, Response};
use rand::prelude::*;
use serde_json::Value;

/// A request.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: Method,
    pub path: String,
    /// What differs from request to request: Authorization, Content-Type.
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Asked {
    /// One with a form, unless it is empty.
    pub fn form(method: Method, path: &str, form: &str) -> Asked {
        let mut headers = vec![];
        if !form.is_empty() {
            headers.push(("Content-Type", "application/x-www-form-urlencoded".to_owned()));
        }
        Asked {
            method,
            path: path.to_owned(),
            headers,
            body: form.to_owned(),
        }
    }

    fn request(&self) -> Request<String> {
        let mut request = Request::builder().method(self.method.clone()).uri(&self.path);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request.body(self.body.clone()).unwrap()
    }
}

/// A fresh server of each kind.
pub struct Pair {
    clusters: [Cluster; 2],
    clients: [Client; 2],
    /// The highest v2 index seen.
    pub written: u64,
}

impl Pair {
    pub async fn start() -> Pair {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let ours = Program::corten(&root.join("target/release/corten")).unwrap();
        let theirs = Program::etcd(Path::new("etcd"));
        let dir = root.join("out");
        let clusters = [
            Cluster::start(&ours, 1, &dir).await.unwrap(),
            Cluster::start(&theirs, 1, &dir).await.unwrap(),
        ];
        let ports = [
            clusters[0].leader().await.unwrap(),
            clusters[1].leader().await.unwrap(),
        ];
        Pair {
            clusters,
            clients: [
                Client::connect(ports[0]).await.unwrap(),
                Client::connect(ports[1]).await.unwrap(),
            ],
            written: 3,
        }
    }

    /// Where the clients go, ours first.
    pub async fn ports(&self) -> [u16; 2] {
        [
            self.clusters[0].leader().await.unwrap(),
            self.clusters[1].leader().await.unwrap(),
        ]
    }

    /// A text with the ports of one of them masked.
    pub fn without_ports(&self, at: usize, text: &str) -> String {
        self.clusters[at].without_ports(text)
    }

    /// The answer of one of them: 0 is ours, 1 is etcd's.
    pub async fn ask(&mut self, at: usize, asked: &Asked) -> Response<bytes::Bytes> {
        // A server may end a connection after a refusal whose body it did not read.
        if let Ok(answer) = self.clients[at].request(asked.request()).await {
            return answer;
        }
        let port = self.clusters[at].leader().await.unwrap();
        self.clients[at] = Client::connect(port).await.unwrap();
        self.clients[at].request(asked.request()).await.unwrap()
    }

    /// The difference between the answers, if there is one.
    pub async fn differs(&mut self, asked: &Asked) -> Option<String> {
        let mut answers = vec![];
        for at in [0, 1] {
            let answer = self.ask(at, asked).await;
            let index = answer
                .headers()
                .get("x-etcd-index")
                .and_then(|index| index.to_str().ok()?.parse().ok());
            self.written = index.unwrap_or(self.written).max(self.written);
            answers.push(comparable(asked, &answer, &self.clusters[at]));
        }
        if answers[0] == answers[1] {
            return None;
        }
        let Asked {
            method,
            path,
            headers,
            body,
        } = asked;
        Some(format!(
            "{method} {path} {headers:?} {body:?}\n--- ours\n{}\n--- etcd\n{}",
            answers[0], answers[1]
        ))
    }
}

pub fn pick(rng: &mut StdRng, from: &[&'static str]) -> &'static str {
    from.choose(rng).copied().unwrap()
}

/// The seeds to run.
pub fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..count).collect(),
    }
}

/// Masks what differs between any two servers, and sorts listings whose order is not promised.
fn masked(body: &mut Value, sorted: bool) {
    match body {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                match name.as_str() {
                    "expiration" | "ttl" | "startTime" | "uptime" => *value = Value::Null,
                    // etcd looks up its users as keys, and counts that
                    "getsSuccess" | "getsFail" => *value = Value::Null,
                    // etcd counts some refusals as successes
                    name if name.ends_with("Success") || name.ends_with("Fail") => *value = Value::Null,
                    "id" | "leader" if value.is_string() => *value = Value::Null,
                    "nodes" if !sorted => {
                        if let Value::Array(nodes) = value {
                            nodes.sort_by_key(|node| node["key"].to_string());
                        }
                        masked(value, sorted);
                    }
                    _ => masked(value, sorted),
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|one| masked(one, sorted)),
        _ => {}
    }
}

/// What must be equal: status, headers but those with ids and times, the body, and the order of its fields.
fn comparable(asked: &Asked, answer: &Response<bytes::Bytes>, of: &Cluster) -> String {
    let mut headers: Vec<String> = answer
        .headers()
        .iter()
        .filter(|(name, _)| {
            ![
                "date",
                "x-etcd-cluster-id",
                "x-raft-index",
                "x-raft-term",
                "content-length",
                "transfer-encoding",
            ]
            .contains(&name.as_str())
        })
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?")))
        .collect();
    for name in ["x-etcd-cluster-id", "x-raft-index", "x-raft-term"] {
        headers.push(format!("has {name}: {}", answer.headers().contains_key(name)));
    }
    headers.sort();
    let text = of.without_ports(&String::from_utf8_lossy(answer.body()));
    let body = match serde_json::from_str::<Value>(&text) {
        Ok(mut json) => {
            masked(&mut json, asked.path.contains("sorted=true"));
            format!("{json}{}", if text.ends_with('\n') { "\\n" } else { "" })
        }
        Err(_) => text,
    };
    format!("{}\n{}\n{body}", answer.status(), headers.join("\n"))
}
