//! When what is waited for is done.

use corten_spec::unit_file::UnitFile;

use super::*;

fn unit(desired: &str, current: &str, machine: &str) -> Unit {
    Unit {
        name: "a.service".into(),
        desired_state: desired.into(),
        current_state: current.into(),
        machine_id: machine.into(),
        ..Unit::default()
    }
}

fn state(active: &str, sub: &str) -> State {
    State {
        name: "a.service".into(),
        hash: "new".into(),
        machine_id: "m".into(),
        load: "loaded".into(),
        active: active.into(),
        sub: sub.into(),
        ..State::default()
    }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Reached => "reached",
        Verdict::Launched(_) => "launched",
        Verdict::Unplaced(_) => "unplaced",
        Verdict::Held(_) => "held",
        Verdict::Pending(_) => "pending",
        Verdict::Failed(_) => "failed",
    }
}

#[test]
fn starts_are_done_when_systemd_says_so() {
    let launched = unit("launched", "launched", "m");
    let (soon, later) = (Duration::from_millis(100), Duration::from_secs(2));
    let table = [
        ("active", "running", soon, "reached"),
        ("activating", "start-pre", later, "launched"),
        ("activating", "auto-restart", soon, "launched"),
        ("activating", "auto-restart", later, "failed"),
        ("failed", "failed", soon, "launched"),
        ("failed", "failed", later, "failed"),
        ("inactive", "dead", soon, "launched"),
        ("inactive", "dead", later, "reached"),
        ("deactivating", "stop", later, "launched"),
    ];
    let goal = Goal::Started { hash: None };
    for (active, sub, since, expected) in table {
        let verdict = judge(&goal, Some(&launched), &[state(active, sub)], since);
        assert_eq!(word(&verdict), expected, "{active} {sub} {since:?}");
    }
    assert_eq!(word(&judge(&goal, Some(&launched), &[], later)), "launched");
    let elsewhere = State {
        machine_id: "other".into(),
        ..state("active", "running")
    };
    assert_eq!(
        word(&judge(&goal, Some(&launched), &[elsewhere], later)),
        "launched"
    );
    let broken = State {
        load: "bad-setting".into(),
        ..state("inactive", "dead")
    };
    assert_eq!(word(&judge(&goal, Some(&launched), &[broken], later)), "failed");
    let refused = State {
        start_error: "systemd refused to start a.service: Unit b.service not found.".into(),
        ..state("inactive", "dead")
    };
    let verdict = judge(&goal, Some(&launched), &[refused], soon);
    assert!(
        matches!(&verdict, Verdict::Failed(why) if why.contains("b.service not found")),
        "{verdict:?}"
    );
    let replaced = Goal::Started {
        hash: Some("newer".into()),
    };
    assert_eq!(
        word(&judge(
            &replaced,
            Some(&launched),
            &[state("active", "running")],
            later
        )),
        "pending"
    );
}

#[test]
fn what_is_not_placed_says_why() {
    let mut waiting = unit("launched", "inactive", "");
    let goal = Goal::Started { hash: None };
    assert_eq!(
        judge(&goal, Some(&waiting), &[], Duration::ZERO),
        Verdict::Unplaced(String::new())
    );
    waiting.unplaced_reason = "3 machines: 3 conflict".into();
    assert_eq!(
        judge(&goal, Some(&waiting), &[], Duration::ZERO),
        Verdict::Unplaced("3 machines: 3 conflict".into())
    );
}

#[test]
fn what_its_machine_does_nothing_about_says_why() {
    let why = "machine 0123abcd has trouble: systemd does not answer";
    let held = |desired, current| Unit {
        unplaced_reason: why.into(),
        ..unit(desired, current, "m")
    };
    let started = Goal::Started { hash: None };
    for (goal, unit, state) in [
        (&started, held("launched", "inactive"), None),
        (
            &started,
            held("launched", "launched"),
            Some(state("activating", "start")),
        ),
        (&Goal::Loaded, held("loaded", "inactive"), None),
        (
            &Goal::Stopped { ran: true },
            held("loaded", "launched"),
            Some(state("active", "running")),
        ),
    ] {
        let verdict = judge(goal, Some(&unit), state.as_slice(), Duration::ZERO);
        assert_eq!(verdict, Verdict::Held(why.into()), "{goal:?}");
    }
    let runs = held("launched", "launched");
    let running = [state("active", "running")];
    assert_eq!(judge(&started, Some(&runs), &running, SETTLED), Verdict::Reached);
}

