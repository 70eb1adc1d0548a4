//! What a node tells about its own work: every observation to an [`Observer`], who draws figures from them, and where the
//! time of a proposal went.
//!
//! Refuses to know what becomes of it. The danger is the hot path: an observation is made per sync, batch, proposal or
//! message, and an observer must neither wait nor allocate.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use corten_store::kv::Work;
use serde::{Deserialize, Serialize};

/// Something that was done, and how long it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observation {
    /// The log's newest records were written.
    LogWritten {
        /// How many.
        bytes: u64,
    },
    /// They were made durable.
    LogSynced {
        /// The time of the sync alone.
        took: Duration,
    },
    /// A batch of entries went into the state.
    Applied {
        /// The whole transaction.
        took: Duration,
        /// Its commit alone.
        commit: Duration,
        /// What the entries did to the v3 data.
        work: Work,
    },
    /// A snapshot of the state was made.
    SnapshotBuilt {
        /// From beginning to end.
        took: Duration,
        /// Of that, until the disk had it.
        sync: Duration,
    },
    /// A received snapshot was made durable.
    SnapshotSynced {
        /// The time of the sync alone.
        took: Duration,
    },
    /// A received snapshot begins to replace the state, or no longer does.
    SnapshotInstalls(bool),
    /// A proposal of this node began.
    ProposalBegan,
    /// It ended, with success or without, or nobody waits for it any more.
    ProposalEnded {
        /// From the proposer's call to its answer.
        took: Duration,
        /// Whether it is committed and in the state.
        done: bool,
    },
    /// A linearizable read of this node may go on, or failed.
    ReadConfirmed {
        /// From the call on.
        took: Duration,
        /// Whether it may go on.
        done: bool,
    },
    /// A message was sent to a peer.
    PeerAsked {
        /// Whom.
        to: u64,
        /// The message.
        bytes: u64,
    },
    /// It was answered.
    PeerAnswered {
        /// By whom.
        to: u64,
        /// From sending to the answer's end.
        took: Duration,
    },
    /// It was not.
    PeerFailed {
        /// By whom.
        to: u64,
    },
    /// A message of a peer came.
    PeerHeard {
        /// Whose.
        from: u64,
        /// The message.
        bytes: u64,
    },
}

/// Who is told.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// Something was done. Must return at once.
    fn observe(&self, seen: Observation);
}

/// Nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn observe(&self, _: Observation) {}
}

/// Where the time of a proposal went. What is left of the whole is the way to the leader and back, if another node led.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Until it had a place in an entry.
    pub waiting: Duration,
    /// Then until that entry was on the leader's disk.
    pub log_sync: Duration,
    /// Then until enough others had it and the leader's state was free for it.
    pub replication: Duration,
    /// Then until it was in the leader's state.
    pub apply: Duration,
}

/// How many syncs and batches are remembered.
const REMEMBERED: usize = 512;

/// When the last entries were synced and applied here.
#[derive(Debug, Default)]
pub(crate) struct Trail(Mutex<Steps>);

#[derive(Debug, Default)]
struct Steps {
    synced: VecDeque<(u64, Instant)>,
    applied: VecDeque<(u64, Instant, Instant)>,
}

fn remember<T>(steps: &mut VecDeque<T>, step: T) {
    if steps.len() == REMEMBERED {
        steps.pop_front();
    }
    steps.push_back(step);
}

impl Trail {
    fn lock(&self) -> MutexGuard<'_, Steps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log up to `last` is on disk.
    pub fn synced(&self, last: u64) {
        remember(&mut self.lock().synced, (last, Instant::now()));
    }

    /// The entries up to `last` are in the state, which was begun at `begun`.
    pub fn applied(&self, last: u64, begun: Instant, ended: Instant) {
        remember(&mut self.lock().applied, (last, begun, ended));
    }

    /// Where the time of entry `index` went that was handed to Raft at `begun`. What is forgotten counts as nothing.
    pub fn spent(&self, index: u64, begun: Instant) -> Spent {
        let steps = self.lock();
        let newest = |last: u64| last >= index;
        let synced = steps
            .synced
            .iter()
            .rev()
            .take_while(|(last, _)| newest(*last))
            .last();
        let applied = steps
            .applied
            .iter()
            .rev()
            .take_while(|(last, ..)| newest(*last))
            .last();
        let Some((_, apply_begun, apply_ended)) = applied else {
            return Spent::default();
        };
        // The others may have it on their disks before this node has.
        let synced = synced.map_or(*apply_begun, |(_, at)| (*at).min(*apply_begun));
        Spent {
            waiting: Duration::ZERO,
            log_sync: synced.saturating_duration_since(begun),
            replication: apply_begun.saturating_duration_since(synced),
            apply: apply_ended.saturating_duration_since(*apply_begun),
        }
    }
}

/// What the node's parts share to tell of their work.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    pub observer: Arc<dyn Observer>,
    pub trail: Arc<Trail>,
}

impl Sight {
    pub fn new(observer: Arc<dyn Observer>) -> Sight {
        Sight {
            observer,
            trail: Arc::default(),
        }
    }

    pub fn see(&self, seen: Observation) {
        self.observer.observe(seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trail_says_where_the_time_went() {
        let (trail, begun) = (Trail::default(), Instant::now());
        let at = |ms| begun + Duration::from_millis(ms);
        let ms = Duration::from_millis;
        {
            let mut steps = trail.lock();
            steps.synced.extend([(3, at(1)), (7, at(30)), (9, at(70))]);
            steps
                .applied
                .extend([(3, at(2), at(3)), (5, at(40), at(50)), (9, at(60), at(65))]);
        }
        let spent = |log_sync, replication, apply| Spent {
            waiting: Duration::ZERO,
            log_sync: ms(log_sync),
            replication: ms(replication),
            apply: ms(apply),
        };
        assert_eq!(trail.spent(5, begun), spent(30, 10, 10));
        assert_eq!(trail.spent(7, at(20)), spent(10, 30, 5));
        assert_eq!(trail.spent(9, begun), spent(60, 0, 5), "others were faster");
        assert_eq!(trail.spent(10, begun), Spent::default(), "not there yet");
    }
}
