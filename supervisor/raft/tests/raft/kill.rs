//! Processes that write are killed with SIGKILL at any moment, or meet a disk that fails; everything they acknowledged is
//! there afterwards.
//!
//! The test starts itself again as the writers (`writer`, which does nothing unless told where).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::common::{PATIENCE, addresses, set, value};
use corten_raft::{Config, Node, ProposeError};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// `PLACE FOLDER ADDRESS...`: which member the writer is, where all have their directories, where each is reached.
const WHO: &str = "CORTEN_RAFT_TEST_WRITER";
/// Keys each writer writes at once.
const LANES: u64 = 4;

fn config(folder: &Path, at: usize, addresses: &[SocketAddr]) -> Config {
    let mut config = Config::new(format!("n{at}"), folder.join(format!("n{at}")));
    let members = addresses.iter().enumerate();
    config.initial_cluster = members
        .map(|(at, address)| (format!("n{at}"), format!("http://{address}")))
        .collect();
    (config.snapshot_count, config.keep_entries, config.segment_bytes) = (50, 10, 16 << 10);
    (config.heartbeat_ms, config.election_ms) = (50, 400);
    config
}

/// A member, served on its address.
async fn start(config: Config, address: SocketAddr) -> Node {
    let node = Node::start(config).await.unwrap();
    let listener = TcpListener::bind(address).await.unwrap();
    let router = node.peer_router();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    node
}

fn text(n: u64) -> String {
    n.to_string().repeat(20)
}

/// Writes for ever and says what is acknowledged; ends when the node does, and says why.
#[tokio::test(flavor = "multi_thread")]
async fn writer() {
    let Ok(who) = std::env::var(WHO) else {
        return;
    };
    let words: Vec<&str> = who.split(' ').collect();
    let at: usize = words[0].parse().unwrap();
    let addresses: Vec<SocketAddr> = words[2..].iter().map(|word| word.parse().unwrap()).collect();
    let node = start(config(words[1].as_ref(), at, &addresses), addresses[at]).await;
    while node.linearize().await.is_err() {}
    let first = (0u64..)
        .find(|n| value(&node, &format!("/k/{at}/{n}")).is_none())
        .unwrap();
    for lane in 0..LANES {
        let node = node.clone();
        tokio::spawn(async move {
            for n in (first + lane..).step_by(LANES as usize) {
                match node.propose(set(&format!("/k/{at}/{n}"), &text(n))).await {
                    Ok(_) => println!("\nacknowledged {n}"),
                    Err(ProposeError::Stopped(_)) => return,
                    Err(_) => {} // a leader was killed: this one may be there or not
                }
            }
        });
    }
    println!("\nfailed {}", node.failed().await);
}

/// A writer's process, and what it has acknowledged in all its lives.
struct Writer {
    who: String,
    acknowledged: Arc<Mutex<Vec<u64>>>,
    running: Option<(Child, JoinHandle<Vec<String>>)>,
}

impl Writer {
    fn new(at: usize, folder: &Path, addresses: &[SocketAddr]) -> Writer {
        let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
        Writer {
            who: format!("{at} {} {}", folder.display(), addresses.join(" ")),
            acknowledged: Arc::default(),
            running: None,
        }
    }

