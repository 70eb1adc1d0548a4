//! A cluster of nodes in one process, over loopback.
#![allow(dead_code)]

mod links;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use corten_raft::lessor::{self, Lessor};
use corten_raft::{Applied, Config, Node, ProposeError, StartError};
use corten_store::keys::{self, Op, Write, request};
use corten_store::{Command, Response};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use links::Links;

/// How long anything may take on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Members with their directories and addresses; running ones have a node.
pub struct Cluster {
    dir: TempDir,
    pub addresses: Vec<SocketAddr>,
    pub nodes: Vec<Option<Node>>,
    lessors: Vec<Option<Lessor>>,
    /// What runs beside each node: its peer listener, and its lessor.
    tasks: Vec<JoinSet<()>>,
    /// Which of them hear which.
    pub links: Links,
    adjust: fn(&mut Config),
    /// Data directories that lie elsewhere.
    places: BTreeMap<usize, PathBuf>,
}

impl Cluster {
    /// Addresses for `size` members, none of them started.
    pub async fn new(size: usize, adjust: fn(&mut Config)) -> Cluster {
        let none = |_| None;
        Cluster {
            dir: tempfile::tempdir().unwrap(),
            addresses: addresses(size),
            nodes: (0..size).map(none).collect(),
            lessors: (0..size).map(|_| None).collect(),
            tasks: (0..size).map(|_| JoinSet::new()).collect(),
            links: Links::default(),
            adjust,
            places: BTreeMap::new(),
        }
    }

    /// The same with all of them started.
    pub async fn started(size: usize, adjust: fn(&mut Config)) -> Cluster {
        let mut cluster = Cluster::new(size, adjust).await;
        for at in 0..size {
            cluster.start(at).await.unwrap();
        }
        cluster
    }

    pub fn data_dir(&self, at: usize) -> PathBuf {
        let here = || self.dir.path().join(format!("n{at}"));
        self.places.get(&at).cloned().unwrap_or_else(here)
    }

    /// Puts a member's data directory elsewhere, before it is started.
    pub fn place(&mut self, at: usize, data_dir: PathBuf) {
        self.places.insert(at, data_dir);
    }

    pub fn config(&self, at: usize) -> Config {
        let mut config = Config::new(format!("n{at}"), self.data_dir(at));
        config.initial_cluster = self
            .addresses
            .iter()
            .enumerate()
            .map(|(i, a)| (format!("n{i}"), format!("http://{a}")))
            .collect();
        config.advertise_client_urls = vec![format!("http://client-{at}:2379")];
        (config.heartbeat_ms, config.election_ms) = (50, 400);
        (self.adjust)(&mut config);
        config
    }

    pub async fn start(&mut self, at: usize) -> Result<(), StartError> {
        self.start_with(at, self.config(at)).await
    }

    /// Starts a member of a cluster that begins with the first `size` members only.
    pub async fn start_of(&mut self, at: usize, size: usize) {
        let mut config = self.config(at);
        config.initial_cluster.truncate(size);
        self.start_with(at, config).await.unwrap();
    }

    /// Starts a member that has been added to the running cluster as its last.
    pub async fn join(&mut self, at: usize) {
        let mut config = self.config(at);
        config.initial_cluster.truncate(at + 1);
        config.existing = true;
        self.start_with(at, config).await.unwrap();
    }

    /// Starts a machine that founds nothing: it asks the first `founders` to take it in.
    pub async fn stand_by(&mut self, at: usize, founders: usize) {
        let mut config = self.config(at);
        config.initial_cluster.truncate(founders);
        config.advertise_peer_urls = vec![format!("http://{}", self.addresses[at])];
        config.existing = true;
        self.start_with(at, config).await.unwrap();
    }

    /// The ids of those who vote, by one node's knowledge.
    pub fn voters(&self, by: usize) -> Vec<u64> {
        let members = self.node(by).members();
        let voters = members.into_iter().filter(|member| !member.learner);
        voters.map(|member| member.id).collect()
    }

    /// The id of the member at a place, while it runs.
    pub fn id(&self, at: usize) -> u64 {
        self.node(at).status().member_id
    }

    async fn start_with(&mut self, at: usize, config: Config) -> Result<(), StartError> {
        let node = Node::start(config).await?;
        let listener = TcpListener::bind(self.addresses[at]).await.unwrap();
        let (lessor, renewals) = Lessor::new(node.clone());
        let router = node.peer_router().merge(lessor.peer_router());
        let router = self.links.around(node.member_id(), router);
        self.tasks[at].spawn(async move { axum::serve(listener, router).await.unwrap() });
        self.tasks[at].spawn(lessor::run(lessor.clone(), renewals, || {}));
        self.lessors[at] = Some(lessor);
        self.nodes[at] = Some(node);
        Ok(())
    }

