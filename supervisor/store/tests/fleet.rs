//! The fleet's tables: each command, what it answers, what it says has changed.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use corten_spec::fleet::{JobState, UnitState};
use corten_spec::machine::{Machine, MachineId};
use corten_spec::unit_file::UnitFile;
use corten_spec::unit_name::UnitName;
use corten_store::fleet::{self, Answer, Change, Command, Decision};
use corten_store::memory::Memory;
use corten_store::tables::Table;
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
    let said = |store: &Memory| {
        fleet::state(store, &a(), &id(1))
            .unwrap()
            .map(|state| state.launched)
    };
    assert_eq!(said(&store), None);

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
    assert_eq!(said(&store), Some(false));
    run(&mut store, report(true));
    assert_eq!(said(&store), Some(true));
    assert_eq!(run(&mut store, place(None, "no machine is left")), changed);
    let record = fleet::unit(&store, &a()).unwrap().unwrap();
    assert_eq!(
        (record.assigned, record.unplaced.as_deref()),
        (None, Some("no machine is left"))
    );

    let both = [Change::Unit(a())]
        .into_iter()
        .chain(state_changed.clone())
        .collect();
    assert_eq!(
        run(&mut store, Command::DestroyUnit { name: a() }),
        (Answer::Done, both)
    );
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
fn what_was_started_was_not_the_next_unit_of_that_name() {
    let mut store = Memory::new();
    let name = || unit("a.service");
    let set = || Command::SetUnit {
        name: name(),
        file: UnitFile::default(),
        desired: JobState::Launched,
    };
    run(&mut store, join(1, 1));
    run(&mut store, set());
    let report = |launched| Command::Report {
        machine: id(1),
        states: vec![state("a.service", 1, launched)],
        gone: vec![],
    };
    run(&mut store, report(true));
    let changed = |machine| Change::State {
        unit: name(),
        machine,
    };
    let destroyed = run(&mut store, Command::DestroyUnit { name: name() });
    assert_eq!(destroyed.1, [Change::Unit(name()), changed(id(1))]);
    run(&mut store, set());
    // Its machine has not stopped it yet, and does not count it as the new one's.
    let row = fleet::state(&store, &name(), &id(1)).unwrap().unwrap();
    assert_eq!((row.active.as_str(), row.launched), ("active", false));
    // One whose machine went straight on with it says so again.
    assert_eq!(run(&mut store, report(true)).1, [changed(id(1))]);
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

fn everywhere(run: &str, options: &str) -> UnitFile {
    UnitFile::parse(&format!(
        "[Service]\nExecStart={run}\n[X-Fleet]\nGlobal=true\n{options}\n"
    ))
    .unwrap()
}

fn set(file: &UnitFile, limit: u32) -> Command {
    let (name, file, desired) = (unit("g.service"), file.clone(), JobState::Launched);
    match NonZeroU32::new(limit) {
        None => Command::SetUnit { name, file, desired },
        Some(max_unavailable) => Command::RollUnit {
            name,
            file,
            desired,
            max_unavailable,
        },
    }
}

fn allow(file: &UnitFile, machines: &[u8]) -> Command {
    Command::Allow {
        unit: unit("g.service"),
        hash: file.hash(),
        machines: machines.iter().copied().map(id).collect(),
        reason: "because".to_owned(),
    }
}

/// A cluster of machines 1 to `count` that runs a global unit.
fn with_global(count: u8, file: &UnitFile) -> Memory {
    let mut store = Memory::new();
    (1..=count).for_each(|n| drop(run(&mut store, join(n, 1))));
    run(&mut store, set(file, 0));
    store
}

/// What machines 1 to 4 are to run, as the last character of the command.
fn files(store: &Memory) -> String {
    let record = fleet::unit(store, &unit("g.service")).unwrap().unwrap();
    let commands = (1..=4).map(|n| {
        let command = record.file_on(&id(n)).values("Service", "ExecStart").next();
        command.and_then(|command| command.chars().last()).unwrap()
    });
    commands.collect()
}

#[test]
fn a_roll_lets_machines_have_the_new_file_one_by_one() {
    let [a, b, c] = ["/a", "/b", "/c"].map(|run| everywhere(run, ""));
    let mut store = with_global(3, &a);
    let changed = (Answer::Done, vec![Change::Unit(unit("g.service"))]);
    assert_eq!(run(&mut store, set(&b, 1)), changed);
    assert_eq!(files(&store), "aaab", "one that comes meanwhile has the new file");
    assert_eq!(run(&mut store, set(&b, 1)).0, Answer::Unchanged);
    assert_eq!(
        run(&mut store, allow(&c, &[1])).0,
        Answer::Unchanged,
        "another file"
    );
    assert_eq!(run(&mut store, allow(&b, &[1, 4])), changed);
    let rollout = fleet::rolling(&store).unwrap().remove(0).rollout.unwrap();
    assert_eq!((rollout.allowed.len(), rollout.reason.as_str()), (1, "because"));
    assert_eq!(fleet::units(&store).unwrap()[0].rollout, Some(rollout));
    assert_eq!(files(&store), "baab");

    // Another change: nobody goes back, nobody goes on.
    run(&mut store, set(&c, 2));
    assert_eq!(files(&store), "baac");
    run(&mut store, allow(&c, &[2]));
    assert_eq!(files(&store), "bcac");
    let rollout = fleet::rolling(&store).unwrap().remove(0).rollout.unwrap();
    let moved = rollout.waiting.values().map(|waiting| waiting.moved);
    assert_eq!(
        moved.collect::<Vec<_>>(),
        [true, false],
        "of the first and the third"
    );
    // Back to what the third runs: it has nothing to wait for.
    run(&mut store, set(&a, 1));
    assert_eq!(files(&store), "bcaa");
    let rollout = fleet::rolling(&store).unwrap().remove(0).rollout.unwrap();
    assert_eq!(rollout.allowed, [id(3)].into());
    let end = |file: &UnitFile| Command::EndRollout {
        unit: unit("g.service"),
        hash: file.hash(),
    };
    assert_eq!(run(&mut store, end(&b)).0, Answer::Unchanged, "another roll");
    assert_eq!(run(&mut store, end(&a)), changed);
    assert_eq!(files(&store), "aaaa");
    assert!(fleet::rolling(&store).unwrap().is_empty());
}

#[test]
fn one_that_is_absent_when_a_roll_begins_keeps_its_file_too() {
    let [a, b] = ["/a", "/b"].map(|run| everywhere(run, ""));
    let leave = |n| Command::Leave {
        id: id(n),
        session: None,
    };
    let mut store = with_global(3, &a);
    run(&mut store, leave(2));
    run(&mut store, set(&b, 1));
    assert_eq!(files(&store), "aaab");
    let rollout = fleet::rolling(&store).unwrap().remove(0).rollout.unwrap();
    assert_eq!(rollout.of(), 2, "nobody waits for it");
    let absent = rollout.waiting.values().map(|waiting| waiting.absent);
    assert_eq!(absent.collect::<Vec<_>>(), [false, true, false]);
    run(&mut store, allow(&b, &[2]));
    assert_eq!(files(&store), "abab");

    let mut store = with_global(1, &a);
    run(&mut store, leave(1));
    run(&mut store, set(&b, 1));
    assert!(fleet::rolling(&store).unwrap().is_empty(), "nobody is there");
}

#[test]
fn a_roll_ends_with_what_it_protects() {
    let [a, b, c] = ["/a", "/b", "/c"].map(|run| everywhere(run, ""));
    let desire = |desired| Command::SetDesired {
        name: unit("g.service"),
        desired,
    };
    let destroy = Command::DestroyUnit {
        name: unit("g.service"),
    };
    for end in [set(&c, 0), desire(JobState::Loaded), destroy] {
        let mut store = with_global(2, &a);
        run(&mut store, set(&b, 1));
        assert_eq!(run(&mut store, desire(JobState::Launched)).0, Answer::Unchanged);
        assert_eq!(fleet::rolling(&store).unwrap().len(), 1, "{end:?}");
        run(&mut store, end);
        assert!(fleet::rolling(&store).unwrap().is_empty());
        assert!(store.rows().all(|(table, ..)| table != Table::Rollouts));
    }
    // Nothing to protect: not launched, or no machine that runs it.
    let mut store = with_global(2, &a);
    run(&mut store, desire(JobState::Inactive));
    run(&mut store, set(&b, 1));
    assert_eq!(files(&store), "bbbb");
    let mut store = with_global(0, &a);
    run(&mut store, set(&b, 1));
    assert!(fleet::rolling(&store).unwrap().is_empty());
}

#[test]
fn what_cannot_be_rolled_is_refused() {
    let a = everywhere("/a", "");
    let mut store = with_global(2, &a);
    let plain = UnitFile::parse("[Service]\nExecStart=/b\n").unwrap();
    let refused = (Answer::NotGlobal(unit("g.service")), vec![]);
    assert_eq!(run(&mut store, set(&plain, 1)), refused);
    let refused = (Answer::PlacedOtherwise(unit("g.service")), vec![]);
    for options in ["MachineMetadata=role=web", "Conflicts=b.service", "CPUReserve=1%"] {
        assert_eq!(
            run(&mut store, set(&everywhere("/b", options), 1)),
            refused,
            "{options}"
        );
    }
    assert_eq!(files(&store), "aaaa");
    assert_eq!(
        run(&mut store, set(&everywhere("/b", "OnPartition=stop"), 1)).0,
        Answer::Done
    );
    run(&mut store, set(&plain, 0));
    assert_eq!(
        run(&mut store, set(&a, 1)).0,
        Answer::PlacedOtherwise(unit("g.service"))
    );
}

fn encoded(value: &impl serde::Serialize) -> Vec<u8> {
    postcard::to_extend(value, Vec::new()).unwrap()
}

/// Rows and commands of before units could be rolled, byte for byte.
#[test]
fn what_was_written_before_is_read() {
    #[derive(serde::Serialize)]
    struct Record {
        name: UnitName,
        file: UnitFile,
        desired: JobState,
        assigned: Option<corten_spec::fleet::Assignment>,
        unplaced: Option<String>,
    }
    let before = Record {
        name: unit("g.service"),
        file: everywhere("/a", ""),
        desired: JobState::Launched,
        assigned: None,
        unplaced: None,
    };
    let store = with_global(1, &before.file);
    let (_, _, row) = store.rows().find(|(table, ..)| *table == Table::Units).unwrap();
    assert_eq!(row, encoded(&before));
    let first = (0u32, &before.name, &before.file, before.desired);
    assert_eq!(encoded(&set(&before.file, 0)), encoded(&first));
}

#[test]
fn a_join_that_comes_after_a_later_one_is_old_news() {
    let mut store = Memory::default();
    // It counts on over the end of the numbers.
    for (before, after) in [(7, 8), (u64::MAX, 3)] {
        run(&mut store, join(1, after));
        assert_eq!(run(&mut store, join(1, before)), (Answer::Unchanged, vec![]));
        let session = fleet::machine(&store, &id(1)).unwrap().unwrap().session;
        assert_eq!(session, after);
        let leave = Command::Leave {
            id: id(1),
            session: None,
        };
        run(&mut store, leave);
        run(&mut store, join(1, before));
        assert!(!fleet::machine(&store, &id(1)).unwrap().unwrap().present);
        // Another supervisor, which has drawn another number.
        run(&mut store, join(1, after ^ 1 << 63));
        assert!(fleet::machine(&store, &id(1)).unwrap().unwrap().present);
    }
}
