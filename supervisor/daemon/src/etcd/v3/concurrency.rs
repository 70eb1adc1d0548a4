//! What locks and elections share: a queue of keys below a prefix, one per lease; whose key was created first has its
//! turn. The recipe is that of etcd's clients (clientv3/concurrency), so that they can queue up together.

use std::sync::Arc;

use bytes::Bytes;
use corten_etcd_api::etcdserverpb::ResponseHeader;
use corten_raft::ReadTx;
use corten_store::StoreFault;
use corten_store::auth;
use corten_store::kv::{
    self, Answer, Command, Compare, CompareResult, KeyValue, Op, OpAnswer, Put, Range, SortOrder, SortTarget,
    Target, Txn,
};
use corten_watch::v3::Hub;
use corten_watch::v3::inbox::{Inbox, Waiting};
use corten_watch::v3::interest::{Interest, Until};
use tonic::Status;

use super::{V3, error, unexpected};

/// The TTL of the lease of who brings none, in seconds; that of etcd's sessions.
const SESSION_TTL_S: i64 = 60;

/// A place in a queue.
#[derive(Debug, Clone)]
pub struct Place {
    /// The prefix of the queue.
    pub prefix: Bytes,
    /// The key that holds the place.
    pub key: Bytes,
    /// Its create revision.
    pub revision: i64,
    /// Its lease.
    pub lease: i64,
    /// The store's revision after queueing up.
    pub at: i64,
    /// Its value before, if it was there already.
    pub before: Option<Bytes>,
}

/// Gives the place up when it is dropped: its client has gone, or waiting failed.
struct Withdrawal {
    v3: V3,
    key: Option<Bytes>,
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        if let Some(key) = self.key.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let v3 = self.v3.clone();
            runtime.spawn(async move {
                if let Err(error) = v3.delete(key).await {
                    tracing::debug!(%error, "a place in a queue was not given up; its lease will end it");
                }
            });
        }
    }
}

/// A watcher outside of any stream.
pub struct Lookout {
    hub: Hub,
    number: u64,
    interest: Interest,
    inbox: Arc<Inbox>,
}

impl Lookout {
    /// Watches from `revision` on; `None` if the hub is past that.
    pub fn begin(hub: &Hub, interest: Interest, revision: i64) -> Option<Lookout> {
        let (number, inbox) = (hub.number(), Arc::default());
        hub.join(number, &interest, revision, &inbox).then(|| Lookout {
            hub: hub.clone(),
            number,
            interest,
            inbox,
        })
    }

    /// What has happened since.
    ///
    /// # Errors
    /// When the server stops.
    pub async fn next(&self) -> Result<Waiting, Status> {
        loop {
            let waiting = self.inbox.take();
            if waiting.closed {
                return Err(error::STOPPED.into());
            }
            if !waiting.items.is_empty() || !waiting.behind.is_empty() {
                return Ok(waiting);
            }
            self.inbox.woken().await;
        }
    }
}

impl Drop for Lookout {
    fn drop(&mut self) {
        self.hub.leave(self.number, &self.interest);
    }
}

/// All keys that start with `prefix`.
pub fn below(prefix: &Bytes) -> Range {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    if end.is_empty() {
        end.push(0);
    }
    Range {
        key: prefix.clone(),
        range_end: end.into(),
        ..Range::default()
    }
}

fn by_creation(
    tx: &ReadTx<'_>,
    prefix: &Bytes,
    sort_order: SortOrder,
    max_create_revision: i64,
) -> Result<(Option<KeyValue>, i64), StoreFault> {
    let range = Range {
        limit: 1,
        sort_order,
        sort_target: SortTarget::Create,
        max_create_revision,
        ..below(prefix)
    };
    let answer = kv::range(tx, &range)?;
    let answer = answer.map_err(|error| StoreFault::Backend(error.to_string()))?;
    Ok((answer.kvs.into_iter().next(), answer.revision))
}

/// etcd serves locks and elections as a client of itself, by which errors lose their codes.
pub fn without_code(status: &Status) -> Status {
    Status::unknown(status.message())
}

/// A queue's prefix.
pub fn prefix(name: &Bytes) -> Bytes {
    [name, &b"/"[..]].concat().into()
}

