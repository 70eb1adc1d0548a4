//! The watchers of this node: one task takes what is applied and puts each change into the queues of those who want it.
//!
//! | a watcher is | then |
//! |---|---|
//! | in the index | every change it wants, of a revision after the one at which it joined, comes into its queue |
//! | not | it reads the history from the store, until it has read up to where the hub is, and joins |
//!
//! It leaves the index when its queue is full, or when the state came as a whole from another member. Danger: a watcher
//! may join only if no revision lies between what it has read and what the hub will hand out next.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corten_raft::{AppliedBatch, Node};
use corten_store::kv::{self, Change, Changes};
use corten_store::{Event, StoreFault};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;

use super::inbox::{Inbox, Item, Waiting};
use super::interest::{Index, Interest};
use crate::pulse::{BEAT, Pulse};
use crate::stop::Stop;

/// All watchers. Clones are handles to the same.
#[derive(Debug, Clone)]
pub struct Hub {
    watchers: Arc<Mutex<Watchers>>,
    next_number: Arc<AtomicU64>,
    /// The last revision handed out.
    current: Arc<watch::Sender<i64>>,
}

#[derive(Debug, Default)]
struct Watchers {
    index: Index<Watcher>,
    closed: bool,
}

#[derive(Debug)]
struct Watcher {
    interest: Interest,
    /// The first revision it wants.
    from: i64,
    inbox: Arc<Inbox>,
}

/// What the hub is fed from: every change after the revision at which the hub begins.
#[derive(Debug)]
pub struct Feed(broadcast::Receiver<Arc<AppliedBatch>>);

impl Hub {
    /// A hub at the present revision of `node`, to be run with its feed.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn begin(node: &Node) -> Result<(Hub, Feed), StoreFault> {
        let feed = Feed(node.events());
        let current = node.read(|tx| kv::revision(tx))?;
        let hub = Hub {
            watchers: Arc::default(),
            next_number: Arc::default(),
            current: Arc::new(watch::Sender::new(current)),
        };
        Ok((hub, feed))
    }

    /// A number nobody has had.
    pub fn number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// Registers a watcher who has everything before revision `from`; false if the hub is past that: it must read on.
    pub fn join(&self, number: u64, interest: &Interest, from: i64, inbox: &Arc<Inbox>) -> bool {
        let mut watchers = self.lock();
        if watchers.closed {
            inbox.close();
            return true;
        }
        if *self.current.borrow() >= from {
            return false;
        }
        let watcher = Watcher {
            interest: interest.clone(),
            from,
            inbox: Arc::clone(inbox),
        };
        watchers.index.insert(number, interest, watcher);
        true
    }

    /// How many watchers it feeds; one that reads the history is not among them.
    pub fn count(&self) -> usize {
        self.lock().index.count()
    }

    /// Takes a watcher out.
    pub fn leave(&self, number: u64, interest: &Interest) {
        self.lock().index.remove(number, interest);
    }

    /// Takes what waits in an inbox, and says up to which revision that is all there was.
    pub fn take(&self, inbox: &Inbox) -> (Waiting, i64) {
        let watchers = self.lock();
        let taken = inbox.take();
        let current = *self.current.borrow();
        drop(watchers);
        (taken, current)
    }

    /// Waits until the hub has handed out everything up to `revision`.
    pub async fn reached(&self, revision: i64) {
        let mut current = self.current.subscribe();
        // The sender lives as long as this hub.
        let _ = current.wait_for(|current| *current >= revision).await;
    }

    fn publish(&self, batch: &AppliedBatch) {
        let mut watchers = self.lock();
        let mut last = None;
        for event in &batch.events {
            if let Event::Kv(changes) = event {
                hand_out(&mut watchers, changes);
                last = Some(changes.revision);
            }
        }
        if let Some(last) = last {
            self.advance(last);
        }
    }

    /// Events were missed: everyone reads on from the history.
    fn reset(&self, revision: i64) {
        let mut watchers = self.lock();
        let next = *self.current.borrow() + 1;
        for (number, watcher) in watchers.index.take_all() {
            watcher.inbox.fall_behind(number, next.max(watcher.from));
        }
        self.advance(revision);
    }

    /// Ends every watch.
    fn close(&self) {
        let mut watchers = self.lock();
        watchers.closed = true;
        for (_, watcher) in watchers.index.take_all() {
            watcher.inbox.close();
        }
        // Nobody shall wait for what never comes.
        self.current.send_replace(i64::MAX);
    }

    fn advance(&self, revision: i64) {
        self.current.send_if_modified(|current| {
            let later = revision > *current;
            *current = revision.max(*current);
            later
        });
    }

    fn lock(&self) -> MutexGuard<'_, Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts one revision's changes into the queues of those who want them; who has no room leaves the index.
