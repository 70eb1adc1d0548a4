//! The state machine as openraft wants it: one write transaction per call of apply, the applied position inside it,
//! watchers told after the commit.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use corten_store::kv::Work;
use corten_store::{Batch, StoreFault};
use openraft::storage::RaftStateMachine;
use openraft::{AnyError, EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot};
use tokio::sync::{broadcast, watch};

use super::tx::WriteTx;
use super::{State, put_standing};
use crate::node::AppliedBatch;
use crate::observe::{Observation, Sight};
use crate::snapshot::{SnapshotError, SnapshotFile, Snapshots};
use crate::types::{
    Entry, LogId, Replies, Reply, SnapshotMeta, StorageError, StorageIOError, StoredMembership, TypeConfig,
};

/// How long a full disk is left alone before the next try.
const FULL_DISK_PAUSE: Duration = Duration::from_millis(500);

/// The state machine.
pub struct Machine {
    state: Arc<State>,
    snapshots: Arc<Snapshots>,
    events: broadcast::Sender<Arc<AppliedBatch>>,
    applied: watch::Sender<u64>,
    sight: Sight,
}

/// Builds snapshots beside the running machine.
pub struct SnapshotBuilder {
    state: Arc<State>,
    snapshots: Arc<Snapshots>,
}

/// What one transaction did.
struct Done {
    replies: Vec<Replies>,
    batch: AppliedBatch,
    work: Work,
}

impl Machine {
    /// A machine over `state`. `applied` is told the index of each last applied entry.
    pub fn new(
        state: Arc<State>,
        snapshots: Arc<Snapshots>,
        events: broadcast::Sender<Arc<AppliedBatch>>,
        applied: watch::Sender<u64>,
        sight: Sight,
    ) -> Machine {
        Machine {
            state,
            snapshots,
            events,
            applied,
            sight,
        }
    }

    fn tell(&self, batch: AppliedBatch) {
        self.applied.send_replace(batch.raft_index);
        let _ = self.events.send(Arc::new(batch)); // nobody may be watching
    }
}

/// Applies entries in one transaction.
fn apply_all(tx: &mut WriteTx<'_>, entries: &[Entry]) -> Result<Done, StoreFault> {
    let mut replies = Vec::with_capacity(entries.len());
    let mut batch = AppliedBatch {
        events: Vec::new(),
        etcd_index: 0,
        raft_index: 0,
        reset: false,
    };
    let (mut members, mut work) = (None, Work::default());
    let mut applying = Batch::begin(tx)?;
    for entry in entries {
        let index = entry.log_id.index;
        let mut answers = Vec::new();
        match &entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(new) => {
                members = Some(StoredMembership::new(Some(entry.log_id), new.clone()))
            }
            EntryPayload::Normal(commands) => {
                let unreadable =
                    |e| StoreFault::Backend(format!("entry {index} is not of this version: {e}"));
                for command in commands.commands().map_err(unreadable)? {
                    let outcome = applying.apply(tx, index, &command)?;
                    batch.events.extend(outcome.events);
                    work += outcome.work;
                    answers.push(Reply {
                        response: outcome.response,
                        etcd_index: outcome.etcd_index,
                    });
                }
            }
        }
        replies.push(Replies(answers));
    }
    let last = entries.last().map(|entry| entry.log_id);
    put_standing(tx, last, members.as_ref())?;
    batch.etcd_index = applying.etcd_index();
    applying.end(tx)?;
    batch.raft_index = last.map_or(0, |last| last.index);
    Ok(Done { replies, batch, work })
}

