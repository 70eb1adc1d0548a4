//! The heed state against its in-memory twin: the same commands, the same outcomes, the same rows; and through a snapshot.
#![allow(clippy::unwrap_used)]

use std::num::NonZeroU32;

use bytes::Bytes;
use corten_spec::fleet::{JobState, UnitState};
use corten_spec::machine::{Machine as FleetMachine, MachineId};
use corten_spec::unit_file::UnitFile;
use corten_spec::unit_name::UnitName;
use corten_store::fleet::{self, Decision};
use corten_store::keys::{Compare, Op, Write};
use corten_store::kv;
use corten_store::memory::Memory;
use corten_store::tables::Table;
use corten_store::{Command, apply};
use proptest::prelude::*;

use super::{State, all_rows};
use crate::snapshot::Snapshots;
use crate::world::World;

fn key() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("_h".to_owned()),
        Just("x".repeat(600))
    ];
    proptest::collection::vec(part, 0..4).prop_map(|parts| format!("/{}", parts.join("/")))
}

fn op() -> impl Strategy<Value = Op> {
    let value = || prop_oneof![Just(String::new()), Just("1".to_owned()), Just("2".to_owned())];
    let expire = || proptest::option::of(0u64..50);
    let prev = || (value(), 0u64..20).prop_map(|(value, index)| Compare { value, index });
    prop_oneof![
        4 => (any::<bool>(), value(), expire(), any::<bool>())
            .prop_map(|(dir, value, expire_ms, refresh)| Op::Set { dir, value, expire_ms, refresh }),
        2 => (any::<bool>(), value(), expire())
            .prop_map(|(dir, value, expire_ms)| Op::Create { dir, value, expire_ms }),
        1 => (any::<bool>(), value(), expire())
            .prop_map(|(dir, value, expire_ms)| Op::CreateInOrder { dir, value, expire_ms }),
        2 => (value(), expire(), any::<bool>())
            .prop_map(|(value, expire_ms, refresh)| Op::Update { value, expire_ms, refresh }),
        2 => (prev(), value(), expire(), any::<bool>()).prop_map(|(prev, value, expire_ms, refresh)| {
            Op::CompareAndSwap { prev, value, expire_ms, refresh }
        }),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(dir, recursive)| Op::Delete { dir, recursive }),
        1 => prev().prop_map(|prev| Op::CompareAndDelete { prev }),
    ]
}

fn fleet_command() -> impl Strategy<Value = fleet::Command> {
    let name = || (0..3u8).prop_map(|n| UnitName::parse(&format!("u{n}.service")).unwrap());
    let id = || (0..3u8).prop_map(|n| MachineId(format!("{n:032x}")));
    let desired = || {
        prop_oneof![
            Just(JobState::Inactive),
            Just(JobState::Loaded),
            Just(JobState::Launched)
        ]
    };
    let everywhere = || {
        let file = |n| UnitFile::parse(&format!("[Service]\nExecStart=/{n}\n[X-Fleet]\nGlobal=true\n"));
        (0..2u8).prop_map(move |n| file(n).unwrap())
    };
    let state = move |name: UnitName, machine: MachineId, launched| UnitState {
        name,
        machine,
        hash: String::new(),
        load: "loaded".to_owned(),
        active: "active".to_owned(),
        sub: "running".to_owned(),
        launched,
        start_error: String::new(),
    };
    prop_oneof![
        (name(), desired()).prop_map(|(name, desired)| fleet::Command::SetUnit {
            name,
            file: UnitFile::default(),
            desired
        }),
        (name(), desired()).prop_map(|(name, desired)| fleet::Command::SetDesired { name, desired }),
        (name(), everywhere()).prop_map(|(name, file)| fleet::Command::RollUnit {
            name,
            file,
            desired: JobState::Launched,
            max_unavailable: NonZeroU32::MIN,
        }),
        (name(), everywhere(), id()).prop_map(|(unit, file, machine)| fleet::Command::Allow {
            unit,
            hash: file.hash(),
            machines: [machine].into(),
            reason: "because".to_owned(),
        }),
        (name(), everywhere()).prop_map(|(unit, file)| fleet::Command::EndRollout {
            unit,
            hash: file.hash(),
        }),
        name().prop_map(|name| fleet::Command::DestroyUnit { name }),
        (id(), 0..2u64).prop_map(|(id, session)| fleet::Command::Join {
            machine: FleetMachine {
                id,
                primary_ip: "10.0.0.1".to_owned(),
                metadata: Default::default(),
                found: Default::default(),
            },
            session
        }),
        (id(), proptest::option::of(0..2u64)).prop_map(|(id, session)| fleet::Command::Leave { id, session }),
        (id(), proptest::option::of(Just("v".to_owned()))).prop_map(|(id, value)| {
            fleet::Command::PatchMetadata {
                id,
                key: "k".to_owned(),
                value,
            }
        }),
        (name(), proptest::option::of(id())).prop_map(|(unit, machine)| {
            fleet::Command::Assign(vec![Decision {
                unit,
                machine,
                reason: "because".to_owned(),
            }])
        }),
        (id(), name(), name(), any::<bool>()).prop_map(move |(machine, name, gone, launched)| {
            let states = vec![state(name, machine.clone(), launched)];
            fleet::Command::Report {
                machine,
                states,
                gone: vec![gone],
            }
        }),
    ]
}

