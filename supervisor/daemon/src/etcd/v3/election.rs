//! Election: a queue of keys whose first leads, and says so with its value.

use std::pin::Pin;

use bytes::Bytes;
use corten_etcd_api::etcdserverpb::ResponseHeader;
use corten_etcd_api::v3electionpb::election_server::Election;
use corten_etcd_api::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ProclaimResponse, ResignRequest, ResignResponse,
};
use corten_store::kv::{Action, DeleteRange, KeyValue, Op, Put};
use corten_watch::v3::interest::{Interest, Until};
use futures_util::Stream;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

use super::concurrency::{self, Lookout, without_code};
use super::leaderless::{lost, wants_leader};
use super::{V3, convert};

/// Proclamations that may wait for a slow observer.
const AHEAD: usize = 16;

type Answers = mpsc::Sender<Result<LeaderResponse, Status>>;

#[tonic::async_trait]
impl Election for V3 {
    type ObserveStream = Pin<Box<dyn Stream<Item = Result<LeaderResponse, Status>> + Send>>;

    async fn campaign(
        &self,
        request: Request<CampaignRequest>,
    ) -> Result<Response<CampaignResponse>, Status> {
        let v3 = self.on_behalf_of(request.metadata());
        answer(v3.run_for(request.into_inner()).await)
    }

    async fn proclaim(
        &self,
        request: Request<ProclaimRequest>,
    ) -> Result<Response<ProclaimResponse>, Status> {
        let v3 = self.on_behalf_of(request.metadata());
        let ProclaimRequest { leader, value } = request.into_inner();
        let leader = leader.ok_or_else(missing_leader)?;
        let header = v3.proclaim_value(&leader.key, leader.rev, leader.lease, value);
        answer(header.await.map(|header| ProclaimResponse { header }))
    }

    async fn leader(&self, request: Request<LeaderRequest>) -> Result<Response<LeaderResponse>, Status> {
        let v3 = self.on_behalf_of(request.metadata());
        answer(v3.who_leads(&request.into_inner().name).await)
    }

    async fn observe(
        &self,
        request: Request<LeaderRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let v3 = self.on_behalf_of(request.metadata());
        let leaderless = lost(v3.node.has_leader(), wants_leader(request.metadata()));
        let prefix = concurrency::prefix(&request.into_inner().name);
        let (answers, mut ahead) = mpsc::channel(AHEAD);
        tokio::spawn(async move {
            tokio::select! {
                ended = v3.follow(&prefix, &answers) => if let Err(status) = ended {
                    // The client may have gone.
                    let _ = answers.try_send(Err(status));
                },
                status = leaderless => {
                    let _ = answers.try_send(Err(status));
                }
                () = answers.closed() => {}
            }
        });
        let stream = futures_util::stream::poll_fn(move |cx| ahead.poll_recv(cx));
        Ok(Response::new(Box::pin(stream)))
    }

    async fn resign(&self, request: Request<ResignRequest>) -> Result<Response<ResignResponse>, Status> {
        let v3 = self.on_behalf_of(request.metadata());
        let leader = request.into_inner().leader.ok_or_else(missing_leader)?;
        let delete = Op::DeleteRange(DeleteRange {
            key: leader.key.clone(),
            ..DeleteRange::default()
        });
        let resigned = v3.while_held(&leader.key, leader.rev, delete).await;
        answer(resigned.map(|(header, _)| ResignResponse { header }))
    }
}

fn answer<T>(result: Result<T, Status>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|status| without_code(&status))
}

fn missing_leader() -> Status {
    Status::unknown("\"leader\" field must be provided")
}

fn proclaimed(header: Option<ResponseHeader>, kv: KeyValue) -> LeaderResponse {
    LeaderResponse {
        header,
        kv: Some(convert::key_value(kv)),
    }
}

impl V3 {
    async fn run_for(&self, request: CampaignRequest) -> Result<CampaignResponse, Status> {
        let CampaignRequest { name, lease, value } = request;
        let place = self.queue_up(&name, lease, value.clone()).await?;
        if place.before.as_ref().is_some_and(|before| *before != value) {
            self.proclaim_value(&place.key, place.revision, place.lease, value)
                .await?;
        }
        self.wait_turn(&place).await?;
        let header = self.header(place.at);
        let leader = Some(LeaderKey {
            name,
            key: place.key,
            rev: place.revision,
            lease: place.lease,
        });
        Ok(CampaignResponse { header, leader })
    }

    async fn who_leads(&self, name: &Bytes) -> Result<LeaderResponse, Status> {
        let prefix = concurrency::prefix(name);
        self.linearize().await?;
        let (leader, revision) = self.first(&prefix)?;
        let leader = leader.ok_or_else(|| Status::unknown("election: no leader"))?;
        Ok(proclaimed(self.header(revision), leader))
    }

    async fn proclaim_value(
        &self,
        key: &Bytes,
        revision: i64,
        lease: i64,
        value: Bytes,
    ) -> Result<Option<ResponseHeader>, Status> {
        let put = Op::Put(Put {
            key: key.clone(),
            value,
            lease,
            ..Put::default()
        });
        match self.while_held(key, revision, put).await? {
            (header, true) => Ok(header),
            (_, false) => Err(Status::unknown("election: not leader")),
        }
    }

    /// Tells of every leader, and of everything each proclaims.
    async fn follow(&self, prefix: &Bytes, answers: &Answers) -> Result<(), Status> {
        let mut told = 0;
        self.linearize().await?;
        loop {
            let (leader, revision) = self.first(prefix)?;
            let Some(leader) = leader else {
                let range = concurrency::below(prefix);
                let anybody = Interest {
                    key: range.key,
                    until: Until::Before(range.range_end),
                    no_put: false,
                    no_delete: true,
                };
                if let Some(lookout) = Lookout::begin(&self.hub, anybody, revision + 1) {
                    lookout.next().await?;
                }
                continue;
            };
            let it = Interest {
                key: leader.key.clone(),
                until: Until::Itself,
                no_put: false,
                no_delete: false,
            };
            if leader.mod_revision > told {
                told = leader.mod_revision;
                send(answers, proclaimed(self.header(revision), leader)).await?;
            }
            if let Some(lookout) = Lookout::begin(&self.hub, it, revision + 1) {
                self.follow_one(&lookout, &mut told, answers).await?;
            }
        }
    }

    /// Tells of what one leader proclaims, until it leads no more or something was missed.
    async fn follow_one(&self, lookout: &Lookout, told: &mut i64, answers: &Answers) -> Result<(), Status> {
        loop {
            let waiting = lookout.next().await?;
            for item in waiting.items {
                for change in item.changes.iter() {
                    if change.action == Action::Delete {
                        return Ok(());
                    }
                    *told = item.revision;
                    let header = self.header(item.revision);
                    send(answers, proclaimed(header, change.kv.clone())).await?;
                }
            }
            if !waiting.behind.is_empty() {
                return Ok(());
            }
        }
    }
}

async fn send(answers: &Answers, answer: LeaderResponse) -> Result<(), Status> {
    let sent = answers.send(Ok(answer)).await;
    sent.map_err(|_| Status::cancelled("the observer has gone"))
}
