//! What etcd's v3 data model promises, rule by rule.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use corten_store::kv::*;
use corten_store::memory::Memory;
use corten_store::{Command as Any, Event, Response, apply};

fn b(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(key: &str, value: &str) -> Put {
    Put {
        key: b(key),
        value: b(value),
        ..Put::default()
    }
}

fn on_lease(key: &str, lease: LeaseId) -> Put {
    Put {
        lease,
        ..put(key, "v")
    }
}

fn delete(key: &str, range_end: &str) -> DeleteRange {
    DeleteRange {
        key: b(key),
        range_end: b(range_end),
        prev_kv: true,
    }
}

fn all() -> Range {
    Range {
        key: b("\0"),
        range_end: b("\0"),
        ..Range::default()
    }
}

fn compare(key: &str, result: CompareResult, target: Target) -> Compare {
    Compare {
        key: b(key),
        range_end: Bytes::new(),
        result,
        target,
    }
}

fn run(store: &mut Memory, command: Command) -> Result<Answer, Error> {
    match apply(store, 1, &Any::Kv(command)).unwrap().response {
        Response::Kv(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn events(store: &mut Memory, command: Command) -> Vec<(Action, String, i64)> {
    let outcome = apply(store, 1, &Any::Kv(command)).unwrap();
    let mut events = Vec::new();
    for event in outcome.events {
        let changes = match event {
            Event::Kv(changes) => changes,
            Event::Lease(..) => continue,
            other => panic!("{other:?}"),
        };
        for change in changes.changes.iter() {
            let key = String::from_utf8(change.kv.key.to_vec()).unwrap();
            assert_eq!(change.kv.mod_revision, changes.revision);
            events.push((change.action, key, change.kv.mod_revision));
        }
    }
    events
}

/// A store with the keys set, in order.
fn with(keys: &[(&str, &str)]) -> Memory {
    let mut store = Memory::new();
    for (key, value) in keys {
        run(&mut store, Command::Put(put(key, value))).unwrap();
    }
    store
}

fn shown(answer: &RangeAnswer) -> String {
    let kv = |kv: &KeyValue| {
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let (key, value) = (text(&kv.key), text(&kv.value));
        format!(
            "{key}={value}:{}/{}/{}",
            kv.create_revision, kv.mod_revision, kv.version
        )
    };
    let kvs: Vec<String> = answer.kvs.iter().map(kv).collect();
    let more = if answer.more { " more" } else { "" };
    format!("{} @{} of {}{more}", kvs.join(" "), answer.revision, answer.count)
}

fn read(store: &Memory, range: &Range) -> String {
    match corten_store::kv::range(store, range).unwrap() {
        Ok(answer) => shown(&answer),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_fresh_store_is_at_revision_one() {
    let mut store = Memory::new();
    assert_eq!(revision(&store).unwrap(), 1);
    assert_eq!(read(&store, &all()), " @1 of 0");
    let Answer::Put(answer) = run(&mut store, Command::Put(put("a", "1"))).unwrap() else {
        panic!()
    };
    assert_eq!(answer.revision, 2);
}

#[test]
fn versions_count_from_each_creation() {
    let mut store = with(&[("a", "1"), ("a", "2")]);
    assert_eq!(read(&store, &all()), "a=2:2/3/2 @3 of 1");
    run(&mut store, Command::DeleteRange(delete("a", ""))).unwrap();
    assert_eq!(read(&store, &all()), " @4 of 0");
    run(&mut store, Command::Put(put("a", "3"))).unwrap();
    assert_eq!(read(&store, &all()), "a=3:5/5/1 @5 of 1");
    for (revision, expected) in [(2, "a=1:2/2/1"), (3, "a=2:2/3/2"), (5, "a=3:5/5/1")] {
        let at = Range { revision, ..all() };
        assert_eq!(read(&store, &at), format!("{expected} @5 of 1"));
    }
    assert_eq!(read(&store, &Range { revision: 4, ..all() }), " @5 of 0");
    assert_eq!(
        read(&store, &Range { revision: 6, ..all() }),
        "etcdserver: mvcc: required revision is a future revision"
    );
    assert_eq!(
        read(
            &store,
            &Range {
                revision: -1,
                ..all()
            }
        ),
        "a=3:5/5/1 @5 of 1"
    );
}

#[test]
fn nothing_changed_is_no_revision() {
    let mut store = with(&[("a", "1")]);
    let Answer::DeleteRange(answer) = run(&mut store, Command::DeleteRange(delete("b", "\0"))).unwrap()
    else {
        panic!()
    };
    assert_eq!((answer.revision, answer.deleted), (2, 0));
    let refused = Put {
        ignore_value: true,
        value: Bytes::new(),
        ..put("x", "")
    };
    assert_eq!(run(&mut store, Command::Put(refused)), Err(Error::KeyNotFound));
    assert_eq!(events(&mut store, Command::Txn(Txn::default())), []);
    assert_eq!(revision(&store).unwrap(), 2);
}

#[test]
fn a_put_answers_with_what_was_there_and_keeps_what_it_is_told_to() {
    let mut store = Memory::new();
    run(&mut store, Command::LeaseGrant { id: 9, ttl_s: 60 }).unwrap();
    run(&mut store, Command::Put(on_lease("a", 9))).unwrap();
    let keep_both = Put {
        ignore_value: true,
        ignore_lease: true,
        prev_kv: true,
        ..put("a", "")
    };
    let Answer::Put(answer) = run(&mut store, Command::Put(keep_both)).unwrap() else {
        panic!()
    };
    assert_eq!(
        answer.prev_kv.map(|kv| (kv.value, kv.lease, kv.version)),
        Some((b("v"), 9, 1))
    );
    let kv = range(&store, &all()).unwrap().unwrap().kvs.remove(0);
    assert_eq!((kv.value, kv.lease, kv.version), (b("v"), 9, 2));
    let keep_lease = Put {
        ignore_lease: true,
        ..put("a", "w")
    };
    run(&mut store, Command::Put(keep_lease)).unwrap();
    assert_eq!(lease_keys(&store, 9).unwrap(), [b("a")]);
    run(&mut store, Command::Put(put("a", "x"))).unwrap();
    assert!(
        lease_keys(&store, 9).unwrap().is_empty(),
        "a put without a lease takes the key off"
    );
}

#[test]
fn range_ends_mean_what_they_mean_in_etcd() {
    let store = with(&[("a", "1"), ("b", "2"), ("c", "3")]);
    let keys = |key: &str, end: &str| {
        let request = Range {
            key: b(key),
            range_end: b(end),
            ..Range::default()
        };
        let answer = range(&store, &request).unwrap().unwrap();
        answer
            .kvs
            .iter()
            .map(|kv| String::from_utf8(kv.key.to_vec()).unwrap())
            .collect::<String>()
    };
    for (key, end, expected) in [
        ("a", "", "a"),
        ("aa", "", ""),
        ("a", "c", "ab"),
        ("b", "\0", "bc"),
        ("\0", "\0", "abc"),
        ("a", "a", ""),
        ("c", "a", ""),
        ("aa", "zz", "bc"),
    ] {
        assert_eq!(keys(key, end), expected, "[{key:?}, {end:?})");
    }
    assert_eq!(range(&store, &Range::default()).unwrap(), Err(Error::EmptyKey));
}

#[test]
fn limits_counts_sorts_and_bounds() {
    let store = with(&[("b", "1"), ("a", "3"), ("c", "2"), ("b", "4")]); // revisions 2, 3, 4, 5
    let (none, up, down) = (SortOrder::None, SortOrder::Ascend, SortOrder::Descend);
    for (order, target, limit, expected) in [
        (none, SortTarget::Key, 0, "a=3:3/3/1 b=4:2/5/2 c=2:4/4/1 @5 of 3"),
        (none, SortTarget::Key, 2, "a=3:3/3/1 b=4:2/5/2 @5 of 3 more"),
        (none, SortTarget::Key, 3, "a=3:3/3/1 b=4:2/5/2 c=2:4/4/1 @5 of 3"),
        (down, SortTarget::Key, 1, "c=2:4/4/1 @5 of 3 more"),
        (up, SortTarget::Create, 1, "b=4:2/5/2 @5 of 3 more"),
        (down, SortTarget::Mod, 0, "b=4:2/5/2 c=2:4/4/1 a=3:3/3/1 @5 of 3"),
        (up, SortTarget::Value, 0, "c=2:4/4/1 a=3:3/3/1 b=4:2/5/2 @5 of 3"),
        (
            down,
            SortTarget::Version,
            0,
            "b=4:2/5/2 a=3:3/3/1 c=2:4/4/1 @5 of 3",
        ),
        // etcd 3.4 sorts only limit + 1 keys where no order is named: c, the smallest value, is not among them
        (none, SortTarget::Value, 1, "a=3:3/3/1 @5 of 3 more"),
    ] {
        let request = Range {
            sort_order: order,
            sort_target: target,
            limit,
            ..all()
        };
        assert_eq!(read(&store, &request), expected, "{order:?} {target:?} {limit}");
    }
    let bounded = Range {
        min_mod_revision: 4,
        max_create_revision: 3,
        limit: 1,
        ..all()
    };
    assert_eq!(
        read(&store, &bounded),
        "b=4:2/5/2 @5 of 3",
        "the count knows no bounds"
    );
    assert_eq!(
        read(
            &store,
            &Range {
                max_mod_revision: 3,
                ..all()
            }
        ),
        "a=3:3/3/1 @5 of 3"
    );
    assert_eq!(
        read(
            &store,
            &Range {
                min_create_revision: 4,
                ..all()
            }
        ),
        "c=2:4/4/1 @5 of 3"
    );
    assert_eq!(
        read(
            &store,
            &Range {
                count_only: true,
                limit: 1,
                ..all()
            }
        ),
        " @5 of 3"
    );
    assert_eq!(
        read(
            &store,
            &Range {
                keys_only: true,
                sort_target: SortTarget::Value,
                ..all()
            }
        ),
        "c=:4/4/1 a=:3/3/1 b=:2/5/2 @5 of 3"
    );
}

#[test]
fn a_transaction_is_one_revision_and_sees_itself() {
    let mut store = with(&[("a", "1"), ("b", "1")]);
    let txn = Txn {
        compare: vec![compare("a", CompareResult::Equal, Target::Value(b("1")))],
        success: vec![
            Op::Range(all()),
            Op::Put(put("c", "2")),
            Op::DeleteRange(delete("a", "")),
            Op::Range(all()),
            Op::Range(Range {
                revision: 3,
                count_only: true,
                ..all()
            }),
            Op::Txn(Txn {
                // before the transaction there was no c
                compare: vec![compare("c", CompareResult::Equal, Target::Create(0))],
                success: vec![Op::Put(put("d", "3"))],
                failure: vec![],
            }),
        ],
        failure: vec![Op::Put(put("never", ""))],
    };
    let mut copy = store.clone();
    let Answer::Txn(answer) = run(&mut store, Command::Txn(txn.clone())).unwrap() else {
        panic!()
    };
    assert!(answer.succeeded);
    assert_eq!(answer.revision, 4);
    let shown_op = |op: &OpAnswer| match op {
        OpAnswer::Range(range) => shown(range),
        OpAnswer::Put(put) => format!("put @{}", put.revision),
        OpAnswer::DeleteRange(delete) => format!("deleted {} @{}", delete.deleted, delete.revision),
        OpAnswer::Txn(txn) => format!("txn {} @{}", txn.succeeded, txn.revision),
    };
    assert_eq!(
        answer.responses.iter().map(shown_op).collect::<Vec<_>>(),
        [
            "a=1:2/2/1 b=1:3/3/1 @3 of 2",
            "put @4",
            "deleted 1 @4",
            "b=1:3/3/1 c=2:4/4/1 @4 of 2",
            " @4 of 2",
            "txn true @0",
        ]
    );
    let expected = [(Action::Put, "c"), (Action::Delete, "a"), (Action::Put, "d")];
    assert_eq!(
        events(&mut copy, Command::Txn(txn)),
        expected.map(|(action, key)| (action, key.to_owned(), 4))
    );
}

#[test]
fn compares_hold_as_in_etcd() {
    use CompareResult::{Equal, Greater, Less, NotEqual};
    let mut store = Memory::new();
    run(&mut store, Command::LeaseGrant { id: 7, ttl_s: 60 }).unwrap();
    run(&mut store, Command::Put(on_lease("a", 7))).unwrap();
    run(&mut store, Command::Put(put("b", "w"))).unwrap();
    run(&mut store, Command::Put(put("b", "x"))).unwrap();
    let holds = |compare: Compare| {
        let txn = Txn {
            compare: vec![compare],
            ..Txn::default()
        };
        read_txn(&store, &txn).unwrap().unwrap().succeeded
    };
    for (key, result, target, expected) in [
        ("a", Equal, Target::Value(b("v")), true),
        ("a", NotEqual, Target::Value(b("v")), false),
        ("a", Greater, Target::Value(b("u")), true),
        ("b", Equal, Target::Version(2), true),
        ("b", Less, Target::Version(3), true),
        ("b", Equal, Target::Create(3), true),
        ("b", Equal, Target::Mod(4), true),
        ("a", Equal, Target::Lease(7), true),
        ("b", Equal, Target::Lease(0), true),
        // a key that is not there has zeroes, and no value that compares
        ("none", Equal, Target::Mod(0), true),
        ("none", Less, Target::Create(1), true),
        ("none", Equal, Target::Value(b("")), false),
        ("none", NotEqual, Target::Value(b("x")), false),
    ] {
        assert_eq!(
            holds(compare(key, result, target.clone())),
            expected,
            "{key} {result:?} {target:?}"
        );
    }
    let over = |end: &str, target| Compare {
        range_end: b(end),
        ..compare("a", Greater, target)
    };
    assert!(holds(over("\0", Target::Version(0))), "every key of the range");
    assert!(!holds(over("\0", Target::Version(1))), "a has version 1");
    assert!(holds(over("b", Target::Mod(1))));
}

#[test]
fn a_transaction_that_cannot_be_done_changes_nothing() {
    let mut store = with(&[("a", "1")]);
    let before = store.clone();
    for (bad, error) in [
        (Op::Put(on_lease("b", 5)), Error::LeaseNotFound),
        (
            Op::Put(Put {
                ignore_lease: true,
                ..put("b", "1")
            }),
            Error::KeyNotFound,
        ),
        (
            Op::Put(Put {
                ignore_value: true,
                ..put("a", "1")
            }),
            Error::ValueProvided,
        ),
        (
            Op::Put(Put {
                ignore_lease: true,
                lease: 1,
                ..put("a", "1")
            }),
            Error::LeaseProvided,
        ),
        (Op::Put(put("", "1")), Error::EmptyKey),
        (Op::Range(Range::default()), Error::EmptyKey),
        (Op::DeleteRange(DeleteRange::default()), Error::EmptyKey),
        (Op::Range(Range { revision: 3, ..all() }), Error::FutureRevision),
    ] {
        let nested = Op::Txn(Txn {
            success: vec![bad.clone()],
            ..Txn::default()
        });
        for bad in [bad, nested] {
            let txn = Txn {
                success: vec![Op::Put(put("c", "1")), bad],
                ..Txn::default()
            };
            assert_eq!(run(&mut store, Command::Txn(txn)), Err(error));
            assert_eq!(store, before);
        }
    }
}

#[test]
fn leases_hold_keys_and_take_them_along() {
    let mut store = Memory::new();
    let grant = |id, ttl_s| Command::LeaseGrant { id, ttl_s };
    assert_eq!(run(&mut store, grant(0, 5)), Err(Error::LeaseNotFound));
    assert_eq!(
        run(&mut store, grant(1, MAX_LEASE_TTL_S + 1)),
        Err(Error::LeaseTtlTooLarge)
    );
    assert_eq!(
        run(&mut store, grant(1, 5)),
        Ok(Answer::LeaseGrant {
            revision: 1,
            id: 1,
            ttl_s: 5
        })
    );
    assert_eq!(run(&mut store, grant(1, 5)), Err(Error::LeaseExists));
    run(&mut store, grant(2, 7)).unwrap();
    assert_eq!(
        run(&mut store, Command::Put(on_lease("a", 3))),
        Err(Error::LeaseNotFound)
    );
    for key in ["c", "a", "b", "moved", "deleted"] {
        run(&mut store, Command::Put(on_lease(key, 1))).unwrap();
    }
    run(&mut store, Command::Put(on_lease("moved", 2))).unwrap();
    run(&mut store, Command::DeleteRange(delete("deleted", ""))).unwrap();
    assert_eq!(lease_keys(&store, 1).unwrap(), [b("a"), b("b"), b("c")]);
    assert_eq!(lease_keys(&store, 2).unwrap(), [b("moved")]);
    assert_eq!(leases(&store).unwrap(), [(1, 5), (2, 7)]);
    let gone = events(&mut store, Command::LeaseRevoke { id: 1 });
    assert_eq!(
        gone,
        ["a", "b", "c"].map(|key| (Action::Delete, key.to_owned(), 9))
    );
    assert_eq!(
        (lease(&store, 1).unwrap(), lease(&store, 2).unwrap()),
        (None, Some(7))
    );
    assert_eq!(
        run(&mut store, Command::LeaseRevoke { id: 1 }),
        Err(Error::LeaseNotFound)
    );
    run(&mut store, grant(3, 1)).unwrap();
    assert_eq!(
        run(&mut store, Command::LeaseRevoke { id: 3 }),
        Ok(Answer::LeaseRevoke { revision: 9 })
    );
}

#[test]
fn compaction_refuses_what_is_past_and_to_come() {
    let mut store = with(&[("a", "1"), ("a", "2"), ("a", "3")]);
    assert_eq!(compact_revision(&store).unwrap(), -1);
    let compact = |revision| Command::Compact { revision };
    assert_eq!(run(&mut store, compact(-1)), Err(Error::Compacted));
    assert_eq!(
        run(&mut store, compact(0)),
        Ok(Answer::Compact { revision: 4 }),
        "once, as in etcd"
    );
    assert_eq!(run(&mut store, compact(0)), Err(Error::Compacted));
    assert_eq!(run(&mut store, compact(5)), Err(Error::FutureRevision));
    assert_eq!(run(&mut store, compact(3)), Ok(Answer::Compact { revision: 4 }));
    assert_eq!(run(&mut store, compact(3)), Err(Error::Compacted));
    let at = |revision| Range { revision, ..all() };
    assert_eq!(
        read(&store, &at(2)),
        "etcdserver: mvcc: required revision has been compacted"
    );
    assert_eq!(read(&store, &at(3)), "a=2:2/3/2 @4 of 1");
    assert_eq!(run(&mut store, compact(4)), Ok(Answer::Compact { revision: 4 }));
    assert_eq!(read(&store, &at(0)), "a=3:2/4/3 @4 of 1");
}

#[test]
fn a_watch_may_begin_at_the_compacted_revision() {
    let mut store = with(&[("a", "1"), ("b", "1")]);
    run(&mut store, Command::DeleteRange(delete("a", "\0"))).unwrap(); // revision 4
    run(&mut store, Command::Put(put("a", "2"))).unwrap();
    run(&mut store, Command::Compact { revision: 4 }).unwrap();
    assert_eq!(events_from(&store, 3, 10).unwrap(), Err(Error::Compacted));
    let page = events_from(&store, 4, 1).unwrap().unwrap();
    assert_eq!(page.next, 5);
    assert_eq!(page.revisions.len(), 1, "a revision is never split");
    assert_eq!(page.revisions[0].changes.len(), 2);
    assert!(
        page.revisions[0]
            .changes
            .iter()
            .all(|change| change.action == Action::Delete)
    );
    assert_eq!(
        previous(&store, &page.revisions[0].changes[0]).unwrap(),
        None,
        "compacted away"
    );
    let page = events_from(&store, 5, 1).unwrap().unwrap();
    assert_eq!((page.revisions.len(), page.next), (1, 6));
    let change = &page.revisions[0].changes[0];
    assert_eq!(
        (change.kv.version, change.prev),
        (1, None),
        "made anew after a deletion"
    );
    let nothing = events_from(&store, 6, 1).unwrap().unwrap();
    assert_eq!((nothing.revisions.len(), nothing.next), (0, 6));
    let later = events_from(&store, 9, 1).unwrap().unwrap();
    assert_eq!((later.revisions.len(), later.next), (0, 9));
}

#[test]
fn hashes_tell_contents_and_refuse_what_etcd_refuses() {
    let mut store = with(&[("a", "1"), ("b", "1")]);
    let at_3 = hash(&store, 0).unwrap().unwrap();
    assert_eq!((at_3.revision, at_3.compact_revision), (3, -1));
    run(&mut store, Command::Put(put("c", "1"))).unwrap();
    assert_eq!(hash(&store, 3).unwrap().unwrap().hash, at_3.hash);
    assert_ne!(hash(&store, 4).unwrap().unwrap().hash, at_3.hash);
    assert_ne!(
        hash(&with(&[("a", "1"), ("b", "2")]), 0).unwrap().unwrap().hash,
        at_3.hash
    );
    assert_eq!(hash(&store, 5).unwrap(), Err(Error::FutureRevision));
    run(&mut store, Command::Compact { revision: 3 }).unwrap();
    assert_eq!(hash(&store, 3).unwrap(), Err(Error::Compacted));
}

#[test]
fn the_two_faces_do_not_touch_each_others_numbers() {
    let mut store = with(&[("a", "1")]);
    assert_eq!(corten_store::meta::etcd_index(&store).unwrap(), 0);
    let outcome = apply(&mut store, 1, &Any::Version("3.4.0".to_owned())).unwrap();
    assert_eq!(outcome.etcd_index, 1);
    assert_eq!(revision(&store).unwrap(), 2);
}

/// The log of a running cluster holds these bytes.
#[test]
fn commands_are_encoded_as_they_were() {
    let encoded = |command| postcard::to_stdvec(&Any::Kv(command)).unwrap();
    assert_eq!(
        encoded(Command::Put(on_lease("k", 3))),
        [5, 0, 1, b'k', 1, b'v', 6, 0, 0, 0]
    );
    assert_eq!(
        encoded(Command::DeleteRange(delete("k", ""))),
        [5, 1, 1, b'k', 0, 1]
    );
    assert_eq!(encoded(Command::Txn(Txn::default())), [5, 2, 0, 0, 0]);
    assert_eq!(encoded(Command::Compact { revision: 1 }), [5, 3, 2]);
    assert_eq!(encoded(Command::LeaseGrant { id: 1, ttl_s: 2 }), [5, 4, 2, 4]);
    assert_eq!(encoded(Command::LeaseRevoke { id: 1 }), [5, 5, 2]);
    assert_eq!(encoded(Command::Sweep), [5, 6]);
}

#[test]
fn a_transaction_is_looked_at_before_it_is_proposed() {
    let txn = |success: Vec<Op>| Txn {
        success,
        ..Txn::default()
    };
    let put = |key: &str| Op::Put(put(key, ""));
    let delete = |key: &str, end: &str| Op::DeleteRange(delete(key, end));
    let either = |success, failure| {
        Op::Txn(Txn {
            compare: vec![],
            success,
            failure,
        })
    };
    for (ops, expected) in [
        (vec![put("a"), put("b")], Ok(())),
        (vec![put("a"), put("a")], Err(Error::DuplicateKey)),
        (vec![put("a"), delete("a", "")], Err(Error::DuplicateKey)),
        (vec![delete("a", ""), put("a")], Err(Error::DuplicateKey)),
        (vec![delete("a", "c"), put("b")], Err(Error::DuplicateKey)),
        (vec![delete("a", "c"), put("c")], Ok(())),
        (
            vec![delete("a", "c"), delete("b", "d"), put("cc")],
            Err(Error::DuplicateKey),
        ),
        (
            vec![delete("x", "z"), delete("a", "b"), delete("c", "d"), put("bb")],
            Ok(()),
        ),
        (vec![delete("a", "\0"), put("b")], Ok(())), // etcd does not see this one
        (vec![delete("a", "c"), delete("a", "c")], Ok(())),
        (
            vec![put("a"), either(vec![put("a")], vec![])],
            Err(Error::DuplicateKey),
        ),
        (vec![either(vec![put("a")], vec![put("a")])], Ok(())),
        (
            vec![either(vec![put("a")], vec![put("a")]), put("a")],
            Err(Error::DuplicateKey),
        ),
        (
            vec![either(vec![put("a")], vec![]), either(vec![], vec![put("a")])],
            Err(Error::DuplicateKey),
        ),
        (vec![either(vec![put("a")], vec![delete("a", "")])], Ok(())),
        (
            vec![either(vec![], vec![delete("a", "b")]), put("a")],
            Err(Error::DuplicateKey),
        ),
        (
            vec![delete("a", "b"), either(vec![put("a")], vec![])],
            Err(Error::DuplicateKey),
        ),
        (vec![put("")], Err(Error::EmptyKey)),
        (vec![either(vec![delete("", "x")], vec![])], Err(Error::EmptyKey)),
    ] {
        assert_eq!(
            check::txn(&txn(ops.clone()), check::MAX_TXN_OPS),
            expected,
            "{ops:?}"
        );
    }
    let many = |count: usize| (0..count).map(|n| put(&n.to_string())).collect::<Vec<_>>();
    assert_eq!(check::txn(&txn(many(128)), 128), Ok(()));
    assert_eq!(check::txn(&txn(many(129)), 128), Err(Error::TooManyOps));
    let nested = |inner| txn(vec![either(many(inner), vec![])]);
    assert_eq!(check::txn(&nested(127), 128), Ok(()));
    assert_eq!(
        check::txn(&nested(128), 128),
        Err(Error::TooManyOps),
        "the outer one counts"
    );
    let compares = vec![compare("a", CompareResult::Equal, Target::Mod(0)); 129];
    assert_eq!(
        check::txn(
            &Txn {
                compare: compares,
                ..Txn::default()
            },
            128
        ),
        Err(Error::TooManyOps)
    );
    let nameless = vec![compare("", CompareResult::Equal, Target::Mod(0))];
    assert_eq!(
        check::txn(
            &Txn {
                compare: nameless,
                ..Txn::default()
            },
            128
        ),
        Err(Error::EmptyKey)
    );
}

#[test]
fn long_keys_are_keys_like_others() {
    let long = |end: &str| "k".repeat(400) + end;
    let names = [
        long(""),
        long("a"),
        long("ab"),
        long("b"),
        long(&"z".repeat(3000)),
        "k".repeat(401) + "!",
    ];
    let mut store = Memory::new();
    run(&mut store, Command::LeaseGrant { id: 1, ttl_s: 9 }).unwrap();
    for name in &names {
        run(&mut store, Command::Put(on_lease(name, 1))).unwrap();
    }
    let mut sorted: Vec<Bytes> = names.iter().map(|name| b(name)).collect();
    sorted.sort();
    let keys = |request: &Range| {
        let answer = range(&store, request).unwrap().unwrap();
        answer.kvs.into_iter().map(|kv| kv.key).collect::<Vec<_>>()
    };
    assert_eq!(keys(&all()), sorted);
    assert_eq!(keys(&Range { limit: 3, ..all() }), sorted[..3]);
    let between = Range {
        key: b(&long("ab")),
        range_end: b(&long("c")),
        ..Range::default()
    };
    assert_eq!(keys(&between), [b(&long("ab")), b(&long("b"))]);
    assert_eq!(
        keys(&Range {
            key: b(&long("b")),
            ..Range::default()
        }),
        [b(&long("b"))]
    );
    assert_eq!(lease_keys(&store, 1).unwrap(), sorted);
    let gone = events(&mut store, Command::LeaseRevoke { id: 1 });
    assert_eq!(
        gone.into_iter().map(|(_, key, _)| b(&key)).collect::<Vec<_>>(),
        sorted
    );
    let past = Range { revision: 7, ..all() };
    assert_eq!(range(&store, &past).unwrap().unwrap().count, 6);
}

#[test]
fn errors_have_etcds_texts_and_codes() {
    for (error, text, code) in [
        (Error::EmptyKey, "etcdserver: key is not provided", 3),
        (Error::KeyNotFound, "etcdserver: key not found", 3),
        (Error::ValueProvided, "etcdserver: value is provided", 3),
        (Error::LeaseProvided, "etcdserver: lease is provided", 3),
        (
            Error::TooManyOps,
            "etcdserver: too many operations in txn request",
            3,
        ),
        (
            Error::DuplicateKey,
            "etcdserver: duplicate key given in txn request",
            3,
        ),
        (
            Error::Compacted,
            "etcdserver: mvcc: required revision has been compacted",
            11,
        ),
        (
            Error::FutureRevision,
            "etcdserver: mvcc: required revision is a future revision",
            11,
        ),
        (Error::LeaseNotFound, "etcdserver: requested lease not found", 5),
        (Error::LeaseExists, "etcdserver: lease already exists", 9),
        (Error::LeaseTtlTooLarge, "etcdserver: too large lease TTL", 11),
    ] {
        assert_eq!((error.to_string().as_str(), error.grpc_code()), (text, code));
    }
}
