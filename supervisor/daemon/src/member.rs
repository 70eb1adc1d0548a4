//! A member of the store: the node, the face its clients see, and what serves both. The supervisor has one beside fleet;
//! `corten etcd` is one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use corten_raft::lessor::{self, Lessor, Renewals};
use corten_raft::{Config, Node};
use corten_watch::v2;
use corten_watch::v3 as watch_v3;
use tokio::task::JoinSet;

use crate::bootstrap::{self, BootstrapError, Founding};
use crate::etcd::v3::{self, V3};
use crate::http::{App, Socket, serve};
use crate::listeners::hosts;
use crate::metrics::{self, Metrics};
use crate::pulse::Pulses;
use crate::settings::{AutoCompaction, Etcd};
use crate::stop::{Stop, Stopper};
use crate::tls::{self, TlsError};
use crate::{etcd, watching};

/// How long the parts may take to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why a member does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The founding members cannot be found.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// A certificate for its peers cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store does not start.
    #[error(transparent)]
    Store(#[from] corten_raft::StartError),
    /// The state cannot be read, or this program is broken.
    #[error("the v3 API: {0}")]
    Api(String),
}

/// A member that runs, not served yet.
pub struct Member {
    /// The store.
    pub node: Node,
    face: etcd::Face,
    hub: v2::Hub,
    feed: v2::hub::Feed,
    clients: App,
    watches: watch_v3::Hub,
    watches_feed: watch_v3::hub::Feed,
    lessor: Lessor,
    renewals: Renewals,
    compaction: AutoCompaction,
    v2_history: Option<u64>,
}

impl Member {
    /// Finds the founding members and starts the node; returns before the cluster is formed.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(etcd: &Etcd) -> Result<Member, StartError> {
        let founding = bootstrap::find(etcd).await?;
        if etcd.limits.told_quota() < 0 {
            tracing::warn!(
                "disabling backend quota (quota-backend-bytes is {}): the data may fill the disk",
                etcd.limits.quota_backend_bytes
            );
        }
        let api = |error: &dyn std::fmt::Display| StartError::Api(error.to_string());
        let metrics = Metrics::new(etcd.limits.told_quota()).map_err(|e| api(&e))?;
        let mut config = config(etcd, founding)?;
        config.observer = metrics.observer();
        let node = Node::start(config).await?;
        // Before anyone watches.
        let (hub, feed) = v2::Hub::begin(&node, v2::hub::QUEUE);
        let (watches, watches_feed) = watch_v3::Hub::begin(&node).map_err(|e| api(&e))?;
        let (lessor, renewals) = Lessor::new(node.clone());
        let passwords = Arc::<etcd::Passwords>::default();
        let face = etcd::Face::new(
            node.clone(),
            hub.clone(),
            watches.clone(),
            metrics.clone(),
            Arc::clone(&passwords),
        );
        let limits = etcd.limits.clone();
        let v3 = V3::new(
            node.clone(),
            watches.clone(),
            lessor.clone(),
            limits,
            passwords,
            metrics,
        );
        let clients = etcd::app(&face, &v3).map_err(|e| api(&e))?;
        Ok(Member {
            node,
            face,
            hub,
            feed,
            clients,
            watches,
            watches_feed,
            lessor,
            renewals,
            compaction: etcd.limits.auto_compaction,
            v2_history: etcd.v2_history,
        })
    }

    /// What clients are served.
    pub fn clients(&self) -> App {
        self.clients.clone()
    }

    /// /metrics and /health alone.
    pub fn figures(&self) -> Router {
        metrics::router(self.face.clone())
    }

    /// The peers' routes; they want to know who asks.
    pub fn peers(&self) -> Router {
        self.node.peer_router().merge(self.lessor.peer_router())
    }

    /// Starts the loops that belong to it; they run until `stop`.
    pub fn run(self, tasks: &mut JoinSet<()>, pulses: &Pulses, stop: &Stop) {
        let node = self.node;
        let pulse = pulses.register("watchers");
        tasks.spawn(watching::run(
            self.hub,
            self.feed,
            node.clone(),
            self.face,
            pulse,
            stop.clone(),
        ));
        let (pulse, mut stopped) = (pulses.register("v3 watchers"), stop.clone());
        let (watches, feed, fed) = (self.watches, self.watches_feed, node.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = watch_v3::hub::run(fed, watches.clone(), feed, || pulse.beat()) => {}
                () = stopped.stopped() => watches.close(),
            }
        });
        let (pulse, mut stopped) = (pulses.register("v3 leases"), stop.clone());
        let leases = lessor::run(self.lessor, self.renewals, move || pulse.beat());
        tasks.spawn(async move {
            tokio::select! {
                () = leases => {}
                () = stopped.stopped() => {}
            }
        });
        if self.compaction != AutoCompaction::Off {
            let pulse = pulses.register("v3 compaction");
            tasks.spawn(v3::compactor::run(
                node.clone(),
                self.compaction,
                pulse,
                stop.clone(),
            ));
        }
        if let Some(events) = self.v2_history {
            let pulse = pulses.register("v2 history");
            tasks.spawn(etcd::window::run(node.clone(), events, pulse, stop.clone()));
        }
        let pulse = pulses.register("v3 sweep");
        tasks.spawn(v3::sweep::run(node, pulse, stop.clone()));
    }
}

