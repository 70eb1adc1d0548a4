//! Cluster: who the members are. Who may become or stop being one is decided where the members are kept.

use corten_etcd_api::etcdserverpb::cluster_server::Cluster;
use corten_etcd_api::etcdserverpb::{
    self as pb, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
    MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
    MemberUpdateRequest, MemberUpdateResponse,
};
use corten_raft::{Member, MemberChange, MemberError, new_member_id};
use tonic::{Request, Response, Status};

use super::{V3, error};
use crate::etcd::now_ms;
use crate::settings::url::Url;

#[tonic::async_trait]
impl Cluster for V3 {
    async fn member_add(
        &self,
        request: Request<MemberAddRequest>,
    ) -> Result<Response<MemberAddResponse>, Status> {
        self.on_behalf_of(request.metadata()).admin().await?;
        let MemberAddRequest {
            peer_ur_ls,
            is_learner: learner,
        } = request.into_inner();
        let peer_urls = checked(&peer_ur_ls)?;
        let id = new_member_id(&peer_urls, &format!("{:x}", self.node.cluster_id()), now_ms());
        self.change_members(MemberChange::Add {
            id,
            peer_urls: peer_urls.clone(),
            learner,
        })
        .await?;
        let member = pb::Member {
            id,
            peer_ur_ls: peer_urls,
            is_learner: learner,
            ..pb::Member::default()
        };
        Ok(Response::new(MemberAddResponse {
            header: self.header(0),
            member: Some(member),
            members: self.members(),
        }))
    }

    async fn member_remove(
        &self,
        request: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        self.on_behalf_of(request.metadata()).admin().await?;
        let id = request.into_inner().id;
        self.change_members(MemberChange::Remove { id }).await?;
        Ok(Response::new(MemberRemoveResponse {
            header: self.header(0),
            members: self.members(),
        }))
    }

    async fn member_update(
        &self,
        request: Request<MemberUpdateRequest>,
    ) -> Result<Response<MemberUpdateResponse>, Status> {
        self.on_behalf_of(request.metadata()).admin().await?;
        let MemberUpdateRequest { id, peer_ur_ls } = request.into_inner();
        let peer_urls = checked(&peer_ur_ls)?;
        self.change_members(MemberChange::Update { id, peer_urls })
            .await?;
        Ok(Response::new(MemberUpdateResponse {
            header: self.header(0),
            members: self.members(),
        }))
    }

    async fn member_list(
        &self,
        request: Request<MemberListRequest>,
    ) -> Result<Response<MemberListResponse>, Status> {
        if request.into_inner().linearizable {
            self.linearize().await?;
        }
        Ok(Response::new(MemberListResponse {
            header: self.header(0),
            members: self.members(),
        }))
    }

    async fn member_promote(
        &self,
        request: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        self.on_behalf_of(request.metadata()).admin().await?;
        let id = request.into_inner().id;
        self.change_members(MemberChange::Promote { id }).await?;
        Ok(Response::new(MemberPromoteResponse {
            header: self.header(0),
            members: self.members(),
        }))
    }
}

impl V3 {
    fn members(&self) -> Vec<pb::Member> {
        self.node.members().into_iter().map(told).collect()
    }

    async fn change_members(&self, change: MemberChange) -> Result<(), Status> {
        let changed = self.node.change_members(change).await;
        changed.map_err(|refusal| match &refusal {
            MemberError::PeerUrlExists => error::PEER_URL_EXISTS.into(),
            MemberError::IdExists => error::MEMBER_EXISTS.into(),
            MemberError::NotFound | MemberError::Removed => error::MEMBER_NOT_FOUND.into(),
            MemberError::NotReady => error::LEARNER_NOT_READY.into(),
            MemberError::NotLearner => error::MEMBER_NOT_LEARNER.into(),
            MemberError::TooFewAlive => error::NOT_ENOUGH_STARTED.into(),
            MemberError::Propose(refusal) => error::proposing(refusal),
        })
    }
}

fn told(member: Member) -> pb::Member {
    pb::Member {
        id: member.id,
        name: member.name,
        peer_ur_ls: member.peer_urls,
        client_ur_ls: member.client_urls,
        is_learner: member.learner,
    }
}

fn checked(urls: &[String]) -> Result<Vec<String>, Status> {
    Url::of_member(urls).map_err(|_| error::MEMBER_BAD_URLS.into())
}
