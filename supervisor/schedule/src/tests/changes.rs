//! A scheduler that is told of changes one after the other decides, after each of them, exactly what a plan made from
//! nothing would.

use std::collections::BTreeMap;

use corten_spec::fleet::JobState;
use corten_spec::unit_name::UnitName;
use proptest::prelude::*;

use super::invariants::{machine, machine_id, name, unit, view};
use crate::{ClusterView, Plan, Policy, Scheduler, UnitView, plan};

/// What happens between two decisions.
#[derive(Debug, Clone)]
enum Step {
    /// A unit is created or replaced; it stays where it is.
    Set(usize, Box<UnitView>),
    /// The store says a unit is somewhere else.
    Assign(usize, Option<usize>),
    Desire(usize, JobState),
    Destroy(usize),
    /// A machine comes, or its zone changes.
    Machine(usize, usize),
    Lose(usize),
    /// The store tells again what it has.
    Confirm,
}

fn step() -> impl Strategy<Value = Step> {
    let unit_number = 0..12usize;
    let desired = prop_oneof![
        Just(JobState::Inactive),
        Just(JobState::Loaded),
        Just(JobState::Launched)
    ];
    prop_oneof![
        4 => (unit_number.clone(), unit()).prop_map(|(number, unit)| Step::Set(number, Box::new(unit))),
        1 => (unit_number.clone(), prop::option::of(0..5usize)).prop_map(|(number, to)| Step::Assign(number, to)),
        2 => (unit_number.clone(), desired).prop_map(|(number, desired)| Step::Desire(number, desired)),
        2 => unit_number.prop_map(Step::Destroy),
        3 => (0..4usize, 0..5usize).prop_map(|(number, zone)| Step::Machine(number, zone)),
        2 => (0..4usize).prop_map(Step::Lose),
        1 => Just(Step::Confirm),
    ]
}

/// Changes the view as the store would, and tells the scheduler.
fn happen(step: Step, view: &mut ClusterView, scheduler: &mut Scheduler) {
    match step {
        Step::Set(number, unit) => {
            let old = view.units.get(&name(number));
            let unit = UnitView {
                assigned: old.and_then(|old| old.assigned.clone()),
                unplaced: None,
                ..*unit
            };
            view.units.insert(name(number), unit);
            tell(&name(number), view, scheduler);
        }
        Step::Assign(number, to) => {
            if let Some(unit) = view.units.get_mut(&name(number)) {
                unit.assigned = to.map(machine_id);
                unit.unplaced = None;
                tell(&name(number), view, scheduler);
            }
        }
        Step::Desire(number, desired) => {
            if let Some(unit) = view.units.get_mut(&name(number)) {
                unit.unplaced = unit.unplaced.take().filter(|_| unit.desired == desired);
                unit.desired = desired;
                tell(&name(number), view, scheduler);
            }
        }
        Step::Destroy(number) => {
            view.units.remove(&name(number));
            tell(&name(number), view, scheduler);
        }
        Step::Machine(number, zone) => {
            let machine = machine(machine_id(number), zone);
            view.machines.insert(machine.id.clone(), machine.clone());
            scheduler.set_machine(machine);
        }
        Step::Lose(number) => {
            view.machines.remove(&machine_id(number));
            scheduler.remove_machine(&machine_id(number));
        }
        Step::Confirm => {
            for name in view.units.keys().cloned().collect::<Vec<_>>() {
                tell(&name, view, scheduler);
            }
        }
    }
}

fn tell(name: &UnitName, view: &ClusterView, scheduler: &mut Scheduler) {
    match view.units.get(name) {
        Some(unit) => scheduler.set_unit(name.clone(), unit.clone()),
        None => scheduler.remove_unit(name),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changes_one_by_one_lead_where_a_plan_from_nothing_leads(
        mut view in view(),
        steps in prop::collection::vec((step(), prop::bool::weighted(0.7), prop::bool::weighted(0.2)), 1..25),
    ) {
        let mut scheduler = Scheduler::of(view.clone());
        for (step, decide, hold_absent) in steps {
            let policy = Policy { hold_absent };
            happen(step, &mut view, &mut scheduler);
            if !decide {
                continue;
            }
            let want = plan(&view, &policy);
            let made = scheduler.decide(&policy);
            let made = Plan { decisions: made, unplaced: want.unplaced.clone() };
            prop_assert_eq!(super::print(&made), super::print(&want), "{:#?}", view);
            super::apply(&mut view, &want);
            let told = scheduler.unplaced().map(|(name, reason)| (name.clone(), reason.to_owned()));
            prop_assert_eq!(told.collect::<BTreeMap<_, _>>(), want.unplaced);
        }
    }
}
