//! What a watch stream tells: what the hub brought, the history to those who are behind, and how far it is.

use corten_etcd_api::etcdserverpb::WatchResponse;
use corten_etcd_api::mvccpb::Event;
use corten_raft::ReadTx;
use corten_store::StoreFault;
use corten_store::kv::{self, Change};
use corten_watch::v3::watchers::{News, Past, Told};

use super::messages::portions;
use super::stream::{End, Manner, NO_WATCH, Stream};
use crate::etcd::v3::{convert, error};

impl Stream {
    /// Sends what the hub brought.
    pub async fn deliver(&mut self) -> Result<(), End> {
        let news = self.watchers.take();
        self.pass_on(news).await
    }

    async fn pass_on(&mut self, news: News) -> Result<(), End> {
        for told in &news.told {
            self.tell(told).await?;
        }
        if news.closed {
            return Err(End::Told(error::STOPPED.into()));
        }
        Ok(())
    }

    /// Tells one watcher of some revisions.
    async fn tell(&mut self, told: &Told) -> Result<(), End> {
        let Some(manner) = self.watchers.manner(told.id) else {
            return Ok(());
        };
        let changes = told.changes();
        let events: Vec<Event> = if manner.prev_kv {
            self.v3
                .read(|tx| changes.map(|change| with_previous(tx, change)).collect())?
        } else {
            changes.map(|change| convert::event(change, None)).collect()
        };
        self.send_events(told.id, told.revision, events).await
    }

    async fn send_events(&mut self, id: i64, revision: i64, events: Vec<Event>) -> Result<(), End> {
        let Some(manner) = self.watchers.manner(id) else {
            return Ok(());
        };
        manner.is_quiet = false;
        let fragment = manner.fragment;
        let whole = WatchResponse {
            header: self.v3.header(revision),
            watch_id: id,
            events,
            ..WatchResponse::default()
        };
        for part in portions(whole, fragment) {
            self.out.send(Ok(part)).await.map_err(|_| End::Gone)?;
        }
        Ok(())
    }

    /// Reads one page of the history for the watcher that has waited longest.
    pub async fn catch_up(&mut self) -> Result<(), End> {
        let event = |tx: &ReadTx<'_>, manner: &Manner, change: &Change| {
            if manner.prev_kv {
                with_previous(tx, change)
            } else {
                Ok(convert::event(change, None))
            }
        };
        let past = self.watchers.catch_up(&self.v3.node, event);
        match past.map_err(|fault| error::reading(&fault))? {
            Past::Nobody => Ok(()),
            Past::Told { events, .. } if events.is_empty() => Ok(()),
            Past::Told { id, revision, events } => self.send_events(id, revision, events).await,
            Past::Compacted { id, compact_revision } => self.cancelled_compacted(id, compact_revision).await,
        }
    }

    async fn cancelled_compacted(&mut self, id: i64, compact_revision: i64) -> Result<(), End> {
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
        for (id, manner) in self.watchers.manners() {
            let is_quiet = std::mem::replace(&mut manner.is_quiet, true);
            if manner.progress_notify && is_quiet {
                quiet.push(id);
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
        let (news, revision) = self.watchers.settle();
        self.pass_on(news).await?;
        Ok(revision)
    }

    pub async fn send(&mut self, revision: i64, mut answer: WatchResponse) -> Result<(), End> {
        answer.header = self.v3.header(revision);
        self.out.send(Ok(answer)).await.map_err(|_| End::Gone)
    }
}

/// An event with what was there before it.
fn with_previous(tx: &ReadTx<'_>, change: &Change) -> Result<Event, StoreFault> {
    Ok(convert::event(change, kv::previous(tx, change)?))
}
