//! How much a command is counted for; the figures are those of a real etcd 3.4.23 after the same requests.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use corten_store::kv::{
    Command, Compare, CompareResult, DeleteRange, LeaseId, Op, Put, Range, Target, Txn, Work,
};
use corten_store::memory::Memory;
use corten_store::{Command as Any, apply};

fn put(key: &'static str, value: &'static str) -> Put {
    Put {
        key: Bytes::from_static(key.as_bytes()),
        value: Bytes::from_static(value.as_bytes()),
        ..Put::default()
    }
}

fn delete(key: &'static str) -> DeleteRange {
    DeleteRange {
        key: Bytes::from_static(key.as_bytes()),
        ..DeleteRange::default()
    }
}

fn range(key: &'static str) -> Range {
    Range {
        key: Bytes::from_static(key.as_bytes()),
        ..Range::default()
    }
}

fn on_lease(key: &'static str, lease: LeaseId) -> Command {
    Command::Put(Put {
        lease,
        ..put(key, "")
    })
}

/// `[ranges, puts, bytes put, deletes, transactions]`
fn counted(store: &mut Memory, command: Command) -> [u64; 5] {
    let Work {
        ranges,
        puts,
        put_bytes,
        deletes,
        txns,
        ..
    } = apply(store, 1, &Any::Kv(command)).unwrap().work;
    [ranges, puts, put_bytes, deletes, txns]
}

#[test]
fn work_is_counted_as_etcd_counts_it() {
    let mut store = Memory::new();
    let with_old = Put {
        prev_kv: true,
        ..put("a", "1")
    };
    let is_one = Compare {
        key: Bytes::from_static(b"a"),
        range_end: Bytes::new(),
        result: CompareResult::Equal,
        target: Target::Value(Bytes::from_static(b"1")),
    };
    let txn = Txn {
        compare: vec![is_one],
        success: vec![
            Op::Put(put("b", "2")),
            Op::Range(range("a")),
            Op::DeleteRange(delete("c")),
        ],
        failure: vec![Op::Range(range("a"))],
    };
    let alone = Txn {
        success: vec![Op::Put(put("b", "2"))],
        ..Txn::default()
    };
    let refused = Put {
        ignore_value: true,
        ..put("none", "")
    };
    for (command, expected) in [
        (Command::Put(put("a", "1")), [0, 1, 2, 0, 0]),
        (Command::DeleteRange(delete("zz")), [0, 0, 0, 1, 0]),
        (Command::Put(with_old), [1, 1, 2, 0, 1]),
        (Command::Txn(txn), [2, 1, 2, 1, 1]),
        (Command::Txn(alone), [0, 1, 2, 0, 0]),
        (Command::Txn(Txn::default()), [0; 5]),
        (Command::Put(refused), [0; 5]),
        (Command::Compact { revision: 3 }, [1, 0, 0, 0, 0]),
        (Command::LeaseGrant { id: 7, ttl_s: 9 }, [0; 5]),
        (on_lease("k", 7), [0, 1, 1, 0, 0]),
        (on_lease("l", 7), [0, 1, 1, 0, 0]),
        (Command::LeaseRevoke { id: 7 }, [0, 0, 0, 2, 1]),
    ] {
        assert_eq!(counted(&mut store, command.clone()), expected, "{command:?}");
    }
    let grant = Any::Kv(Command::LeaseGrant { id: 8, ttl_s: 9 });
    let granted = apply(&mut store, 1, &grant).unwrap().work;
    assert_eq!((granted.leases_granted, granted.leases_revoked), (1, 0));
    let again = apply(&mut store, 1, &grant).unwrap().work;
    assert_eq!(again, Work::default(), "there is one of that id");
}
