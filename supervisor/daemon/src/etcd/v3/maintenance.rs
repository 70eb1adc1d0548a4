//! Maintenance: how this member is, backups, hashes to compare members by.
//!
//! A member whose disk is full says so among the alarms for as long as it is so, and nobody needs to disarm that. Nothing needs defragmenting either: free pages of the state are used again.

use std::fs::File;
use std::future::ready;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corten_etcd_api::etcdserverpb::alarm_request::AlarmAction;
use corten_etcd_api::etcdserverpb::maintenance_server::Maintenance;
use corten_etcd_api::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, DefragmentRequest, DefragmentResponse,
    DowngradeRequest, DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest, HashResponse,
    MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest, SnapshotResponse, StatusRequest, StatusResponse,
};
use corten_raft::{MoveLeaderError, Node};
use corten_store::alarm::{self, Alarm};
use corten_store::{Command, Response as Outcome, StoreFault, kv};
use futures_util::{Stream, StreamExt, stream};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinError;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::{V3, error, unexpected};
use crate::etcd::stats::ETCD_VERSION;

/// How much of a snapshot one message carries.
const CHUNK: usize = 256 << 10;
/// A snapshot is as long as a number of these.
const SECTOR: u64 = 512;
/// How many chunks may wait for a slow client.
const AHEAD: usize = 4;
/// How long a client may take none of them: others wait for their snapshot.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 60 });

#[tonic::async_trait]
impl Maintenance for V3 {
    type SnapshotStream = Pin<Box<dyn Stream<Item = Result<SnapshotResponse, Status>> + Send>>;

    async fn alarm(&self, request: Request<AlarmRequest>) -> Result<Response<AlarmResponse>, Status> {
        self.on_behalf_of(request.metadata()).caller().await?;
        let request = request.into_inner();
        let (action, wanted, member) = (request.action(), request.alarm(), request.member_id);
        let kind = match wanted {
            AlarmType::None => None,
            AlarmType::Nospace => Some(alarm::Kind::NoSpace),
            AlarmType::Corrupt => Some(alarm::Kind::Corrupt),
        };
        let change = |kind| {
            let alarm = Alarm { member, kind };
            match action {
                AlarmAction::Get => None,
                AlarmAction::Activate => Some(alarm::Change::Activate(alarm)),
                AlarmAction::Deactivate => Some(alarm::Change::Deactivate(alarm)),
            }
        };
        let alarms = match (action, kind.and_then(change)) {
            (AlarmAction::Get, _) => {
                let mut alarms = self.alarms()?;
                alarms.retain(|alarm| kind.is_none_or(|kind| alarm.kind == kind));
                alarms
            }
            (_, Some(change)) => self.change_alarm(change).await?.into_iter().collect(),
            (_, None) => Vec::new(),
        };
        Ok(Response::new(AlarmResponse {
            header: None,
            alarms: alarms.into_iter().map(alarm_member).collect(),
        }))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let (status, size) = (self.node.status(), self.node.state_size());
        let size = size.map_err(|fault| error::reading(&fault))?;
        let learns = |member: &corten_raft::Member| member.id == status.member_id && member.learner;
        let learns = self.node.members().iter().any(learns);
        let mut errors = Vec::new();
        if status.leader_id == 0 {
            errors.push("etcdserver: no leader".to_owned());
        }
        for Alarm { member, kind } in self.alarms()? {
            let kind = match kind {
                alarm::Kind::NoSpace => "NOSPACE",
                alarm::Kind::Corrupt => "CORRUPT",
            };
            errors.push(format!("memberID:{member} alarm:{kind} "));
        }
        Ok(Response::new(StatusResponse {
            header: self.header_now()?,
            version: ETCD_VERSION.to_owned(),
            db_size: signed(size.on_disk),
            leader: status.leader_id,
            raft_index: status.raft_index,
            raft_term: status.term,
            raft_applied_index: status.applied_index,
            errors,
            db_size_in_use: signed(size.in_use),
            is_learner: learns,
        }))
    }

    async fn defragment(
        &self,
        request: Request<DefragmentRequest>,
    ) -> Result<Response<DefragmentResponse>, Status> {
        self.operator(request.metadata()).await?;
        Ok(Response::new(DefragmentResponse { header: None }))
    }

    /// Of the keys, at the newest revision. etcd hashes its file, which no two of its members have alike.
    async fn hash(&self, request: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        self.operator(request.metadata()).await?;
        let hash = self.hash_at(0).await?;
        Ok(Response::new(HashResponse {
            header: self.header(hash.revision),
            hash: hash.hash,
        }))
    }

