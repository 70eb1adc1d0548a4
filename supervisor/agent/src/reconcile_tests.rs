//! The table of the crate's documentation, line by line, and what must come of it whatever happens.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use corten_spec::unit_file::UnitFile;
use corten_spec::unit_name::UnitName;
use corten_spec::x_fleet::Requirements;
use proptest::prelude::*;

use super::*;

fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

fn file(options: &str) -> UnitFile {
    UnitFile::parse(options).unwrap()
}

fn want(unit: &str, content: &str, launch: bool) -> DesiredUnit {
    let (name, file) = (name(unit), file(content));
    let requirements = Requirements::of(&name, &file);
    DesiredUnit {
        hash: file.hash(),
        name,
        file,
        requirements,
        launch,
    }
}

fn see(unit: &str, content: Option<&str>, active: &str, launched: bool) -> (UnitName, Observed) {
    let on_disk = content.map(|content| {
        let file = file(content);
        OnDisk {
            hash: file.hash(),
            requirements: Requirements::of(&name(unit), &file),
            has_install: file.has_install(),
            launched,
            start_error: String::new(),
        }
    });
    let observed = Observed {
        on_disk,
        load: "loaded".to_owned(),
        active: active.to_owned(),
        sub: String::new(),
    };
    (name(unit), observed)
}

fn print(actions: &[Action]) -> String {
    let line = |action: &Action| match action {
        Action::Stop(u) => format!("stop {u}"),
        Action::Kill(u) => format!("kill {u}"),
        Action::Disable(u) => format!("disable {u}"),
        Action::Unlink(u) => format!("unlink {u}"),
        Action::ResetFailed(u) => format!("reset-failed {u}"),
        Action::Remove(u) => format!("remove {u}"),
        Action::Write { unit, .. } => format!("write {unit}"),
        Action::Link(u) => format!("link {u}"),
        Action::Enable(u) => format!("enable {u}"),
        Action::Find(u) => format!("find {u}"),
        Action::DaemonReload => "reload".to_owned(),
        Action::Start(u) => format!("start {u}"),
    };
    actions.iter().map(line).collect::<Vec<_>>().join(", ")
}

const ONE: &str = "[Service]\nExecStart=/bin/one";
const TWO: &str = "[Service]\nExecStart=/bin/two\n[Install]\nWantedBy=multi-user.target";

#[test]
fn one_unit_takes_the_next_step() {
    let unload = "unlink a.service, remove a.service, reload";
    let load = "write a.service, link a.service, reload";
    let load_start = format!("{load}, start a.service");
    let exchange = "unlink a.service, remove a.service, write a.service, link a.service, enable a.service, reload, \
                    start a.service";
    // wanted content and launch, content on disk, ActiveState, launched; what to do
    type Row<'a> = (Option<(&'a str, bool)>, Option<&'a str>, &'a str, bool, &'a str);
    let table: &[Row<'_>] = &[
        (None, Some(ONE), "active", true, "stop a.service"),
        (None, Some(ONE), "activating", false, "stop a.service"),
        (None, Some(ONE), "deactivating", false, ""),
        (None, Some(ONE), "inactive", false, unload),
        // It may be about to run.
        (None, Some(ONE), "inactive", true, "stop a.service"),
        (None, Some(ONE), "failed", true, "stop a.service"),
        (
            None,
            Some(ONE),
            "failed",
            false,
            "unlink a.service, reset-failed a.service, remove a.service, reload",
        ),
        (None, None, "active", false, ""),
        (Some((ONE, false)), None, "", false, load),
        (Some((ONE, true)), None, "", false, &load_start),
        (Some((ONE, true)), None, "active", false, &load_start),
        (Some((TWO, true)), Some(ONE), "active", true, "stop a.service"),
        (Some((TWO, true)), Some(ONE), "deactivating", false, ""),
        (Some((TWO, true)), Some(ONE), "inactive", false, exchange),
        (Some((TWO, true)), Some(ONE), "inactive", true, "stop a.service"),
        (Some((ONE, true)), Some(ONE), "inactive", false, "start a.service"),
        (Some((ONE, true)), Some(ONE), "inactive", true, ""),
        (Some((ONE, true)), Some(ONE), "failed", true, ""),
        (Some((ONE, true)), Some(ONE), "active", true, ""),
        (Some((ONE, true)), Some(ONE), "active", false, "start a.service"),
        (
            Some((ONE, true)),
            Some(ONE),
            "deactivating",
            false,
            "start a.service",
        ),
        (Some((ONE, false)), Some(ONE), "active", true, "stop a.service"),
        (Some((ONE, false)), Some(ONE), "active", false, ""),
        (Some((ONE, false)), Some(ONE), "failed", true, "stop a.service"),
        (Some((ONE, false)), Some(ONE), "deactivating", false, ""),
        (Some((ONE, false)), Some(ONE), "inactive", false, ""),
    ];
    for (wanted, content, active, launched, want_actions) in table {
        let desired: Vec<_> = wanted
            .iter()
            .map(|(content, launch)| want("a.service", content, *launch))
            .collect();
        let observed = [see("a.service", *content, active, *launched)].into();
        let actions = print(&reconcile(&desired, &observed));
        assert_eq!(
            actions, *want_actions,
            "{wanted:?} {content:?} {active} {launched}"
        );
    }
}

