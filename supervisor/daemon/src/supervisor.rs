//! Putting the supervisor together: the store, the faces, the loops; and taking it apart in order.
//!
//! The end stops no unit: it stops the loops, then the faces, then the store. The machine's lease runs on; a supervisor
//! that is back within the TTL resumes, and nothing has moved.

use corten_raft::Node;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::agent::{Able, Agent, FolderError, Lease};
use crate::cluster::heard::LastHeard;
use crate::cluster::heartbeat::{self, Register};
use crate::cluster::leader::{self, Leading};
use crate::cluster::membership::{self, Membership};
use crate::fleet;
use crate::http::{App, FleetListener, serve};
use crate::identity::{self, IdentityError};
use crate::listeners::Listeners;
use crate::member::{self, Member};
use crate::pulse::Pulses;
use crate::settings::Settings;
use crate::stop::{self, Stop, Stopper};
use crate::systemd::Systemd;

/// Why the supervisor does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It does not know who it is.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The store does not start.
    #[error(transparent)]
    Store(#[from] member::StartError),
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
        let store = Member::start(&settings.etcd).await?;
        let node = store.node.clone();
        let (stopper, stop) = stop::channel();
        let (able, is_able) = watch::channel(Able::NotYet);
        let (registering, registered) = watch::channel(0);
        let (register, pulses) = (Register::default(), Pulses::default());
        let units = &settings.fleet.units_directory;
        let heard = LastHeard::open(units);
        let agent = Agent::new(
            node.clone(),
            systemd,
            units,
            machine.clone(),
            able,
            registered.clone(),
            Lease::new(heard.subscribe(), settings.fleet.agent_ttl),
        )?;

        let mut tasks = JoinSet::new();
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
            asked: session,
            ttl: settings.fleet.agent_ttl,
            able: is_able,
            blind: false,
            registered: registering,
            heard,
        };
        tasks.spawn(membership::run(
            membership,
            pulses.register("membership"),
            stop.clone(),
        ));
        tasks.spawn(agent.run(pulses.register("agent"), stop.clone()));
        let api = fleet::Api::new(node.clone(), settings.fleet.token_limit);
        let peers = store.peers().merge(heartbeat::router(register, node.clone()));
        member::serve_on(&mut tasks, listeners.clients, &store.clients(), &stop);
        member::serve_on(&mut tasks, listeners.metrics, &store.figures().into(), &stop);
        member::serve_on(&mut tasks, listeners.peers, &App::from(peers).asking_who(), &stop);
        serve_fleet(&mut tasks, listeners.fleet, fleet::app(api), &stop);
        store.run(&mut tasks, &pulses, &stop);
        Ok(Supervisor {
            node,
            registered,
            pulses,
            stopper,
            tasks,
        })
    }

    /// Returns when a part of the supervisor or its store has ended although none should.
    pub async fn failed(&mut self) -> String {
        tokio::select! {
            why = self.node.failed() => format!("the store broke: {why}"),
            ended = self.tasks.join_next() => match ended {
                Some(Err(error)) => format!("a part of the supervisor broke: {error}"),
                _ => "a part of the supervisor ended".to_owned(),
            }
        }
    }

    /// Stops everything. Units keep running.
    pub async fn stop(self) {
        member::stop(self.stopper, self.tasks, &self.node).await;
        tracing::info!("the units keep running");
    }
}

fn serve_fleet(tasks: &mut JoinSet<()>, listeners: Vec<FleetListener>, units: App, stop: &Stop) {
    for listener in listeners {
        match listener {
            FleetListener::Unix(listener) => tasks.spawn(serve(listener, units.clone(), stop.clone())),
            FleetListener::Tcp(listener) => tasks.spawn(serve(listener, units.clone(), stop.clone())),
        };
    }
}
