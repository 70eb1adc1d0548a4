//! Putting a node together from its data directory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::SnapshotPolicy;
use tokio::sync::{Semaphore, broadcast, mpsc, watch};
use tokio::task::JoinSet;

use crate::identity::{self, Established, Identity};
use crate::inner::Inner;
use crate::log::LogStore;
use crate::node::Node;
use crate::observe::Sight;
use crate::peer::client::Client;
use crate::peer::network::{Heard, Network};
use crate::seldom::Seldom;
use crate::silence::Silence;
use crate::slow::Slow;
use crate::snapshot::{SnapshotError, Snapshots};
use crate::state::{Machine, State};
use crate::types::Raft;
use crate::world::World;
use crate::{Config, StartError, duties, following, force, found, join, linearize, propose, voters};

/// How many proposals may wait before further ones are held back.
const WAITING: usize = 8192;
/// How many batches a slow watcher may lag before it is told to read anew.
const EVENTS: usize = 4096;

/// What lies in the data directory, open.
struct Opened {
    lock: std::fs::File,
    identity: Identity,
    joined: bool,
    log: LogStore,
    state: Arc<State>,
    snapshots: Arc<Snapshots>,
}

pub(crate) async fn start(config: Config, world: World) -> Result<Node, StartError> {
    let raft_config = raft_config(&config, &world)?;
    let (opening, around) = (config.clone(), world.clone());
    let has_data = identity::has_data_on(&*world.disk, &config.data_dir);
    let learnt = match has_data || config.force_new_cluster {
        true => None,
        false => join::find(&config, &world).await?,
    };
    let opened = world
        .blocking(move || open(&around, &opening, learnt))
        .await
        .map_err(|e| StartError::Raft(e.to_string()))??;
    let Opened {
        lock,
        identity,
        joined,
        log,
        state,
        snapshots,
    } = opened;
    let standing = state.standing().map_err(|e| StartError::Raft(e.to_string()))?;
    let sight = Sight::new(Arc::clone(&config.observer));
    log.watched_by(sight.clone());
    snapshots.watched_by(sight.clone());
    let (events, _) = broadcast::channel(EVENTS);
    let (tell_applied, applied) = watch::channel(standing.applied.map_or(0, |id| id.index));
    let machine = Machine::new(
        Arc::clone(&state),
        Arc::clone(&snapshots),
        events.clone(),
        tell_applied,
        sight.clone(),
    );
    let led_up_to = log.led_up_to(identity.member);
    let (client, removed) = Client::of_member(identity, config.peer_tls.clone(), &world);
    let heard = Heard::default();
    let network = Network::new(client.clone(), heard.clone(), sight.clone());
    let raft = Raft::new(
        identity.member,
        Arc::new(raft_config),
        network,
        log.clone(),
        machine,
    )
    .await
    .map_err(|e| StartError::Raft(e.to_string()))?;
    let initialized = raft.is_initialized().await;
    let initialized = initialized.map_err(|e| StartError::Raft(e.to_string()))?;
    // Who has joined is told by the leader who the members are.
    let takes_part = initialized || joined || config.existing;
    let (proposals, proposed) = mpsc::channel(WAITING);
    let (reads, asked) = mpsc::channel(WAITING);
    let waiting = Arc::new(Semaphore::new(config.waiting_bytes as usize));
    let slow = Slow::new(Duration::from_millis(config.slow_request_ms));
    let inner = Arc::new(Inner {
        config,
        world,
        identity,
        raft,
        log,
        state,
        snapshots,
        client,
        leader: watch::Sender::new(None),
        has_leader: watch::Sender::new(false),
        events,
        applied,
        formed: watch::Sender::new(false),
        proposals,
        waiting,
        reads,
        tasks: Mutex::new(JoinSet::new()),
        lock: Mutex::new(Some(lock)),
        changing: tokio::sync::Mutex::new(()),
        heard,
        silence: Silence::default(),
        letting_in: tokio::sync::RwLock::new(()),
        led_up_to,
        sight,
        slow,
        removed,
        takes_part: watch::Sender::new(takes_part),
        forgot: watch::Sender::new(None),
        strangers: Seldom::default(),
    });
    inner.spawn(duties::follow_leader(Arc::clone(&inner)));
    inner.spawn(following::watch(Arc::clone(&inner)));
    inner.spawn(propose::run(Arc::clone(&inner), proposed));
    inner.spawn(linearize::run(Arc::clone(&inner), asked));
    if !takes_part {
        inner.spawn(found::found(Arc::clone(&inner)));
    }
    inner.spawn(duties::publish(Arc::clone(&inner)));
    inner.spawn(duties::expire_keys(Arc::clone(&inner)));
    inner.spawn(duties::ask_whether_removed(Arc::clone(&inner)));
    inner.spawn(voters::keep(Arc::clone(&inner)));
    Ok(Node { inner })
}

