//! A full disk: writes are refused, reads go on, and all is well again by itself once there is room.
//!
//! Each test starts itself again in a user and mount namespace of its own, where the first member's disk is a tmpfs of a few
//! MiB. Where such namespaces are not permitted it is skipped, and says so.

use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use corten_store::{Command, alarm, kv};

use crate::common::{Cluster, put_stubbornly, set, until, value};
use corten_raft::{Config, Node, ProposeError};

/// Set in the process inside: where the small disk is.
const SMALL: &str = "CORTEN_RAFT_TEST_SMALL_DISK";
/// The disk of a member that is alone: its log and state find it full soon.
const ALONE_MIB: u64 = 12;
/// The disk of a leader of three: there is room for a snapshot that it is sent, and for a second state beside the old one.
const LEADER_MIB: u64 = 48;
/// How often 20 kB are written while a leader's disk is full: more than is kept of the log for those who lag.
const WRITES: u64 = 100;

/// Inside: where the small disk is. Outside: runs the test `name` inside, with a disk of `mib` MiB, and gives nothing.
fn small_disk(name: &str, mib: u64) -> Option<PathBuf> {
    if let Some(inside) = std::env::var_os(SMALL) {
        return Some(inside.into());
    }
    let folder = tempfile::tempdir().unwrap();
    let spaced = |script: &str| {
        let mut command = process::Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
        command.arg("sh").arg(folder.path()).env(SMALL, folder.path());
        command
    };
    let mount = format!("mount -t tmpfs -o size={mib}m tmpfs \"$1\"");
    let permitted = spaced(&mount).output().is_ok_and(|done| done.status.success());
    if !permitted {
        eprintln!(
            "SKIPPED {name}: this machine permits no user and mount namespaces (unshare --user --mount)"
        );
        return None;
    }
    let mut inside = spaced(&format!("{mount} && shift && exec \"$@\""));
    inside.arg(std::env::current_exe().unwrap());
    let name = format!("full::{name}");
    let done = inside.args([&name, "--exact", "--nocapture"]).status().unwrap();
    assert!(done.success(), "the test failed inside");
    None
}

fn adjust(config: &mut Config) {
    (config.snapshot_count, config.keep_entries, config.segment_bytes) = (200, 50, 256 << 10);
}

/// Inside: the small disk, and a cluster of one member on it that has `/first`. Outside as [`small_disk`].
async fn node_on_small_disk(name: &str) -> Option<(PathBuf, Cluster)> {
    let disk = small_disk(name, ALONE_MIB)?;
    let mut cluster = Cluster::new(1, adjust).await;
    cluster.place(0, disk.join("n0"));
    cluster.start(0).await.unwrap();
    put_stubbornly(cluster.node(0), "/first", "v").await;
    Some((disk, cluster))
}

/// Takes all the room there is.
fn fill(disk: &Path) -> PathBuf {
    use std::io::Write;
    let path = disk.join("filler");
    let mut file = std::fs::File::create(&path).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    path
}

