//! Watch: telling clients of changes, many watchers on one stream. Who of them gets what and when is `corten-watch`'s, what
//! one [`stream`] asks and says is here.

mod messages;
mod stream;
mod telling;

use std::pin::Pin;

use corten_etcd_api::etcdserverpb::watch_server::Watch;
use corten_etcd_api::etcdserverpb::{WatchRequest, WatchResponse};
use futures_util::Stream;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use super::V3;
use super::leaderless::wants_leader;

/// Messages that may wait for a slow client, before its watchers' queues fill.
const AHEAD: usize = 4;

#[tonic::async_trait]
impl Watch for V3 {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let v3 = self.on_behalf_of(request.metadata());
        let wants_leader = wants_leader(request.metadata());
        let (out, mut ahead) = mpsc::channel(AHEAD);
        let serving = stream::serve(v3, request.into_inner(), out, wants_leader);
        tokio::spawn(serving);
        Ok(Response::new(Box::pin(futures_util::stream::poll_fn(
            move |cx| ahead.poll_recv(cx),
        ))))
    }
}
