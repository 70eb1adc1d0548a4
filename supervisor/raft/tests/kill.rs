//! A process that writes is killed with SIGKILL at any moment; everything it acknowledged is there afterwards.
//!
//! The test starts itself again as the writer (`writer`, which does nothing unless told where).
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use common::{put, value};
use corten_raft::{Config, Node};

const WHERE: &str = "CORTEN_RAFT_TEST_WRITER";

fn config(dir: &std::path::Path) -> Config {
    let mut config = Config::new("n0", dir);
    config.initial_cluster = vec![("n0".to_owned(), "http://127.0.0.1:1".to_owned())];
    (config.snapshot_count, config.keep_entries, config.segment_bytes) = (50, 10, 16 << 10);
    config
}

/// Writes for ever and says what is acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn writer() {
    let Some(dir) = std::env::var_os(WHERE) else {
        return;
    };
    let node = Node::start(config(dir.as_ref())).await.unwrap();
    node.linearize().await.unwrap();
    let first = (0u64..)
        .find(|n| value(&node, &format!("/k/{n}")).is_none())
        .unwrap();
    let mut tasks = Vec::new();
    for lane in 0..4 {
        let node = node.clone();
        tasks.push(tokio::spawn(async move {
            for n in (first + lane..).step_by(4) {
                put(&node, &format!("/k/{n}"), &n.to_string().repeat(20)).await;
                println!("\nacknowledged {n}");
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

/// Runs the writer until it has acknowledged `enough`, kills it, and gives what it acknowledged.
fn run_and_kill(dir: &std::path::Path, enough: usize) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["writer", "--exact", "--nocapture"])
        .env(WHERE, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut acknowledged = Vec::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(Ok(line)) = lines.next() {
        acknowledged.extend(
            line.strip_prefix("acknowledged ")
                .and_then(|n| n.parse::<u64>().ok()),
        );
        if acknowledged.len() == enough {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(
        acknowledged.len() >= enough,
        "the writer ended by itself after {} writes",
        acknowledged.len()
    );
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_by_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for enough in [150, 37, 1, 260] {
        let place = dir.path().to_path_buf();
        acknowledged.extend(
            tokio::task::spawn_blocking(move || run_and_kill(&place, enough))
                .await
                .unwrap(),
        );
        if enough == 37 {
            // As if the machine had lost power too: the state is not to be trusted.
            std::fs::remove_file(dir.path().join("state.mark")).unwrap();
        }
        let node = Node::start(config(dir.path())).await.unwrap();
        node.linearize().await.unwrap();
        for n in &acknowledged {
            let found = value(&node, &format!("/k/{n}"));
            assert_eq!(found, Some(n.to_string().repeat(20)), "/k/{n} was acknowledged");
        }
        node.shutdown().await;
    }
}
