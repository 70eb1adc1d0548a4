//! What clients write: the command, and what its answer means.

use bytes::Bytes;
use corten_raft::Applied;
use corten_store::keys::{self, Code};
use corten_store::{Command, Response, kv};

use super::{Ask, End, Face, Operation, Seen};
use crate::cluster::machine::Around;

/// The command that does an operation.
pub fn command(operation: &Operation, around: &Around) -> Command {
    match operation.face {
        Face::V2 => {
            if let Ask::KeepHistory(events) = operation.ask {
                return Command::History(events);
            }
            let now_ms = corten_raft::Simulated::now_ms(around);
            Command::Keys(keys::Write {
                key: operation.key(),
                op: v2(&operation.ask, now_ms),
                now_ms,
            })
        }
        Face::V3 => Command::Kv(v3(operation)),
    }
}

fn v2(ask: &Ask, now_ms: u64) -> keys::Op {
    let (dir, refresh, expire_ms) = (false, false, None);
    match ask {
        Ask::Create(value) => keys::Op::Create {
            dir,
            value: value.to_string(),
            expire_ms,
        },
        Ask::Swap(old, new) => keys::Op::CompareAndSwap {
            prev: keys::Compare {
                value: old.to_string(),
                index: 0,
            },
            value: new.to_string(),
            expire_ms,
            refresh,
        },
        Ask::Set(value) => keys::Op::Set {
            dir,
            value: value.to_string(),
            expire_ms,
            refresh,
        },
        Ask::SetFor(value, ttl_ms) => keys::Op::Set {
            dir,
            value: value.to_string(),
            expire_ms: Some(now_ms + ttl_ms),
            refresh,
        },
        _ => keys::Op::Delete {
            dir,
            recursive: false,
        },
    }
}

fn v3(operation: &Operation) -> kv::Command {
    let put = |value: u64| kv::Put {
        key: operation.key_bytes(),
        value: Bytes::from(value.to_string()),
        ..kv::Put::default()
    };
    let only_if = |target: kv::Target, value: u64| {
        kv::Command::Txn(kv::Txn {
            compare: vec![kv::Compare {
                key: operation.key_bytes(),
                range_end: Bytes::new(),
                result: kv::CompareResult::Equal,
                target,
            }],
            success: vec![kv::Op::Put(put(value))],
            failure: Vec::new(),
        })
    };
    match &operation.ask {
        Ask::Set(value) | Ask::SetFor(value, _) => kv::Command::Put(put(*value)),
        Ask::Create(value) => only_if(kv::Target::Create(0), *value),
        Ask::Swap(old, new) => only_if(kv::Target::Value(Bytes::from(old.to_string())), *new),
        Ask::Grant(id, ttl_s) => kv::Command::LeaseGrant {
            id: *id as kv::LeaseId,
            ttl_s: *ttl_s,
        },
        Ask::Attach(id, value) => kv::Command::Put(kv::Put {
            lease: *id as kv::LeaseId,
            ..put(*value)
        }),
        Ask::Revoke(id) => kv::Command::LeaseRevoke {
            id: *id as kv::LeaseId,
        },
        Ask::Compact(revision) => kv::Command::Compact {
            revision: *revision as i64,
        },
        Ask::Sweep => kv::Command::Sweep,
        _ => kv::Command::DeleteRange(kv::DeleteRange {
            key: operation.key_bytes(),
            ..kv::DeleteRange::default()
        }),
    }
}

/// How it ended, as applied.
pub fn answered(applied: &Applied) -> End {
    let (seen, place) = match &applied.response {
        Response::Keys(Ok(event)) => (Seen::Done, event.index()),
        Response::Keys(Err(error)) => match error.code {
            Code::KeyNotFound | Code::TestFailed | Code::NodeExist => (Seen::Refused, applied.etcd_index),
            _ => (Seen::Wrong(format!("{error:?}")), 0),
        },
        Response::Kv(Ok(kv::Answer::Put(answer))) => (Seen::Done, answer.revision as u64),
        Response::Kv(Ok(kv::Answer::DeleteRange(answer))) => {
            let seen = if answer.deleted == 0 {
                Seen::Refused
            } else {
                Seen::Done
            };
            (seen, answer.revision as u64)
        }
        Response::Kv(Ok(kv::Answer::Txn(answer))) => {
            let seen = if answer.succeeded {
                Seen::Done
            } else {
                Seen::Refused
            };
            (seen, answer.revision as u64)
        }
        Response::Kv(Ok(kv::Answer::LeaseGrant { revision, .. } | kv::Answer::LeaseRevoke { revision })) => {
            (Seen::Done, *revision as u64)
        }
        Response::Kv(Ok(kv::Answer::Compact { revision })) => (Seen::Done, *revision as u64),
        Response::Kv(Ok(kv::Answer::Sweep { .. })) | Response::Recorded => (Seen::Done, 0),
        Response::Kv(Err(kv::Error::LeaseNotFound)) => (Seen::Gone, 0),
        Response::Kv(Err(kv::Error::Compacted)) => (Seen::Compacted, 0),
        other => (Seen::Wrong(format!("{other:?}")), 0),
    };
    End::Answer {
        seen,
        place,
        entry: applied.raft_index,
    }
}