#[test]
fn stops_and_loads_and_the_rest() {
    let ran = Goal::Stopped { ran: true };
    let idle = Goal::Stopped { ran: false };
    let table: [(&Goal, Option<Unit>, Option<State>, &str); 16] = [
        (
            &ran,
            Some(unit("loaded", "launched", "m")),
            Some(state("active", "running")),
            "pending",
        ),
        (
            &ran,
            Some(unit("loaded", "launched", "m")),
            Some(state("deactivating", "stop")),
            "pending",
        ),
        (
            &ran,
            Some(unit("loaded", "launched", "m")),
            Some(state("inactive", "dead")),
            "reached",
        ),
        (
            &idle,
            Some(unit("loaded", "launched", "m")),
            Some(state("failed", "failed")),
            "pending",
        ),
        (
            &idle,
            Some(unit("loaded", "loaded", "m")),
            Some(state("failed", "failed")),
            "reached",
        ),
        (
            &ran,
            Some(unit("loaded", "loaded", "m")),
            Some(state("active", "running")),
            "pending",
        ),
        (&ran, Some(unit("loaded", "inactive", "")), None, "reached"),
        (
            &Goal::Loaded,
            Some(unit("loaded", "loaded", "m")),
            None,
            "reached",
        ),
        (
            &Goal::Loaded,
            Some(unit("loaded", "inactive", "m")),
            None,
            "pending",
        ),
        (
            &Goal::Loaded,
            Some(unit("launched", "launched", "m")),
            None,
            "failed",
        ),
        (&Goal::Loaded, None, None, "failed"),
        (
            &Goal::Unloaded,
            Some(unit("inactive", "launched", "m")),
            None,
            "pending",
        ),
        (
            &Goal::Unloaded,
            Some(unit("inactive", "inactive", "")),
            Some(state("deactivating", "stop")),
            "pending",
        ),
        (
            &Goal::Unloaded,
            Some(unit("inactive", "inactive", "")),
            None,
            "reached",
        ),
        (&Goal::Gone, None, Some(state("active", "running")), "pending"),
        (&Goal::Gone, None, None, "reached"),
    ];
    for (goal, unit, state, expected) in table {
        let states: Vec<State> = state.into_iter().collect();
        let verdict = judge(goal, unit.as_ref(), &states, Duration::ZERO);
        assert_eq!(word(&verdict), expected, "{goal:?} {unit:?} {states:?}");
    }
}

