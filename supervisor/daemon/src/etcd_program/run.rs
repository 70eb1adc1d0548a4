//! Running the store alone: sockets, member, the log lines tools wait for, the end.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, bail};
use corten_raft::Node;
use corten_store::meta;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use super::{browsers, proxy};
use crate::bootstrap::{BootstrapError, DiscoveryError};
use crate::http::{App, Socket};
use crate::listeners::Listeners;
use crate::member::{self, Member, StartError};
use crate::notify::Notifier;
use crate::pulse::Pulses;
use crate::settings::{Alone, Discovery, Etcd, ProxyMode};
use crate::stop::{self, Stopper};

/// The store, serving.
pub(crate) struct Store {
    /// Its node.
    pub(crate) node: Node,
    stopper: Stopper,
    tasks: JoinSet<()>,
}

impl Store {
    /// Serves a member on its sockets.
    pub(crate) fn serve(member: Member, listeners: Listeners, settings: &Alone) -> Store {
        let (stopper, stop) = stop::channel();
        let mut tasks = JoinSet::new();
        let node = member.node.clone();
        member::serve_on(&mut tasks, listeners.metrics, &member.figures().into(), &stop);
        let peers = App::from(member.peers()).asking_who();
        member::serve_on(&mut tasks, listeners.peers, &peers, &stop);
        let (secure, plain): (Vec<Socket>, Vec<Socket>) =
            listeners.clients.into_iter().partition(Socket::is_tls);
        for (sockets, tls) in [(secure, true), (plain, false)] {
            let clients = browsers::guarded(member.clients(), settings, tls);
            member::serve_on(&mut tasks, sockets, &clients, &stop);
        }
        member.run(&mut tasks, &Pulses::default(), &stop);
        Store { node, stopper, tasks }
    }

    /// Returns when a part has ended although none should.
    async fn failed(&mut self) -> String {
        tokio::select! {
            why = self.node.failed() => format!("the store broke: {why}"),
            ended = self.tasks.join_next() => match ended {
                Some(Err(error)) => format!("a part of the store broke: {error}"),
                _ => "a part of the store ended".to_owned(),
            }
        }
    }

    /// Stops serving, then the store.
    pub(crate) async fn stop(self) {
        member::stop(self.stopper, self.tasks, &self.node).await;
    }
}

/// SIGTERM and SIGINT.
struct Signals(Signal, Signal);

impl Signals {
    fn new() -> anyhow::Result<Signals> {
        Ok(Signals(
            signal(SignalKind::terminate()).context("SIGTERM cannot be caught")?,
            signal(SignalKind::interrupt()).context("SIGINT cannot be caught")?,
        ))
    }

    /// Returns once one came.
    async fn came(&mut self) {
        let name = tokio::select! {
            _ = self.0.recv() => "terminated",
            _ = self.1.recv() => "interrupt",
        };
        tracing::info!("received {name} signal, shutting down...");
    }
}

/// Runs member or proxy until a signal, or until it breaks.
///
/// # Errors
/// Why it does not start, or what broke.
pub async fn until_a_signal(settings: Alone) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let notifier = Notifier::new(std::env::var("NOTIFY_SOCKET").ok().as_deref());
    if settings.proxy.mode != ProxyMode::Off {
        return run_proxy(&settings, &notifier, &mut signals).await;
    }
    announce(&settings.etcd);
    own_folder(&settings.etcd.data_dir)?;
    let listeners = Listeners::of_store(&settings.etcd).await?;
    for socket in &listeners.peers {
        tracing::info!("listening for peers on {}", address(socket));
    }
    let started = tokio::select! {
        started = Member::start(&settings.etcd) => started,
        _ = signals.came() => return Ok(()),
    };
    match started {
        Ok(member) => run_member(member, listeners, &settings, &notifier, &mut signals).await,
        Err(StartError::Bootstrap(BootstrapError::Discovery(DiscoveryError::Full)))
            if settings.fallback_to_proxy =>
        {
            tracing::info!("discovery cluster full, falling back to proxy");
            drop(listeners);
            run_proxy(&settings, &notifier, &mut signals).await
        }
        Err(error) => Err(error.into()),
    }
}

