//! What holds for every cluster, checked on random ones against the plain definitions of `corten_spec::placement`.

use std::collections::BTreeMap;

use corten_spec::fleet::JobState;
use corten_spec::machine::{Machine, MachineId};
use corten_spec::placement::{self, Replacement};
use corten_spec::resources::Resources;
use corten_spec::unit_name::UnitName;
use corten_spec::x_fleet::Requirements;
use proptest::prelude::*;

use crate::{ClusterView, Policy, UnitView, plan};

pub fn name(number: usize) -> UnitName {
    UnitName::parse(&format!("u{}@{}.service", number % 3, number)).unwrap()
}

pub fn machine_id(number: usize) -> MachineId {
    MachineId(format!("m{number}"))
}

fn requirements() -> impl Strategy<Value = Requirements> {
    let pattern = prop_oneof![
        (0..3usize).prop_map(|family| format!("u{family}@*.service")),
        (0..12usize).prop_map(|number| name(number).to_string()),
    ];
    let plain = Just(Requirements::default());
    prop_oneof![
        3 => plain,
        2 => pattern.clone().prop_map(|p| Requirements { conflicts: vec![p], ..Requirements::default() }),
        1 => pattern.prop_map(|p| Requirements { replaces: vec![p], ..Requirements::default() }),
        1 => (0..12usize).prop_map(|n| Requirements { machine_of: vec![name(n).to_string()], ..Requirements::default() }),
        1 => (0..2usize).prop_map(|v| {
            let metadata = [("zone".to_owned(), [v.to_string()].into())].into();
            Requirements { metadata, ..Requirements::default() }
        }),
        1 => (0..4usize).prop_map(|n| Requirements { machine_id: Some(machine_id(n).0), ..Requirements::default() }),
        1 => (0..2usize).prop_map(|v| {
            let metadata = [("zone".to_owned(), [v.to_string()].into())].into();
            Requirements { metadata, global: true, ..Requirements::default() }
        }),
        1 => Just(Requirements { spread_over: Some("zone".to_owned()), ..Requirements::default() }),
        2 => (1..4u64, prop::bool::ANY, 0..3i32).prop_map(|(parts, global, priority)| {
            let reserves = Resources { cpu_percent: parts * 40, memory_bytes: 0 };
            Requirements { reserves, global, priority, ..Requirements::default() }
        }),
    ]
}

pub fn unit() -> impl Strategy<Value = UnitView> {
    let desired = prop_oneof![
        1 => Just(JobState::Inactive),
        1 => Just(JobState::Loaded),
        4 => Just(JobState::Launched)
    ];
    let assigned = prop::option::of((0..5usize).prop_map(machine_id));
    let unplaced = prop::option::of(Just("before".to_owned()));
    (requirements(), desired, assigned, unplaced).prop_map(|(requirements, desired, assigned, unplaced)| {
        let unplaced = unplaced.filter(|_| assigned.is_none());
        UnitView {
            requirements,
            desired,
            assigned,
            unplaced,
        }
    })
}

pub fn view() -> impl Strategy<Value = ClusterView> {
    let machines = prop::collection::btree_map((0..4usize).prop_map(machine_id), 0..5usize, 0..4);
    let units = prop::collection::btree_map((0..12usize).prop_map(name), unit(), 0..12);
    (machines, units).prop_map(|(machines, units)| ClusterView {
        machines: machines
            .into_iter()
            .map(|(id, zone)| (id.clone(), machine(id, zone)))
            .collect(),
        units,
    })
}

pub fn machine(id: MachineId, zone: usize) -> Machine {
    Machine {
        id,
        primary_ip: String::new(),
        metadata: [
            ("zone".to_owned(), (zone % 2).to_string()),
            ("cpus".to_owned(), "1".to_owned()),
            (
                "scheduling".to_owned(),
                ["open", "open", "cordon", "drain", "open"][zone % 5].to_owned(),
            ),
            (
                "trouble".to_owned(),
                ["", "", "", "", "deaf"][zone % 5].to_owned(),
            ),
        ]
        .into(),
        found: Default::default(),
    }
}

