//! Lease: keys that vanish unless their owner says that it lives. When leases run out is [`corten_raft::lessor`]'s.

use std::pin::Pin;

use corten_etcd_api::etcdserverpb::lease_server::Lease;
use corten_etcd_api::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
};
use corten_store::auth;
use corten_store::kv::{self, Answer, Command};
use futures_util::{Stream, stream};
use tonic::{Request, Response, Status, Streaming};

use super::leaderless::{lost, wants_leader};
use super::{V3, error, unexpected};

#[tonic::async_trait]
impl Lease for V3 {
    type LeaseKeepAliveStream = Pin<Box<dyn Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send>>;

    async fn lease_grant(
        &self,
        request: Request<LeaseGrantRequest>,
    ) -> Result<Response<LeaseGrantResponse>, Status> {
        let v3 = self.on_behalf_of(request.metadata());
        let request = request.into_inner();
        let (header, id, ttl) = v3.grant(request.id, request.ttl).await?;
        Ok(Response::new(LeaseGrantResponse {
            header,
            id,
            ttl,
            error: String::new(),
        }))
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        let v3 = self.on_behalf_of(request.metadata());
        let id = request.into_inner().id;
        let Answer::LeaseRevoke { revision } = v3.propose(Command::LeaseRevoke { id }).await? else {
            return Err(unexpected());
        };
        let header = self.header(revision);
        Ok(Response::new(LeaseRevokeResponse { header }))
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let leaderless = Box::pin(lost(self.node.has_leader(), wants_leader(request.metadata())));
        let begin = Some((self.clone(), request.into_inner(), leaderless));
        let answers = stream::unfold(begin, |going| async {
            let (v3, mut requests, mut leaderless) = going?;
            let asked = tokio::select! {
                asked = requests.message() => asked,
                status = &mut leaderless => return Some((Err(status), None)),
            };
            match asked {
                Ok(Some(request)) => match v3.keep_alive(request.id).await {
                    Ok(answer) => Some((Ok(answer), Some((v3, requests, leaderless)))),
                    Err(status) => Some((Err(status), None)),
                },
                Ok(None) | Err(_) => None,
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        let v3 = self.on_behalf_of(request.metadata());
        let LeaseTimeToLiveRequest { id, keys } = request.into_inner();
        let left = self.lessor.left(id).await;
        let left = left.map_err(|error| error::proposing(&error))?;
        let (granted, keys) = if keys {
            v3.look_up_by(|tx, caller| {
                if let Err(error) = auth::lease_keys(tx, caller, id)? {
                    return Ok(Err(error));
                }
                Ok(Ok((kv::lease(tx, id)?, kv::lease_keys(tx, id)?)))
            })?
        } else {
            (self.read(|tx| kv::lease(tx, id))?, Vec::new())
        };
        let (ttl, granted_ttl, keys) = match (left, granted) {
            (Some(left), Some(granted)) => (left, granted, keys),
            _ => (-1, 0, Vec::new()),
        };
        Ok(Response::new(LeaseTimeToLiveResponse {
            header: self.header_now()?,
            id,
            ttl,
            granted_ttl,
            keys,
        }))
    }

    async fn lease_leases(
        &self,
        _: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        let leases = self.read(|tx| kv::leases(tx))?;
        Ok(Response::new(LeaseLeasesResponse {
            header: self.header_now()?,
            leases: leases.into_iter().map(|(id, _)| LeaseStatus { id }).collect(),
        }))
    }
}

impl V3 {
    /// Grants a lease; without an id, one is drawn. Returns the answer's head, the id and the TTL.
    pub async fn grant(
        &self,
        id: i64,
        ttl_s: i64,
    ) -> Result<(Option<corten_etcd_api::etcdserverpb::ResponseHeader>, i64, i64), Status> {
        let mut drawn = id;
        while drawn == 0 {
            drawn = rand::random::<i64>() & i64::MAX;
        }
        let grant = Command::LeaseGrant {
            id: drawn,
            ttl_s: self.lessor.granted(ttl_s),
        };
        let Answer::LeaseGrant { revision, id, ttl_s } = self.propose(grant).await? else {
            return Err(unexpected());
        };
        Ok((self.header(revision), id, ttl_s))
    }

    async fn keep_alive(&self, id: i64) -> Result<LeaseKeepAliveResponse, Status> {
        // Taken before, so that the revision is never later than the renewal.
        let header = self.header_now()?;
        let renewed = self.lessor.renew(id).await;
        let ttl = renewed.map_err(|error| error::proposing(&error))?.unwrap_or(0);
        Ok(LeaseKeepAliveResponse { header, id, ttl })
    }
}
