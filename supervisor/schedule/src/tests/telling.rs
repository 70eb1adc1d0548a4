//! Reasons in a cluster in which not everyone can be told at once, nor every machine asked.

use std::fmt::Write as _;

use super::cluster;
use crate::{Policy, Scheduler};

/// 200 machines, 150 of them in zone a.
fn machines() -> String {
    let mut text = String::new();
    for number in 0..200 {
        let zone = if number % 4 == 0 { "b" } else { "a" };
        let _ = writeln!(text, "machine m{number:03} zone={zone}");
    }
    text
}

fn decide(scheduler: &mut Scheduler) -> Vec<String> {
    let decisions = scheduler.decide(&Policy::default()).into_iter();
    decisions
        .map(|decision| format!("{}: {}", decision.unit, decision.reason))
        .collect()
}

#[test]
fn what_only_counts_anew_is_told_little_by_little() {
    let mut text = machines();
    for number in 0..40 {
        let _ = writeln!(
            text,
            "unit w@{number:02}.service launched | MachineMetadata=zone=c"
        );
    }
    let mut scheduler = Scheduler::of(cluster(&text));
    let first = decide(&mut scheduler);
    assert_eq!(
        (first.len(), first[0].as_str()),
        (40, "w@00.service: 200 machines: 200 lack metadata zone=c")
    );
    while !scheduler.has_told_all() {
        assert_eq!(decide(&mut scheduler), [""; 0]);
    }
    let one_more = cluster("machine m200 zone=a").machines.into_values();
    one_more.for_each(|machine| scheduler.set_machine(machine));
    let (some, others) = (decide(&mut scheduler), decide(&mut scheduler));
    assert_eq!(
        (some.len(), others.len(), scheduler.has_told_all()),
        (32, 8, true)
    );
    let mut all: Vec<String> = some.into_iter().chain(others).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 40);
    assert!(
        all.iter()
            .all(|told| told.ends_with(": 201 machines: 201 lack metadata zone=c"))
    );
}

#[test]
fn of_many_machines_some_are_asked() {
    let text = machines()
        + "unit g.service launched | Global=true
           unit a.service launched | Conflicts=g.service
           unit b.service launched | Conflicts=g.service; MachineMetadata=zone=a";
    assert_eq!(
        decide(&mut Scheduler::of(cluster(&text))),
        [
            "a.service: 200 machines, 128 of them asked: 128 conflict with g.service",
            "b.service: 200 machines: 50 lack metadata zone=a; of the other 150, 128 asked: 128 conflict with g.service"
        ]
    );
}
