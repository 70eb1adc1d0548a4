//! Random v3 commands against the real store and a naive one: every answer, every revision, every event.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::{Event, Model};
use corten_store::kv::{self, *};
use corten_store::memory::Memory;
use corten_store::tables::{KeyRange, Read, Table};
use corten_store::{Command as Any, Event as AnyEvent, Response, apply};
use proptest::prelude::*;

/// Runs one command in the real store.
fn run(store: &mut Memory, command: &Command) -> (Result<Answer, Error>, Option<Changes>) {
    let mut outcome = apply(store, 1, &Any::Kv(command.clone())).unwrap();
    let Response::Kv(answer) = outcome.response else {
        panic!("{:?}", outcome.response)
    };
    let lease = match command {
        Command::LeaseGrant { id, ttl_s } if answer.is_ok() => Some(AnyEvent::Lease(*id, Some(*ttl_s))),
        Command::LeaseRevoke { id } if answer.is_ok() => Some(AnyEvent::Lease(*id, None)),
        _ => None,
    };
    let told = outcome
        .events
        .pop_if(|event| matches!(event, AnyEvent::Lease(..)));
    assert_eq!(told, lease);
    let changes = outcome.events.pop().map(|event| match event {
        AnyEvent::Kv(changes) => changes,
        other => panic!("{other:?}"),
    });
    assert!(outcome.events.is_empty());
    (answer, changes)
}

/// Both do it, and must say the same.
fn both(store: &mut Memory, model: &mut Model, command: &Command) {
    let before = model.revision();
    let (answer, changes) = run(store, command);
    let mut expected = model.apply(command);
    if let Ok(Answer::Sweep { pending }) = &mut expected {
        *pending = sweep_pending(store).unwrap();
    }
    assert_eq!(answer, expected, "{command:?}");
    assert_eq!(changes.is_some(), model.revision() > before, "{command:?}");
    if let Some(changes) = changes {
        assert_eq!(changes.revision, model.revision());
        let events = &model.events[changes.revision as usize];
        assert_eq!(&with_previous(store, &changes, model), events, "{command:?}");
    }
}

/// The events with what was there before, where that is not compacted away.
fn with_previous(store: &Memory, changes: &Changes, model: &Model) -> Vec<Event> {
    let expected = &model.events[changes.revision as usize];
    let loaded = |(change, expected): (&Change, &Event)| {
        assert_eq!(change.prev.is_some(), expected.2.is_some());
        let previous = previous(store, change).unwrap();
        let compacted = change.prev.is_some_and(|prev| prev.main < model.compacted);
        let previous = match previous {
            None if compacted => expected.2.clone(),
            previous => previous,
        };
        (change.action, change.kv.clone(), previous)
    };
    assert_eq!(changes.changes.len(), expected.len());
    changes.changes.iter().zip(expected).map(loaded).collect()
}

/// Everything that can be read must be what the model says.
fn compare_all(store: &Memory, model: &Model) {
    let current = model.revision();
    assert_eq!(kv::revision(store).unwrap(), current);
    assert_eq!(compact_revision(store).unwrap(), model.compacted);
    for revision in 0..=current + 1 {
        let all = Range {
            key: Bytes::from_static(b"\0"),
            range_end: Bytes::from_static(b"\0"),
            revision,
            ..Range::default()
        };
        assert_eq!(range(store, &all).unwrap(), model.range(&all), "at {revision}");
    }
    for revision in [
        model.compacted - 1,
        model.compacted,
        (model.compacted + current) / 2,
        current,
        current + 1,
    ] {
        compare_events(store, model, revision);
    }
    let leases = leases(store).unwrap();
    assert_eq!(leases, model.leases.clone().into_iter().collect::<Vec<_>>());
    for (id, ttl_s) in leases {
        assert_eq!(lease(store, id).unwrap(), Some(ttl_s));
        assert_eq!(lease_keys(store, id).unwrap(), model.lease_keys(id));
    }
}

fn compare_events(store: &Memory, model: &Model, revision: i64) {
    for limit in [1, 3, usize::MAX] {
        let mut from = revision;
        let mut seen = Vec::new();
        while from <= model.revision() {
            let page = match events_from(store, from, limit).unwrap() {
                Ok(page) => page,
                Err(error) => {
                    assert_eq!(error, Error::Compacted);
                    assert!(revision < model.compacted);
                    break;
                }
            };
            assert!(page.next > from || page.revisions.is_empty());
            let events: usize = page.revisions.iter().map(|r| r.changes.len()).sum();
            let last = page.revisions.last().map_or(0, |r| r.changes.len());
            assert!(events - last < limit, "{events} events in a page of {limit}");
            seen.extend(page.revisions);
            from = page.next;
        }
        if revision < model.compacted {
            assert!(seen.is_empty());
            continue;
        }
        let expected: Vec<i64> = (revision.max(2)..=model.revision()).collect();
        assert_eq!(seen.iter().map(|r| r.revision).collect::<Vec<_>>(), expected);
        for changes in seen {
            assert_eq!(
                with_previous(store, &changes, model),
                model.events[changes.revision as usize]
            );
        }
    }
}

