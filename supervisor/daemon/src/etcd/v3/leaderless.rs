//! Calls whose clients want them refused, or ended, by a member without a leader: etcd's metadata `hasleader: true`.

use std::time::Duration;

use tokio::sync::watch;
use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tonic::{Request, Status};

use super::error;

/// How long a stream that wants a leader goes on without one: three elections, as with etcd.
const LEADERLESS: Duration = Duration::from_secs(3);

/// Whether the client asks to be refused by a member that knows no leader, or leads without a majority.
pub fn wants_leader(metadata: &MetadataMap) -> bool {
    metadata
        .get("hasleader")
        .is_some_and(|value| value.as_bytes() == b"true")
}

/// Refuses requests that want a leader while there is none.
#[derive(Clone)]
pub struct LeaderCheck(pub watch::Receiver<bool>);

impl Interceptor for LeaderCheck {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        if wants_leader(request.metadata()) && !*self.0.borrow() {
            return Err(error::NO_LEADER.into());
        }
        Ok(request)
    }
}

/// Returns with what a stream is to be told once it has been without a leader for too long; never if that does not matter.
pub async fn lost(mut has_leader: watch::Receiver<bool>, matters: bool) -> Status {
    if !matters {
        return std::future::pending().await;
    }
    loop {
        let none = has_leader.wait_for(|has_leader| !has_leader).await.is_ok();
        let some = has_leader.wait_for(|has_leader| *has_leader);
        if !none || tokio::time::timeout(LEADERLESS, some).await.is_err() {
            return error::NO_LEADER.into();
        }
    }
}
