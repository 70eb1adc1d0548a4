//! A naive v3 store: every revision's full state is kept. What the real one answers must be what this one answers.
#![allow(dead_code, clippy::unwrap_used)]

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use corten_store::kv::*;

pub type Keys = BTreeMap<Bytes, KeyValue>;
/// A change with what was there before.
pub type Event = (Action, KeyValue, Option<KeyValue>);

#[derive(Clone)]
pub struct Model {
    /// By revision; 0 is never seen.
    pub states: Vec<Arc<Keys>>,
    /// By revision.
    pub events: Vec<Vec<Event>>,
    pub leases: BTreeMap<LeaseId, i64>,
    pub compacted: i64,
}

/// One command's work.
struct Work {
    revision: i64,
    keys: Keys,
    events: Vec<Event>,
}

impl Work {
    fn revision_now(&self) -> i64 {
        self.revision + i64::from(!self.events.is_empty())
    }
}

pub fn in_span(key: &[u8], from: &[u8], end: &[u8]) -> bool {
    match end {
        [] => key == from,
        [0] => key >= from,
        end => key >= from && key < end,
    }
}

impl Model {
    pub fn new() -> Model {
        Model {
            states: vec![Arc::default(), Arc::default()],
            events: vec![Vec::new(), Vec::new()],
            leases: BTreeMap::new(),
            compacted: -1,
        }
    }

    pub fn revision(&self) -> i64 {
        self.states.len() as i64 - 1
    }

    pub fn now(&self) -> &Keys {
        self.states.last().unwrap()
    }

    pub fn apply(&mut self, command: &Command) -> Result<Answer, Error> {
        let mut work = Work {
            revision: self.revision(),
            keys: self.now().clone(),
            events: Vec::new(),
        };
        let answer = match command {
            Command::Put(put) => {
                check::put(put)?;
                self.check_put(put)?;
                Answer::Put(self.put(&mut work, put))
            }
            Command::DeleteRange(delete) => {
                check::delete_range(delete)?;
                Answer::DeleteRange(self.delete(&mut work, delete))
            }
            Command::Txn(txn) => {
                self.check_txn(txn, false)?;
                self.check_txn(txn, true)?;
                let mut answer = self.txn(&mut work, txn);
                answer.revision = work.revision_now();
                Answer::Txn(answer)
            }
            Command::Compact { revision } if *revision <= self.compacted => return Err(Error::Compacted),
            Command::Compact { revision } if *revision > self.revision() => {
                return Err(Error::FutureRevision);
            }
            Command::Compact { revision } => {
                self.compacted = *revision;
                Answer::Compact {
                    revision: self.revision(),
                }
            }
            Command::LeaseGrant { id: 0, .. } => return Err(Error::LeaseNotFound),
            Command::LeaseGrant { ttl_s, .. } if *ttl_s > MAX_LEASE_TTL_S => {
                return Err(Error::LeaseTtlTooLarge);
            }
            Command::LeaseGrant { id, .. } if self.leases.contains_key(id) => return Err(Error::LeaseExists),
            Command::LeaseGrant { id, ttl_s } => {
                self.leases.insert(*id, *ttl_s);
                Answer::LeaseGrant {
                    revision: self.revision(),
                    id: *id,
                    ttl_s: *ttl_s,
                }
            }
            Command::LeaseRevoke { id } => {
                self.leases.remove(id).ok_or(Error::LeaseNotFound)?;
                for key in self.lease_keys(*id) {
                    let delete = DeleteRange {
                        key,
                        ..DeleteRange::default()
                    };
                    self.delete(&mut work, &delete);
                }
                Answer::LeaseRevoke {
                    revision: work.revision_now(),
                }
            }
            Command::Sweep => Answer::Sweep { pending: false },
        };
        if !work.events.is_empty() {
            self.states.push(Arc::new(work.keys));
            self.events.push(work.events);
        }
        Ok(answer)
    }

    pub fn lease_keys(&self, id: LeaseId) -> Vec<Bytes> {
        let on_it = |kv: &&KeyValue| kv.lease == id;
        self.now()
            .values()
            .filter(on_it)
            .map(|kv| kv.key.clone())
            .collect()
    }

    fn check_put(&self, put: &Put) -> Result<(), Error> {
        if put.lease != 0 && !self.leases.contains_key(&put.lease) {
            return Err(Error::LeaseNotFound);
        }
        if (put.ignore_lease || put.ignore_value) && !self.now().contains_key(&put.key) {
            return Err(Error::KeyNotFound);
        }
        Ok(())
    }

