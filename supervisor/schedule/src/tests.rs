//! Tables: a cluster as text, its plan as text.
//!
//! A cluster is lines `machine ID k=v ...` and `unit NAME STATE [on ID] [waits] [| Key=value; Key=value]`; a plan is lines
//! `NAME -> ID: reason`, `-` for no machine. `waits` marks a unit that was found unplaceable before.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use corten_spec::fleet::JobState;
use corten_spec::machine::{Machine, MachineId, parse_metadata};
use corten_spec::unit_file::UnitFile;
use corten_spec::unit_name::UnitName;
use corten_spec::x_fleet::Requirements;

use crate::{ClusterView, Plan, Policy, Scheduler, UnitView, plan};

mod changes;
mod invariants;
mod rolls;
mod semantics;
mod telling;

fn cluster(text: &str) -> ClusterView {
    let mut view = ClusterView::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (kind, rest) = line.split_once(' ').unwrap();
        match kind {
            "machine" => {
                let machine = machine(rest);
                view.machines.insert(machine.id.clone(), machine);
            }
            "unit" => {
                let (name, unit) = unit(rest);
                view.units.insert(name, unit);
            }
            other => panic!("{other}?"),
        }
    }
    view
}

fn machine(text: &str) -> Machine {
    let (id, metadata) = text.split_once(' ').unwrap_or((text, ""));
    let metadata = parse_metadata(&metadata.replace(' ', ","));
    Machine {
        id: MachineId(id.to_owned()),
        primary_ip: String::new(),
        metadata,
        found: Default::default(),
    }
}

fn unit(text: &str) -> (UnitName, UnitView) {
    let (head, options) = text.split_once('|').unwrap_or((text, ""));
    let words: Vec<&str> = head.split_whitespace().collect();
    let name = UnitName::parse(words[0]).unwrap();
    let file = UnitFile::parse(&format!("[X-Fleet]\n{}", options.replace("; ", "\n"))).unwrap();
    let unit = UnitView {
        requirements: Requirements::of(&name, &file),
        desired: JobState::parse(words[1]).unwrap(),
        assigned: words
            .iter()
            .position(|w| *w == "on")
            .map(|at| MachineId(words[at + 1].to_owned())),
        unplaced: words.contains(&"waits").then(|| "before".to_owned()),
    };
    (name, unit)
}

fn print(plan: &Plan) -> String {
    let line = |d: &crate::Decision| {
        let to = d.machine.as_ref().map_or("-", |m| m.0.as_str());
        format!("{} -> {to}: {}\n", d.unit, d.reason)
    };
    plan.decisions.iter().map(line).collect()
}

/// What the store does with a plan.
fn apply(view: &mut ClusterView, plan: &Plan) {
    for decision in &plan.decisions {
        let unit = view.units.get_mut(&decision.unit).unwrap();
        unit.assigned = decision.machine.clone();
        unit.unplaced = decision.machine.is_none().then(|| decision.reason.clone());
    }
}

/// Plans, compares, applies, and sees that the next plan is empty.
#[track_caller]
fn check(text: &str, want: &str) {
    check_with(text, &Policy::default(), want);
}

#[track_caller]
fn check_with(text: &str, policy: &Policy, want: &str) {
    let mut view = cluster(text);
    let first = plan(&view, policy);
    let want: String = want
        .lines()
        .map(|line| format!("{}\n", line.trim()))
        .filter(|line| line != "\n")
        .collect();
    assert_eq!(print(&first), want);
    apply(&mut view, &first);
    assert_eq!(print(&plan(&view, policy)), "", "a second plan changes nothing");
}