    pub async fn stop(&mut self, at: usize) {
        self.tasks[at].abort_all();
        self.lessors[at] = None;
        if let Some(node) = self.nodes[at].take() {
            node.shutdown().await;
        }
    }

    pub async fn stop_all(&mut self) {
        for at in 0..self.nodes.len() {
            self.stop(at).await;
        }
    }

    pub fn node(&self, at: usize) -> &Node {
        self.nodes[at].as_ref().unwrap()
    }

    pub fn lessor(&self, at: usize) -> &Lessor {
        self.lessors[at].as_ref().unwrap()
    }

    /// From now on this one and the others do not reach each other.
    pub fn cut_off(&self, at: usize) {
        for other in self.others(at) {
            self.links.cut(self.id(at), other);
            self.links.cut(other, self.id(at));
        }
    }

    /// From now on the others do not reach this one, which still reaches them.
    pub fn deafen(&self, at: usize) {
        for other in self.others(at) {
            self.links.cut(other, self.id(at));
        }
    }

    fn others(&self, at: usize) -> Vec<u64> {
        let others = self.running().filter(|(other, _)| *other != at);
        others.map(|(_, node)| node.member_id()).collect()
    }

    pub fn running(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes
            .iter()
            .enumerate()
            .filter_map(|(at, node)| node.as_ref().map(|node| (at, node)))
    }

    /// The place of the leader all running members agree on.
    pub async fn leader(&self) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ids: Vec<u64> = self.running().map(|(_, node)| node.status().leader_id).collect();
            let leader = self.running().find(|(_, node)| node.status().member_id == ids[0]);
            if let (Some((at, _)), true) = (leader, ids.iter().all(|id| *id == ids[0])) {
                return at;
            }
            assert!(
                Instant::now() < deadline,
                "no leader within {PATIENCE:?}: {ids:x?}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The place of a running member that does not lead.
    pub async fn follower(&self) -> usize {
        let leader = self.leader().await;
        self.running().map(|(at, _)| at).find(|at| *at != leader).unwrap()
    }
}

/// Free addresses for so many members, on a loopback address of the upper half, which hardly anybody else uses: on 127.0.0.1
/// the kernel may give the port of a member that is not up to a connection.
pub fn addresses(count: usize) -> Vec<SocketAddr> {
    static CLUSTERS: AtomicU8 = AtomicU8::new(1);
    let [.., a, b] = std::process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, a | 128, b, CLUSTERS.fetch_add(1, Ordering::Relaxed));
    let held: Vec<_> = (0..count)
        .map(|_| std::net::TcpListener::bind((own, 0)).unwrap())
        .collect();
    held.iter().map(|held| held.local_addr().unwrap()).collect()
}

/// The wall clock, in ms since the Unix epoch.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// Waits until `holds`, or fails naming what was waited for.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn set(key: &str, value: &str) -> Command {
    set_until(key, value, None)
}

/// Sets a key that expires then, in ms since the Unix epoch.
pub fn set_until(key: &str, value: &str, expire_ms: Option<u64>) -> Command {
    let op = Op::Set {
        dir: false,
        value: value.to_owned(),
        expire_ms,
        refresh: false,
    };
    Command::Keys(Write {
        key: key.to_owned(),
        op,
        now_ms: 0,
    })
}

/// Sets a key, which must work.
pub async fn put(node: &Node, key: &str, value: &str) -> Applied {
    let applied = node.propose(set(key, value)).await.unwrap();
    assert!(matches!(applied.response, Response::Keys(Ok(_))), "{applied:?}");
    applied
}

/// Sets a key, trying again while the cluster has no leader or changes it.
pub async fn put_stubbornly(node: &Node, key: &str, value: &str) -> Applied {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match node.propose(set(key, value)).await {
            Ok(applied) => return applied,
            Err(e @ (ProposeError::Stopped(_) | ProposeError::TooLarge { .. })) => panic!("{e}"),
            Err(e) => assert!(
                Instant::now() < deadline,
                "{key} not written within {PATIENCE:?}: {e}"
            ),
        }
    }
}

/// A key's value in this node's state.
pub fn value(node: &Node, key: &str) -> Option<String> {
    let get = request::Get {
        key: key.to_owned(),
        recursive: false,
        sorted: false,
        quorum: false,
    };
    node.read(|tx| keys::get(tx, &get, 0)).unwrap().ok()?.node.value
}