/// What is on each machine, global units too.
fn layout(view: &ClusterView) -> BTreeMap<&MachineId, Vec<placement::Party<'_>>> {
    let wanted = view.units.iter().filter(|(_, u)| u.desired != JobState::Inactive);
    let globals: Vec<_> = wanted
        .filter(|(_, u)| u.requirements.global)
        .map(|(name, u)| (name, &u.requirements))
        .collect();
    let mut layout: BTreeMap<_, _> = view
        .machines
        .values()
        .map(|machine| {
            (
                &machine.id,
                placement::globals_on(machine, globals.iter().copied()),
            )
        })
        .collect();
    for (name, unit) in &view.units {
        if let Some(here) = unit.assigned.as_ref().and_then(|id| layout.get_mut(id)) {
            here.push((name, &unit.requirements));
        }
    }
    layout
}

fn constraints_hold(view: &ClusterView) -> Result<(), TestCaseError> {
    for (id, here) in layout(view) {
        let machine = &view.machines[id];
        for a in &here {
            prop_assert!(machine.satisfies(&a.1.metadata), "{} on {id}: metadata", a.0);
            prop_assert!(
                a.1.machine_id
                    .as_ref()
                    .is_none_or(|wanted| id.is_meant_by(wanted)),
                "{} on {id}",
                a.0
            );
            for peer in &a.1.machine_of {
                prop_assert!(
                    here.iter().any(|b| b.0.as_str() == peer),
                    "{} on {id} without {peer}",
                    a.0
                );
            }
            for b in &here {
                prop_assert!(
                    !placement::conflict(*a, *b),
                    "{} conflicts with {} on {id}",
                    a.0,
                    b.0
                );
                let one_sided = placement::replacement(*a, *b) == Replacement::First && !b.1.global;
                prop_assert!(!one_sided, "{} replaces {} on {id}", a.0, b.0);
            }
        }
    }
    Ok(())
}

fn rivals_are_apart(view: &ClusterView) -> Result<(), TestCaseError> {
    let placed: Vec<_> = view.units.iter().filter(|(_, u)| u.assigned.is_some()).collect();
    for a in &placed {
        for b in &placed {
            let how = placement::replacement((a.0, &a.1.requirements), (b.0, &b.1.requirements));
            prop_assert!(how != Replacement::Mutual, "{} and {} both placed", a.0, b.0);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn plans_keep_every_constraint(mut view in view()) {
        let first = plan(&view, &Policy::default());
        prop_assert_eq!(&first, &plan(&view, &Policy::default()), "same view, same plan");
        super::apply(&mut view, &first);
        constraints_hold(&view)?;
        rivals_are_apart(&view)?;
        for (name, unit) in &view.units {
            let wanted = unit.desired != JobState::Inactive && !unit.requirements.global;
            prop_assert_eq!(unit.assigned.is_some() || first.unplaced.contains_key(name), wanted, "{}", name);
        }
    }

    #[test]
    fn plans_come_to_rest(mut view in view()) {
        for _ in 0..4 {
            let next = plan(&view, &Policy::default());
            super::apply(&mut view, &next);
        }
        prop_assert_eq!(super::print(&plan(&view, &Policy::default())), "");
    }

    #[test]
    fn units_without_wishes_are_all_placed_evenly(machines in 1..5usize, units in 0..40usize) {
        let mut view = ClusterView::default();
        for number in 0..machines {
            view.machines.insert(machine_id(number), machine(machine_id(number), 0));
        }
        for number in 0..units {
            let unit = UnitView {
                requirements: Requirements::default(),
                desired: JobState::Launched,
                assigned: None,
                unplaced: None,
            };
            view.units.insert(name(number), unit);
        }
        let only = plan(&view, &Policy::default());
        prop_assert!(only.unplaced.is_empty());
        super::apply(&mut view, &only);
        let loads: Vec<usize> = layout(&view).values().map(Vec::len).collect();
        prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1);
    }

    #[test]
    fn held_machines_keep_their_units(mut view in view()) {
        let before = view.clone();
        let held = plan(&view, &Policy { hold_absent: true });
        super::apply(&mut view, &held);
        for (name, unit) in &before.units {
            let absent = unit.assigned.as_ref().is_some_and(|id| !before.machines.contains_key(id));
            if absent && unit.desired != JobState::Inactive && !unit.requirements.global {
                prop_assert_eq!(&view.units[name].assigned, &unit.assigned);
            }
        }
    }
}
