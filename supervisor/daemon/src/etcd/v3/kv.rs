//! KV: reading and writing keys.

use corten_etcd_api::etcdserverpb::kv_server::Kv;
use corten_etcd_api::etcdserverpb::request_op::Request as Operation;
use corten_etcd_api::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse,
};
use corten_store::auth;
use corten_store::kv::{self, Answer, Command, Work, check};
use prost::Message;
use tonic::{Request, Response, Status};

use super::{V3, convert, error, sweep, unexpected};

#[tonic::async_trait]
impl Kv for V3 {
    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        let v3 = self.on_behalf_of(request.metadata());
        let request = request.into_inner();
        let serializable = request.serializable;
        let range = convert::range(request);
        check::range(&range).map_err(error::refused)?;
        if serializable {
            v3.caller().await?;
        } else {
            v3.linearize().await?;
        }
        let answer = v3.look_up_as(
            |tx, caller| auth::range(tx, caller, &range),
            |tx| kv::range(tx, &range),
        )?;
        self.metrics.read(&Work::RANGE);
        let header = self.header(answer.revision);
        Ok(Response::new(convert::range_answer(answer, header)))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let v3 = self.on_behalf_of(request.metadata());
        let request = request.into_inner();
        let size = request.encoded_len();
        let put = convert::put(request);
        check::put(&put).map_err(error::refused)?;
        self.within_limit(size)?;
        let Answer::Put(answer) = v3.propose(Command::Put(put)).await? else {
            return Err(unexpected());
        };
        let header = self.header(answer.revision);
        Ok(Response::new(convert::put_answer(answer, header)))
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        let v3 = self.on_behalf_of(request.metadata());
        let request = request.into_inner();
        let size = request.encoded_len();
        let delete = convert::delete_range(request);
        check::delete_range(&delete).map_err(error::refused)?;
        self.within_limit(size)?;
        let Answer::DeleteRange(answer) = v3.propose(Command::DeleteRange(delete)).await? else {
            return Err(unexpected());
        };
        let header = self.header(answer.revision);
        Ok(Response::new(convert::delete_answer(answer, header)))
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        let v3 = self.on_behalf_of(request.metadata());
        let request = request.into_inner();
        let (size, serializable) = (request.encoded_len(), all_serializable(&request));
        let txn = convert::txn(request);
        check::txn(&txn, self.limits.max_txn_ops).map_err(error::refused)?;
        let answer = if txn.is_read_only() {
            if serializable {
                v3.caller().await?;
            } else {
                v3.linearize().await?;
            }
            let answer = v3.look_up_as(
                |tx, caller| auth::txn(tx, caller, &txn),
                |tx| kv::read_txn(tx, &txn),
            )?;
            self.metrics.read(&Work::of_txn(&txn, &answer));
            answer
        } else {
            self.within_limit(size)?;
            match v3.propose(Command::Txn(txn)).await? {
                Answer::Txn(answer) => answer,
                _ => return Err(unexpected()),
            }
        };
        let header = self.header(answer.revision);
        Ok(Response::new(convert::txn_answer(answer, header)))
    }

    async fn compact(
        &self,
        request: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        let v3 = self.on_behalf_of(request.metadata());
        let CompactionRequest { revision, physical } = request.into_inner();
        let Answer::Compact { revision } = v3.propose(Command::Compact { revision }).await? else {
            return Err(unexpected());
        };
        if physical {
            sweep::all(&self.node).await?;
        }
        let header = self.header(revision);
        Ok(Response::new(CompactionResponse { header }))
    }
}

impl V3 {
    fn within_limit(&self, size: usize) -> Result<(), Status> {
        if size > self.limits.max_request_bytes {
            return Err(error::REQUEST_TOO_LARGE.into());
        }
        Ok(())
    }
}

/// Whether the asked member's own state will do for all that a transaction reads.
fn all_serializable(txn: &TxnRequest) -> bool {
    let serializable = |op: &RequestOp| match &op.request {
        Some(Operation::RequestRange(range)) => range.serializable,
        _ => false,
    };
    txn.success.iter().chain(&txn.failure).all(serializable)
}
