//! The watchers of this node: one task takes what is applied and hands each event to those who wait for it.
//!
//! A watcher is found by its key, never by asking all of them: an event costs its depth in the tree plus the watchers
//! it wakes. Each has a bounded queue; one that cannot keep up is dropped (its connection ends, as with etcd) and never
//! delays the others or the log.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use corten_raft::{AppliedBatch, Node};
use corten_store::Event as Applied;
use corten_store::keys::{Event, Notice, Watch, path};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;

use crate::TURN;

/// Events a slow stream may fall behind before it is dropped; etcd's number.
pub const QUEUE: usize = 100;

/// All watchers. Clones are handles to the same.
#[derive(Debug, Clone)]
pub struct Hub {
    watchers: Arc<Mutex<Watchers>>,
    next_id: Arc<AtomicU64>,
    /// Events that may wait for each.
    queue: usize,
}

/// What the hub is fed from: every event after the moment at which the hub begins.
#[derive(Debug)]
pub struct Feed(broadcast::Receiver<Arc<AppliedBatch>>);

/// By key, then by number.
type Watchers = BTreeMap<String, BTreeMap<u64, Watcher>>;

#[derive(Debug)]
struct Watcher {
    watch: Watch,
    events: mpsc::Sender<Delivery>,
}

/// An event on its way to a client.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The event.
    pub event: Arc<Event>,
    /// Its JSON, shared by all who get it.
    pub json: Bytes,
}

/// One client's place in the hub; leaving it unregisters the client.
#[derive(Debug)]
pub struct Subscription {
    hub: Hub,
    key: String,
    id: u64,
    events: mpsc::Receiver<Delivery>,
}

impl Hub {
    /// A hub of `node`, to be run with its feed, which lets `queue` events wait for each watcher.
    pub fn begin(node: &Node, queue: usize) -> (Hub, Feed) {
        (Hub::new(queue), Feed(node.events()))
    }

    fn new(queue: usize) -> Hub {
        Hub {
            watchers: Arc::default(),
            next_id: Arc::default(),
            queue,
        }
    }

    /// Registers a watch: every matching event handed out from now on reaches the subscription.
    pub fn subscribe(&self, watch: Watch) -> Subscription {
        let (sender, events) = mpsc::channel(self.queue);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let key = watch.key.clone();
        let mut watchers = self.lock();
        watchers.entry(key.clone()).or_default().insert(
            id,
            Watcher {
                watch,
                events: sender,
            },
        );
        Subscription {
            hub: self.clone(),
            key,
            id,
            events,
        }
    }

    /// How many clients watch.
    pub fn len(&self) -> usize {
        self.lock().values().map(BTreeMap::len).sum()
    }

    /// Whether none watches.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Hands an event to everyone who waits for it.
    fn publish(&self, notice: &Notice) {
        let mut watchers = self.lock();
        if watchers.is_empty() {
            return;
        }
        let mut delivery = None;
        for key in interested(&watchers, notice) {
            let Some(at_key) = watchers.get_mut(&key) else {
                continue;
            };
            at_key.retain(|_, watcher| {
                if !watcher.watch.matches(notice) {
                    return true;
                }
                let delivery = delivery.get_or_insert_with(|| Delivery {
                    event: Arc::clone(&notice.event),
                    json: Bytes::from(notice.event.to_json()),
                });
                watcher.events.try_send(delivery.clone()).is_ok()
            });
            if at_key.is_empty() {
                watchers.remove(&key);
            }
        }
    }

