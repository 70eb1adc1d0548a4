//! Putting the supervisor together: the store, the faces, the loops; and taking it apart in order.
//!
//! The end stops no unit: it stops the loops, then the faces, then the store. The machine's lease runs on; a supervisor
//! that is back within the TTL resumes, and nothing has moved.

use std::time::{Duration, Instant};

use corten_raft::{Config, Node};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::agent::{Agent, FolderError};
use crate::cluster::heartbeat::{self, Register};
use crate::cluster::leader::{self, Leading};
use crate::cluster::membership::{self, Membership};
use crate::etcd::hub::Hub;
use crate::http::{FleetListener, serve};
use crate::identity::{self, IdentityError};
use crate::listeners::Listeners;
use crate::pulse::Pulses;
use crate::settings::Settings;
use crate::stop::{self, Stop, Stopper};
use crate::systemd::Systemd;
use crate::{etcd, fleet, watching};

/// How long the parts may take to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why the supervisor does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It does not know who it is.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The store does not start.
    #[error(transparent)]
    Store(#[from] corten_raft::StartError),
    /// The folder for unit files cannot be used.
    #[error("{0}: check FLEET_UNITS_DIRECTORY")]
    Folder(#[from] FolderError),
}

/// A running supervisor.
pub struct Supervisor {
    /// The store.
    pub node: Node,
    /// How often this machine has registered; 0 until it is ready.
    pub registered: watch::Receiver<u64>,
    /// Whether its loops move.
    pub pulses: Pulses,
    stopper: Stopper,
    tasks: JoinSet<()>,
}

impl Supervisor {
    /// Starts everything; returns before the cluster is formed.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start<S: Systemd>(
        settings: &Settings,
        listeners: Listeners,
        systemd: S,
        session: u64,
    ) -> Result<Supervisor, StartError> {
        let machine = identity::machine(&settings.fleet)?;
        let node = Node::start(config(settings)).await?;
        let (stopper, stop) = stop::channel();
        let (able, is_able) = watch::channel(false);
        let (registering, registered) = watch::channel(0);
        let (hub, register, pulses) = (Hub::default(), Register::default(), Pulses::default());
        let face = etcd::Face::new(node.clone(), hub.clone());
        let units = &settings.fleet.units_directory;
        let agent = Agent::new(
            node.clone(),
            systemd,
            units,
            machine.clone(),
            able,
            registered.clone(),
        )?;

        let mut tasks = JoinSet::new();
        tasks.spawn(watching::run(
            node.clone(),
            hub,
            face.clone(),
            pulses.register("watchers"),
            stop.clone(),
        ));
        let leading = Leading {
            node: node.clone(),
            register: register.clone(),
            ttl: settings.fleet.agent_ttl,
            disabled: settings.fleet.disable_engine,
        };
        tasks.spawn(leader::run(leading, pulses.register("leader"), stop.clone()));
        let membership = Membership {
            node: node.clone(),
            register: register.clone(),
            machine,
            settings: settings.fleet.clone(),
            session,
            ttl: settings.fleet.agent_ttl,
            able: is_able,
            registered: registering,
        };
        tasks.spawn(membership::run(
            membership,
            pulses.register("membership"),
            stop.clone(),
        ));
        tasks.spawn(agent.run(pulses.register("agent"), stop.clone()));
        let api = fleet::Api::new(node.clone(), settings.fleet.token_limit);
        serve_all(&mut tasks, listeners, &node, face, api, register, &stop);
        Ok(Supervisor {
            node,
            registered,
            pulses,
            stopper,
            tasks,
        })
    }

    /// Returns when a part of the supervisor has ended although none should.
    pub async fn failed(&mut self) -> String {
        match self.tasks.join_next().await {
            Some(Err(error)) => format!("a part of the supervisor broke: {error}"),
            _ => "a part of the supervisor ended".to_owned(),
        }
    }

    /// Stops everything. Units keep running.
    pub async fn stop(mut self) {
        let begun = Instant::now();
        self.stopper.stop();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, all).await.is_err() {
            tracing::warn!("some parts did not end within {FAREWELL:?}");
            self.tasks.abort_all();
        }
        if tokio::time::timeout(FAREWELL, self.node.shutdown())
            .await
            .is_err()
        {
            tracing::warn!(
                "the store did not end within {FAREWELL:?}; its log makes up for it at the next start"
            );
        }
        tracing::info!(took = ?begun.elapsed(), "stopped; the units keep running");
    }
}

fn config(settings: &Settings) -> Config {
    let etcd = &settings.etcd;
    let mut config = Config::new(etcd.name.as_str(), etcd.data_dir.as_path());
    config.initial_cluster = etcd.initial_cluster.clone();
    config.initial_cluster_token = etcd.initial_cluster_token.clone();
    config.advertise_client_urls = etcd.advertise_client_urls.clone();
    config.heartbeat_ms = etcd.heartbeat_ms;
    config.election_ms = etcd.election_ms;
    config.snapshot_count = etcd.snapshot_count;
    config
}

fn serve_all(
    tasks: &mut JoinSet<()>,
    listeners: Listeners,
    node: &Node,
    face: etcd::Face,
    api: fleet::Api,
    register: Register,
    stop: &Stop,
) {
    let clients = etcd::router(face);
    for listener in listeners.clients {
        tasks.spawn(serve(listener, clients.clone(), stop.clone()));
    }
    let peers = node.peer_router().merge(heartbeat::router(register));
    for listener in listeners.peers {
        tasks.spawn(serve(listener, peers.clone(), stop.clone()));
    }
    let units = fleet::router(api);
    for listener in listeners.fleet {
        match listener {
            FleetListener::Unix(listener) => tasks.spawn(serve(listener, units.clone(), stop.clone())),
            FleetListener::Tcp(listener) => tasks.spawn(serve(listener, units.clone(), stop.clone())),
        };
    }
}
