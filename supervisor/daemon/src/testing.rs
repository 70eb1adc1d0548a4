//! Supervisors in one process for tests: real store, real sockets on loopback, systemd in memory.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::http::FleetListener;
use crate::listeners::Listeners;
use crate::settings::{Etcd, Fleet, Settings};
use crate::supervisor::Supervisor;
use crate::systemd::memory::MemorySystemd;

/// Longer than anything takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// One machine.
pub struct Machine {
    pub supervisor: Option<Supervisor>,
    pub systemd: MemorySystemd,
    pub id: String,
    pub clients: SocketAddr,
    pub fleet: SocketAddr,
    settings: Settings,
    sockets: [SocketAddr; 3],
    folder: TempDir,
}

/// `count` machines that form a cluster, with this TTL; returns once all are registered.
pub async fn cluster(count: usize, ttl: Duration) -> Vec<Machine> {
    cluster_with(count, ttl, |_| {}).await
}

/// The same with other settings of the store.
pub async fn cluster_with(count: usize, ttl: Duration, adjust: impl Fn(&mut Etcd)) -> Vec<Machine> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        let listeners = Listeners {
            clients: vec![listen("127.0.0.1:0").await.into()],
            metrics: Vec::new(),
            peers: vec![listen("127.0.0.1:0").await.into()],
            fleet: vec![FleetListener::Tcp(listen("127.0.0.1:0").await)],
        };
        sockets.push(listeners);
    }
    let initial: Vec<(String, String)> = sockets
        .iter()
        .enumerate()
        .map(|(at, s)| {
            (
                format!("n{at}"),
                format!("http://{}", s.peers[0].address().unwrap()),
            )
        })
        .collect();
    let mut machines = Vec::new();
    for (at, listeners) in sockets.into_iter().enumerate() {
        let mut machine = Machine::new(at, &listeners, &initial, ttl);
        adjust(&mut machine.settings.etcd);
        machines.push(machine.start(listeners).await);
    }
    for machine in &machines {
        machine.registered().await;
    }
    machines
}

async fn listen(address: &str) -> TcpListener {
    TcpListener::bind(address).await.unwrap()
}

impl Machine {
    fn new(at: usize, listeners: &Listeners, initial: &[(String, String)], ttl: Duration) -> Machine {
        let folder = tempfile::tempdir().unwrap();
        let clients = listeners.clients[0].address().unwrap();
        let peers = listeners.peers[0].address().unwrap();
        let FleetListener::Tcp(socket) = &listeners.fleet[0] else {
            panic!("tests use TCP")
        };
        let fleet = socket.local_addr().unwrap();
        let id = format!("{at}{at}{at}{at}{at}{at}{at}{at}000000000000000000000000");
        let settings = Settings {
            etcd: Etcd {
                name: format!("n{at}"),
                data_dir: folder.path().join("data"),
                listen_peer: vec![peers.into()],
                listen_client: vec![clients.into()],
                advertise_peer_urls: vec![format!("http://{peers}")],
                advertise_client_urls: vec![format!("http://{clients}")],
                initial_cluster: initial.to_vec(),
                initial_cluster_token: "test".into(),
                ..Etcd::on_loopback()
            },
            fleet: Fleet {
                metadata: BTreeMap::from([("at".to_owned(), at.to_string())]),
                public_ip: Some(format!("10.0.0.{at}")),
                agent_ttl: ttl,
                token_limit: 100,
                units_directory: folder.path().join("units"),
                disable_engine: false,
                socket: PathBuf::new(),
                machine_id: Some(id.clone()),
            },
            log: String::new(),
        };
        let sockets = [clients, peers, fleet];
        let systemd = MemorySystemd::default();
        Machine {
            supervisor: None,
            systemd,
            id,
            clients,
            fleet,
            settings,
            sockets,
            folder,
        }
    }

    async fn start(mut self, listeners: Listeners) -> Machine {
        let session = rand::random();
        let started = Supervisor::start(&self.settings, listeners, self.systemd.clone(), session).await;
        self.supervisor = Some(started.unwrap());
        self
    }

    /// Waits until this machine has registered.
    pub async fn registered(&self) {
        let mut registered = self.supervisor.as_ref().unwrap().registered.clone();
        within("a machine registers", async {
            registered.wait_for(|times| *times > 0).await.unwrap().to_owned()
        })
        .await;
    }

    /// Stops the supervisor; the units run on.
    pub async fn stop(&mut self) {
        self.supervisor.take().unwrap().stop().await;
    }

    /// Starts it again on the same sockets and data.
    pub async fn restart(self) -> Machine {
        let machine = self.start_again().await;
        machine.registered().await;
        machine
    }