async fn run_member(
    member: Member,
    listeners: Listeners,
    settings: &Alone,
    notifier: &Notifier,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let clients: Vec<(String, bool)> = listeners
        .clients
        .iter()
        .map(|socket| (address(socket), socket.is_tls()))
        .collect();
    let known = cluster_version(&member.node);
    let mut store = Store::serve(member, listeners, settings);
    let node = store.node.clone();
    let telling = tell(&node, known, &settings.etcd, &clients, notifier);
    let ended = tokio::select! {
        _ = signals.came() => Ok(()),
        why = store.failed() => Err(why),
        () = telling => Err("nobody is told any more".to_owned()),
    };
    notifier.stopping();
    store.stop().await;
    match ended {
        Ok(()) => Ok(()),
        Err(why) => bail!(why),
    }
}

async fn run_proxy(settings: &Alone, notifier: &Notifier, signals: &mut Signals) -> anyhow::Result<()> {
    let running = tokio::select! {
        started = proxy::Running::start(settings) => started?,
        () = signals.came() => return Ok(()),
    };
    let telling = async {
        notifier.ready_for_sure("proxy").await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = telling => {}
        () = signals.came() => {}
    }
    notifier.stopping();
    running.stop().await;
    Ok(())
}

/// Makes the data directory, if there is none, so that nobody else may look into it; etcd does the same.
fn own_folder(path: &Path) -> anyhow::Result<()> {
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(path);
    made.context(format!("the data directory {} cannot be made", path.display()))
}

fn announce(etcd: &Etcd) {
    tracing::info!("name = {}", etcd.name);
    tracing::info!("data dir = {}", etcd.data_dir.display());
    tracing::info!("heartbeat = {}ms", etcd.heartbeat_ms);
    tracing::info!("election = {}ms", etcd.election_ms);
    tracing::info!("snapshot count = {}", etcd.snapshot_count);
    tracing::info!("advertise client URLs = {}", etcd.advertise_client_urls.join(","));
    if corten_raft::has_data(&etcd.data_dir) {
        tracing::info!("the server is already initialized as member before, starting as etcd member...");
        return;
    }
    tracing::info!(
        "initial advertise peer URLs = {}",
        etcd.advertise_peer_urls.join(",")
    );
    match &etcd.discovery {
        Some(Discovery::Url { url, .. }) => tracing::info!("discovery = {url}"),
        Some(Discovery::Srv { domain, .. }) => tracing::info!("discovery srv = {domain}"),
        None => {
            let pairs = etcd
                .initial_cluster
                .iter()
                .map(|(name, url)| format!("{name}={url}"));
            tracing::info!("initial cluster = {}", pairs.collect::<Vec<_>>().join(","));
        }
    }
}

/// Says what tools wait for, once the cluster is formed; then waits for ever.
async fn tell(
    node: &Node,
    known: Option<String>,
    etcd: &Etcd,
    clients: &[(String, bool)],
    notifier: &Notifier,
) {
    let mut formed = node.formed();
    if formed.wait_for(|formed| *formed).await.is_err() {
        return;
    }
    let short = |version: &str| version.rsplitn(2, '.').last().unwrap_or_default().to_owned();
    match (known, cluster_version(node)) {
        (Some(version), _) => tracing::info!("set the cluster version to {} from store", short(&version)),
        (None, Some(version)) => tracing::info!("set the initial cluster version to {}", short(&version)),
        (None, None) => {}
    }
    let status = node.status();
    tracing::info!(
        "published {{Name:{} ClientURLs:[{}]}} to cluster {:x}",
        etcd.name,
        etcd.advertise_client_urls.join(" "),
        status.cluster_id
    );
    tracing::info!("ready to serve client requests");
    for (address, tls) in clients {
        if *tls {
            tracing::info!("serving client requests on {address}");
        } else {
            tracing::info!("serving insecure client requests on {address}, this is strongly discouraged!");
        }
    }
    let line = format!("member {:x} of cluster {:x}", status.member_id, status.cluster_id);
    notifier.ready_for_sure(&line).await;
    std::future::pending().await
}

fn cluster_version(node: &Node) -> Option<String> {
    node.read(|tx| Ok(meta::read(tx)?.version)).ok().flatten()
}

fn address(socket: &Socket) -> String {
    socket
        .address()
        .map(|address| address.to_string())
        .unwrap_or_default()
}