fn rows(store: &Memory, table: Table) -> usize {
    let mut rows = 0;
    store
        .scan(table, &KeyRange::all(), &mut |_, _| {
            rows += 1;
            Ok(std::ops::ControlFlow::Continue(()))
        })
        .unwrap();
    rows
}

/// After all is swept, exactly what can still be reached is kept, and hashes are what they were before.
fn sweep_and_compare(store: &mut Memory, model: &Model) {
    let hash_before = hash(store, 0).unwrap();
    while sweep_pending(store).unwrap() {
        run(store, &Command::Sweep).0.unwrap();
    }
    assert_eq!(hash(store, 0).unwrap(), hash_before);
    compare_all(store, model);
    let compacted = model.compacted.max(1);
    let since: usize = model.events[compacted as usize..].iter().map(Vec::len).sum();
    let older = |kv: &&KeyValue| kv.mod_revision < compacted;
    // What revision `compacted` still shows of older changes, and what it itself replaced, is no longer there.
    let below = model.states[compacted as usize].values().filter(older).count();
    assert_eq!(rows(store, Table::KvRevisions), since + below);
    assert_eq!(rows(store, Table::KvLatest), model.now().len());
    let mut gone: Vec<&Bytes> = model.events[compacted as usize..]
        .iter()
        .flatten()
        .filter(|(_, kv, _)| !model.now().contains_key(&kv.key))
        .map(|(_, kv, _)| &kv.key)
        .collect();
    gone.sort();
    gone.dedup();
    assert_eq!(rows(store, Table::KvGone), gone.len());
    let on_leases = model.now().values().filter(|kv| kv.lease != 0).count();
    assert_eq!(rows(store, Table::LeaseKeys), on_leases);
}

/// Short keys, bytes at both ends, and long ones that differ only where a row's key no longer shows it.
fn keys() -> Vec<Bytes> {
    let long = |end: &[u8]| Bytes::from([vec![b'b'; 400], end.to_vec()].concat());
    let mut keys = vec![
        long(b""),
        long(b"\0"),
        long(b"a"),
        long(b"aa"),
        long(b"b"),
        long(b"\xff\xff"),
    ];
    keys.push(Bytes::from(vec![b'b'; 399]));
    keys.push(Bytes::from(
        [vec![b'b'; 399], b"c".to_vec(), vec![0; 300]].concat(),
    ));
    for short in [&b"\0"[..], b"a", b"a\0", b"ab", b"b", b"c", b"\xff"] {
        keys.push(Bytes::copy_from_slice(short));
    }
    keys
}

fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(keys())
}

fn range_end() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => Just(Bytes::new()),
        1 => Just(Bytes::from_static(b"\0")),
        3 => key(),
    ]
}

fn lease_id() -> impl Strategy<Value = LeaseId> {
    prop_oneof![4 => Just(0), 3 => 1..4i64, 1 => Just(-7)]
}

fn value() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec![&b""[..], b"1", b"2", b"33"]).prop_map(Bytes::from_static)
}

fn put() -> impl Strategy<Value = Put> {
    let flag = || prop::bool::weighted(0.2);
    (key(), value(), lease_id(), flag(), flag(), flag()).prop_map(
        |(key, value, lease, prev_kv, ignore_value, ignore_lease)| Put {
            key,
            value: if ignore_value { Bytes::new() } else { value },
            lease: if ignore_lease { 0 } else { lease },
            prev_kv,
            ignore_value,
            ignore_lease,
        },
    )
}

fn delete() -> impl Strategy<Value = DeleteRange> {
    (key(), range_end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| DeleteRange {
        key,
        range_end,
        prev_kv,
    })
}

fn any_range() -> impl Strategy<Value = Range> {
    let sort_order = prop::sample::select(vec![SortOrder::None, SortOrder::Ascend, SortOrder::Descend]);
    let sort_target = prop::sample::select(vec![
        SortTarget::Key,
        SortTarget::Version,
        SortTarget::Create,
        SortTarget::Mod,
        SortTarget::Value,
    ]);
    let bound = || prop_oneof![5 => Just(0), 1 => 1..30i64];
    let revision = prop_oneof![3 => Just(0), 3 => 1..40i64, 1 => Just(-3)];
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    (
        (key(), range_end(), 0..6i64, revision),
        (sort_order, sort_target, flags),
        (bound(), bound(), bound(), bound()),
    )
        .prop_map(
            |((key, range_end, limit, revision), (sort_order, sort_target, flags), bounds)| Range {
                key,
                range_end,
                limit,
                revision,
                sort_order,
                sort_target,
                keys_only: flags.0,
                count_only: flags.1,
                min_mod_revision: bounds.0,
                max_mod_revision: bounds.1,
                min_create_revision: bounds.2,
                max_create_revision: bounds.3,
            },
        )
}

