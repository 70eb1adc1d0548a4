//! Clients of both faces: what they ask, how that becomes a command or a read, and how it ends.

use std::sync::Arc;

use bytes::Bytes;
use corten_raft::{Applied, Node, ProposeError};
use corten_store::keys::{self, Code};
use corten_store::{Command, Response, kv};

use super::machine::{Around, Did, Outbox, leave};

/// Which of etcd's interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Face {
    /// The tree.
    V2,
    /// The revisions.
    V3,
}

/// What is asked of one key. Values are unique in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Write.
    Set(u64),
    /// Write if there is nothing.
    Create(u64),
    /// Write if this value is there.
    Swap(u64, u64),
    /// Write to a key of its own, which expires after so many ms; v2 only.
    SetFor(u64, u64),
    /// Remove.
    Delete,
    /// Read what is current.
    Read,
    /// Read without being sure that it is current: a broken promise, for the test of the checkers.
    ReadStale,
}

/// An operation on a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    pub face: Face,
    pub key: u64,
    pub ask: Ask,
}

/// What a client saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It was written or removed.
    Done,
    /// The condition did not hold.
    Refused,
    /// The value that is there.
    Value(Option<u64>),
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With an answer. `place` is the v2 index or the v3 revision the answer speaks of, `entry` the log entry that made
    /// it, for writes.
    Answer { seen: Seen, place: u64, entry: u64 },
    /// It certainly had no effect.
    Nothing(String),
    /// It may have had an effect, or have one yet.
    Unknown(String),
}

/// Tells how it ended, even if the node dies over it.
struct Report {
    operation: usize,
    around: Arc<Around>,
    outbox: Outbox,
    end: Option<End>,
}

impl Drop for Report {
    fn drop(&mut self) {
        // Dropped by a kill, outside the runtime: the world puts its own time in.
        let at_ms = self.end.as_ref().map_or(u64::MAX, |_| self.around.at_ms());
        let end = self
            .end
            .take()
            .unwrap_or_else(|| End::Unknown("the node died".to_owned()));
        let operation = self.operation;
        leave(
            &self.outbox,
            Did::Ended {
                operation,
                at_ms,
                end,
            },
        );
    }
}

/// Does an operation on a node.
pub async fn perform(node: Node, around: Arc<Around>, outbox: Outbox, number: usize, operation: Operation) {
    let mut report = Report {
        operation: number,
        around: Arc::clone(&around),
        outbox,
        end: None,
    };
    let end = match operation.ask {
        Ask::Read | Ask::ReadStale => read(&node, &operation).await,
        _ => match node.propose(command(&operation, &around)).await {
            Ok(applied) => answered(&applied),
            Err(e) => failed(&e),
        },
    };
    report.end = Some(end);
}

fn failed(error: &ProposeError) -> End {
    match error {
        ProposeError::NoLeader
        | ProposeError::TooLarge { .. }
        | ProposeError::Refused(_)
        | ProposeError::NoSpace => End::Nothing(error.to_string()),
        _ => End::Unknown(error.to_string()),
    }
}

/// The v2 key of a number.
pub fn v2_key(key: u64) -> String {
    format!("/k{key}")
}

/// The v2 key that expires and has this value.
pub fn mortal_key(value: u64) -> String {
    format!("/t{value}")
}

/// The v3 key of a number.
pub fn v3_key(key: u64) -> Bytes {
    Bytes::from(format!("k{key}"))
}

fn command(operation: &Operation, around: &Around) -> Command {
    match operation.face {
        Face::V2 => {
            let now_ms = corten_raft::Simulated::now_ms(around);
            Command::Keys(keys::Write {
                key: match operation.ask {
                    Ask::SetFor(value, _) => mortal_key(value),
                    _ => v2_key(operation.key),
                },
                op: v2(&operation.ask, now_ms),
                now_ms,
            })
        }
        Face::V3 => Command::Kv(v3(operation.key, &operation.ask)),
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
        Ask::Delete | Ask::Read | Ask::ReadStale => keys::Op::Delete {
            dir,
            recursive: false,
        },
    }
}

fn v3(key: u64, ask: &Ask) -> kv::Command {
    let put = |value: u64| kv::Put {
        key: v3_key(key),
        value: Bytes::from(value.to_string()),
        ..kv::Put::default()
    };
    let only_if = |target: kv::Target, value: u64| {
        kv::Command::Txn(kv::Txn {
            compare: vec![kv::Compare {
                key: v3_key(key),
                range_end: Bytes::new(),
                result: kv::CompareResult::Equal,
                target,
            }],
            success: vec![kv::Op::Put(put(value))],
            failure: Vec::new(),
        })
    };
    match ask {
        Ask::Set(value) | Ask::SetFor(value, _) => kv::Command::Put(put(*value)),
        Ask::Create(value) => only_if(kv::Target::Create(0), *value),
        Ask::Swap(old, new) => only_if(kv::Target::Value(Bytes::from(old.to_string())), *new),
        Ask::Delete | Ask::Read | Ask::ReadStale => kv::Command::DeleteRange(kv::DeleteRange {
            key: v3_key(key),
            ..kv::DeleteRange::default()
        }),
    }
}

fn answered(applied: &Applied) -> End {
    let (seen, place) = match &applied.response {
        Response::Keys(Ok(event)) => (Seen::Done, event.index()),
        Response::Keys(Err(error)) => match error.code {
            Code::KeyNotFound | Code::TestFailed | Code::NodeExist => (Seen::Refused, applied.etcd_index),
            _ => return End::Unknown(format!("{error:?}")),
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
        other => return End::Unknown(format!("{other:?}")),
    };
    End::Answer {
        seen,
        place,
        entry: applied.raft_index,
    }
}

async fn read(node: &Node, operation: &Operation) -> End {
    if operation.ask == Ask::Read
        && let Err(e) = node.linearize().await
    {
        return End::Nothing(e.to_string());
    }
    let found = match operation.face {
        Face::V2 => read_v2(node, operation.key),
        Face::V3 => read_v3(node, operation.key),
    };
    match found {
        Ok((value, place)) => End::Answer {
            seen: Seen::Value(value),
            place,
            entry: 0,
        },
        Err(e) => End::Nothing(e),
    }
}

/// A v2 key's value, and the index of the store.
pub fn read_v2(node: &Node, key: u64) -> Result<(Option<u64>, u64), String> {
    let get = keys::request::Get {
        key: v2_key(key),
        recursive: false,
        sorted: false,
        quorum: true,
    };
    match node
        .read(|tx| keys::get(tx, &get, 0))
        .map_err(|e| e.to_string())?
    {
        Ok(event) => Ok((
            event.node.value.and_then(|value| value.parse().ok()),
            event.etcd_index,
        )),
        Err(error) if error.code == Code::KeyNotFound => Ok((None, error.index)),
        Err(error) => Err(format!("{error:?}")),
    }
}

/// A v3 key's value, and the revision of the store.
pub fn read_v3(node: &Node, key: u64) -> Result<(Option<u64>, u64), String> {
    let range = kv::Range {
        key: v3_key(key),
        ..kv::Range::default()
    };
    let found = node.read(|tx| kv::range(tx, &range)).map_err(|e| e.to_string())?;
    let found = found.map_err(|e| e.to_string())?;
    let value = found
        .kvs
        .first()
        .and_then(|kv| std::str::from_utf8(&kv.value).ok()?.parse().ok());
    Ok((value, found.revision as u64))
}