#[test]
fn a_roll_is_over_when_the_cluster_says_so_and_ends_where_the_new_file_fails() {
    let file = UnitFile::parse("[X-Fleet]\nGlobal=true\n").expect("a unit file");
    let over = Unit::of_file("a.service", &file, "launched");
    let rollout = Rollout {
        allowed: 1,
        of: 2,
        ..Rollout::default()
    };
    let rolling = Unit {
        rollout: Some(rollout),
        ..over.clone()
    };
    let other = Unit::of_file("a.service", &UnitFile::default(), "launched");
    let new = |active: &str| State {
        hash: file.hash(),
        ..state(active, active)
    };
    let old = |active: &str| state(active, active);
    let goal = Goal::Rolled { hash: file.hash() };
    let (soon, later) = (Duration::ZERO, Duration::from_secs(2));
    let table = [
        (&rolling, vec![new("active"), old("active")], soon, "pending"),
        (&rolling, vec![new("activating"), old("active")], later, "pending"),
        (&rolling, vec![new("active"), old("failed")], later, "pending"),
        (&rolling, vec![new("failed"), old("active")], soon, "launched"),
        (&rolling, vec![new("failed"), old("active")], later, "failed"),
        (&over, vec![new("active"), old("active")], later, "pending"),
        (&over, vec![new("active"), new("active")], soon, "reached"),
        (&other, vec![new("active")], soon, "failed"),
    ];
    for (unit, states, since, expected) in table {
        let verdict = judge(&goal, Some(unit), &states, since);
        assert_eq!(word(&verdict), expected, "{states:?} {since:?}");
    }
    let Verdict::Failed(why) = judge(&goal, Some(&rolling), &[new("failed")], later) else {
        panic!()
    };
    assert_eq!(
        why,
        "on machine m it is failed (failed); 1 of 2 machines keep the file they have; \
         fleetctl ssh m journalctl --unit a.service may say why"
    );
    let refused = State {
        start_error: "refused".into(),
        ..new("inactive")
    };
    let verdict = judge(&goal, Some(&over), &[refused], later);
    let why = "on machine m refused; once that is mended: fleetctl ssh m sudo systemctl start a.service; with another file: \
               fleetctl start --replace --max-unavailable 1 a.service";
    assert_eq!(verdict, Verdict::Failed(why.to_owned()));
}

#[test]
fn a_machine_in_trouble_is_why_it_cannot_get_rid_of_a_unit() {
    let state = |machine: &str| {
        let (active, machine) = machine.split_once(' ').unwrap_or(("active", machine));
        State {
            machine_id: machine.into(),
            ..state(active, "")
        }
    };
    let troubles = BTreeMap::from([("ill".to_owned(), "why".to_owned())]);
    let from = |machine: &str| Goal::Away {
        machine: machine.to_owned(),
    };
    for (goal, on, expected) in [
        (Goal::Gone, ["well", "ill"], true),
        (Goal::Unloaded, ["ill", "well"], true),
        (Goal::Unloaded, ["well", "fit"], false),
        (from("ill"), ["well", "ill"], true),
        (from("well"), ["well", "ill"], false),
        (Goal::Loaded, ["well", "ill"], false),
        (Goal::Gone, ["well", "failed ill"], true),
        (Goal::Unloaded, ["deactivating well", "failed ill"], false),
        (from("ill"), ["well", "failed ill"], false),
    ] {
        let why = held(&goal, &on.map(state), &troubles);
        assert_eq!(why.is_some(), expected, "{goal:?} {on:?}");
    }
}

#[test]
fn a_file_that_its_machine_refused_has_failed() {
    let here = unit("launched", "inactive", "m");
    let refused = |hash: String| State {
        start_error: "refused".into(),
        hash,
        ..state("inactive", "dead")
    };
    for (goal, verb) in [(Goal::Started { hash: None }, "start"), (Goal::Loaded, "load")] {
        let here = Unit {
            desired_state: goal.state().into(),
            ..here.clone()
        };
        let judged = |states: &[State]| judge(&goal, Some(&here), states, Duration::ZERO);
        assert_eq!(word(&judged(&[])), "pending");
        assert_eq!(word(&judged(&[refused("another file's".into())])), "pending");
        let why = format!(
            "refused; its machine tries again within a minute; with another file: fleetctl {verb} --replace a.service"
        );
        assert_eq!(judged(&[refused(here.file().hash())]), Verdict::Failed(why));
    }
    let loaded = unit("loaded", "loaded", "m");
    for (load, hash, expected) in [
        ("loaded", loaded.file().hash(), "reached"),
        ("bad-setting", loaded.file().hash(), "failed"),
        ("bad-setting", "another file's".to_owned(), "reached"),
    ] {
        let state = State {
            load: load.into(),
            hash,
            ..state("inactive", "dead")
        };
        let verdict = judge(&Goal::Loaded, Some(&loaded), &[state], Duration::ZERO);
        assert_eq!(word(&verdict), expected, "{load}");
    }
}
