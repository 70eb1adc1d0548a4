//! What a watch stream tells: what the hub brought, the history to those who are behind, and how far it is.

use corten_etcd_api::etcdserverpb::WatchResponse;
use corten_etcd_api::mvccpb::Event;
use corten_raft::ReadTx;
use corten_store::StoreFault;
use corten_store::kv::{self, Change};

use super::inbox::{Item, Waiting, weight};
use super::messages::portions;
use super::stream::{End, NO_WATCH, Stream};
use crate::etcd::v3::{convert, error};

/// Events read from the history in one turn, or those of one revision.
const PAGE: usize = 256;
/// Adjacent revisions for one watcher share a message up to this size, in bytes.
const TOGETHER: usize = 256 << 10;

impl Stream {
    /// Sends what the hub brought.
    pub async fn deliver(&mut self) -> Result<(), End> {
        let waiting = self.inbox.take();
        self.pass_on(waiting).await
    }

    async fn pass_on(&mut self, waiting: Waiting) -> Result<(), End> {
        let mut items = waiting.items.into_iter().peekable();
        while let Some(first) = items.next() {
            let mut size = first.changes.iter().map(weight).sum::<usize>();
            let mut group = vec![first];
            while let Some(item) = items.next_if(|item| item.watcher == group[0].watcher && size < TOGETHER) {
                size += item.changes.iter().map(weight).sum::<usize>();
                group.push(item);
            }
            self.tell(&group).await?;
        }
        for (number, revision) in waiting.behind {
            if let Some(id) = self.ids.get(&number)
                && let Some(watch) = self.watches.get_mut(id)
            {
                (watch.is_behind, watch.next) = (true, revision);
                self.behind.push_back(*id);
            }
        }
        if waiting.closed {
            return Err(End::Told(error::STOPPED.into()));
        }
        Ok(())
    }

    /// Tells one watcher of some revisions.
    async fn tell(&mut self, items: &[Item]) -> Result<(), End> {
        let Some(last) = items.last() else { return Ok(()) };
        let Some(id) = self.ids.get(&last.watcher).copied() else {
            return Ok(()); // cancelled meanwhile
        };
        let Some(watch) = self.watches.get(&id) else {
            return Ok(());
        };
        let changes = || items.iter().flat_map(|item| item.changes.iter());
        let events = if watch.prev_kv {
            self.v3.read(|tx| with_previous(tx, changes()))?
        } else {
            changes().map(|change| convert::event(change, None)).collect()
        };
        self.send_events(id, last.revision, events).await
    }

    async fn send_events(&mut self, id: i64, revision: i64, events: Vec<Event>) -> Result<(), End> {
        let Some(watch) = self.watches.get_mut(&id) else {
            return Ok(());
        };
        watch.is_quiet = false;
        let whole = WatchResponse {
            header: self.v3.header(revision),
            watch_id: id,
            events,
            ..WatchResponse::default()
        };
        for part in portions(whole, watch.fragment) {
            self.out.send(Ok(part)).await.map_err(|_| End::Gone)?;
        }
        Ok(())
    }

    /// Reads one page of the history for the watcher that has waited longest.
    pub async fn catch_up(&mut self) -> Result<(), End> {
        let Some(id) = self.behind.pop_front() else {
            return Ok(());
        };
        let Some(watch) = self.watches.get(&id) else {
            return Ok(());
        };
        let (next, prev_kv, interest) = (watch.next, watch.prev_kv, &watch.interest);
        let page = self.v3.read(|tx| {
            let page = match kv::events_from(tx, next, PAGE)? {
                Ok(page) => page,
                Err(_) => return Ok(Err(kv::compact_revision(tx)?)),
            };
            let revision = kv::revision(tx)?;
            let changes = page.revisions.iter().flat_map(|revision| revision.changes.iter());
            let wanted = changes.filter(|change| interest.wants(change));
            let events = if prev_kv {
                with_previous(tx, wanted)?
            } else {
                wanted.map(|change| convert::event(change, None)).collect()
            };
            Ok(Ok((page.next, revision, events)))
        })?;
        let (next, revision, events) = match page {
            Ok(page) => page,
            Err(compact_revision) => return self.cancel_compacted(id, compact_revision).await,
        };
        if !events.is_empty() {
            self.send_events(id, revision, events).await?;
        }
        let Some(watch) = self.watches.get_mut(&id) else {
            return Ok(());
        };
        watch.next = next;
        watch.is_behind = !self.v3.hub.join(watch.number, &watch.interest, next, &self.inbox);
        if watch.is_behind {
            self.behind.push_back(id);
        }
        Ok(())
    }

    async fn cancel_compacted(&mut self, id: i64, compact_revision: i64) -> Result<(), End> {
        self.forget(id);
        let answer = WatchResponse {
            watch_id: id,
            canceled: true,
            compact_revision,
            ..WatchResponse::default()
        };
        self.send(0, answer).await
    }

    /// Tells the client how far the stream as a whole is.
    pub async fn tell_progress(&mut self) -> Result<(), End> {
        let Some(revision) = self.settled().await? else {
            return Ok(());
        };
        self.progress = false;
        let answer = WatchResponse {
            watch_id: NO_WATCH,
            ..WatchResponse::default()
        };
        self.send(revision, answer).await
    }

    /// Tells watchers that asked for it how far they are, if nothing else did.
    pub async fn tell_the_quiet(&mut self) -> Result<(), End> {
        let Some(revision) = self.settled().await? else {
            return Ok(());
        };
        let mut quiet = Vec::new();
        for (id, watch) in &mut self.watches {
            let is_quiet = std::mem::replace(&mut watch.is_quiet, true);
            if watch.progress_notify && is_quiet {
                quiet.push(*id);
            }
        }
        for watch_id in quiet {
            let answer = WatchResponse {
                watch_id,
                ..WatchResponse::default()
            };
            self.send(revision, answer).await?;
        }
        Ok(())
    }

    /// The revision up to which everything has been sent to everyone; `None` if someone is behind.
    async fn settled(&mut self) -> Result<Option<i64>, End> {
        let (waiting, revision) = self.v3.hub.take(&self.inbox);
        self.pass_on(waiting).await?;
        Ok(self.behind.is_empty().then_some(revision))
    }

    pub async fn send(&mut self, revision: i64, mut answer: WatchResponse) -> Result<(), End> {
        answer.header = self.v3.header(revision);
        self.out.send(Ok(answer)).await.map_err(|_| End::Gone)
    }
}

/// Events with what was there before each.
fn with_previous<'c>(
    tx: &ReadTx<'_>,
    changes: impl Iterator<Item = &'c Change>,
) -> Result<Vec<Event>, StoreFault> {
    changes
        .map(|change| Ok(convert::event(change, kv::previous(tx, change)?)))
        .collect()
}