    /// Ends every watch: events may have been missed, and no client shall believe it saw them all.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The watched keys an event may concern: its own, those above it, and those that went with it.
fn interested(watchers: &Watchers, notice: &Notice) -> Vec<String> {
    let key = notice.event.node.key.as_str();
    let mut keys = Vec::new();
    let ends = key
        .char_indices()
        .filter(|(at, c)| *c == '/' && *at > 0)
        .map(|(at, _)| at);
    let above = ends
        .chain([key.len()])
        .map(|end| &key[..end])
        .filter(|key| key.len() > 1);
    keys.extend(
        ["/"]
            .into_iter()
            .chain(above)
            .filter(|key| watchers.contains_key(*key))
            .map(str::to_owned),
    );
    if !notice.removed.is_empty() {
        let below = watchers.range(key.to_owned()..).map(|(watched, _)| watched);
        let below = below.take_while(|watched| watched.starts_with(key));
        keys.extend(below.filter(|watched| path::is_below(key, watched)).cloned());
    }
    keys
}

/// Feeds the hub for the node's life, and ends every watch then; who drops this does so himself. `turn` is called at each
/// turn of the loop, at least every two seconds.
pub async fn run(hub: Hub, feed: Feed, turn: impl Fn() + Send + Sync) {
    let Feed(mut events) = feed;
    loop {
        turn();
        tokio::select! {
            batch = events.recv() => match batch {
                Ok(batch) if batch.reset => {
                    tracing::warn!("the state came from another member as a whole: watches end");
                    hub.clear();
                }
                Ok(batch) => publish(&hub, &batch),
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "events came faster than watchers could be told: their watches end");
                    hub.clear();
                }
                Err(RecvError::Closed) => break,
            },
            () = tokio::time::sleep(TURN) => {}
        }
    }
    hub.clear();
}

fn publish(hub: &Hub, batch: &AppliedBatch) {
    for event in &batch.events {
        if let Applied::Key(notice) = event {
            hub.publish(notice);
        }
    }
}

impl Subscription {
    /// The next event; `None` once the hub has ended the watch.
    pub async fn next(&mut self) -> Option<Delivery> {
        self.events.recv().await
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut watchers = self.hub.lock();
        if let Some(at_key) = watchers.get_mut(&self.key) {
            at_key.remove(&self.id);
            if at_key.is_empty() {
                watchers.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use corten_store::keys::{Action, Node};

    use super::*;

    fn notice(key: &str, index: u64, removed: &[&str]) -> Notice {
        let node = Node {
            key: key.into(),
            modified_index: index,
            created_index: index,
            ..Node::default()
        };
        let event = Event {
            action: Action::Set,
            node,
            prev_node: None,
            etcd_index: index,
        };
        Notice {
            event: Arc::new(event),
            removed: removed.iter().map(|key| (*key).to_owned()).collect(),
        }
    }

    fn watch(key: &str, recursive: bool) -> Watch {
        Watch {
            key: key.into(),
            recursive,
            stream: true,
            since: 0,
        }
    }

    #[test]
    fn events_reach_those_who_wait_for_them() {
        let hub = Hub::new(QUEUE);
        let mut root = hub.subscribe(watch("/", true));
        let mut a = hub.subscribe(watch("/a", true));
        let mut a_only = hub.subscribe(watch("/a", false));
        let mut ab = hub.subscribe(watch("/a/b", false));
        let mut got = |index: u64, key: &str, removed: &[&str]| {
            hub.publish(&notice(key, index, removed));
            [&mut root, &mut a, &mut a_only, &mut ab]
                .map(|s| s.events.try_recv().ok().map(|d| d.event.index()))
        };
        assert_eq!(got(1, "/a", &[]), [Some(1), Some(1), Some(1), None]);
        assert_eq!(got(2, "/a/b", &[]), [Some(2), Some(2), None, Some(2)]);
        assert_eq!(got(3, "/ab", &[]), [Some(3), None, None, None]);
        assert_eq!(got(4, "/a/_h", &[]), [None, None, None, None], "hidden");
        assert_eq!(
            got(5, "/a", &["/a/b"]),
            [Some(5), Some(5), Some(5), Some(5)],
            "it went with its directory"
        );
    }

    #[test]
    fn who_leaves_or_lags_is_forgotten() {
        let hub = Hub::new(QUEUE);
        let mut slow = hub.subscribe(watch("/a", false));
        drop(hub.subscribe(watch("/b", false)));
        assert_eq!(hub.len(), 1);
        for index in 0..=QUEUE as u64 {
            hub.publish(&notice("/a", index + 1, &[]));
        }
        assert!(hub.is_empty(), "the queue is full: dropped");
        let mut seen = 0;
        while slow.events.try_recv().is_ok() {
            seen += 1;
        }
        assert_eq!(seen, QUEUE);
    }
}
