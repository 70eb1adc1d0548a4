//! How much a command had to do, in etcd's counting: its figures tell of puts, ranges, deletes and transactions.
//!
//! etcd counts what it asks its own tree: the range behind a `prev_kv` and each compare is one, too, and more than one of all
//! together is a transaction. Three things only the store's insides would tell, and are counted a little otherwise: all compares,
//! also those behind one that does not hold; a put that keeps its value with the bytes of its name alone; and nothing of what
//! is refused, although etcd looks for the key of a put that keeps something.

use std::ops::AddAssign;

use super::{Answer, Changes, Command, DeleteRange, Op, OpAnswer, Put, Txn, TxnAnswer};

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Keys or ranges that were read.
    pub ranges: u64,
    /// Keys that were set.
    pub puts: u64,
    /// The bytes of their names and values.
    pub put_bytes: u64,
    /// Keys or ranges that were deleted, whether there was anything or not.
    pub deletes: u64,
    /// Requests that did more than one of these.
    pub txns: u64,
    /// Leases that were granted.
    pub leases_granted: u64,
    /// Leases that ended, by a wish or by their time.
    pub leases_revoked: u64,
}

impl AddAssign for Work {
    fn add_assign(&mut self, more: Work) {
        self.ranges += more.ranges;
        self.puts += more.puts;
        self.put_bytes += more.put_bytes;
        self.deletes += more.deletes;
        self.txns += more.txns;
        self.leases_granted += more.leases_granted;
        self.leases_revoked += more.leases_revoked;
    }
}

impl Work {
    /// One read of a key or a range.
    pub const RANGE: Work = Work {
        ranges: 1,
        puts: 0,
        put_bytes: 0,
        deletes: 0,
        txns: 0,
        leases_granted: 0,
        leases_revoked: 0,
    };

    /// Of a command that was applied.
    pub(crate) fn of(command: &Command, answer: &Answer, changes: Option<&Changes>) -> Work {
        let mut work = Work::default();
        match (command, answer) {
            (Command::Put(put), _) => work.put(put),
            (Command::DeleteRange(delete), _) => work.delete(delete),
            (Command::Txn(txn), Answer::Txn(answer)) => work.txn(txn, answer),
            // etcd's way to find out its revision.
            (Command::Compact { .. }, _) => work.ranges = 1,
            (Command::LeaseGrant { .. }, _) => work.leases_granted = 1,
            (Command::LeaseRevoke { .. }, _) => {
                work.leases_revoked = 1;
                work.deletes = changes.map_or(0, |changes| changes.changes.len() as u64);
            }
            _ => {}
        }
        work.whole()
    }

    /// Of a transaction that was only read.
    pub fn of_txn(txn: &Txn, answer: &TxnAnswer) -> Work {
        let mut work = Work::default();
        work.txn(txn, answer);
        work.whole()
    }

    fn whole(mut self) -> Work {
        self.txns = u64::from(self.ranges + self.puts + self.deletes > 1);
        self
    }

    fn put(&mut self, put: &Put) {
        self.puts += 1;
        self.put_bytes += (put.key.len() + put.value.len()) as u64;
        self.ranges += u64::from(put.prev_kv || put.ignore_value || put.ignore_lease);
    }

    fn delete(&mut self, delete: &DeleteRange) {
        self.deletes += 1;
        self.ranges += u64::from(delete.prev_kv);
    }

    fn txn(&mut self, txn: &Txn, answer: &TxnAnswer) {
        self.ranges += txn.compare.len() as u64;
        let done = if answer.succeeded {
            &txn.success
        } else {
            &txn.failure
        };
        for (op, answer) in done.iter().zip(&answer.responses) {
            match (op, answer) {
                (Op::Range(_), _) => self.ranges += 1,
                (Op::Put(put), _) => self.put(put),
                (Op::DeleteRange(delete), _) => self.delete(delete),
                (Op::Txn(txn), OpAnswer::Txn(answer)) => self.txn(txn, answer),
                (Op::Txn(_) | Op::Empty, _) => {}
            }
        }
    }
}
