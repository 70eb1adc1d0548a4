//! etcd's client API, version 3, over gRPC: one file per service, and what they share.
//!
//! What a request means is decided in `corten-store`; this face carries it there and back, and keeps watches and leases
//! going. Source: contract `etcd.md` section 3, and etcd 3.4 where it is silent.

mod auth;
mod cluster;
pub mod compactor;
mod concurrency;
mod convert;
mod deadlines;
mod election;
mod error;
pub mod gateway;
mod kv;
mod lease;
pub mod lessor;
mod lock;
mod maintenance;
mod quota;
pub mod sweep;
#[cfg(test)]
mod tests;
mod token;
pub mod watch;

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::response::IntoResponse;
use corten_etcd_api::etcdserverpb as pb;
use corten_etcd_api::v3electionpb::election_server::ElectionServer;
use corten_etcd_api::v3lockpb::lock_server::LockServer;
use corten_raft::{Node, ReadTx};
use corten_store::auth::{self as auth_store, Caller};
use corten_store::kv::{Answer, Command};
use corten_store::{Command as Proposal, Response as Outcome, StoreFault, alarm, kv as store};
use pb::auth_server::AuthServer;
use pb::cluster_server::ClusterServer;
use pb::kv_server::KvServer;
use pb::lease_server::LeaseServer;
use pb::maintenance_server::MaintenanceServer;
use pb::watch_server::WatchServer;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::service::Interceptor;
use tonic::{Status, metadata::MetadataMap};

use super::now_ms;
use lessor::Lessor;
use quota::Quota;
use watch::hub::Hub;

/// The largest request, in bytes: etcd's `--max-request-bytes` by default.
const REQUEST_LIMIT: usize = 1536 * 1024;
/// What a message may be larger than the request in it; etcd's figure.
const OVERHEAD: usize = 512 * 1024;
/// Operations in one transaction: etcd's `--max-txn-ops` by default.
const TXN_OPS: usize = 128;

/// The services, and on whose behalf they act.
#[derive(Clone)]
pub struct V3 {
    shared: Arc<Shared>,
    caller: Caller,
}

/// What the services need to answer.
pub struct Shared {
    node: Node,
    hub: Hub,
    lessor: Lessor,
    quota: Quota,
}

impl Deref for V3 {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl V3 {
    /// The services of `node`, whose data may take `quota` bytes; their watchers are fed through `hub`, their leases kept
    /// by `lessor`.
    pub fn new(node: Node, hub: Hub, lessor: Lessor, quota: u64) -> V3 {
        let quota = Quota::new(quota);
        V3 {
            shared: Arc::new(Shared {
                node,
                hub,
                lessor,
                quota,
            }),
            caller: Caller::Nobody,
        }
    }

    /// The services on behalf of who sent this metadata.
    ///
    /// # Errors
    /// When auth is on and the token is none of ours.
    fn known(&self, metadata: &MetadataMap) -> Result<V3, Status> {
        let Some(token) = metadata.get("token") else {
            return Ok(V3 {
                shared: Arc::clone(&self.shared),
                caller: Caller::Nobody,
            });
        };
        let caller = self.look_up(|tx| {
            let standing = auth_store::standing(tx)?;
            if !standing.enabled {
                return Ok(Ok(Caller::Nobody));
            }
            let name = token.to_str().ok().map_or(Ok(None), |token| {
                token::owner(token, standing.since, now_ms() / 1000, |name| {
                    auth_store::user(tx, name)
                })
            })?;
            let revision = standing.revision;
            Ok(name
                .map(|name| Caller::User { name, revision })
                .ok_or(store::Error::InvalidAuthToken))
        })?;
        Ok(V3 {
            shared: Arc::clone(&self.shared),
            caller,
        })
    }

    /// The caller, as of the auth revision that `tx` sees.
    fn caller_at(&self, tx: &ReadTx<'_>) -> Result<Caller, StoreFault> {
        let Caller::User { name, .. } = &self.caller else {
            return Ok(self.caller.clone());
        };
        Ok(Caller::User {
            name: name.clone(),
            revision: auth_store::standing(tx)?.revision,
        })
    }

    /// The head of an answer from the store at `revision`.
    fn header(&self, revision: i64) -> Option<pb::ResponseHeader> {
        Some(pb::ResponseHeader {
            cluster_id: self.node.cluster_id(),
            member_id: self.node.member_id(),
            revision,
            raft_term: self.node.term(),
        })
    }

    /// The head of an answer from the store as it is now.
    fn header_now(&self) -> Result<Option<pb::ResponseHeader>, Status> {
        Ok(self.header(self.read(|tx| store::revision(tx))?))
    }

