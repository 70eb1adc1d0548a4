//! The store of a formed cluster, by etcdctl.

use anyhow::{Context, Result, ensure};
use corten_vm::faults;
use corten_vm::rig::{fails, says, wait_output};

use super::{NODES, SOON, cluster};

#[test]
#[ignore = "boots machines"]
fn a_key_set_on_one_machine_is_read_on_all() -> Result<()> {
    cluster(|c| {
        ensure!(c.run("node1", "etcdctl set /shared hello")?.trim() == "hello");
        for name in NODES {
            wait_output(c, name, "etcdctl get /shared", SOON, |text| {
                text.trim() == "hello"
            })?;
        }
        ensure!(
            c.run(
                "node2",
                "etcdctl mkdir /d && etcdctl mk /d/a 1 && etcdctl update /d/a 2"
            )?
            .contains('2')
        );
        ensure!(c.run("node2", "etcdctl ls --recursive /d")?.trim() == "/d/a");
        c.run("node2", "etcdctl rm /d/a && etcdctl rmdir /d")?;
        says(
            &fails(c, "node2", "etcdctl get /d/a", 4)?,
            &["100", "Key not found"],
        )?;
        says(
            &fails(c, "node2", "etcdctl get --no-such-option /a", 1)?,
            &["no-such-option"],
        )
    })
}

#[test]
#[ignore = "boots machines"]
fn a_watcher_on_another_machine_sees_a_change_and_a_ttl_ends() -> Result<()> {
    cluster(|c| {
        // From an index on, because nobody knows when the watcher is there.
        let before = c.run("node1", "etcdctl -o extended set /before x")?;
        let index = before
            .lines()
            .find_map(|line| line.strip_prefix("Modified-Index: "));
        let index = index.with_context(|| before.clone())?.trim();
        let watch = format!("etcdctl exec-watch --after-index {index} /watched -- env");
        let ssh = c.ssh("node2")?;
        let watcher = std::thread::spawn(move || ssh.run(&watch, SOON));
        let seen = wait_output(
            c,
            "node1",
            "etcdctl set --ttl 2 /watched seen; etcdctl get /watched",
            SOON,
            |t| t.contains("seen"),
        )?;
        says(&seen, &["seen"])?;
        wait_output(
            c,
            "node3",
            "etcdctl get /watched >/dev/null 2>&1; echo $?",
            SOON,
            |code| code.trim() == "4",
        )?;
        c.run(
            "node2",
            "pid=$(pgrep -f '[e]xec-watch --after-index' | head -n 1); kill -INT $pid; true",
        )?;
        let said = watcher
            .join()
            .map_err(|_| anyhow::anyhow!("the watcher panicked"))??;
        says(
            &said,
            &[
                "ETCD_WATCH_ACTION=set",
                "ETCD_WATCH_KEY=/watched",
                "ETCD_WATCH_ACTION=expire",
            ],
        )
    })
}

#[test]
#[ignore = "boots machines"]
fn a_lossy_and_slow_network_is_survived() -> Result<()> {
    cluster(|c| {
        c.network().set(None, None, faults::BAD_NETWORK)?;
        for number in 0..5 {
            let set = format!("etcdctl set /lossy/{number} {number}");
            wait_output(c, NODES[number % 3], &set, SOON, |text| {
                text.trim() == number.to_string()
            })?;
        }
        Ok(())
    })
}