/// Opens everything in the data directory, in the order in which one can be mended from the other.
fn open(world: &World, config: &Config, learnt: Option<Identity>) -> Result<Opened, StartError> {
    let lock = identity::lock(&config.data_dir)?;
    let Established {
        identity,
        new,
        joined,
    } = identity::establish(&*world.disk, config, learnt)?;
    let known = if new { "new here" } else { "back" };
    tracing::info!(
        "member {:x} of cluster {:x}, {known}",
        identity.member,
        identity.cluster
    );
    let log = LogStore::open(
        world,
        &config.data_dir.join("log"),
        identity.cluster,
        config.segment_bytes,
    )?;
    let snapshots = Snapshots::open(world, &config.data_dir, identity.cluster)?;
    let (state, _) = State::open(world, &config.data_dir, config.state_limit_bytes)?;
    snapshots.catch_up(&state).map_err(snapshot_error)?;
    let applied = state
        .standing()
        .map_err(|e| StartError::Raft(e.to_string()))?
        .applied;
    if log.purged() > applied {
        return Err(StartError::CorruptSnapshot {
            file: config.data_dir.join("snap"),
            cause: "the log no longer holds what the state needs, and no snapshot does".to_owned(),
        });
    }
    if config.force_new_cluster {
        force::new_cluster(identity, &log, &state)?;
    }
    Ok(Opened {
        lock,
        identity,
        joined,
        log,
        state: Arc::new(state),
        snapshots: Arc::new(snapshots),
    })
}

fn snapshot_error(error: SnapshotError) -> StartError {
    match error {
        SnapshotError::Damaged { path, cause } => StartError::CorruptSnapshot { file: path, cause },
        SnapshotError::Io { path, source } => StartError::Io {
            path,
            what: "read the snapshot",
            source,
        },
        SnapshotError::State(fault) => StartError::Raft(fault.to_string()),
    }
}

/// Our settings as openraft's.
fn raft_config(config: &Config, world: &World) -> Result<openraft::Config, StartError> {
    // A follower believes in a silent leader for the greatest of these, and then stands for election after one of them
    // that openraft draws: after one and a half to two of etcd's election timeouts in all, as etcd's followers do.
    let election_max_ms = config.election_ms;
    // In a simulation there is no chance but its seed's, which gives `election_ms`.
    let election_min_ms = match world.simulated {
        Some(_) => election_max_ms - 1,
        None => election_max_ms / 2,
    };
    let settings = openraft::Config {
        cluster_name: config.initial_cluster_token.clone(),
        heartbeat_interval: config.heartbeat_ms,
        election_timeout_min: election_min_ms,
        election_timeout_max: election_max_ms,
        install_snapshot_timeout: 60_000,
        max_payload_entries: 512,
        replication_lag_threshold: config.keep_entries.max(config.snapshot_count) + 1000,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_count),
        snapshot_max_chunk_size: 1 << 20,
        max_in_snapshot_log_to_keep: config.keep_entries,
        purge_batch_size: (config.keep_entries / 4).max(1),
        ..openraft::Config::default()
    };
    settings
        .validate()
        .map_err(|e| StartError::BadConfig(e.to_string()))
}
