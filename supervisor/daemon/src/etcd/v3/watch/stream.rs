//! One watch stream, from its first request to its end: what the client asks, and in which order it is answered.
//!
//! A turn sends what the hub brought before it reads any history; a client that does not read holds up its own stream
//! only, as what waits for it is bounded. A watcher that is behind a compaction is cancelled.

use std::time::Duration;

use corten_etcd_api::etcdserverpb::watch_request::RequestUnion;
use corten_etcd_api::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use corten_raft::ReadTx;
use corten_store::auth::{self, Caller};
use corten_store::kv;
use corten_watch::v3::Watchers;
use corten_watch::v3::inbox::Bounds;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::messages::interest;
use crate::etcd::v3::{V3, error, leaderless};

/// How often quiet watchers that asked for it are told how far they are; etcd's interval.
const PROGRESS: Duration = Duration::from_secs(600);
/// The id of answers that concern the whole stream.
pub const NO_WATCH: i64 = -1;

/// Why a stream ends.
pub enum End {
    /// The client has gone.
    Gone,
    /// It is told why.
    Told(Status),
}

impl From<Status> for End {
    fn from(status: Status) -> End {
        End::Told(status)
    }
}

/// A stream of one client.
pub struct Stream {
    pub v3: V3,
    pub watchers: Watchers<Manner>,
    /// The client asked how far the stream is.
    pub progress: bool,
    pub out: mpsc::Sender<Result<WatchResponse, Status>>,
}

/// How one watcher on it is told.
pub struct Manner {
    pub prev_kv: bool,
    pub fragment: bool,
    pub progress_notify: bool,
    /// Nothing was sent since the last look.
    pub is_quiet: bool,
}

/// Serves a stream to its end.
pub async fn serve(
    v3: V3,
    mut requests: Streaming<WatchRequest>,
    out: mpsc::Sender<Result<WatchResponse, Status>>,
    wants_leader: bool,
) {
    let has_leader = v3.node.has_leader();
    let mut stream = Stream {
        watchers: Watchers::new(v3.hub.clone(), Bounds::default()),
        v3,
        progress: false,
        out,
    };
    let ended = tokio::select! {
        ended = stream.run(&mut requests) => ended,
        status = leaderless::lost(has_leader, wants_leader) => Err(End::Told(status)),
    };
    if let Err(End::Told(status)) = ended {
        // The client may have gone, or not be reading.
        let _ = stream.out.try_send(Err(status));
    }
}

impl Stream {
    async fn run(&mut self, requests: &mut Streaming<WatchRequest>) -> Result<(), End> {
        let mut asking = true;
        let out = self.out.clone();
        let mut look = tokio::time::interval(PROGRESS);
        look.reset();
        let inbox = self.watchers.inbox();
        loop {
            let has_more = self.watchers.is_behind();
            tokio::select! {
                request = requests.message(), if asking => match request {
                    Ok(Some(request)) => self.take(request).await?,
                    // The client asks for nothing more, and still listens.
                    Ok(None) => asking = false,
                    // Too long, or no request at all. One that has gone hears nothing of it.
                    Err(status) => return Err(End::Told(error::status_in_etcds_words(status))),
                },
                () = inbox.woken() => {}
                () = std::future::ready(()), if has_more => {}
                _ = look.tick() => self.tell_the_quiet().await?,
                () = out.closed() => return Err(End::Gone),
            }
            self.deliver().await?;
            self.catch_up().await?;
            if self.progress && !self.watchers.is_behind() {
                self.tell_progress().await?;
            }
        }
    }

    async fn take(&mut self, request: WatchRequest) -> Result<(), End> {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(create).await,
            Some(RequestUnion::CancelRequest(cancel)) => self.cancel(cancel.watch_id).await,
            Some(RequestUnion::ProgressRequest(_)) => {
                let revision = self.v3.read(|tx| kv::revision(tx))?;
                self.v3.hub.reached(revision).await;
                self.progress = true;
                Ok(())
            }
            None => Ok(()),
        }
    }

    async fn create(&mut self, create: WatchCreateRequest) -> Result<(), End> {
        let revision = self.v3.read(|tx| kv::revision(tx))?;
        let answer = |watch_id, refused: Option<&str>| WatchResponse {
            watch_id,
            created: true,
            canceled: refused.is_some(),
            cancel_reason: refused.unwrap_or_default().to_owned(),
            ..WatchResponse::default()
        };
        let interest = match interest(&create) {
            Ok(interest) => interest,
            Err(reason) => return self.send(revision, answer(NO_WATCH, Some(reason))).await,
        };
        let range = kv::Range {
            key: interest.key.clone(),
            range_end: create.range_end.clone(),
            ..kv::Range::default()
        };
        // What it says is said below, too.
        let _ = self.v3.caller().await;
        let may = |tx: &ReadTx<'_>, caller: &Caller| auth::range(tx, caller, &range);
        if let Err(refused) = self.v3.look_up_as(may, |_| Ok(Ok(()))) {
            let reason = format!(
                "rpc error: code = {:?} desc = {}",
                refused.code(),
                refused.message()
            );
            return self.send(revision, answer(NO_WATCH, Some(&reason))).await;
        }
        if create.watch_id != 0 && self.watchers.has(create.watch_id) {
            let reason = "mvcc: duplicate watch ID provided on the WatchStream";
            return self.send(revision, answer(NO_WATCH, Some(reason))).await;
        }
        let id = match create.watch_id {
            0 => self.watchers.free_id(),
            asked => asked,
        };
        let next = if create.start_revision == 0 {
            revision + 1
        } else {
            create.start_revision
        };
        self.send(revision, answer(id, None)).await?;
        let manner = Manner {
            prev_kv: create.prev_kv,
            fragment: create.fragment,
            progress_notify: create.progress_notify,
            is_quiet: true,
        };
        self.watchers.create(id, interest, next, manner);
        Ok(())
    }

    async fn cancel(&mut self, id: i64) -> Result<(), End> {
        if !self.watchers.forget(id) {
            return Ok(());
        }
        let revision = self.v3.read(|tx| kv::revision(tx))?;
        let answer = WatchResponse {
            watch_id: id,
            canceled: true,
            ..WatchResponse::default()
        };
        self.send(revision, answer).await
    }
}