    /// Starts it by way of a shell that does `before` first.
    fn start(&mut self, before: &str) {
        let mut child = Command::new("sh")
            .args([
                "-c",
                &format!("{before} exec \"$0\" kill::writer --exact --nocapture"),
            ])
            .arg(std::env::current_exe().unwrap())
            .env(WHO, &self.who)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (out, acknowledged) = (child.stdout.take().unwrap(), Arc::clone(&self.acknowledged));
        let reading = std::thread::spawn(move || {
            let mut failed = Vec::new();
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Some(n) = line.strip_prefix("acknowledged ") {
                    acknowledged.lock().unwrap().extend(n.parse::<u64>());
                } else if let Some(why) = line.strip_prefix("failed ") {
                    failed.push(why.to_owned());
                }
            }
            failed
        });
        self.running = Some((child, reading));
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Waits for so many more acknowledgements.
    fn more(&self, enough: usize) {
        let (wanted, begun) = (self.count() + enough, Instant::now());
        while self.count() < wanted {
            assert!(
                begun.elapsed() < PATIENCE,
                "no {enough} more writes within {PATIENCE:?}"
            );
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    fn kill(&mut self) {
        let (mut child, reading) = self.running.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        reading.join().unwrap();
    }

    /// Waits for its end; gives why it failed.
    fn end(&mut self) -> Vec<String> {
        let (mut child, reading) = self.running.take().unwrap();
        child.wait().unwrap();
        reading.join().unwrap()
    }

    fn check(&self, at: usize, node: &Node) {
        for n in self.acknowledged.lock().unwrap().iter() {
            let found = value(node, &format!("/k/{at}/{n}"));
            assert_eq!(found, Some(text(*n)), "/k/{at}/{n} was acknowledged");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.running {
            let _ = child.kill(); // it may have ended
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_by_kill_9() {
    let (dir, addresses) = (TempDir::new().unwrap(), addresses(1));
    let mut writer = Writer::new(0, dir.path(), &addresses);
    for enough in [150, 37, 1, 260] {
        writer.start("");
        tokio::task::block_in_place(|| writer.more(enough));
        writer.kill();
        let config = config(dir.path(), 0, &addresses);
        if enough == 37 {
            // As if the machine had lost power too: the state is not to be trusted.
            std::fs::remove_file(config.data_dir.join("state.mark")).unwrap();
        }
        let node = Node::start(config).await.unwrap();
        node.linearize().await.unwrap();
        writer.check(0, &node);
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_that_are_killed_one_by_one_and_all_at_once_lose_nothing() {
    let (dir, addresses) = (TempDir::new().unwrap(), addresses(3));
    let mut writers: Vec<Writer> = (0..3).map(|at| Writer::new(at, dir.path(), &addresses)).collect();
    for writer in &mut writers {
        writer.start("");
    }
    // Whoever leads is among them sooner or later; the last round is all at once.
    let rounds: [(&[usize], usize); 6] = [
        (&[0], 90),
        (&[1], 7),
        (&[2], 61),
        (&[1, 0], 1),
        (&[2], 33),
        (&[0, 1, 2], 70),
    ];
    let mut nodes = BTreeMap::new();
    tokio::task::block_in_place(|| {
        for (killed, enough) in rounds {
            writers[killed[0]].more(enough);
            killed.iter().for_each(|at| writers[*at].kill());
            if killed.len() < 3 {
                if killed.len() == 1 {
                    writers[(killed[0] + 1) % 3].more(20); // the two that are left go on
                }
                killed.iter().for_each(|at| writers[*at].start(""));
            }
        }
    });
    for (at, address) in addresses.iter().enumerate() {
        nodes.insert(at, start(config(dir.path(), at, &addresses), *address).await);
    }
    for node in nodes.values() {
        while node.linearize().await.is_err() {}
        for (at, writer) in writers.iter().enumerate() {
            writer.check(at, node);
        }
    }
    for node in nodes.values() {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_written_ends_the_node_which_says_why() {
    let (dir, addresses) = (TempDir::new().unwrap(), addresses(1));
    let mut writer = Writer::new(0, dir.path(), &addresses);
    writer.start("");
    tokio::task::block_in_place(|| writer.more(10));
    writer.kill();
    // No file may grow beyond 1024 blocks of 512 bytes: the next segment of the log cannot be allocated.
    writer.start("trap '' XFSZ; ulimit -f 1024;");
    let failed = tokio::task::block_in_place(|| writer.end());
    assert!(
        failed.iter().any(|why| why.contains("File too large")),
        "{failed:?}"
    );
    let node = Node::start(config(dir.path(), 0, &addresses)).await.unwrap();
    node.linearize().await.unwrap();
    writer.check(0, &node);
    node.shutdown().await;
}
