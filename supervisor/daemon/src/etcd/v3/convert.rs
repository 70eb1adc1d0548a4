//! Between the messages of the API and the store's types. Nothing is decided here: what is wrong with a request the
//! store says.

use corten_etcd_api::etcdserverpb::compare::{self, TargetUnion};
use corten_etcd_api::etcdserverpb::range_request;
use corten_etcd_api::etcdserverpb::request_op::Request;
use corten_etcd_api::etcdserverpb::response_op::Response;
use corten_etcd_api::{etcdserverpb as pb, mvccpb};
use corten_store::kv;

/// A range to read.
pub fn range(request: pb::RangeRequest) -> kv::Range {
    let (sort_order, sort_target) = (request.sort_order(), request.sort_target());
    kv::Range {
        key: request.key,
        range_end: request.range_end,
        limit: request.limit,
        revision: request.revision,
        sort_order: match sort_order {
            range_request::SortOrder::None => kv::SortOrder::None,
            range_request::SortOrder::Ascend => kv::SortOrder::Ascend,
            range_request::SortOrder::Descend => kv::SortOrder::Descend,
        },
        sort_target: match sort_target {
            range_request::SortTarget::Key => kv::SortTarget::Key,
            range_request::SortTarget::Version => kv::SortTarget::Version,
            range_request::SortTarget::Create => kv::SortTarget::Create,
            range_request::SortTarget::Mod => kv::SortTarget::Mod,
            range_request::SortTarget::Value => kv::SortTarget::Value,
        },
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod_revision: request.min_mod_revision,
        max_mod_revision: request.max_mod_revision,
        min_create_revision: request.min_create_revision,
        max_create_revision: request.max_create_revision,
    }
}

/// A key to set.
pub fn put(request: pb::PutRequest) -> kv::Put {
    kv::Put {
        key: request.key,
        value: request.value,
        lease: request.lease,
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    }
}

/// A range to delete.
pub fn delete_range(request: pb::DeleteRangeRequest) -> kv::DeleteRange {
    kv::DeleteRange {
        key: request.key,
        range_end: request.range_end,
        prev_kv: request.prev_kv,
    }
}

/// A transaction.
pub fn txn(request: pb::TxnRequest) -> kv::Txn {
    kv::Txn {
        compare: request.compare.into_iter().map(comparison).collect(),
        success: request.success.into_iter().map(operation).collect(),
        failure: request.failure.into_iter().map(operation).collect(),
    }
}

fn operation(op: pb::RequestOp) -> kv::Op {
    match op.request {
        Some(Request::RequestRange(request)) => kv::Op::Range(range(request)),
        Some(Request::RequestPut(request)) => kv::Op::Put(put(request)),
        Some(Request::RequestDeleteRange(request)) => kv::Op::DeleteRange(delete_range(request)),
        Some(Request::RequestTxn(request)) => kv::Op::Txn(txn(request)),
        None => kv::Op::Empty,
    }
}

/// A comparison; what it is compared with is nothing (0, the empty value) where that is of another kind than asked for.
fn comparison(request: pb::Compare) -> kv::Compare {
    let with = request.target_union.clone();
    let target = match (request.target(), with) {
        (compare::CompareTarget::Version, Some(TargetUnion::Version(version))) => {
            kv::Target::Version(version)
        }
        (compare::CompareTarget::Version, _) => kv::Target::Version(0),
        (compare::CompareTarget::Create, Some(TargetUnion::CreateRevision(at))) => kv::Target::Create(at),
        (compare::CompareTarget::Create, _) => kv::Target::Create(0),
        (compare::CompareTarget::Mod, Some(TargetUnion::ModRevision(at))) => kv::Target::Mod(at),
        (compare::CompareTarget::Mod, _) => kv::Target::Mod(0),
        (compare::CompareTarget::Value, Some(TargetUnion::Value(value))) => kv::Target::Value(value),
        (compare::CompareTarget::Value, _) => kv::Target::Value(bytes::Bytes::new()),
        (compare::CompareTarget::Lease, Some(TargetUnion::Lease(lease))) => kv::Target::Lease(lease),
        (compare::CompareTarget::Lease, _) => kv::Target::Lease(0),
    };
    let result = match request.result() {
        compare::CompareResult::Equal => kv::CompareResult::Equal,
        compare::CompareResult::Greater => kv::CompareResult::Greater,
        compare::CompareResult::Less => kv::CompareResult::Less,
        compare::CompareResult::NotEqual => kv::CompareResult::NotEqual,
    };
    kv::Compare {
        key: request.key,
        range_end: request.range_end,
        result,
        target,
    }
}

/// A key and its value.
pub fn key_value(kv: kv::KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        value: kv.value,
        lease: kv.lease,
    }
}

/// The answer to a range.
pub fn range_answer(answer: kv::RangeAnswer, header: Option<pb::ResponseHeader>) -> pb::RangeResponse {
    pb::RangeResponse {
        header,
        kvs: answer.kvs.into_iter().map(key_value).collect(),
        more: answer.more,
        count: answer.count,
    }
}

/// The answer to a put.
pub fn put_answer(answer: kv::PutAnswer, header: Option<pb::ResponseHeader>) -> pb::PutResponse {
    pb::PutResponse {
        header,
        prev_kv: answer.prev_kv.map(key_value),
    }
}

/// The answer to a deletion.
pub fn delete_answer(
    answer: kv::DeleteRangeAnswer,
    header: Option<pb::ResponseHeader>,
) -> pb::DeleteRangeResponse {
    pb::DeleteRangeResponse {
        header,
        deleted: answer.deleted,
        prev_kvs: answer.prev_kvs.into_iter().map(key_value).collect(),
    }
}

/// The answer to a transaction.
pub fn txn_answer(answer: kv::TxnAnswer, header: Option<pb::ResponseHeader>) -> pb::TxnResponse {
    pb::TxnResponse {
        header,
        succeeded: answer.succeeded,
        responses: answer.responses.into_iter().map(operation_answer).collect(),
    }
}

/// Within a transaction only the revision is told, once per operation.
fn operation_answer(answer: kv::OpAnswer) -> pb::ResponseOp {
    let at = |revision| {
        Some(pb::ResponseHeader {
            revision,
            ..pb::ResponseHeader::default()
        })
    };
    let response = match answer {
        kv::OpAnswer::Range(answer) => {
            let header = at(answer.revision);
            Response::ResponseRange(range_answer(answer, header))
        }
        kv::OpAnswer::Put(answer) => {
            let header = at(answer.revision);
            Response::ResponsePut(put_answer(answer, header))
        }
        kv::OpAnswer::DeleteRange(answer) => {
            let header = at(answer.revision);
            Response::ResponseDeleteRange(delete_answer(answer, header))
        }
        kv::OpAnswer::Txn(answer) => {
            let header = at(answer.revision);
            Response::ResponseTxn(txn_answer(answer, header))
        }
    };
    pb::ResponseOp {
        response: Some(response),
    }
}

/// An event, with what was there before it where that was asked for.
pub fn event(change: &kv::Change, previous: Option<kv::KeyValue>) -> mvccpb::Event {
    let kind = match change.action {
        kv::Action::Put => mvccpb::event::EventType::Put,
        kv::Action::Delete => mvccpb::event::EventType::Delete,
    };
    mvccpb::Event {
        r#type: kind.into(),
        kv: Some(key_value(change.kv.clone())),
        prev_kv: previous.map(key_value),
    }
}
