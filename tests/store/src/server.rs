//! Servers of either kind, one or three, on loopback, with their data in a folder of their own. They end with their value.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::client::Client;

/// How long a cluster may take to become healthy.
const HEALTHY_WITHIN: Duration = Duration::from_secs(30);

/// What is started, and under which name it appears in the table.
#[derive(Debug, Clone)]
pub struct Program {
    /// The column's name.
    pub name: &'static str,
    command: PathBuf,
    words: &'static [&'static str],
}

impl Program {
    /// Ours.
    pub fn corten(path: &Path) -> Result<Program> {
        let command = path
            .canonicalize()
            .with_context(|| format!("{}: build it first (cargo build --release)", path.display()))?;
        Ok(Program {
            name: "corten",
            command,
            words: &["etcd"],
        })
    }

    /// Debian's etcd-server.
    pub fn etcd(path: &Path) -> Program {
        Program {
            name: "etcd",
            command: path.to_owned(),
            words: &["--enable-v2", "--logger=zap", "--log-level=error"],
        }
    }

    /// Says how to get the program if it cannot be started.
    pub fn check(&self) -> Result<()> {
        match Command::new(&self.command).arg("--version").output() {
            Ok(output) if self.name == "etcd" => {
                let version = String::from_utf8_lossy(&output.stdout).into_owned();
                ensure!(
                    version.contains("etcd Version: 3.4."),
                    "{} is not etcd 3.4, beside which this is made: {}",
                    self.command.display(),
                    version.lines().next().unwrap_or_default()
                );
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) => bail!(
                "{} cannot be started ({error}): in the checkout, sh -c 'CHECKOUT=$PWD; . tests/lib.sh; unpack_etcd' \
                 brings it to where `just bench-store` looks; else --etcd PATH",
                self.command.display()
            ),
        }
    }
}

/// A process's memory (proc_pid_status(5)).
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// All that is resident: its own and mapped files' (VmRSS).
    pub resident_mib: f64,
    /// What is no file's, so that the kernel cannot take it back (RssAnon).
    pub anonymous_mib: f64,
}

/// A running member.
#[derive(Debug)]
struct Member {
    name: String,
    client_port: u16,
    peer_port: u16,
    child: Option<Child>,
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    program: Program,
    folder: TempDir,
    members: Vec<Member>,
}

/// A port nobody listens on right now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Cluster {
    /// Starts `size` members with data below `dir`, and waits until the cluster is healthy.
    pub async fn start(program: &Program, size: usize, dir: &Path) -> Result<Cluster> {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let folder = tempfile::Builder::new().prefix("bench-store-").tempdir_in(dir)?;
        let member = |number| {
            Ok(Member {
                name: format!("n{number}"),
                client_port: free_port()?,
                peer_port: free_port()?,
                child: None,
            })
        };
        let mut cluster = Cluster {
            program: program.clone(),
            folder,
            members: (0..size).map(member).collect::<Result<_>>()?,
        };
        cluster.start_all()?;
        cluster.healthy().await?;
        Ok(cluster)
    }

    fn start_all(&mut self) -> Result<()> {
        let initial: Vec<String> = self
            .members
            .iter()
            .map(|member| format!("{}=http://127.0.0.1:{}", member.name, member.peer_port))
            .collect();
        let initial = initial.join(",");
        for member in &mut self.members {
            let (client, peer) = (
                format!("http://127.0.0.1:{}", member.client_port),
                format!("http://127.0.0.1:{}", member.peer_port),
            );
            let log = std::fs::File::create(self.folder.path().join(format!("{}.log", member.name)))?;
            let child = Command::new(&self.program.command)
                .args(self.program.words)
                .args(["--name", &member.name])
                .arg("--data-dir")
                .arg(self.folder.path().join(&member.name))
                .args([
                    "--listen-client-urls",
                    &client,
                    "--advertise-client-urls",
                    &client,
                ])
                .args([
                    "--listen-peer-urls",
                    &peer,
                    "--initial-advertise-peer-urls",
                    &peer,
                ])
                .args(["--initial-cluster", &initial])
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()
                .with_context(|| format!("starting {}", self.program.command.display()))?;
            member.child = Some(child);
        }
        Ok(())
    }

    /// Waits until every member says that it is healthy.
    async fn healthy(&mut self) -> Result<()> {
        let begun = Instant::now();
        for at in 0..self.members.len() {
            while !self.is_healthy(at).await {
                let member = &mut self.members[at];
                let ended = member
                    .child
                    .as_mut()
                    .and_then(|child| child.try_wait().ok().flatten());
                if begun.elapsed() > HEALTHY_WITHIN || ended.is_some() {
                    let log = self.folder.path().join(format!("{}.log", member.name));
                    let said = std::fs::read_to_string(log).unwrap_or_default();
                    bail!(
                        "{} {} is not healthy after {:?} (ended: {ended:?}). It said:\n{said}",
                        self.program.name,
                        member.name,
                        begun.elapsed()
                    );
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        Ok(())
    }

    async fn is_healthy(&self, at: usize) -> bool {
        let Ok(mut client) = Client::connect(self.members[at].client_port).await else {
            return false;
        };
        // What a client does next must work, too: a key is read through the log.
        let Ok((200, body)) = client.get("/health").await else {
            return false;
        };
        body.windows(4).any(|word| word == b"true")
            && matches!(client.get("/v2/keys/?quorum=true").await, Ok((200, _)))
            && self.leader().await.is_ok()
    }

    /// The client port of the member that leads.
    pub async fn leader(&self) -> Result<u16> {
        let mut client = Client::connect(self.members[0].client_port).await?;
        let (_, body) = client.get("/v2/members/leader").await?;
        let leader: serde_json::Value = serde_json::from_slice(&body)?;
        let url = leader["clientURLs"][0]
            .as_str()
            .context("the leader has no client URL")?;
        let port = url
            .rsplit(':')
            .next()
            .context("the leader's client URL has no port")?;
        Ok(port.trim_end_matches('/').parse()?)
    }

    /// A text with this cluster's ports masked.
    pub fn without_ports(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for member in &self.members {
            text = text.replace(&format!("127.0.0.1:{}", member.client_port), "CLIENT");
            text = text.replace(&format!("127.0.0.1:{}", member.peer_port), "PEER");
        }
        text
    }

    /// Memory of the member on `port`.
    pub fn memory(&self, port: u16) -> Result<Memory> {
        let child = self
            .members
            .iter()
            .find(|member| member.client_port == port)
            .and_then(|member| member.child.as_ref())
            .context("no such member")?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
        let mib = |name: &str| -> Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib: f64 = line
                .context("no such line")?
                .trim()
                .trim_end_matches(" kB")
                .parse()?;
            Ok(kib / 1024.0)
        };
        Ok(Memory {
            resident_mib: mib("VmRSS:")?,
            anonymous_mib: mib("RssAnon:")?,
        })
    }

    /// Ends all members without a word, starts them on the same data, and says how long until they were healthy.
    pub async fn restart(&mut self) -> Result<Duration> {
        self.stop();
        let begun = Instant::now();
        self.start_all()?;
        self.healthy().await?;
        Ok(begun.elapsed())
    }

    fn stop(&mut self) {
        for member in &mut self.members {
            if let Some(mut child) = member.child.take() {
                let _ = child.kill(); // it may have ended by itself
                let _ = child.wait();
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}
