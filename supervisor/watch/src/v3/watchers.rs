//! The watchers of one stream: who of them gets what, and when.
//!
//! | a watcher | then |
//! |---|---|
//! | is created, from now on or later | it joins the hub |
//! | is created from a past revision, or its queue was full | it is behind: it reads one page of the history per turn, until it can join |
//! | is behind a compaction | it is forgotten, and told the oldest revision there is |
//! | is forgotten | nothing more comes for it |
//!
//! A turn is [`take`](Watchers::take) and then [`catch_up`](Watchers::catch_up), and what each gives must be told in this
//! order, before the next turn. The danger is in between: nothing may be told twice or never when a watcher goes from the
//! hub to the history and back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use corten_raft::{Node, ReadTx};
use corten_store::StoreFault;
use corten_store::kv::{self, Change};

use super::hub::Hub;
use super::inbox::{Bounds, Inbox, Waiting, weight};
use super::interest::Interest;

/// Adjacent revisions for one watcher are told together up to this size, in bytes.
const TOGETHER: usize = 256 << 10;

/// The watchers of one stream by their ids, each with what its face keeps of it.
#[derive(Debug)]
pub struct Watchers<M> {
    hub: Hub,
    inbox: Arc<Inbox>,
    /// Events read from the history in one turn.
    page: usize,
    watches: BTreeMap<i64, Watch<M>>,
    /// Ids by the hub's numbers.
    ids: BTreeMap<u64, i64>,
    /// Those that must read the history; who has waited longest comes first.
    behind: VecDeque<i64>,
    next_id: i64,
}

#[derive(Debug)]
struct Watch<M> {
    number: u64,
    interest: Interest,
    /// Where to read on while it is behind.
    next: i64,
    manner: M,
}

/// What the hub brought.
#[derive(Debug)]
pub struct News {
    /// For one watcher after the other, in the order of the revisions.
    pub told: Vec<Told>,
    /// The server stops: nothing more will come.
    pub closed: bool,
}

/// Some revisions for one watcher.
#[derive(Debug)]
pub struct Told {
    /// The watcher's id.
    pub id: i64,
    /// The last of the revisions.
    pub revision: i64,
    changes: Vec<Arc<[Change]>>,
}

/// What one turn at the history gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Past<E> {
    /// Nobody is behind.
    Nobody,
    /// Events for a watcher, as of a revision of the store. There may be none on the page.
    Told {
        /// The watcher's id.
        id: i64,
        /// The store's revision.
        revision: i64,
        /// What it wants of the page, in order.
        events: Vec<E>,
    },
    /// What a watcher must read is compacted: it is forgotten.
    Compacted {
        /// Its id.
        id: i64,
        /// The oldest revision there is.
        compact_revision: i64,
    },
}

impl Told {
    /// The changes, in order.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().flat_map(|changes| changes.iter())
    }
}

impl<M> Watchers<M> {
    /// None yet, to be fed by `hub`.
    pub fn new(hub: Hub, bounds: Bounds) -> Watchers<M> {
        Watchers {
            hub,
            inbox: Arc::new(Inbox::new(bounds)),
            page: bounds.page,
            watches: BTreeMap::new(),
            ids: BTreeMap::new(),
            behind: VecDeque::new(),
            next_id: 0,
        }
    }

    /// Where what the hub brings waits to be taken.
    pub fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    /// Whether an id is in use.
    pub fn has(&self, id: i64) -> bool {
        self.watches.contains_key(&id)
    }

