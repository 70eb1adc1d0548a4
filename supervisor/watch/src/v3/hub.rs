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
use crate::TURN;

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
        Ok((Hub::at(current), feed))
    }

    fn at(current: i64) -> Hub {
        Hub {
            watchers: Arc::default(),
            next_number: Arc::default(),
            current: Arc::new(watch::Sender::new(current)),
        }
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

    /// Ends every watch, and those that begin from now on.
    pub fn close(&self) {
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

/// Feeds the hub for the node's life, and closes it then; who drops this closes it himself. `turn` is called at each turn
/// of the loop, at least every two seconds.
pub async fn run(node: Node, hub: Hub, feed: Feed, turn: impl Fn() + Send + Sync) {
    let Feed(mut events) = feed;
    loop {
        turn();
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
            () = tokio::time::sleep(TURN) => {}
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use corten_store::kv::{Action, KeyValue};

    use super::super::inbox::Bounds;
    use super::super::interest::Until;
    use super::*;

    fn of(key: &'static str) -> Interest {
        Interest {
            key: Bytes::from_static(key.as_bytes()),
            until: Until::Itself,
            no_put: false,
            no_delete: false,
        }
    }

    /// Revisions that each change these keys.
    fn batch(revisions: std::ops::Range<i64>, keys: &[&'static str]) -> AppliedBatch {
        let change = |mod_revision: i64, key: &'static str| Change {
            action: Action::Put,
            kv: KeyValue {
                key: Bytes::from_static(key.as_bytes()),
                mod_revision,
                ..KeyValue::default()
            },
            prev: None,
        };
        let event = |revision: i64| {
            let changes = keys.iter().map(|key| change(revision, key)).collect();
            Event::Kv(Changes { revision, changes })
        };
        AppliedBatch {
            events: revisions.map(event).collect(),
            etcd_index: 0,
            raft_index: 0,
            reset: false,
        }
    }

    fn inbox(revisions: usize) -> Arc<Inbox> {
        let bounds = Bounds {
            revisions,
            ..Bounds::default()
        };
        Arc::new(Inbox::new(bounds))
    }

    /// Revisions, with how many changes each.
    type Told = Vec<(i64, usize)>;

    /// What was told, and who is behind.
    fn taken(inbox: &Inbox) -> (Told, Vec<(u64, i64)>) {
        let waiting = inbox.take();
        let items = waiting.items.iter();
        let items = items.map(|item| (item.revision, item.changes.len())).collect();
        (items, waiting.behind)
    }

    #[test]
    fn who_joins_misses_nothing_and_gets_nothing_twice() {
        let (hub, inbox, a) = (Hub::at(5), inbox(100), of("a"));
        assert!(!hub.join(0, &a, 5, &inbox), "5 has been handed out");
        assert!(hub.join(0, &a, 6, &inbox));
        assert!(hub.join(1, &a, 8, &inbox), "from the future");
        hub.publish(&batch(6..9, &["a", "b"]));
        assert_eq!(taken(&inbox), (vec![(6, 1), (7, 1), (8, 1), (8, 1)], vec![]));
        hub.publish(&batch(9..10, &["b"]));
        assert_eq!(taken(&inbox), (vec![], vec![]));
        assert!(
            !hub.join(2, &a, 9, &inbox),
            "what it did not want has passed, too"
        );
    }

    #[test]
    fn who_falls_behind_is_told_from_where_it_must_read() {
        let (hub, inbox, a) = (Hub::at(5), inbox(2), of("a"));
        assert!(hub.join(0, &a, 6, &inbox));
        hub.publish(&batch(6..10, &["a"]));
        assert_eq!(taken(&inbox), (vec![(6, 1), (7, 1)], vec![(0, 8)]));
        assert_eq!(hub.count(), 0, "it gets no more before it has joined again");
        assert!(!hub.join(0, &a, 9, &inbox));
        assert!(hub.join(0, &a, 10, &inbox) && hub.join(1, &a, 20, &inbox));
        hub.reset(12);
        assert_eq!(taken(&inbox), (vec![], vec![(0, 10), (1, 20)]));
        assert!(!hub.join(0, &a, 12, &inbox));
        assert!(hub.join(0, &a, 13, &inbox));
        hub.publish(&batch(11..14, &["a", "a"]));
        assert_eq!(
            taken(&inbox),
            (vec![(13, 2)], vec![]),
            "old events that still waited"
        );
    }

    #[test]
    fn when_it_closes_everyone_is_told() {
        let (hub, early, late) = (Hub::at(5), inbox(2), inbox(2));
        assert!(hub.join(0, &of("a"), 6, &early));
        hub.close();
        assert!(hub.join(1, &of("a"), 6, &late));
        assert!(early.take().closed && late.take().closed);
    }
}
