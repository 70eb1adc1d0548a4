//! etcd's client API, version 3, over gRPC: one file per service, and what they share.
//!
//! What a request means is decided in `corten-store`; this face carries it there and back, and keeps watches and leases
//! going. Source: contract `etcd.md` section 3, and etcd 3.4 where it is silent.

mod auth;
mod cluster;
pub mod compactor;
mod concurrency;
mod convert;
mod election;
mod error;
pub mod gateway;
mod kv;
mod leaderless;
mod lease;
mod lock;
mod maintenance;
mod quota;
pub mod sweep;
#[cfg(test)]
pub(super) mod tests;
mod token;
mod watch;

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::response::IntoResponse;
use corten_etcd_api::etcdserverpb as pb;
use corten_etcd_api::v3electionpb::election_server::ElectionServer;
use corten_etcd_api::v3lockpb::lock_server::LockServer;
use corten_raft::lessor::Lessor;
use corten_raft::{Node, ReadTx};
use corten_store::auth::{self as auth_store, Caller};
use corten_store::kv::{Answer, Command};
use corten_store::{Command as Proposal, Response as Outcome, StoreFault, alarm, kv as store};
use corten_watch::v3::Hub;
pub(super) use maintenance::alarms;
use pb::auth_server::AuthServer;
use pb::cluster_server::ClusterServer;
use pb::kv_server::KvServer;
use pb::lease_server::LeaseServer;
use pb::maintenance_server::MaintenanceServer;
use pb::watch_server::WatchServer;
use tokio::sync::Semaphore;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::{Code, Status, metadata::MetadataMap};

use super::{Passwords, now_ms};
use crate::metrics::Metrics;
use crate::settings::Limits;
use leaderless::LeaderCheck;
use quota::Quota;
use token::Tokens;

/// What a message may be larger than the request in it; etcd's figure.
const OVERHEAD: usize = 512 * 1024;

/// The services, and on whose behalf they act.
#[derive(Clone)]
pub struct V3 {
    shared: Arc<Shared>,
    /// What was shown with the request, if anything. It is looked at anew for each thing that is done: a stream may be
    /// open for longer than its token holds.
    token: Option<Arc<str>>,
}

/// What the services need to answer.
pub struct Shared {
    node: Node,
    hub: Hub,
    lessor: Lessor,
    quota: Quota,
    tokens: Tokens,
    limits: Limits,
    /// Those of v2, too: bcrypt has one bound for both.
    passwords: Arc<Passwords>,
    metrics: Metrics,
    /// Held while a snapshot is made and sent: each takes as much room on the disk as the state.
    exporting: Arc<Semaphore>,
    /// Held while all keys are read for their hash.
    hashing: Arc<Semaphore>,
}

impl Deref for V3 {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl V3 {
    /// The services of `node`, within `limits`; their watchers are fed through `hub`, their leases kept by `lessor`,
    /// passwords checked by `passwords`, and what they read is counted in `metrics`.
    pub fn new(
        node: Node,
        hub: Hub,
        lessor: Lessor,
        limits: Limits,
        passwords: Arc<Passwords>,
        metrics: Metrics,
    ) -> V3 {
        V3 {
            shared: Arc::new(Shared {
                node,
                hub,
                lessor,
                quota: Quota::new(limits.quota()),
                tokens: Tokens::new(limits.auth_token_ttl_s),
                limits,
                passwords,
                metrics,
                exporting: Arc::new(Semaphore::new(1)),
                hashing: Arc::new(Semaphore::new(1)),
            }),
            token: None,
        }
    }

    /// The largest message, in bytes.
    pub fn message_bytes(&self) -> usize {
        self.limits.max_request_bytes.saturating_add(OVERHEAD)
    }

    /// The services on behalf of who sent this metadata.
    fn on_behalf_of(&self, metadata: &MetadataMap) -> V3 {
        let token = metadata.get("token").or_else(|| metadata.get("authorization"));
        V3 {
            shared: Arc::clone(&self.shared),
            // One that is no text is nobody's, as is an empty one.
            token: token.map(|token| token.to_str().unwrap_or_default().into()),
        }
    }

    /// Who asks, as of the state that `tx` sees. While auth is off every token is nobody's, and refused, as by etcd 3.4.
    fn caller_at(&self, tx: &ReadTx<'_>) -> store::Lookup<Caller> {
        let Some(token) = &self.token else {
            return Ok(Ok(Caller::Nobody));
        };
        let standing = auth_store::standing(tx)?;
        let owner = match auth_store::token_secret(tx)? {
            Some(secret) => {
                let user = |name: &str| auth_store::user(tx, name);
                self.tokens.owner(token, &secret, now_ms() / 1000, user)?
            }
            None => None,
        };
        let revision = standing.revision;
        Ok(owner
            .map(|name| Caller::User { name, revision })
            .ok_or(store::Error::InvalidAuthToken))
    }

    /// Reads on behalf of the caller, who must be somebody if a token was shown.
    fn look_up_by<T>(&self, f: impl FnOnce(&ReadTx<'_>, &Caller) -> store::Lookup<T>) -> Result<T, Status> {
        self.look_up(|tx| match self.caller_at(tx)? {
            Ok(caller) => f(tx, &caller),
            Err(error) => Ok(Err(error)),
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
        self.look_up_by(|tx, caller| {
            if let Err(error) = alarm::permits_reading(tx)? {
                return Ok(Err(error));
            }
            if let Err(error) = may(tx, caller)? {
                return Ok(Err(error));
            }
            f(tx)
        })
    }

    /// Lets only administrators through, while auth is on.
    async fn admin(&self) -> Result<(), Status> {
        self.caller().await?;
        self.look_up_by(|tx, caller| auth_store::admin(tx, caller))
    }

    /// Who asks, now. A token that another member gave out may be one of whose user this one has yet to hear.
    async fn caller(&self) -> Result<Caller, Status> {
        let here = || self.look_up_by(|_, caller| Ok(Ok(caller.clone())));
        match here() {
            Err(refused) if refused.code() == Code::Unauthenticated => {
                self.linearize().await?;
                here()
            }
            known => known,
        }
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
        if self.token.is_none() {
            return self.propose_one(Proposal::Kv(command)).await;
        }
        loop {
            let caller = self.caller().await?;
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

/// The services as a router, by their gRPC paths.
pub fn router(v3: &V3) -> Router {
    macro_rules! service {
        ($server:ident) => {
            tonic::service::interceptor::InterceptedService::new(
                $server::new(v3.clone()).max_decoding_message_size(v3.message_bytes()),
                LeaderCheck(v3.node.has_leader()),
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

fn add<S, B>(router: Router, service: S) -> Router
where
    S: Service<Request<Body>, Response = Response<B>, Error = std::convert::Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
    Response<B>: IntoResponse,
    B: 'static,
{
    let service = tower::util::MapResponse::new(service, error::in_etcds_words);
    router.route_service(&format!("/{}/{{*rpc}}", S::NAME), service)
}

/// Whether it is a call of gRPC's.
pub fn is_grpc<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get("content-type");
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// What a gRPC client gets for a service that is not there; `None` if the request is none of gRPC's.
pub fn unknown_service(request: &Request<Body>) -> Option<Response<Body>> {
    if !is_grpc(request) {
        return None;
    }
    let service = request.uri().path().split('/').nth(1).unwrap_or_default();
    let status = Status::unimplemented(format!("unknown service {service}"));
    Some(status.into_http())
}