    /// The next id that is free.
    pub fn free_id(&mut self) -> i64 {
        while self.has(self.next_id) {
            self.next_id += 1;
        }
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Adds a watcher that wants what comes from revision `from` on, under an id that is free.
    pub fn create(&mut self, id: i64, interest: Interest, from: i64, manner: M) {
        let number = self.hub.number();
        if !self.hub.join(number, &interest, from, &self.inbox) {
            self.behind.push_back(id);
        }
        let watch = Watch {
            number,
            interest,
            next: from,
            manner,
        };
        self.ids.insert(number, id);
        self.watches.insert(id, watch);
    }

    /// Takes a watcher out; false if there is none.
    pub fn forget(&mut self, id: i64) -> bool {
        let Some(watch) = self.watches.remove(&id) else {
            return false;
        };
        self.hub.leave(watch.number, &watch.interest);
        self.ids.remove(&watch.number);
        self.behind.retain(|behind| *behind != id);
        true
    }

    /// What the face keeps of a watcher.
    pub fn manner(&mut self, id: i64) -> Option<&mut M> {
        self.watches.get_mut(&id).map(|watch| &mut watch.manner)
    }

    /// What the face keeps of each.
    pub fn manners(&mut self) -> impl Iterator<Item = (i64, &mut M)> {
        let all = self.watches.iter_mut();
        all.map(|(id, watch)| (*id, &mut watch.manner))
    }

    /// Whether someone must read the history.
    pub fn is_behind(&self) -> bool {
        !self.behind.is_empty()
    }

    /// Takes what the hub brought.
    pub fn take(&mut self) -> News {
        let waiting = self.inbox.take();
        self.sort(waiting)
    }

    /// The same, and the revision up to which everyone has everything once that is told; `None` if someone is behind.
    pub fn settle(&mut self) -> (News, Option<i64>) {
        let (waiting, revision) = self.hub.take(&self.inbox);
        let news = self.sort(waiting);
        let is_settled = self.behind.is_empty() && !news.closed;
        (news, is_settled.then_some(revision))
    }

    fn sort(&mut self, waiting: Waiting) -> News {
        let size = |changes: &[Change]| changes.iter().map(weight).sum::<usize>();
        let mut told = Vec::new();
        let mut items = waiting.items.into_iter().peekable();
        while let Some(first) = items.next() {
            let (number, mut revision) = (first.watcher, first.revision);
            let mut together = size(&first.changes);
            let mut changes = vec![first.changes];
            while let Some(item) = items.next_if(|item| item.watcher == number && together < TOGETHER) {
                together += size(&item.changes);
                revision = item.revision;
                changes.push(item.changes);
            }
            // Who was forgotten meanwhile has no id any more.
            if let Some(id) = self.ids.get(&number).copied() {
                told.push(Told {
                    id,
                    revision,
                    changes,
                });
            }
        }
        for (number, revision) in waiting.behind {
            if let Some(id) = self.ids.get(&number)
                && let Some(watch) = self.watches.get_mut(id)
            {
                watch.next = revision;
                self.behind.push_back(*id);
            }
        }
        let closed = waiting.closed;
        News { told, closed }
    }

    /// Reads one page of the history for the watcher that has waited longest, making an event of each change it wants.
    /// Once it has read up to where the hub is, it joins.
    ///
    /// # Errors
    /// When the state cannot be read: then nothing has happened.
    pub fn catch_up<E>(
        &mut self,
        node: &Node,
        event: impl Fn(&ReadTx<'_>, &M, &Change) -> Result<E, StoreFault>,
    ) -> Result<Past<E>, StoreFault> {
        let Some(id) = self.behind.front().copied() else {
            return Ok(Past::Nobody);
        };
        let Some(watch) = self.watches.get_mut(&id) else {
            unreachable!("who is forgotten is not behind");
        };
        let page = node.read(|tx| {
            let Ok(page) = kv::events_from(tx, watch.next, self.page)? else {
                return Ok(Err(kv::compact_revision(tx)?));
            };
            let changes = page.revisions.iter().flat_map(|revision| revision.changes.iter());
            let wanted = changes.filter(|change| watch.interest.wants(change));
            let events = wanted.map(|change| event(tx, &watch.manner, change));
            let events = events.collect::<Result<Vec<E>, StoreFault>>()?;
            Ok(Ok((page.next, kv::revision(tx)?, events)))
        })?;
        self.behind.pop_front();
        let (next, revision, events) = match page {
            Ok(page) => page,
            Err(compact_revision) => {
                self.forget(id);
                return Ok(Past::Compacted { id, compact_revision });
            }
        };
        watch.next = next;
        if !self.hub.join(watch.number, &watch.interest, next, &self.inbox) {
            self.behind.push_back(id);
        }
        Ok(Past::Told { id, revision, events })
    }
}

impl<M> Drop for Watchers<M> {
    fn drop(&mut self) {
        for watch in self.watches.values() {
            self.hub.leave(watch.number, &watch.interest);
        }
    }
}