fn kv_command() -> impl Strategy<Value = kv::Command> {
    let key = || prop_oneof!["[ab]".prop_map(Bytes::from), "x{400}[ab]".prop_map(Bytes::from)];
    let end = prop_oneof![Just(Bytes::new()), Just(Bytes::from_static(b"\0"))];
    prop_oneof![
        6 => (key(), 0..3i64).prop_map(|(key, lease)| {
            kv::Command::Put(kv::Put { key, value: Bytes::from_static(b"v"), lease, ..kv::Put::default() })
        }),
        2 => (key(), end).prop_map(|(key, range_end)| {
            kv::Command::DeleteRange(kv::DeleteRange { key, range_end, prev_kv: true })
        }),
        1 => (0..30i64).prop_map(|revision| kv::Command::Compact { revision }),
        1 => (1..3i64).prop_map(|id| kv::Command::LeaseGrant { id, ttl_s: 60 }),
        1 => (1..3i64).prop_map(|id| kv::Command::LeaseRevoke { id }),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        6 => kv_command().prop_map(Command::Kv),
        6 => (key(), op(), 0u64..50).prop_map(|(key, op, now_ms)| Command::Keys(Write { key, op, now_ms })),
        1 => (0u64..50).prop_map(|now_ms| Command::ExpireKeys { now_ms }),
        3 => fleet_command().prop_map(Command::Fleet),
    ]
}

type Rows = Vec<(Table, Vec<u8>, Vec<u8>)>;

fn rows_of(state: &State) -> Rows {
    state
        .read(|tx| {
            let mut rows = Vec::new();
            all_rows(tx, &mut |table, key, value| {
                rows.push((table, key.to_vec(), value.to_vec()));
                Ok(())
            })?;
            Ok(rows)
        })
        .unwrap()
}

fn rows_in(memory: &Memory) -> Rows {
    memory
        .rows()
        .map(|(table, key, value)| (table, key.to_vec(), value.to_vec()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn heed_and_memory_agree(commands in proptest::collection::vec(command(), 1..120)) {
        let dir = tempfile::tempdir().unwrap();
        let (state, whole) = State::open(&World::real(), dir.path(), 1 << 26).unwrap();
        assert!(!whole, "a new state is to be filled");
        let mut memory = Memory::new();
        for (at, command) in commands.iter().enumerate() {
            let expected = apply(&mut memory, at as u64, command).unwrap();
            let got = state.write(|tx| apply(tx, at as u64, command)).unwrap();
            prop_assert_eq!(got, expected);
        }
        prop_assert_eq!(rows_of(&state), rows_in(&memory));

        let snapshots = Snapshots::open(&World::real(), dir.path(), 7).unwrap();
        let built = snapshots.build(&state).unwrap();
        state.write(|tx| apply(tx, 0, &Command::ExpireKeys { now_ms: u64::MAX })).unwrap();
        state.write(|tx| tx.tables.of(Table::Meta).clear(&mut tx.txn).map_err(super::fault)).unwrap();
        let received = dir.path().join("snap/received.tmp");
        std::fs::copy(dir.path().join("snap/00000000000000000000-0000000000000000.snap"), &received).unwrap();
        snapshots.install_file(&state, &built.meta, &received).unwrap();
        prop_assert_eq!(rows_of(&state), rows_in(&memory));
        state.close();
        let (state, whole) = State::open(&World::real(), dir.path(), 1 << 26).unwrap();
        prop_assert!(whole, "a cleanly closed state is trusted");
        prop_assert_eq!(rows_of(&state), rows_in(&memory));
        state.close();
    }
}

#[test]
fn a_damaged_snapshot_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = State::open(&World::real(), dir.path(), 1 << 26).unwrap();
    let write = |key: &str| {
        let op = Op::Set {
            dir: false,
            value: "v".repeat(1000),
            expire_ms: None,
            refresh: false,
        };
        let command = Command::Keys(Write {
            key: key.to_owned(),
            op,
            now_ms: 0,
        });
        state.write(|tx| apply(tx, 0, &command)).unwrap();
    };
    (0..100).for_each(|n| write(&format!("/{n}")));
    let snapshots = Snapshots::open(&World::real(), dir.path(), 7).unwrap();
    let built = snapshots.build(&state).unwrap();
    write("/later");
    let rows = rows_of(&state);
    let name = dir.path().join("snap/00000000000000000000-0000000000000000.snap");
    let whole = std::fs::read(&name).unwrap();
    for at in [3, 20, 50, whole.len() / 2, whole.len() - 1] {
        let received = dir.path().join("snap/received.tmp");
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&received, &bytes).unwrap();
        snapshots
            .install_file(&state, &built.meta, &received)
            .unwrap_err();
        std::fs::write(&received, &whole[..at]).unwrap();
        snapshots
            .install_file(&state, &built.meta, &received)
            .unwrap_err();
        assert_eq!(rows_of(&state), rows);
    }
    state.close();
}