    async fn hash_kv(&self, request: Request<HashKvRequest>) -> Result<Response<HashKvResponse>, Status> {
        self.operator(request.metadata()).await?;
        let revision = request.into_inner().revision;
        let hash = self.hash_at(revision).await?;
        Ok(Response::new(HashKvResponse {
            header: self.header_now()?,
            hash: hash.hash,
            compact_revision: hash.compact_revision,
        }))
    }

    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        self.operator(request.metadata()).await?;
        let turn = turn(&self.exporting).await?;
        let (header, node, runtime) = (self.header_now()?, self.node.clone(), Handle::current());
        let (chunks, mut ahead) = mpsc::channel(AHEAD);
        let sending = tokio::task::spawn_blocking(move || {
            let _turn = turn; // until the file, which lasts as long as it is open, is sent or its client gone
            let send = |remaining_bytes, blob| {
                let chunk = SnapshotResponse {
                    header,
                    remaining_bytes,
                    blob,
                };
                let taken = runtime.block_on(chunks.send_timeout(chunk, PATIENCE));
                taken.map_err(|_| io::Error::other("the client takes nothing"))
            };
            send_file(node.export()?, send).map_err(|error| error.to_string())
        });
        let chunks = stream::poll_fn(move |cx| ahead.poll_recv(cx)).map(Ok);
        let end = stream::once(sending).filter_map(|sent| ready(failure(sent).map(Err)));
        Ok(Response::new(Box::pin(chunks.chain(end))))
    }

    async fn move_leader(
        &self,
        request: Request<MoveLeaderRequest>,
    ) -> Result<Response<MoveLeaderResponse>, Status> {
        let target = request.into_inner().target_id;
        let moved = self.node.move_leader(target).await;
        moved.map_err(|error| match error {
            MoveLeaderError::NotLeader => error::NOT_LEADER,
            MoveLeaderError::BadTarget => error::BAD_LEADER_TRANSFEREE,
            MoveLeaderError::Timeout => error::LEADER_TRANSFER,
        })?;
        Ok(Response::new(MoveLeaderResponse { header: None }))
    }

    async fn downgrade(&self, _: Request<DowngradeRequest>) -> Result<Response<DowngradeResponse>, Status> {
        // 3.4, whose API this is, does not know it.
        Err(Status::unimplemented(
            "unknown method Downgrade for service etcdserverpb.Maintenance",
        ))
    }
}

impl V3 {
    /// Lets only administrators through, while auth is on. etcd forgets to give this refusal a code.
    async fn operator(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let refused = |status: Status| Status::unknown(status.message().replace("etcdserver: ", "auth: "));
        self.on_behalf_of(metadata).admin().await.map_err(refused)
    }

    fn alarms(&self) -> Result<Vec<Alarm>, Status> {
        alarms(&self.node).map_err(|fault| error::reading(&fault))
    }

    /// Reads all there is at a revision, beside the threads that answer others, and one such reading after the other.
    async fn hash_at(&self, revision: i64) -> Result<kv::Hash, Status> {
        let turn = turn(&self.hashing).await?;
        let v3 = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            v3.look_up(|tx| kv::hash(tx, revision))
        });
        let read = reading.await;
        read.unwrap_or_else(|broken| Err(Status::internal(broken.to_string())))
    }

    async fn change_alarm(&self, change: alarm::Change) -> Result<Option<Alarm>, Status> {
        let applied = self.node.propose(Command::Alarm(change)).await;
        match applied.map_err(|error| error::proposing(&error))?.response {
            Outcome::Alarm(alarm) => Ok(alarm),
            _ => Err(unexpected()),
        }
    }
}

/// Those somebody raised, and this member's full disk.
pub fn alarms(node: &Node) -> Result<Vec<Alarm>, StoreFault> {
    let mut alarms = node.read(|tx| alarm::alarms(tx))?;
    let full = Alarm {
        member: node.member_id(),
        kind: alarm::Kind::NoSpace,
    };
    if node.status().no_space && !alarms.contains(&full) {
        alarms.push(full);
    }
    Ok(alarms)
}

/// The only place there is, once it is free.
async fn turn(place: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Status> {
    let turn = Arc::clone(place).acquire_owned().await;
    turn.map_err(|closed| Status::internal(closed.to_string()))
}

fn alarm_member(Alarm { member, kind }: Alarm) -> AlarmMember {
    let kind = match kind {
        alarm::Kind::NoSpace => AlarmType::Nospace,
        alarm::Kind::Corrupt => AlarmType::Corrupt,
    };
    AlarmMember {
        member_id: member,
        alarm: kind.into(),
    }
}

/// Sends a file in chunks, filled up to whole sectors with zeros, then the SHA-256 of that: as etcd does, whose client
/// knows by the length whether the sum is there.
fn send_file(file: File, mut send: impl FnMut(u64, Bytes) -> io::Result<()>) -> io::Result<()> {
    let length = file.metadata()?.len();
    let mut left = length.next_multiple_of(SECTOR);
    let mut content = file.chain(io::repeat(0).take(left - length));
    let mut hash = Sha256::new();
    while left > 0 {
        let mut chunk = vec![0; usize::try_from(left).unwrap_or(CHUNK).min(CHUNK)];
        content.read_exact(&mut chunk)?;
        hash.update(&chunk);
        left -= chunk.len() as u64;
        let after = left + Sha256::output_size() as u64;
        send(after, Bytes::from(chunk))?;
    }
    send(0, Bytes::copy_from_slice(&hash.finalize()))
}

/// Why a snapshot was not sent to its end.
fn failure(sent: Result<Result<(), String>, JoinError>) -> Option<Status> {
    let cause = match sent {
        Ok(Ok(())) => return None,
        Ok(Err(cause)) => cause,
        Err(broken) => broken.to_string(),
    };
    Some(Status::internal(format!("snapshot: {cause}")))
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
