//! Transactions.

use super::*;

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