fn hand_out(watchers: &mut Watchers, changes: &Changes) {
    let mut full = Vec::new();
    let mut give = |number: u64, watcher: &Watcher, changes: Arc<[Change]>, revision: i64| {
        let item = Item {
            watcher: number,
            revision,
            changes,
        };
        if !watcher.inbox.push(item) {
            full.push((number, watcher.interest.clone()));
        }
    };
    let revision = changes.revision;
    if let [change] = &*changes.changes {
        watchers.index.visit(&change.kv.key, |number, watcher| {
            if revision >= watcher.from && watcher.interest.wants(change) {
                give(number, watcher, Arc::clone(&changes.changes), revision);
            }
        });
    } else {
        // Together, in their order: the changes of one revision are never split.
        let mut wanted: BTreeMap<u64, Vec<Change>> = BTreeMap::new();
        let mut inboxes: BTreeMap<u64, &Watcher> = BTreeMap::new();
        for change in changes.changes.iter() {
            collect(&watchers.index, change, revision, &mut wanted, &mut inboxes);
        }
        for (number, some) in wanted {
            let whole = some.len() == changes.changes.len();
            let some = if whole {
                Arc::clone(&changes.changes)
            } else {
                some.into()
            };
            give(number, inboxes[&number], some, revision);
        }
    }
    for (number, interest) in full {
        watchers.index.remove(number, &interest);
    }
}

/// Visits by reference into the index, so that watchers need no copy.
fn collect<'i>(
    index: &'i Index<Watcher>,
    change: &Change,
    revision: i64,
    wanted: &mut BTreeMap<u64, Vec<Change>>,
    inboxes: &mut BTreeMap<u64, &'i Watcher>,
) {
    index.visit(&change.kv.key, |number, watcher| {
        if revision >= watcher.from && watcher.interest.wants(change) {
            wanted.entry(number).or_default().push(change.clone());
            inboxes.insert(number, watcher);
        }
    });
}

/// Feeds the hub for the supervisor's life. When it ends, every watch ends.
pub async fn run(node: Node, hub: Hub, feed: Feed, pulse: Pulse, mut stop: Stop) {
    let Feed(mut events) = feed;
    loop {
        pulse.beat();
        tokio::select! {
            batch = events.recv() => match batch {
                Ok(batch) if batch.reset => start_over(&node, &hub),
                Ok(batch) => hub.publish(&batch),
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "events came faster than watchers could be told: they read the history");
                    start_over(&node, &hub);
                }
                Err(RecvError::Closed) => break,
            },
            () = tokio::time::sleep(BEAT) => {}
            () = stop.stopped() => break,
        }
    }
    hub.close();
}

/// Events before the state's present revision may have been missed; those that still wait are handed out twice unless
/// watchers, who read up to that revision, begin after it. They do: they join past what they have read.
fn start_over(node: &Node, hub: &Hub) {
    match node.read(|tx| kv::revision(tx)) {
        Ok(revision) => hub.reset(revision),
        Err(error) => {
            tracing::error!(%error, "the revision is not known: watches end");
            hub.close();
        }
    }
}
