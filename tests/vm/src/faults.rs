//! Verbs for breaking things and for looking what survived.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use corten_qemu::{Fault, tool, wait_until};

use crate::cluster::Cluster;
use crate::config::Node;
use crate::service::Service;

/// A network on which a cluster still has to work: 2 % loss and 20 to 30 ms on every path.
pub const BAD_NETWORK: Fault = Fault {
    cut: false,
    loss_ppm: 20_000,
    delay_us: 20_000,
    jitter_us: 10_000,
};

/// How long a writer may go on at most.
const WRITING_WITHIN: Duration = Duration::from_secs(300);
/// How many writes are acknowledged before anything is broken.
const WARM_WRITES: usize = 5;

/// The machine with an address on the switch.
pub fn name_of(cluster: &Cluster, address: &str) -> Result<String> {
    let count = cluster.names().len() as u8;
    let found = (1..=count)
        .map(Node::new)
        .find(|node| node.address().to_string() == address);
    match found {
        Some(node) => Ok(node.name),
        None => bail!("no machine of ours has the address {address:?}"),
    }
}

/// Writes keys `<folder>/0`, `<folder>/1`, ... on a machine while `break_things` runs; returns the numbers of those that
/// were acknowledged to us.
pub fn write_until(
    cluster: &mut Cluster,
    name: &str,
    folder: &str,
    break_things: impl FnOnce(&mut Cluster) -> Result<()>,
) -> Result<Vec<u32>> {
    let stop = format!("/tmp/stop-{}", folder.replace('/', "-"));
    let count = format!("/tmp/count-{}", folder.replace('/', "-"));
    let ssh = cluster.ssh(name)?;
    let script = format!(
        "rm -f {stop}; i=0; while [ ! -e {stop} ]; do etcdctl set {folder}/$i v$i >/dev/null 2>&1 && echo $i; \
         echo $i >{count}; i=$((i+1)); done"
    );
    let writer = std::thread::spawn(move || ssh.output(&script, &[], WRITING_WITHIN));
    let warm = format!("test $(cat {count}) -ge {WARM_WRITES}");
    cluster
        .ssh(name)?
        .wait_for("the first writes", &warm, Duration::from_secs(60))?;
    let broken = break_things(cluster);
    if cluster.machine(name)?.is_running() {
        cluster.run(name, &format!("touch {stop}"))?;
    }
    let output = writer.join().map_err(|_| anyhow!("the writer panicked"))??;
    broken?;
    let acknowledged: Vec<u32> = output
        .stdout
        .lines()
        .filter_map(|line| line.trim().parse().ok())
        .collect();
    ensure!(
        !acknowledged.is_empty(),
        "no write was acknowledged: {}",
        output.stderr
    );
    println!("{} writes were acknowledged below {folder}", acknowledged.len());
    Ok(acknowledged)
}

/// Every acknowledged key is there with its value.
pub fn all_there(cluster: &Cluster, name: &str, folder: &str, acknowledged: &[u32]) -> Result<()> {
    // By bash, which keeps its half of the connection open: the store drops the requests of clients that are gone.
    let ask = format!(
        "exec 3<>/dev/tcp/127.0.0.1/2379; \
         printf 'GET /v2/keys{folder}?recursive=true&quorum=true HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3; cat <&3"
    );
    let ssh = cluster.ssh(name)?;
    let answer = wait_until(
        "the keys to be read with a quorum",
        Duration::from_secs(60),
        || {
            let text = ssh
                .run(&ask, Duration::from_secs(30))
                .map_err(|e| e.to_string())?;
            let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| text.clone())?;
            if head.contains(" 200 ") {
                Ok(body.to_owned())
            } else {
                Err(text.clone())
            }
        },
    )?;
    let tree: serde_json::Value = serde_json::from_str(&answer).with_context(|| answer.clone())?;
    let nodes = tree["node"]["nodes"].as_array().cloned().unwrap_or_default();
    let has = |number: &u32| {
        nodes.iter().any(|node| {
            node["key"] == format!("{folder}/{number}").as_str()
                && node["value"] == format!("v{number}").as_str()
        })
    };
    let lost: Vec<&u32> = acknowledged.iter().filter(|number| !has(number)).collect();
    ensure!(
        lost.is_empty(),
        "acknowledged, but lost: {lost:?} of {}",
        acknowledged.len()
    );
    Ok(())
}

/// An SSH agent that holds the cluster's key; it ends when dropped.
#[derive(Debug)]
pub struct Agent {
    socket: PathBuf,
    _folder: Folder,
    _service: Service,
}

/// A short-named folder for the agent's socket, removed when dropped.
#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it is an empty folder below the temporary one.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Agent {
    /// Starts one.
    pub fn start(cluster: &Cluster) -> Result<Agent> {
        let folder = Folder(std::env::temp_dir().join(format!("agent-{}", std::process::id())));
        std::fs::create_dir_all(&folder.0).context("a folder for the agent")?;
        let socket = folder.0.join("socket");
        let args = ["-D".as_ref(), "-a".as_ref(), socket.as_os_str()];
        let log = cluster.layout().dir().join("ssh-agent.log");
        let service = Service::start(&tool::find("ssh-agent")?, &args, &folder.0, &log, || {
            if socket.exists() {
                Ok(())
            } else {
                Err("no socket yet".to_owned())
            }
        })?;
        let mut add = Command::new(tool::find("ssh-add")?);
        let added = add
            .arg("-q")
            .arg(cluster.layout().key())
            .env("SSH_AUTH_SOCK", &socket)
            .output()?;
        ensure!(
            added.status.success(),
            "ssh-add: {}",
            String::from_utf8_lossy(&added.stderr).trim()
        );
        Ok(Agent {
            socket,
            _folder: folder,
            _service: service,
        })
    }

    /// What `SSH_AUTH_SOCK` is to be.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}