fn compare() -> impl Strategy<Value = Compare> {
    let result = prop::sample::select(vec![
        CompareResult::Equal,
        CompareResult::NotEqual,
        CompareResult::Greater,
        CompareResult::Less,
    ]);
    let target = prop_oneof![
        (0..4i64).prop_map(Target::Version),
        (0..20i64).prop_map(Target::Create),
        (0..20i64).prop_map(Target::Mod),
        value().prop_map(Target::Value),
        lease_id().prop_map(Target::Lease),
    ];
    (key(), range_end(), result, target).prop_map(|(key, range_end, result, target)| Compare {
        key,
        range_end,
        result,
        target,
    })
}

fn txn() -> impl Strategy<Value = Txn> {
    let op = prop_oneof![
        2 => any_range().prop_map(Op::Range),
        3 => put().prop_map(Op::Put),
        1 => delete().prop_map(Op::DeleteRange),
    ];
    let wrap = |op: BoxedStrategy<Op>| {
        let ops = || prop::collection::vec(op.clone(), 0..4);
        (prop::collection::vec(compare(), 0..3), ops(), ops()).prop_map(|(compare, success, failure)| Txn {
            compare,
            success,
            failure,
        })
    };
    let nested = wrap(op.clone().boxed());
    let ops = prop_oneof![4 => op, 1 => nested.prop_map(Op::Txn)];
    wrap(ops.boxed()).prop_filter("a face refuses it", |txn| check::txn(txn, 128).is_ok())
}

/// The transaction without what writes.
fn reading(mut txn: Txn) -> Txn {
    let reads = |ops: Vec<Op>| {
        let read = |op| match op {
            Op::Range(range) => Some(Op::Range(range)),
            Op::Txn(txn) => Some(Op::Txn(reading(txn))),
            Op::Put(_) | Op::DeleteRange(_) | Op::Empty => None,
        };
        ops.into_iter().filter_map(read).collect()
    };
    txn.success = reads(txn.success);
    txn.failure = reads(txn.failure);
    txn
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        10 => put().prop_map(Command::Put),
        4 => delete().prop_map(Command::DeleteRange),
        6 => txn().prop_map(Command::Txn),
        1 => (-2..40i64).prop_map(|revision| Command::Compact { revision }),
        2 => (lease_id(), prop_oneof![9 => 1..100i64, 1 => Just(MAX_LEASE_TTL_S + 1)])
            .prop_map(|(id, ttl_s)| Command::LeaseGrant { id, ttl_s }),
        1 => lease_id().prop_map(|id| Command::LeaseRevoke { id }),
        1 => Just(Command::Sweep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_says_what_a_naive_one_says(
        commands in prop::collection::vec(command(), 1..60),
        ranges in prop::collection::vec(any_range(), 20),
        reads in prop::collection::vec(txn(), 4),
    ) {
        let (mut store, mut model) = (Memory::new(), Model::new());
        for command in &commands {
            both(&mut store, &mut model, command);
        }
        for request in &ranges {
            prop_assert_eq!(range(&store, request).unwrap(), model.range(request), "{:?}", request);
        }
        for txn in reads.into_iter().map(reading) {
            let expected = model.clone().apply(&Command::Txn(txn.clone()));
            prop_assert_eq!(read_txn(&store, &txn).unwrap().map(Answer::Txn), expected);
        }
        compare_all(&store, &model);
        sweep_and_compare(&mut store, &model);
        let longest = store.rows().map(|(_, key, _)| key.len()).max();
        prop_assert!(longest < Some(511), "a row's key has {:?} bytes", longest);
    }
}

/// Thousands of changes of few keys: milestones are used, and compactions are swept over many commands, one beginning
/// before the last is done.
#[test]
fn a_long_history_is_swept_bit_by_bit() {
    let (mut store, mut model) = (Memory::new(), Model::new());
    let keys = keys();
    let mut x = 1u64;
    let mut pending = 0;
    for step in 0..12_000u64 {
        x = x
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let key = keys[if step % 3 == 0 {
            0
        } else {
            (x >> 33) as usize % keys.len()
        }]
        .clone();
        let command = match (x >> 50) % 8 {
            0 => Command::DeleteRange(DeleteRange {
                key,
                ..DeleteRange::default()
            }),
            _ => Command::Put(Put {
                key,
                value: Bytes::from(step.to_string()),
                ..Put::default()
            }),
        };
        both(&mut store, &mut model, &command);
        if [6_000, 6_010, 6_020, 9_000].contains(&step) {
            let revision = model.revision() - 40;
            both(&mut store, &mut model, &Command::Compact { revision });
        }
        pending += u64::from(sweep_pending(&store).unwrap());
        if [6_001, 6_009, 6_011, 9_001].contains(&step) {
            assert!(sweep_pending(&store).unwrap(), "nothing to sweep at {step}");
            let mut swept = store.clone();
            sweep_and_compare(&mut swept, &model);
        }
    }
    assert!(pending > 30, "swept at once: {pending}");
    sweep_and_compare(&mut store, &model);
}