/// Serves `app` on all `sockets` until `stop`.
pub fn serve_on(tasks: &mut JoinSet<()>, sockets: Vec<Socket>, app: &App, stop: &Stop) {
    for socket in sockets {
        tasks.spawn(serve(socket, app.clone(), stop.clone()));
    }
}

/// Stops everything: the parts, then the store. Another member leads then, if there is one.
pub async fn stop(stopper: Stopper, mut tasks: JoinSet<()>, node: &Node) {
    let begun = Instant::now();
    node.hand_over().await;
    stopper.stop();
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(FAREWELL, all).await.is_err() {
        tracing::warn!("some parts did not end within {FAREWELL:?}");
        tasks.abort_all();
    }
    if tokio::time::timeout(FAREWELL, node.shutdown()).await.is_err() {
        tracing::warn!(
            "the store did not end within {FAREWELL:?}; its log makes up for it at the next start"
        );
    }
    tracing::info!(took = ?begun.elapsed(), "stopped");
}

/// What tells a founding member of the configured cluster who it is and where its data lies.
pub(crate) fn founding_config(etcd: &Etcd) -> Config {
    let mut config = Config::new(etcd.name.as_str(), etcd.data_dir.as_path());
    config.initial_cluster = etcd.initial_cluster.clone();
    config.initial_cluster_token = etcd.initial_cluster_token.clone();
    config
}

fn config(etcd: &Etcd, founding: Founding) -> Result<Config, TlsError> {
    let mut config = Config::new(etcd.name.as_str(), etcd.data_dir.as_path());
    let peer_tls = tls::with_generated(&etcd.peer_tls, &etcd.data_dir, "peer", &hosts(&etcd.listen_peer))?;
    config.initial_cluster = founding.members;
    config.initial_cluster_token = founding.token;
    config.existing = founding.existing;
    config.advertise_peer_urls = etcd.advertise_peer_urls.clone();
    config.active_size = etcd.active_size;
    let delay = etcd.remove_delay.map(|delay| delay.as_millis());
    config.remove_delay_ms = delay.map(|delay| u64::try_from(delay).unwrap_or(u64::MAX));
    config.force_new_cluster = etcd.force_new_cluster;
    config.peer_tls = tls::client(&peer_tls)?;
    config.advertise_client_urls = etcd.advertise_client_urls.clone();
    config.heartbeat_ms = etcd.heartbeat_ms;
    config.election_ms = etcd.election_ms;
    config.snapshot_count = etcd.snapshot_count;
    config.slow_request_ms = u64::try_from(etcd.slow_request.as_millis()).unwrap_or(u64::MAX);
    Ok(config)
}
