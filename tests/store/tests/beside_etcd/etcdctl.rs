//! Debian's etcdctl, both APIs, every command: its output and exit code must not depend on which server it talks to. The
//! commands are those our own etcdctl is tried with (`supervisor/cli/tests`).

use std::io::Write;
use std::process::{Command, Stdio};

use crate::common::Pair;

/// What stands on standard output and error, and the exit code, with what differs between any two servers masked.
fn run(api: &str, port: u16, line: &str, input: &str) -> String {
    let endpoint = format!("http://127.0.0.1:{port}");
    // `timeout` ends a command that waits for what never comes.
    let mut child = Command::new("timeout")
        .args(["60", "etcdctl"])
        .args(words(line))
        .env("ETCDCTL_API", api)
        .env("ETCDCTL_ENDPOINTS", endpoint)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).ok(); // it may be gone already
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    format!("{}--- exit {:?}", text.join("--- stderr\n"), output.status.code())
}

/// Takes out logs, times, and numbers no two servers share; how many elections a server needed is one.
fn masked(text: &str) -> String {
    let text = text.replace("\"raft_term\":1", "\"raft_term\":2");
    let is_log = |line: &&str| line.starts_with("stty: ") || line.starts_with("{\"level\"");
    text.split_inclusive('\n')
        .filter(|line| !is_log(line))
        .map(without_widths)
        .collect::<String>()
        .split_inclusive('\n')
        .flat_map(|line| line.split_inclusive([' ', '\n', ',', ':', '{', '}', '[', ']', '|', '-']))
        .map(|word| {
            let bare = word.trim_end_matches([' ', '\n', ',', ':', '{', '}', '[', ']', '|', '-']);
            let bare = bare.trim_matches('"');
            let is_id = bare.len() >= 8 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
            let is_time = bare.starts_with("20") && bare.contains('T') || bare.ends_with('Z');
            let duration = bare.trim_end_matches(['m', 's', 'µ']);
            let is_duration = duration.len() < bare.len() && duration.parse::<f64>().is_ok();
            if is_id || is_time || is_duration {
                word.replace(bare, "ANY")
            } else {
                word.to_owned()
            }
        })
        .collect()
}

/// A row of a table, without what shows how wide its columns are: an id of 15 hexadecimal digits makes one narrower.
fn without_widths(line: &str) -> String {
    match line.as_bytes().first() {
        Some(b'+') => line.replace('-', ""),
        Some(b'|') => line
            .split_whitespace()
            .map(|word| format!("{word} "))
            .chain(["\n".to_owned()])
            .collect(),
        _ => line.to_owned(),
    }
}

/// Splits at spaces; single quotes keep them.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (number, part) in line.split('\'').enumerate() {
        if number % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

async fn differ(api: &str, script: &str, skip: &[&str]) -> Vec<String> {
    let pair = Pair::start().await;
    let ports = pair.ports().await;
    let mut found = Vec::new();
    for line in script.lines() {
        let line = line.trim_start_matches('?');
        let (input, line) = line
            .strip_prefix('<')
            .and_then(|rest| rest.split_once(' '))
            .unwrap_or(("", line));
        if skip.iter().any(|skipped| line.contains(skipped)) {
            continue;
        }
        let input = match api {
            "3" => input.replace('~', " ").replace('|', "\n"),
            _ => input.to_owned(),
        };
        let ours = masked(&pair.without_ports(0, &run(api, ports[0], line, &input)));
        let theirs = masked(&pair.without_ports(1, &run(api, ports[1], line, &input)));
        if ours != theirs {
            found.push(format!("etcdctl {line}\n--- ours\n{ours}\n--- etcd\n{theirs}"));
        }
    }
    found
}

#[tokio::test]
#[ignore = "needs Debian's etcd-server and etcd-client on the PATH and corten built"]
async fn etcdctl_v2_works_with_every_command() {
    let script = include_str!("../../../../supervisor/cli/tests/etcdctl-v2.txt");
    // Nobody is there at these.
    let found = differ("2", script, &["127.0.0.1:1", "--timeout 1ns"]).await;
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

#[tokio::test]
#[ignore = "needs Debian's etcd-server and etcd-client on the PATH and corten built"]
async fn etcdctl_v3_works_with_every_command() {
    let script = include_str!("../../../../supervisor/cli/tests/etcdctl-v3.txt");
    // What a server measures of itself, and a hash of its own making: the next test is for them.
    let skip = ["endpoint status", "endpoint hashkv"];
    let found = differ("3", script, &skip).await;
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

/// etcdctl 3.4 dials these by the endpoint's URL, and sends it as the authority of its requests.
#[tokio::test]
#[ignore = "needs Debian's etcd-server and etcd-client on the PATH and corten built"]
async fn etcdctl_v3_asks_an_endpoint_by_its_url() {
    let pair = Pair::start().await;
    let ports = pair.ports().await;
    for line in ["endpoint status", "endpoint health", "endpoint hashkv"] {
        let [ours, theirs] = [0, 1].map(|at| masked(&pair.without_ports(at, &run("3", ports[at], line, ""))));
        assert!(ours.ends_with("exit Some(0)"), "etcdctl {line}: {ours}");
        assert_eq!(without_numbers(&ours), without_numbers(&theirs), "etcdctl {line}");
    }
}

/// Sizes, indexes and hashes are each server's own.
fn without_numbers(text: &str) -> String {
    text.replace(|c: char| c.is_ascii_digit(), "")
}
