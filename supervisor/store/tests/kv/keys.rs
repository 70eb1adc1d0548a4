//! Keys: revisions, versions, ranges.

use super::*;

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
fn the_two_faces_do_not_touch_each_others_numbers() {
    let mut store = with(&[("a", "1")]);
    assert_eq!(corten_store::meta::etcd_index(&store).unwrap(), 0);
    let outcome = apply(&mut store, 1, &Any::Version("3.4.0".to_owned())).unwrap();
    assert_eq!(outcome.etcd_index, 1);
    assert_eq!(revision(&store).unwrap(), 2);
}
