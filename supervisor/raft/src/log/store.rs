//! The log as openraft wants it.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, EntryPayload, LogState, Membership, OptionalSend, RaftLogReader};
use tokio::sync::{oneshot, watch};

use super::recover;
use super::shared::{self, Shared};
use super::writer::{self, Op, Queue};
use crate::StartError;
use crate::observe::Sight;
use crate::types::{Entry, LogId, Peer, StorageError, StorageIOError, TypeConfig, Vote};
use crate::world::World;

/// How many bytes of entries one message to a follower carries.
const MESSAGE_BYTES: usize = 4 << 20;

/// A handle to the log; clones are the same log.
#[derive(Clone)]
pub struct LogStore {
    shared: Arc<Shared>,
    /// What Raft has committed last.
    committed: Arc<watch::Sender<Option<LogId>>>,
    queue: Queue,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl LogStore {
    /// Opens the log in `dir`, making it if there is none.
    ///
    /// # Errors
    /// When it cannot be read or made, or acknowledged parts of it are damaged.
    pub(crate) fn open(
        world: &World,
        dir: &Path,
        cluster: u64,
        segment_bytes: u64,
    ) -> Result<LogStore, StartError> {
        let (index, segment) = recover::open(&*world.disk, dir, cluster)?;
        let shared = Arc::new(Shared::new(index));
        let (queue, thread) = writer::start(
            world,
            Arc::clone(&shared),
            dir.to_path_buf(),
            cluster,
            segment_bytes,
            segment,
        )
        .map_err(|source| StartError::Io {
            path: dir.to_path_buf(),
            what: "start the log's thread",
            source,
        })?;
        Ok(LogStore {
            shared,
            committed: Arc::default(),
            queue,
            thread: Arc::new(Mutex::new(thread)),
        })
    }

    /// What is committed, told when it is about to be applied.
    pub fn committed(&self) -> watch::Receiver<Option<LogId>> {
        self.committed.subscribe()
    }

    /// Tells of every write and sync from now on.
    pub fn watched_by(&self, sight: Sight) {
        let _ = self.shared.sight.set(sight); // only the first one counts
    }

    /// Whether the disk is full, so that writes wait.
    pub fn no_space(&self) -> bool {
        self.shared.no_space.load(Ordering::Relaxed)
    }

    /// The last purged entry.
    pub fn purged(&self) -> Option<LogId> {
        self.shared.lock().standing.purged
    }

    /// The last entry, or the last purged one when there is none.
    pub fn last(&self) -> Option<LogId> {
        self.shared.lock().last()
    }

    /// Up to where this member has appended as a leader that has not been followed by another one yet; for the time before
    /// Raft runs.
    pub fn led_up_to(&self, member: u64) -> Option<LogId> {
        let index = self.shared.lock();
        let vote = index.standing.vote.filter(Vote::is_committed)?;
        let leader = *vote.leader_id();
        (leader.node_id == member).then_some(LogId::new(leader, index.last()?.index))
    }

    /// The members as of the log's last entry that changes them.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn last_membership(&self) -> io::Result<Option<Membership<u64, Peer>>> {
        let entries = shared::read(&self.shared, 0, u64::MAX, usize::MAX)?;
        Ok(entries.into_iter().rev().find_map(|entry| match entry.payload {
            EntryPayload::Membership(members) => Some(members),
            _ => None,
        }))
    }

    /// Appends an entry and waits until it is on disk; for the time before Raft runs. Blocks.
    ///
    /// # Errors
    /// When it leaves a hole or cannot be written.
    pub fn append_now(&self, entry: Entry) -> io::Result<()> {
        if !self.shared.lock().push(entry.clone(), None) {
            return Err(io::Error::other("the entry would leave a hole in the log"));
        }
        let (tell, told) = oneshot::channel();
        self.send(Op::AppendNow(Box::new(entry), tell))?;
        told.blocking_recv()
            .unwrap_or_else(|_| Err(io::Error::other("the log is closed")))
    }

    /// Has a writer that waits for room on a full disk give up, so that the node can stop.
    pub fn give_up(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
    }

    /// Writes what is queued and ends the writer. Blocks until it has.
    pub fn close(&self) {
        self.give_up();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.queue.send(Op::Stop); // it may have ended before
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the log's writer panicked");
        }
        self.shared.lock().files.clear();
    }

    fn send(&self, op: Op) -> io::Result<()> {
        if self.queue.send(op) {
            Ok(())
        } else {
            Err(io::Error::other("the log is closed"))
        }
    }

    async fn ask(&self, op: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Op) -> io::Result<()> {
        let (tell, told) = oneshot::channel();
        self.send(op(tell))?;
        told.await
            .unwrap_or_else(|_| Err(io::Error::other("the log is closed")))
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let start = match range.start_bound() {
            Bound::Included(at) => *at,
            Bound::Excluded(at) => at + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(at) => at + 1,
            Bound::Excluded(at) => *at,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start, end, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        self.read(start, end, MESSAGE_BYTES)
    }
}

impl LogStore {
    fn read(&self, start: u64, end: u64, limit: usize) -> Result<Vec<Entry>, StorageError> {
        shared::read(&self.shared, start, end, limit)
            .map_err(|e| StorageIOError::read_log_at_index(start, AnyError::new(&e)).into())
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let index = self.shared.lock();
        Ok(LogState {
            last_purged_log_id: index.standing.purged,
            last_log_id: index.last(),
        })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        self.shared.lock().standing.vote = Some(*vote);
        self.ask(|tell| Op::Vote(*vote, tell))
            .await
            .map_err(|e| StorageIOError::write_vote(AnyError::new(&e)).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.shared.lock().standing.vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        self.shared.lock().standing.committed = committed;
        self.send(Op::Committed(committed))
            .map_err(|e| StorageError::from(StorageIOError::write(AnyError::new(&e))))?;
        self.committed.send_replace(committed);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.shared.lock().standing.committed)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        {
            let mut index = self.shared.lock();
            for entry in &entries {
                if !index.push(entry.clone(), None) {
                    let hole = format!(
                        "entry {} would leave a hole behind {:?}",
                        entry.log_id,
                        index.last()
                    );
                    return Err(StorageIOError::write_logs(AnyError::error(hole)).into());
                }
            }
        }
        self.send(Op::Append(entries, callback))
            .map_err(|e| StorageIOError::write_logs(AnyError::new(&e)).into())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.shared.lock().truncate(log_id.index);
        self.ask(|tell| Op::Truncate(log_id.index, tell))
            .await
            .map_err(|e| StorageIOError::write_logs(AnyError::new(&e)).into())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.shared.lock().purge(log_id);
        self.ask(|tell| Op::Purge(log_id, tell))
            .await
            .map_err(|e| StorageIOError::write_logs(AnyError::new(&e)).into())
    }
}