/// Holds if a key was created at this revision (0: if it is not there).
pub fn created_at(key: &Bytes, revision: i64) -> Compare {
    Compare {
        key: key.clone(),
        range_end: Bytes::new(),
        result: CompareResult::Equal,
        target: Target::Create(revision),
    }
}

impl V3 {
    /// The key below `prefix` that was created first, if the caller may read there; and the store's revision.
    pub fn first(&self, prefix: &Bytes) -> Result<(Option<KeyValue>, i64), Status> {
        self.look_up_as(
            |tx, caller| auth::range(tx, caller, &below(prefix)),
            |tx| by_creation(tx, prefix, SortOrder::Ascend, 0).map(Ok),
        )
    }

    /// Queues up below `name`, or finds the place this lease has there already.
    pub async fn queue_up(&self, name: &Bytes, lease: i64, value: Bytes) -> Result<Place, Status> {
        let lease = if lease == 0 {
            self.grant(0, SESSION_TTL_S).await?.1
        } else {
            lease
        };
        let prefix = prefix(name);
        let key: Bytes = [&prefix[..], format!("{lease:x}").as_bytes()].concat().into();
        let txn = Txn {
            compare: vec![created_at(&key, 0)],
            success: vec![Op::Put(Put {
                key: key.clone(),
                value,
                lease,
                ..Put::default()
            })],
            failure: vec![Op::Range(Range {
                key: key.clone(),
                ..Range::default()
            })],
        };
        let Answer::Txn(answer) = self.propose(Command::Txn(txn)).await? else {
            return Err(unexpected());
        };
        let (revision, before) = match answer.responses.into_iter().next() {
            Some(OpAnswer::Put(_)) => (answer.revision, None),
            Some(OpAnswer::Range(found)) => match found.kvs.into_iter().next() {
                Some(kv) => (kv.create_revision, Some(kv.value)),
                None => return Err(unexpected()),
            },
            _ => return Err(unexpected()),
        };
        Ok(Place {
            prefix,
            key,
            revision,
            lease,
            at: answer.revision,
            before,
        })
    }

    /// Waits until every key that was created before this place is gone. Who stops waiting gives the place up.
    ///
    /// Then the local state holds everything that was acknowledged before the last look: a member that lags may see the
    /// place before it go and not yet that this one is gone, too.
    pub async fn wait_turn(&self, place: &Place) -> Result<Option<ResponseHeader>, Status> {
        let mut withdrawal = Withdrawal {
            v3: self.clone(),
            key: Some(place.key.clone()),
        };
        loop {
            self.linearize().await?;
            let (before, revision) =
                self.read(|tx| by_creation(tx, &place.prefix, SortOrder::Descend, place.revision - 1))?;
            let Some(before) = before else {
                withdrawal.key = None;
                return Ok(self.header(revision));
            };
            let gone = Interest {
                key: before.key,
                until: Until::Itself,
                no_put: true,
                no_delete: false,
            };
            if let Some(lookout) = Lookout::begin(&self.hub, gone, revision + 1) {
                lookout.next().await?;
            }
        }
    }

    /// Deletes one key.
    pub async fn delete(&self, key: Bytes) -> Result<Option<ResponseHeader>, Status> {
        let delete = kv::DeleteRange {
            key,
            ..kv::DeleteRange::default()
        };
        match self.propose(Command::DeleteRange(delete)).await? {
            Answer::DeleteRange(answer) => Ok(self.header(answer.revision)),
            _ => Err(unexpected()),
        }
    }

    /// Does something to a key if it is still the one created at `revision`; the answer's head, and whether it was.
    pub async fn while_held(
        &self,
        key: &Bytes,
        revision: i64,
        op: Op,
    ) -> Result<(Option<ResponseHeader>, bool), Status> {
        let txn = Txn {
            compare: vec![created_at(key, revision)],
            success: vec![op],
            failure: Vec::new(),
        };
        match self.propose(Command::Txn(txn)).await? {
            Answer::Txn(answer) => Ok((self.header(answer.revision), answer.succeeded)),
            _ => Err(unexpected()),
        }
    }
}