#[test]
fn devices_are_not_waited_for() {
    let observed = [see(
        "dev-sda.device",
        Some("[Unit]\nDescription=x"),
        "active",
        false,
    )]
    .into();
    assert_eq!(
        print(&reconcile(&[], &observed)),
        "unlink dev-sda.device, remove dev-sda.device, reload"
    );
}

#[test]
fn many_units_go_in_fleets_order() {
    let desired = [
        want("load.service", ONE, false),
        want("new.service", TWO, true),
        want("start.service", ONE, true),
        want("stop.service", ONE, false),
    ];
    let observed = [
        see("gone.service", Some(ONE), "inactive", false),
        see("going.service", Some(ONE), "active", true),
        see("start.service", Some(ONE), "inactive", false),
        see("stop.service", Some(ONE), "active", true),
    ]
    .into();
    assert_eq!(
        print(&reconcile(&desired, &observed)),
        "stop going.service, unlink gone.service, remove gone.service, write load.service, link load.service, \
         write new.service, link new.service, enable new.service, reload, stop stop.service, start new.service, \
         start start.service"
    );
}

#[test]
fn systemd_finds_by_itself_what_it_has_not_heard_of() {
    let unheard_of = |unit| {
        let (name, seen) = see(unit, None, "inactive", false);
        let load = "not-found".to_owned();
        (name, Observed { load, ..seen })
    };
    let (a, b) = (want("a.service", ONE, true), want("b.service", ONE, true));
    let observed = BTreeMap::from(["a.service", "b.service"].map(unheard_of));
    let written = "write a.service, link a.service, write b.service, link b.service";
    assert_eq!(
        print(&reconcile(&[a.clone(), b.clone()], &observed)),
        format!("{written}, find a.service, find b.service, start a.service, start b.service")
    );
    // One reload finds all.
    let known = BTreeMap::from([unheard_of("a.service"), see("b.service", None, "inactive", false)]);
    let removed = see("gone.service", Some(ONE), "inactive", false);
    for observed in [known, observed.into_iter().chain([removed]).collect()] {
        let actions = print(&reconcile(&[a.clone(), b.clone()], &observed));
        let rest = format!("{written}, reload, start a.service, start b.service");
        assert!(actions.ends_with(&rest), "{actions}");
    }
    // Who wants the unit is known already.
    let wanted = [want("c.service", TWO, false)];
    assert_eq!(
        print(&reconcile(&wanted, &[unheard_of("c.service")].into())),
        "write c.service, link c.service, enable c.service, reload"
    );
}

#[test]
fn a_start_waits_for_what_it_conflicts_with_or_replaces() {
    let conflicts = "[X-Fleet]\nConflicts=old@*.service";
    let replaces = "[X-Fleet]\nReplaces=old@1.service";
    for options in [conflicts, replaces] {
        let desired = [want("new.service", options, true)];
        let seen = |active| [see("old@1.service", Some(ONE), active, false)].into();
        let load = "write new.service, link new.service, reload";
        assert_eq!(
            print(&reconcile(&desired, &seen("active"))),
            format!("stop old@1.service, {load}")
        );
        assert_eq!(print(&reconcile(&desired, &seen("deactivating"))), load);
        let last = print(&reconcile(&desired, &seen("inactive")));
        assert!(last.ends_with("reload, start new.service"), "{last}");
    }
}

#[test]
fn of_two_that_may_not_be_together_one_is_started() {
    let conflicts = "[X-Fleet]\nConflicts=a.service";
    let desired = [want("a.service", ONE, true), want("b.service", conflicts, true)];
    let first = print(&reconcile(&desired, &BTreeMap::new()));
    assert!(first.ends_with("reload, start a.service"), "{first}");
    let observed = [
        see("a.service", Some(ONE), "failed", true),
        see("b.service", Some(conflicts), "", false),
    ]
    .into();
    assert_eq!(print(&reconcile(&desired, &observed)), "");
}