    /// Reads the local state.
    fn read<T>(&self, f: impl FnOnce(&ReadTx<'_>) -> Result<T, StoreFault>) -> Result<T, Status> {
        self.node.read(f).map_err(|fault| error::reading(&fault))
    }

    /// Reads the local state, where the request itself may be wrong.
    fn look_up<T>(&self, f: impl FnOnce(&ReadTx<'_>) -> store::Lookup<T>) -> Result<T, Status> {
        self.read(f)?.map_err(error::refused)
    }

    /// Reads keys, if the caller may, and no alarm forbids it.
    fn look_up_as<T>(
        &self,
        may: impl FnOnce(&ReadTx<'_>, &Caller) -> store::Lookup<()>,
        f: impl FnOnce(&ReadTx<'_>) -> store::Lookup<T>,
    ) -> Result<T, Status> {
        self.look_up(|tx| {
            if let Err(error) = alarm::permits_reading(tx)? {
                return Ok(Err(error));
            }
            if let Err(error) = may(tx, &self.caller_at(tx)?)? {
                return Ok(Err(error));
            }
            f(tx)
        })
    }

    /// Lets only administrators through, while auth is on.
    fn admin(&self) -> Result<(), Status> {
        self.look_up(|tx| auth_store::admin(tx, &self.caller_at(tx)?))
    }

    /// Waits until the local state holds everything that was acknowledged before this call.
    async fn linearize(&self) -> Result<(), Status> {
        let read = self.node.linearize().await;
        read.map_err(|error| error::proposing(&error))
    }

    /// Writes on behalf of the caller. When users were changed meanwhile, once more with what is true now.
    async fn propose(&self, command: Command) -> Result<Answer, Status> {
        if alarm::needs_room(&command) {
            self.quota.check(&self.node).await?;
        }
        if self.caller == Caller::Nobody {
            return self.propose_one(Proposal::Kv(command)).await;
        }
        loop {
            let caller = self.read(|tx| self.caller_at(tx))?;
            let proposed = self.propose_one(Proposal::KvAs(caller, command.clone())).await;
            match proposed {
                Err(status) if status.message() == store::Error::AuthOldRevision.to_string() => {}
                answered => return answered,
            }
        }
    }

    async fn propose_one(&self, command: Proposal) -> Result<Answer, Status> {
        let applied = self.node.propose(command).await;
        match applied.map_err(|error| error::proposing(&error))?.response {
            Outcome::Kv(answer) => answer.map_err(error::refused),
            _ => Err(unexpected()),
        }
    }
}

/// An answer of another kind than was asked for; only we could cause it.
fn unexpected() -> Status {
    Status::internal("the state machine answered another question than it was asked")
}

/// Whether the client asks to be refused by a member that knows no leader.
fn wants_leader(metadata: &MetadataMap) -> bool {
    metadata
        .get("hasleader")
        .is_some_and(|value| value.as_bytes() == b"true")
}

/// Refuses requests that want a leader while there is none.
#[derive(Clone)]
struct LeaderCheck(Node);

impl Interceptor for LeaderCheck {
    fn call(&mut self, request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        if wants_leader(request.metadata()) && self.0.leader().borrow().is_none() {
            return Err(error::NO_LEADER.into());
        }
        Ok(request)
    }
}

/// The services as a router, by their gRPC paths.
pub fn router(v3: &V3) -> Router {
    macro_rules! service {
        ($server:ident) => {
            tonic::service::interceptor::InterceptedService::new(
                $server::new(v3.clone()).max_decoding_message_size(REQUEST_LIMIT + OVERHEAD),
                LeaderCheck(v3.node.clone()),
            )
        };
    }
    let router = Router::new();
    let router = add(router, service!(KvServer));
    let router = add(router, service!(WatchServer));
    let router = add(router, service!(LeaseServer));
    let router = add(router, service!(ClusterServer));
    let router = add(router, service!(MaintenanceServer));
    let router = add(router, service!(AuthServer));
    let router = add(router, service!(LockServer));
    let router = add(router, service!(ElectionServer));
    add(router, tonic_health::server::health_reporter().1)
}

fn add<S>(router: Router, service: S) -> Router
where
    S: Service<Request<Body>, Error = std::convert::Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    router.route_service(&format!("/{}/{{*rpc}}", S::NAME), service)
}

/// What a gRPC client gets for a service that is not there; `None` if the request is none of gRPC's.
pub fn unknown_service(request: &Request<Body>) -> Option<Response<Body>> {
    let kind = request.headers().get("content-type")?;
    if !kind.as_bytes().starts_with(b"application/grpc") {
        return None;
    }
    let service = request.uri().path().split('/').nth(1).unwrap_or_default();
    let status = Status::unimplemented(format!("unknown service {service}"));
    Some(status.into_http())
}