/// Writes until the disk is found full; gives how many were acknowledged.
async fn write_until_refused(node: &Node, from: u64) -> u64 {
    let text = "x".repeat(20_000);
    for n in from.. {
        match node.propose(set(&format!("/k/{n}"), &text)).await {
            Ok(_) => {}
            // The first one is on its way when the disk turns out to be full; from then on each is told.
            Err(ProposeError::NoSpace | ProposeError::Timeout) => {
                until("the disk is known to be full", || node.status().no_space).await;
                let refused = node.propose(set("/more", "v")).await;
                assert_eq!(refused, Err(ProposeError::NoSpace));
                return n;
            }
            Err(other) => panic!("{other}"),
        }
    }
    unreachable!()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_node_refuses_writes_reads_on_and_recovers() {
    let Some((disk, mut cluster)) =
        node_on_small_disk("a_single_node_refuses_writes_reads_on_and_recovers").await
    else {
        return;
    };
    let filler = fill(&disk);
    let acknowledged = write_until_refused(cluster.node(0), 0).await;
    assert_eq!(value(cluster.node(0), "/first").as_deref(), Some("v"));

    std::fs::remove_file(&filler).unwrap();
    until("it has seen that there is room", || {
        !cluster.node(0).status().no_space
    })
    .await;
    put_stubbornly(cluster.node(0), "/after", "v").await;

    // Stopped while it is full, it starts and reads; and nothing acknowledged is lost.
    let filler = fill(&disk);
    let more = write_until_refused(cluster.node(0), acknowledged + 1).await;
    cluster.stop(0).await;
    std::fs::remove_file(&filler).unwrap();
    cluster.start(0).await.unwrap();
    put_stubbornly(cluster.node(0), "/last", "v").await;
    for n in (0..acknowledged).chain(acknowledged + 1..more) {
        assert!(
            value(cluster.node(0), &format!("/k/{n}")).is_some(),
            "/k/{n} was acknowledged"
        );
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_finds_a_part_of_its_room_waits_for_the_rest() {
    let Some((disk, mut cluster)) =
        node_on_small_disk("a_write_that_finds_a_part_of_its_room_waits_for_the_rest").await
    else {
        return;
    };
    let filler = fill(&disk);
    // A value takes more pages of the state than these two.
    let file = std::fs::OpenOptions::new().write(true).open(&filler).unwrap();
    file.set_len(file.metadata().unwrap().len() - 2 * 4096).unwrap();
    drop(file); // open, it would keep its room
    let acknowledged = write_until_refused(cluster.node(0), 0).await;
    std::fs::remove_file(&filler).unwrap();
    until("it has seen that there is room", || {
        !cluster.node(0).status().no_space
    })
    .await;
    put_stubbornly(cluster.node(0), "/after", "v").await;
    for n in 0..acknowledged {
        assert!(
            value(cluster.node(0), &format!("/k/{n}")).is_some(),
            "/k/{n} was acknowledged"
        );
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_waits_for_room() {
    let Some((disk, mut cluster)) = node_on_small_disk("a_snapshot_waits_for_room").await else {
        return;
    };
    let filler = fill(&disk);
    let folder = disk.join("n0/snap");
    let touched = || std::fs::metadata(&folder).unwrap().modified().unwrap();
    let before = touched();
    cluster.node(0).snapshot().await.unwrap();
    until("a snapshot is tried", || touched() > before).await;
    // A small write may find room, or wait for it, or be refused; what may not be is that Raft has ended.
    let written = cluster.node(0).propose(set("/meanwhile", "v")).await;
    assert!(!matches!(written, Err(ProposeError::Stopped(_))), "{written:?}");

    std::fs::remove_file(&filler).unwrap();
    until("it is built", || {
        let entries = std::fs::read_dir(&folder).unwrap();
        let mut names = entries.map(|entry| entry.unwrap().path());
        names.any(|name| name.extension().is_some_and(|ending| ending == "snap"))
    })
    .await;
    put_stubbornly(cluster.node(0), "/after", "v").await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_leader_gives_way_and_follows_once_there_is_room() {
    let name = "a_full_leader_gives_way_and_follows_once_there_is_room";
    let Some(disk) = small_disk(name, LEADER_MIB) else {
        return;
    };
    let mut cluster = Cluster::new(3, adjust).await;
    cluster.place(0, disk.join("n0"));
    for at in 0..3 {
        cluster.start(at).await.unwrap();
    }
    put_stubbornly(cluster.node(1), "/first", "v").await;
    let leader = cluster.leader().await;
    let full = cluster.id(0);
    cluster.node(leader).move_leader(full).await.unwrap();
    // Reads go on at the others, and a lease is due whose end is refused: both ask the leader whether it leads.
    let corrupt = alarm::Alarm {
        member: full,
        kind: alarm::Kind::Corrupt,
    };
    for command in [
        Command::Kv(kv::Command::LeaseGrant { id: 7, ttl_s: 1 }),
        Command::Alarm(alarm::Change::Activate(corrupt)),
    ] {
        cluster.node(0).propose(command).await.unwrap();
    }
    let readers = [1, 2].map(|at| reader(cluster.node(at)));

    let filler = fill(&disk);
    let text = "x".repeat(20_000);
    for n in 0..WRITES {
        put_stubbornly(cluster.node(1), &format!("/k/{n}"), &text).await;
    }
    let leader = cluster.node(1).status().leader_id;
    assert_ne!(leader, full, "another one leads");
    let read = readers
        .each_ref()
        .map(|reader| reader.done.load(Ordering::Relaxed));
    until("reads go on under the new leader", || {
        let more = readers.iter().zip(read);
        more.into_iter()
            .all(|(reader, read)| reader.done.load(Ordering::Relaxed) > read)
    })
    .await;
    for reader in readers {
        reader.task.abort();
    }
    assert!(value(cluster.node(0), "/first").is_some(), "it reads on");

    std::fs::remove_file(&filler).unwrap();
    until("it follows again", || {
        value(cluster.node(0), &format!("/k/{}", WRITES - 1)).is_some()
    })
    .await;
    put_stubbornly(cluster.node(0), "/last", "v").await;
    let disarm = Command::Alarm(alarm::Change::Deactivate(corrupt));
    cluster.node(0).propose(disarm).await.unwrap();
    until("the lease has ended", || {
        let lease = cluster.node(0).read(|tx| kv::lease(tx, 7));
        lease.unwrap().is_none()
    })
    .await;
    cluster.stop_all().await;
}

/// Somebody who reads on and on, linearizably.
struct Reader {
    done: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

fn reader(node: &Node) -> Reader {
    let (node, done) = (node.clone(), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&done);
    let task = tokio::spawn(async move {
        loop {
            if node.linearize().await.is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    Reader { done, task }
}
