//! What waits to be sent on one watch stream: bounded, so that a slow client costs a bounded amount of memory. What does
//! not fit is not lost: the watcher is told from which revision on it must read the history.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corten_store::kv::Change;
use tokio::sync::Notify;

/// What one stream may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Revisions that may wait on it, once for each watcher that wants them.
    pub revisions: usize,
    /// Keys and values that may wait on it, in bytes; one revision may always.
    pub bytes: usize,
    /// Events read from the history in one turn, or those of one revision.
    pub page: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            revisions: 1024,
            bytes: 4 << 20,
            page: 256,
        }
    }
}

/// The queue of one stream.
#[derive(Debug, Default)]
pub struct Inbox {
    bounds: Bounds,
    waiting: Mutex<Waiting>,
    wake: Notify,
}

/// What waits.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Changes, in the order of their revisions.
    pub items: VecDeque<Item>,
    /// Watchers whose queue was full, with the first revision they were not given.
    pub behind: Vec<(u64, i64)>,
    /// The server stops.
    pub closed: bool,
    bytes: usize,
}

/// Changes of one revision that one watcher wants.
#[derive(Debug)]
pub struct Item {
    /// The watcher's number.
    pub watcher: u64,
    /// The revision.
    pub revision: i64,
    /// The changes, never empty.
    pub changes: Arc<[Change]>,
}

impl Inbox {
    /// An empty one.
    pub fn new(bounds: Bounds) -> Inbox {
        Inbox {
            bounds,
            ..Inbox::default()
        }
    }

    /// Adds an item; false when there is no room, and the watcher is marked as behind.
    pub fn push(&self, item: Item) -> bool {
        let bytes = item.changes.iter().map(weight).sum::<usize>();
        let mut waiting = self.lock();
        let has_room = waiting.items.is_empty()
            || waiting.items.len() < self.bounds.revisions
                && waiting.bytes.saturating_add(bytes) <= self.bounds.bytes;
        if has_room {
            waiting.bytes += bytes;
            waiting.items.push_back(item);
        } else {
            waiting.behind.push((item.watcher, item.revision));
        }
        drop(waiting);
        self.wake.notify_one();
        has_room
    }

    /// Marks a watcher as behind from `revision` on.
    pub fn fall_behind(&self, watcher: u64, revision: i64) {
        self.lock().behind.push((watcher, revision));
        self.wake.notify_one();
    }

    /// Nothing will come any more.
    pub fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    /// Takes everything.
    pub fn take(&self) -> Waiting {
        std::mem::take(&mut *self.lock())
    }

    /// Waits until there may be something.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a change costs in memory and on the wire, about.
pub fn weight(change: &Change) -> usize {
    change.kv.key.len() + change.kv.value.len() + 32
}