    fn chosen<'r>(&self, txn: &'r Txn) -> (bool, &'r [Op]) {
        let held = txn.compare.iter().all(|compare| self.holds(compare));
        (held, if held { &txn.success } else { &txn.failure })
    }

    fn check_txn(&self, txn: &Txn, ranges: bool) -> Result<(), Error> {
        check::txn(txn, usize::MAX)?;
        for op in self.chosen(txn).1 {
            match op {
                // etcd's transactions do not know negative revisions
                Op::Range(range) if ranges && range.revision < self.compacted.min(0) => {
                    return Err(Error::Compacted);
                }
                Op::Range(range) if ranges => self.at(range).map(|_| ())?,
                Op::Put(put) if !ranges => self.check_put(put)?,
                Op::Txn(txn) => self.check_txn(txn, ranges)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn at(&self, range: &Range) -> Result<Option<i64>, Error> {
        match range.revision {
            ..=0 => Ok(None),
            at if at > self.revision() => Err(Error::FutureRevision),
            at if at < self.compacted => Err(Error::Compacted),
            at => Ok(Some(at)),
        }
    }

    pub fn range(&self, request: &Range) -> Result<RangeAnswer, Error> {
        check::range(request)?;
        let at = self.at(request)?.unwrap_or(self.revision());
        Ok(range_of(&self.states[at as usize], self.revision(), request))
    }

    fn txn(&self, work: &mut Work, txn: &Txn) -> TxnAnswer {
        let (succeeded, ops) = self.chosen(txn);
        let mut responses = Vec::new();
        for op in ops {
            responses.push(match op {
                Op::Range(range) => {
                    let now = work.revision_now();
                    OpAnswer::Range(match self.at(range).unwrap() {
                        Some(at) => range_of(&self.states[at as usize], now, range),
                        None => range_of(&work.keys, now, range),
                    })
                }
                Op::Put(put) => OpAnswer::Put(self.put(work, put)),
                Op::DeleteRange(delete) => OpAnswer::DeleteRange(self.delete(work, delete)),
                Op::Txn(txn) => OpAnswer::Txn(self.txn(work, txn)),
                Op::Empty => unreachable!("it was refused"),
            });
        }
        TxnAnswer {
            revision: 0,
            succeeded,
            responses,
        }
    }

    fn put(&self, work: &mut Work, put: &Put) -> PutAnswer {
        let old = work.keys.get(&put.key).cloned();
        let revision = work.revision + 1;
        let kv = KeyValue {
            key: put.key.clone(),
            create_revision: old.as_ref().map_or(revision, |old| old.create_revision),
            mod_revision: revision,
            version: old.as_ref().map_or(1, |old| old.version + 1),
            value: match &old {
                Some(old) if put.ignore_value => old.value.clone(),
                _ => put.value.clone(),
            },
            lease: match &old {
                Some(old) if put.ignore_lease => old.lease,
                _ => put.lease,
            },
        };
        work.keys.insert(put.key.clone(), kv.clone());
        work.events.push((Action::Put, kv, old.clone()));
        PutAnswer {
            revision,
            prev_kv: old.filter(|_| put.prev_kv),
        }
    }

    fn delete(&self, work: &mut Work, delete: &DeleteRange) -> DeleteRangeAnswer {
        let inside = |key: &&Bytes| in_span(key, &delete.key, &delete.range_end);
        let keys: Vec<Bytes> = work.keys.keys().filter(inside).cloned().collect();
        let mut prev_kvs = Vec::new();
        for key in &keys {
            let old = work.keys.remove(key).unwrap();
            let kv = KeyValue {
                key: key.clone(),
                mod_revision: work.revision + 1,
                ..KeyValue::default()
            };
            work.events.push((Action::Delete, kv, Some(old.clone())));
            prev_kvs.push(old);
        }
        if !delete.prev_kv {
            prev_kvs.clear();
        }
        DeleteRangeAnswer {
            revision: work.revision_now(),
            deleted: keys.len() as i64,
            prev_kvs,
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let stands = |order: Ordering| match compare.result {
            CompareResult::Equal => order == Ordering::Equal,
            CompareResult::NotEqual => order != Ordering::Equal,
            CompareResult::Greater => order == Ordering::Greater,
            CompareResult::Less => order == Ordering::Less,
        };
        let one = |kv: &KeyValue| {
            stands(match &compare.target {
                Target::Version(v) => kv.version.cmp(v),
                Target::Create(v) => kv.create_revision.cmp(v),
                Target::Mod(v) => kv.mod_revision.cmp(v),
                Target::Lease(v) => kv.lease.cmp(v),
                Target::Value(v) => kv.value.cmp(v),
            })
        };
        let inside: Vec<&KeyValue> = self
            .now()
            .values()
            .filter(|kv| in_span(&kv.key, &compare.key, &compare.range_end))
            .collect();
        if inside.is_empty() {
            return !matches!(compare.target, Target::Value(_)) && one(&KeyValue::default());
        }
        inside.into_iter().all(one)
    }
}

/// A range over one state, as etcd 3.4's `applierV3backend.Range` puts it.
fn range_of(keys: &Keys, revision: i64, request: &Range) -> RangeAnswer {
    let mut kvs: Vec<KeyValue> = keys
        .values()
        .filter(|kv| in_span(&kv.key, &request.key, &request.range_end))
        .cloned()
        .collect();
    let count = kvs.len() as i64;
    if request.count_only {
        kvs.clear();
    }
    let bounds = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    if request.limit > 0 && request.sort_order == SortOrder::None && bounds == [0; 4] {
        kvs.truncate(request.limit as usize + 1);
    }
    kvs.retain(|kv| {
        (bounds[0] == 0 || kv.mod_revision >= bounds[0])
            && (bounds[1] == 0 || kv.mod_revision <= bounds[1])
            && (bounds[2] == 0 || kv.create_revision >= bounds[2])
            && (bounds[3] == 0 || kv.create_revision <= bounds[3])
    });
    kvs.sort_by(|a, b| {
        let order = match request.sort_target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        };
        match request.sort_order {
            SortOrder::Descend => order.reverse(),
            _ => order,
        }
    });
    let more = request.limit > 0 && kvs.len() > request.limit as usize;
    if more {
        kvs.truncate(request.limit as usize);
    }
    if request.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    RangeAnswer {
        revision,
        kvs,
        more,
        count,
    }
}