    /// The same, whether or not there is a cluster to register with.
    pub async fn start_again(self) -> Machine {
        let [clients, peers, fleet] = self.sockets.map(|address| address.to_string());
        let listeners = Listeners {
            clients: vec![listen(&clients).await.into()],
            metrics: Vec::new(),
            peers: vec![listen(&peers).await.into()],
            fleet: vec![FleetListener::Tcp(listen(&fleet).await)],
        };
        self.start(listeners).await
    }

    /// Where its peers reach it.
    pub fn peers(&self) -> SocketAddr {
        self.sockets[1]
    }

    /// Where its unit files lie.
    pub fn units(&self) -> PathBuf {
        self.folder.path().join("units")
    }
}

/// A way to one machine's peer listener that can be cut: it hears nobody any more, and is still heard.
pub struct Relay {
    address: SocketAddr,
    target: Arc<OnceLock<String>>,
    open: watch::Sender<bool>,
}

impl Relay {
    pub async fn new() -> Relay {
        let listener = listen("127.0.0.1:0").await;
        let relay = Relay {
            address: listener.local_addr().unwrap(),
            target: Arc::default(),
            open: watch::Sender::new(true),
        };
        let (target, open) = (Arc::clone(&relay.target), relay.open.subscribe());
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let (target, mut open) = (Arc::clone(&target), open.clone());
                tokio::spawn(async move {
                    let passing = async {
                        let mut to = TcpStream::connect(target.get()?).await.ok()?;
                        copy_bidirectional(&mut from, &mut to).await.ok()
                    };
                    tokio::select! {
                        _ = open.wait_for(|open| !open) => {}
                        _ = passing => {}
                    }
                });
            }
        });
        relay
    }

    /// Stands between the machine `name` and its peers; to be done in every machine's settings.
    pub fn stands_before(&self, name: &str, etcd: &mut Etcd) {
        let url = format!("http://{}", self.address);
        for (member, peer_url) in &mut etcd.initial_cluster {
            if member == name {
                let direct = std::mem::replace(peer_url, url.clone());
                self.target
                    .get_or_init(|| direct.trim_start_matches("http://").to_owned());
            }
        }
        if etcd.name == name {
            etcd.advertise_peer_urls = vec![url];
        }
    }

    /// Cuts the way, or heals it.
    pub fn cut(&self, cut: bool) {
        self.open.send_replace(!cut);
    }
}

/// Waits for a future, with a name and a deadline.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {DEADLINE:?}"),
    }
}

/// Asks again and again until the answer is `Some`.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(begun.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// Status and body in one line.
    pub fn line(&self) -> String {
        format!("{} {}", self.status, self.body)
    }
}

/// One request on a connection of its own.
pub async fn ask(to: SocketAddr, method: &str, target: &str, content_type: &str, body: &str) -> Answer {
    let mut stream = send(to, method, target, content_type, body).await;
    let mut answer = head(&mut stream).await;
    if method != "HEAD" {
        let mut rest = Vec::new();
        within("an answer", stream.read_to_end(&mut rest)).await.unwrap();
        let chunked = answer.header("Transfer-Encoding") == Some("chunked");
        answer.body = String::from_utf8(if chunked { unchunk(&rest) } else { rest }).unwrap();
    }
    answer
}

/// A form, as curl -d sends it.
pub async fn form(to: SocketAddr, method: &str, target: &str, body: &str) -> Answer {
    ask(to, method, target, "application/x-www-form-urlencoded", body).await
}

/// Sends a request and leaves the answer to be read.
pub async fn send(
    to: SocketAddr,
    method: &str,
    target: &str,
    content_type: &str,
    body: &str,
) -> BufReader<TcpStream> {
    let mut stream = BufReader::new(TcpStream::connect(to).await.unwrap());
    let length = body.len();
    let typed = if content_type.is_empty() {
        String::new()
    } else {
        format!("Content-Type: {content_type}\r\n")
    };
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n{typed}Content-Length: {length}\r\n\r\n{body}"
    );
    match stream.write_all(request.as_bytes()).await {
        // A request that is refused by its head may not be read to its end; the answer is what counts.
        Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
        written => written.unwrap(),
    }
    stream
}

/// Reads status and headers.
pub async fn head(stream: &mut BufReader<TcpStream>) -> Answer {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        within("an answer's head", stream.read_line(&mut line))
            .await
            .unwrap();
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let status = lines[0].split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &String| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_owned(), value.to_owned())
    };
    Answer {
        status,
        headers: lines[1..].iter().map(header).collect(),
        body: String::new(),
    }
}

/// The next chunk of a chunked body; empty at its end.
pub async fn chunk(stream: &mut BufReader<TcpStream>) -> String {
    let mut size = String::new();
    within("a chunk", stream.read_line(&mut size)).await.unwrap();
    let Ok(size) = usize::from_str_radix(size.trim(), 16) else {
        return String::new();
    };
    let mut data = vec![0; size + 2];
    within("a chunk's data", stream.read_exact(&mut data))
        .await
        .unwrap();
    String::from_utf8(data[..size].to_vec()).unwrap()
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
    body
}