/// systemd and the disk, as far as an agent sees them; a stop takes until `settle`.
fn act(observed: &mut BTreeMap<UnitName, Observed>, actions: &[Action]) {
    for action in actions {
        let Some(unit) = action.unit() else { continue };
        let seen = observed.entry(unit.clone()).or_default();
        match action {
            Action::Stop(_) => {
                seen.on_disk.as_mut().unwrap().launched = false;
                if seen.is_busy() {
                    seen.active = "deactivating".to_owned();
                }
            }
            Action::Remove(_) => seen.on_disk = None,
            Action::ResetFailed(_) => seen.active = "inactive".to_owned(),
            Action::Write { text, .. } => {
                let file = file(text);
                let requirements = Requirements::of(unit, &file);
                seen.on_disk = Some(OnDisk {
                    hash: file.hash(),
                    requirements,
                    has_install: file.has_install(),
                    launched: false,
                    start_error: String::new(),
                });
            }
            Action::Start(_) => {
                seen.on_disk.as_mut().unwrap().launched = true;
                seen.active = "active".to_owned();
            }
            _ => {}
        }
    }
}

fn settle(observed: &mut BTreeMap<UnitName, Observed>) {
    for seen in observed.values_mut().filter(|seen| seen.active == "deactivating") {
        seen.active = "inactive".to_owned();
    }
}

fn any_world() -> impl Strategy<Value = (Vec<DesiredUnit>, BTreeMap<UnitName, Observed>)> {
    let content = || {
        prop_oneof![
            Just(ONE),
            Just(TWO),
            Just("[X-Fleet]\nConflicts=u1.service"),
            Just("[X-Fleet]\nReplaces=u2.service")
        ]
    };
    let unit = || (0..4usize).prop_map(|n| format!("u{n}.service"));
    let desired = prop::collection::btree_map(unit(), (content(), any::<bool>()), 0..4);
    let active = prop_oneof![
        Just("active"),
        Just("inactive"),
        Just("failed"),
        Just("deactivating"),
        Just("activating")
    ];
    let observed =
        prop::collection::btree_map(unit(), (prop::option::of(content()), active, any::<bool>()), 0..4);
    (desired, observed).prop_map(|(desired, observed)| {
        let mut wanted: Vec<DesiredUnit> = Vec::new();
        for (unit, (content, launch)) in desired {
            let unit = want(&unit, content, launch);
            // The scheduler never wants two units here that may not be together.
            if !wanted.iter().any(|other| apart(&unit, other)) {
                wanted.push(unit);
            }
        }
        let observed = observed
            .iter()
            .map(|(unit, (content, active, launched))| see(unit, *content, active, *launched))
            .collect();
        (wanted, observed)
    })
}

fn apart(a: &DesiredUnit, b: &DesiredUnit) -> bool {
    let (a, b) = ((&a.name, &a.requirements), (&b.name, &b.requirements));
    conflict(a, b) || replacement(a, b) != Replacement::None
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn repeating_the_steps_leads_to_what_is_wanted((desired, mut observed) in any_world()) {
        for _ in 0..4 {
            let actions = reconcile(&desired, &observed);
            act(&mut observed, &actions);
            settle(&mut observed);
        }
        prop_assert_eq!(print(&reconcile(&desired, &observed)), "");
        for unit in &desired {
            let on_disk = observed[&unit.name].on_disk.as_ref().unwrap();
            prop_assert_eq!(&on_disk.hash, &unit.hash);
            prop_assert_eq!(on_disk.launched, unit.launch);
        }
        let ours = observed.iter().filter(|(_, seen)| seen.on_disk.is_some()).count();
        prop_assert_eq!(ours, desired.len());
    }

    #[test]
    fn what_runs_as_wanted_is_not_touched((desired, _) in any_world()) {
        let observed = desired.iter().map(|unit| {
            let active = if unit.launch { "active" } else { "inactive" };
            let on_disk = OnDisk {
                hash: unit.hash.clone(),
                requirements: unit.requirements.clone(),
                has_install: unit.file.has_install(),
                launched: unit.launch,
                start_error: String::new(),
            };
            let seen = Observed { on_disk: Some(on_disk), active: active.to_owned(), ..Observed::default() };
            (unit.name.clone(), seen)
        }).collect();
        prop_assert_eq!(reconcile(&desired, &observed), vec![]);
    }
}
