//! Writing keys: one command's changes, all of one revision.

use bytes::Bytes;

use super::answer::{Action, Change, Changes, DeleteRangeAnswer, KeyValue, Place, PutAnswer};
use super::error::Error;
use super::key::{self, Span};
use super::read::{self, Lookup};
use super::request::{DeleteRange, LeaseId, Put};
use super::rows::{self, Pointer, Record, Standing};
use super::{compact, lease};
use crate::tables::{StoreFault, Table, Write, load};

/// One command under way.
pub(super) struct Session<'t, T: ?Sized> {
    pub tx: &'t mut T,
    /// The revision in it counts up at the command's end.
    pub standing: Standing,
    /// As the command found it.
    found: Standing,
    changes: Vec<Change>,
}

impl<'t, T: Write + ?Sized> Session<'t, T> {
    pub fn begin(tx: &'t mut T) -> Result<Self, StoreFault> {
        let standing = rows::standing(tx)?;
        Ok(Session {
            tx,
            found: standing.clone(),
            standing,
            changes: Vec::new(),
        })
    }

    /// The revision that an operation now done answers with.
    pub fn revision(&self) -> i64 {
        self.standing.revision + i64::from(!self.changes.is_empty())
    }

    /// Ends the command: counts the revision and sweeps a little of what compactions left.
    pub fn finish(mut self) -> Result<Option<Changes>, StoreFault> {
        self.standing.revision = self.revision();
        if compact::is_pending(&self.standing) {
            compact::sweep(self.tx, &mut self.standing, compact::SWEEP_BY_THE_WAY)?;
        }
        if self.standing != self.found {
            rows::put_standing(self.tx, &self.standing)?;
        }
        Ok((!self.changes.is_empty()).then(|| Changes {
            revision: self.standing.revision,
            changes: self.changes.into(),
        }))
    }

    /// Whether a put can be done in the state as it is.
    pub fn check_put(&self, put: &Put) -> Lookup<()> {
        if put.lease != 0 && !lease::exists(self.tx, put.lease)? {
            return Ok(Err(Error::LeaseNotFound));
        }
        if (put.ignore_value || put.ignore_lease) && read::find(self.tx, &put.key)?.is_none() {
            return Ok(Err(Error::KeyNotFound));
        }
        Ok(Ok(()))
    }

    /// Sets a key; [`check_put`](Self::check_put) has passed.
    pub fn put(&mut self, put: &Put) -> Result<PutAnswer, StoreFault> {
        let row = key::row(&put.key);
        let live: Option<Pointer> = load(self.tx, Table::KvLatest, &row)?;
        let gone: Option<Pointer> = match &live {
            Some(_) => None,
            None => load(self.tx, Table::KvGone, &row)?,
        };
        let old = match &live {
            Some(live) if put.prev_kv || put.ignore_value => {
                Some(read::load_kv(self.tx, put.key.clone(), live)?)
            }
            _ => None,
        };
        let old_lease = live.as_ref().map_or(0, |live| live.lease);
        let at = self.next_place();
        let kv = KeyValue {
            key: put.key.clone(),
            create_revision: live.as_ref().map_or(at.main, |live| live.create),
            mod_revision: at.main,
            version: live.as_ref().map_or(0, |live| live.version) + 1,
            value: match &old {
                Some(old) if put.ignore_value => old.value.clone(),
                _ => put.value.clone(),
            },
            lease: if put.ignore_lease { old_lease } else { put.lease },
        };
        if gone.is_some() {
            self.tx.delete(Table::KvGone, &row)?;
        }
        self.record(Table::KvLatest, live.as_ref().or(gone.as_ref()), at, &kv)?;
        self.move_lease(&put.key, old_lease, kv.lease)?;
        self.changes.push(Change {
            action: Action::Put,
            kv,
            prev: live.map(|live| live.at),
        });
        Ok(PutAnswer {
            revision: at.main,
            prev_kv: old.filter(|_| put.prev_kv),
        })
    }

    /// Deletes a range.
    pub fn delete_range(&mut self, request: &DeleteRange) -> Result<DeleteRangeAnswer, StoreFault> {
        let span = Span::new(&request.key, &request.range_end);
        let (found, deleted) = read::latest(self.tx, &span, usize::MAX)?;
        let mut prev_kvs = Vec::new();
        for (key, pointer) in found {
            if request.prev_kv {
                prev_kvs.push(read::load_kv(self.tx, key.clone(), &pointer)?);
            }
            self.delete(key, &pointer)?;
        }
        Ok(DeleteRangeAnswer {
            revision: self.revision(),
            deleted,
            prev_kvs,
        })
    }

    /// Deletes a key that exists.
    pub fn delete(&mut self, key: Bytes, pointer: &Pointer) -> Result<(), StoreFault> {
        let at = self.next_place();
        self.tx.delete(Table::KvLatest, &key::row(&key))?;
        let kv = KeyValue {
            key,
            mod_revision: at.main,
            ..KeyValue::default()
        };
        self.record(Table::KvGone, Some(pointer), at, &kv)?;
        self.move_lease(&kv.key, pointer.lease, 0)?;
        self.changes.push(Change {
            action: Action::Delete,
            kv,
            prev: Some(pointer.at),
        });
        Ok(())
    }

    fn next_place(&self) -> Place {
        Place {
            main: self.standing.revision + 1,
            sub: self.changes.len() as u32,
        }
    }

    /// Writes the change at `at`, and the key's row in `table` that points to it.
    fn record(
        &mut self,
        table: Table,
        before: Option<&Pointer>,
        at: Place,
        kv: &KeyValue,
    ) -> Result<(), StoreFault> {
        let record = Record {
            prev: before.map(|before| before.at),
            milestone: before.and_then(|before| before.milestone),
            create: kv.create_revision,
            version: kv.version,
            lease: kv.lease,
            key: &kv.key,
            value: &kv.value,
        };
        rows::add_record(self.tx, at, &record)?;
        let pointer = Pointer {
            create: kv.create_revision,
            version: kv.version,
            lease: kv.lease,
            ..Pointer::followed_by(before, at)
        };
        rows::put_pointer(self.tx, table, &kv.key, pointer)
    }

    fn move_lease(&mut self, key: &Bytes, from: LeaseId, to: LeaseId) -> Result<(), StoreFault> {
        if from == to {
            return Ok(());
        }
        if from != 0 {
            lease::detach(self.tx, from, key)?;
        }
        if to != 0 {
            lease::attach(self.tx, to, key)?;
        }
        Ok(())
    }
}