fn failed(log_id: LogId, fault: &StoreFault) -> StorageError {
    StorageIOError::apply(log_id, AnyError::new(fault)).into()
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        let standing = self
            .state
            .standing()
            .map_err(|e| StorageIOError::read_state_machine(AnyError::new(&e)))?;
        Ok((standing.applied, standing.members))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Replies>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let Some(last) = entries.last().map(|entry| entry.log_id) else {
            return Ok(Vec::new());
        };
        loop {
            let begun = Instant::now();
            match self
                .state
                .write(|tx| Ok((apply_all(tx, &entries)?, Instant::now())))
            {
                Ok((done, applied)) => {
                    if self.state.no_space.swap(false, Ordering::Relaxed) {
                        tracing::info!("there is room for the state again: writes go on");
                    }
                    let ended = Instant::now();
                    self.sight.trail.applied(last.index, begun, ended);
                    self.sight.see(Observation::Applied {
                        took: ended - begun,
                        commit: ended - applied,
                        work: done.work,
                    });
                    self.tell(done.batch);
                    return Ok(done.replies);
                }
                // Committed entries must be applied: with the disk full there is nothing to do but wait. Reads go on.
                Err(StoreFault::NoSpace(cause)) => {
                    if !self.state.no_space.swap(true, Ordering::Relaxed) {
                        tracing::error!(%cause, "no space left for the state: writes wait until there is room");
                    }
                    tokio::time::sleep(FULL_DISK_PAUSE).await;
                }
                Err(fault) => return Err(failed(last, &fault)),
            }
        }
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder {
            state: Arc::clone(&self.state),
            snapshots: Arc::clone(&self.snapshots),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotFile>, StorageError> {
        let receive = |_: &State, snapshots: &Snapshots| snapshots.receive();
        let file = with_room(&self.state, &self.snapshots, receive).await;
        let file = file.map_err(|e| StorageIOError::write_snapshot(None, e))?;
        Ok(Box::new(file))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<SnapshotFile>,
    ) -> Result<(), StorageError> {
        let failed = |e: AnyError| StorageIOError::write_snapshot(Some(meta.signature()), e);
        let own = meta.clone();
        let install = move |state: &State, snapshots: &Snapshots| snapshots.install(state, &own, &snapshot);
        self.sight.see(Observation::SnapshotInstalls(true));
        let installed = with_room(&self.state, &self.snapshots, install).await;
        self.sight.see(Observation::SnapshotInstalls(false));
        installed.map_err(failed)?;
        let index = self
            .state
            .read(|tx| corten_store::meta::etcd_index(tx))
            .map_err(|e| failed(AnyError::new(&e)))?;
        let raft_index = meta.last_log_id.map_or(0, |id| id.index);
        self.tell(AppliedBatch {
            events: Vec::new(),
            etcd_index: index,
            raft_index,
            reset: true,
        });
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError> {
        self.snapshots
            .current()
            .map_err(|e| StorageIOError::read_snapshot(None, AnyError::new(&e)).into())
    }
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError> {
        let build = |state: &State, snapshots: &Snapshots| snapshots.build(state);
        let built = with_room(&self.state, &self.snapshots, build).await;
        Ok(built.map_err(|e| StorageIOError::write_snapshot(None, e))?)
    }
}

/// Tries again until the disk has room: Raft ends for good at any failure of its storage, and a full disk shall be none.
/// Once the state is closed it is one.
async fn with_room<T: Send + 'static>(
    state: &Arc<State>,
    snapshots: &Arc<Snapshots>,
    act: impl Fn(&State, &Snapshots) -> Result<T, SnapshotError> + Send + Sync + 'static,
) -> Result<T, AnyError> {
    let act = Arc::new(act);
    let mut said = false;
    loop {
        let (act, of, with) = (Arc::clone(&act), Arc::clone(state), Arc::clone(snapshots));
        let done = snapshots.world.blocking(move || act(&of, &with)).await;
        match done.map_err(|e| AnyError::new(&e))? {
            Ok(done) => return Ok(done),
            Err(error) if error.is_full() && !state.is_closed() => {
                if !std::mem::replace(&mut said, true) {
                    tracing::error!(%error, "no space left for a snapshot: it waits until there is room");
                }
                tokio::time::sleep(FULL_DISK_PAUSE).await;
            }
            Err(error) => return Err(AnyError::new(&error)),
        }
    }
}
