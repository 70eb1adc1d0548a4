//! Lock: a queue of keys whose first holds the lock.

use bytes::Bytes;
use corten_etcd_api::v3lockpb::lock_server::Lock;
use corten_etcd_api::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};
use corten_store::kv::{self, Range};
use tonic::{Request, Response, Status};

use super::concurrency::{Place, without_code};
use super::{V3, error};

#[tonic::async_trait]
impl Lock for V3 {
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        let v3 = self.on_behalf_of(request.metadata());
        let locked = v3.acquire(request.into_inner()).await;
        locked.map(Response::new).map_err(|status| without_code(&status))
    }

    async fn unlock(&self, request: Request<UnlockRequest>) -> Result<Response<UnlockResponse>, Status> {
        let v3 = self.on_behalf_of(request.metadata());
        let unlocked = v3.release(request.into_inner()).await;
        unlocked
            .map(Response::new)
            .map_err(|status| without_code(&status))
    }
}

impl V3 {
    async fn acquire(&self, request: LockRequest) -> Result<LockResponse, Status> {
        let LockRequest { name, lease } = request;
        let place = self.queue_up(&name, lease, Bytes::new()).await?;
        self.lock_at(place).await
    }

    /// Waits until a place's turn has come, and makes sure of it.
    pub(super) async fn lock_at(&self, place: Place) -> Result<LockResponse, Status> {
        let header = self.wait_turn(&place).await?;
        // The lease may have run out while it waited.
        let own = Range {
            key: place.key.clone(),
            ..Range::default()
        };
        if self.look_up(|tx| kv::range(tx, &own))?.count == 0 {
            return Err(Status::unknown("mutex: session is expired"));
        }
        Ok(LockResponse {
            header,
            key: place.key,
        })
    }

    async fn release(&self, request: UnlockRequest) -> Result<UnlockResponse, Status> {
        let key = request.key;
        if key.is_empty() {
            return Err(error::refused(kv::Error::EmptyKey));
        }
        let header = self.delete(key).await?;
        Ok(UnlockResponse { header })
    }
}
