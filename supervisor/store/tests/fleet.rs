//! The fleet's tables: each command, what it answers, what it says has changed.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use corten_spec::fleet::{JobState, UnitState};
use corten_spec::machine::{Machine, MachineId};
use corten_spec::unit_file::UnitFile;
use corten_spec::unit_name::UnitName;
use corten_store::fleet::{self, Answer, Change, Command, Decision};
use corten_store::memory::Memory;
use corten_store::{Event, Response, apply, meta};

fn unit(name: &str) -> UnitName {
    UnitName::parse(name).unwrap()
}

fn id(n: u8) -> MachineId {
    MachineId(format!("{n:032x}"))
}

fn join(n: u8, session: u64) -> Command {
    let metadata = BTreeMap::from([("role".to_owned(), "web".to_owned())]);
    Command::Join {
        machine: Machine {
            id: id(n),
            primary_ip: format!("10.0.0.{n}"),
            metadata,
            found: Default::default(),
        },
        session,
    }
}

fn state(name: &str, n: u8, launched: bool) -> UnitState {
    UnitState {
        name: unit(name),
        machine: id(n),
        hash: "h".repeat(40),
        load: "loaded".to_owned(),
        active: "active".to_owned(),
        sub: "running".to_owned(),
        launched,
        start_error: String::new(),
    }
}

fn run(store: &mut Memory, command: Command) -> (Answer, Vec<Change>) {
    let outcome = apply(store, 1, &corten_store::Command::Fleet(command)).unwrap();
    let Response::Fleet(answer) = outcome.response else {
        panic!()
    };
    let changes = outcome
        .events
        .into_iter()
        .map(|event| if let Event::Fleet(c) = event { c } else { panic!() });
    (answer, changes.collect())
}

#[test]
fn a_units_life() {
    let mut store = Memory::new();
    let a = || unit("a.service");
    let set = |desired| Command::SetUnit {
        name: a(),
        file: UnitFile::default(),
        desired,
    };
    let changed = (Answer::Done, vec![Change::Unit(a())]);
    assert_eq!(run(&mut store, set(JobState::Inactive)), changed);
    assert_eq!(
        run(&mut store, set(JobState::Inactive)),
        (Answer::Unchanged, vec![])
    );
    run(&mut store, join(1, 7));
    let place = |machine, reason: &str| {
        let gone = Decision {
            unit: unit("gone.service"),
            machine: Some(id(1)),
            reason: String::new(),
        };
        Command::Assign(vec![
            gone,
            Decision {
                unit: a(),
                machine,
                reason: reason.to_owned(),
            },
        ])
    };
    assert_eq!(run(&mut store, place(Some(id(1)), "least loaded")), changed);
    assert_eq!(run(&mut store, set(JobState::Launched)), changed);
    let record = fleet::unit(&store, &a()).unwrap().unwrap();
    assert_eq!(
        (record.desired, record.assigned.unwrap().reason.as_str()),
        (JobState::Launched, "least loaded")
    );
    assert_eq!(fleet::current_state(&store, &a()).unwrap(), JobState::Inactive);

    let report = |launched| Command::Report {
        machine: id(1),
        states: vec![state("a.service", 1, launched)],
        gone: vec![],
    };
    let state_changed = vec![Change::State {
        unit: a(),
        machine: id(1),
    }];
    assert_eq!(
        run(&mut store, report(false)),
        (Answer::Done, state_changed.clone())
    );
    assert_eq!(run(&mut store, report(false)), (Answer::Unchanged, vec![]));
    assert_eq!(fleet::current_state(&store, &a()).unwrap(), JobState::Loaded);
    run(&mut store, report(true));
    assert_eq!(fleet::current_state(&store, &a()).unwrap(), JobState::Launched);
    assert_eq!(run(&mut store, place(None, "no machine is left")), changed);
    let record = fleet::unit(&store, &a()).unwrap().unwrap();
    assert_eq!(
        (record.assigned, record.unplaced.as_deref()),
        (None, Some("no machine is left"))
    );

    assert_eq!(run(&mut store, Command::DestroyUnit { name: a() }), changed);
    assert_eq!(
        run(&mut store, Command::DestroyUnit { name: a() }),
        (Answer::NoSuchUnit(a()), vec![])
    );
    let desire = Command::SetDesired {
        name: a(),
        desired: JobState::Loaded,
    };
    assert_eq!(run(&mut store, desire), (Answer::NoSuchUnit(a()), vec![]));
    assert_eq!(
        fleet::states_of(&store, &a()).unwrap().len(),
        1,
        "the machine has not said that it is gone"
    );
    let gone = Command::Report {
        machine: id(1),
        states: vec![],
        gone: vec![a()],
    };
    assert_eq!(run(&mut store, gone), (Answer::Done, state_changed));
    assert!(fleet::states(&store).unwrap().is_empty());
    assert_eq!(
        meta::etcd_index(&store).unwrap(),
        0,
        "the v2 index knows nothing of the fleet"
    );
}

#[test]
fn a_machine_leaves_with_its_states_and_comes_back_with_its_patches() {
    let mut store = Memory::new();
    assert_eq!(
        run(&mut store, join(1, 7)),
        (Answer::Done, vec![Change::Machine(id(1))])
    );
    assert_eq!(run(&mut store, join(1, 7)).0, Answer::Unchanged);
    run(&mut store, join(2, 8));
    for n in [1, 2] {
        let states = vec![state("a.service", n, true), state("b.service", n, false)];
        run(
            &mut store,
            Command::Report {
                machine: id(n),
                states,
                gone: vec![],
            },
        );
    }
    let patch = |key: &str, value: Option<&str>| Command::PatchMetadata {
        id: id(1),
        key: key.to_owned(),
        value: value.map(str::to_owned),
    };
    run(&mut store, patch("disk", Some("ssd")));
    run(&mut store, patch("role", None));
    let metadata = |store: &Memory| fleet::machine(store, &id(1)).unwrap().unwrap().machine.metadata;
    assert_eq!(
        metadata(&store),
        BTreeMap::from([("disk".to_owned(), "ssd".to_owned())])
    );

    let leave = |session| Command::Leave { id: id(1), session };
    assert_eq!(
        run(&mut store, leave(Some(6))),
        (Answer::OtherSession(id(1)), vec![])
    );
    let (answer, changes) = run(&mut store, leave(Some(7)));
    assert_eq!(answer, Answer::Done);
    let of = |name| Change::State {
        unit: unit(name),
        machine: id(1),
    };
    assert_eq!(
        changes,
        [Change::Machine(id(1)), of("a.service"), of("b.service")]
    );
    assert_eq!(
        run(&mut store, leave(None)),
        (Answer::NoSuchMachine(id(1)), vec![])
    );
    let late = Command::Report {
        machine: id(1),
        states: vec![state("a.service", 1, true)],
        gone: vec![],
    };
    assert_eq!(run(&mut store, late), (Answer::NoSuchMachine(id(1)), vec![]));
    assert_eq!(fleet::states_on(&store, &id(1)).unwrap(), []);
    assert_eq!(fleet::states_on(&store, &id(2)).unwrap().len(), 2);
    let present: Vec<_> = fleet::machines(&store)
        .unwrap()
        .iter()
        .map(|m| m.present)
        .collect();
    assert_eq!(present, [false, true]);

    run(&mut store, join(1, 9));
    assert_eq!(
        metadata(&store),
        BTreeMap::from([("disk".to_owned(), "ssd".to_owned())])
    );
}
