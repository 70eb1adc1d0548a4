//! Each rule of the contract, one table entry at least.

use super::{check, check_with, cluster, plan};
use crate::Policy;

#[test]
fn least_loaded_wins_ties_go_to_the_lowest_id() {
    check(
        "machine m1
         machine m2
         unit a.service launched on m1
         unit b.service loaded
         unit c.service launched
         unit d.service inactive",
        "b.service -> m2: least loaded: 0 units
         c.service -> m1: least loaded: 1 unit",
    );
}

#[test]
fn globals_count_as_load_where_they_run() {
    check(
        "machine m1 role=db
         machine m2
         unit g.service launched | Global=true; MachineMetadata=role=db
         unit h.service inactive | Global=true
         unit a.service launched",
        "a.service -> m2: least loaded: 0 units",
    );
}

#[test]
fn an_inactive_unit_is_taken_off() {
    check(
        "machine m1\nunit a.service inactive on m1",
        "a.service -> -: its desired state is inactive",
    );
    check("machine m1\nunit a@.service launched", "");
    check(
        "machine m1\nunit a.service launched on m1 | Global=yes",
        "a.service -> -: it is global: every machine decides for itself",
    );
}

#[test]
fn a_lost_machines_units_move_in_the_same_plan() {
    let lost = "machine m2
         unit a.service launched on m1
         unit b.service launched on m2";
    check(
        lost,
        "a.service -> m2: machine m1 went away; least loaded: 1 unit",
    );
    check_with(lost, &Policy { hold_absent: true }, "");
    check(
        "unit a.service launched on m1",
        "a.service -> -: machine m1 went away; no machine is present",
    );
}

#[test]
fn while_absence_is_held_new_units_are_placed_and_stopped_ones_released() {
    check_with(
        "machine m2
         unit a.service launched on m1
         unit b.service inactive on m1
         unit c.service launched
         unit d.service launched | MachineOf=a.service",
        &Policy { hold_absent: true },
        "b.service -> -: its desired state is inactive
         d.service -> -: MachineOf a.service: its machine is silent
         c.service -> m2: least loaded: 0 units",
    );
}

#[test]
fn machine_id_means_the_full_id_or_eight_characters() {
    check(
        "machine 0123456789abcdef
         machine 1111111111111111
         unit a.service launched | MachineID=11111111
         unit b.service launched | MachineID=1111111111111111
         unit c.service launched | MachineID=1111
         unit d.service launched on 01234567 | MachineID=11111111",
        "c.service -> -: machine 1111 (MachineID) is not present
         a.service -> 1111111111111111: MachineID 11111111
         b.service -> 1111111111111111: MachineID 1111111111111111
         d.service -> 1111111111111111: machine 01234567 went away; MachineID 11111111",
    );
}

#[test]
fn metadata_selects_and_losing_it_moves() {
    check(
        "machine m1 role=web
         machine m2 role=db
         machine m3 role=db disk=ssd
         unit a.service launched | MachineMetadata=role=db; MachineMetadata=disk=ssd
         unit b.service launched on m1 | MachineMetadata=role=db; MachineMetadata=role=app
         unit c.service launched | MachineMetadata=zone=a",
        "c.service -> -: 3 machines: 3 lack metadata zone=a
         a.service -> m3: least loaded: 0 units
         b.service -> m2: machine m1 lacks metadata role=app|db; least loaded: 0 units",
    );
}

#[test]
fn followers_go_where_their_peers_are_and_move_with_them() {
    check(
        "machine m2
         machine m3
         unit a.service launched on m1
         unit b.service launched on m1 | MachineOf=a.service
         unit c.service launched | MachineOf=b.service
         unit x.service launched on m2
         unit y.service launched on m2 | MachineOf=z.service
         unit z.service inactive on m2",
        "y.service -> -: z.service is not on machine m2; MachineOf z.service: its desired state is inactive
         z.service -> -: its desired state is inactive
         a.service -> m3: machine m1 went away; least loaded: 0 units
         b.service -> m3: machine m1 went away; MachineOf a.service
         c.service -> m3: MachineOf b.service",
    );
}

#[test]
fn followers_of_nothing_wait_and_say_why() {
    check(
        "machine m1
         unit a.service launched | MachineOf=b.service
         unit b.service launched | MachineOf=a.service
         unit c.service launched | MachineOf=nobody.service",
        "a.service -> -: MachineOf b.service: it is on no machine
         b.service -> -: MachineOf a.service: it is on no machine
         c.service -> -: MachineOf nobody.service: there is no such unit",
    );
}

#[test]
fn a_global_peer_counts_where_it_is() {
    check(
        "machine m1
         machine m2 role=db
         unit g.service launched | Global=1; MachineMetadata=role=db
         unit a.service launched | MachineOf=g.service",
        "a.service -> m2: least loaded: 1 unit",
    );
}

#[test]
fn instances_that_conflict_spread_and_the_last_one_waits() {
    let four = "machine m1
         machine m2
         machine m3 role=web
         unit a@1.service launched | Conflicts=a@*.service
         unit a@2.service launched | Conflicts=a@*.service
         unit a@3.service launched | Conflicts=a@*.service
         unit a@4.service launched | Conflicts=a@*.service";
    check(
        four,
        "a@4.service -> -: 3 machines: 3 conflict with a@1.service, a@2.service, a@3.service
         a@1.service -> m1: least loaded: 0 units
         a@2.service -> m2: least loaded: 0 units
         a@3.service -> m3: least loaded: 0 units",
    );
}

#[test]
fn reasons_count_machines_by_cause() {
    check(
        "machine m1 role=db
         machine m2
         machine m3 role=db
         unit a@1.service launched on m1
         unit a@2.service launched on m3
         unit b.service launched | Conflicts=a@*.service; MachineMetadata=role=db",
        "b.service -> -: 3 machines: 2 conflict with a@1.service, a@2.service, 1 lacks metadata role=db",
    );
}

#[test]
fn conflicts_work_from_the_other_side_too() {
    check(
        "machine m1
         machine m2
         unit a.service launched on m1 | Conflicts=b.*
         unit b.service launched
         unit c.service launched on m2
         unit d.service launched on m2 | Conflicts=c.service",
        "b.service -> m2: least loaded: 1 unit
         d.service -> m1: conflicts with c.service on machine m2; least loaded: 1 unit",
    );
}

#[test]
fn globals_win_against_placed_units() {
    check(
        "machine m1 role=db
         machine m2
         unit a.service launched on m1
         unit g.service launched | Global=true; MachineMetadata=role=db; Conflicts=a.service",
        "a.service -> m2: conflicts with g.service on machine m1; least loaded: 0 units",
    );
}

#[test]
fn a_replaced_unit_moves_to_another_machine() {
    check(
        "machine m1
         machine m2
         unit a.service launched on m1
         unit b.service launched | Replaces=a.service; MachineMetadata=
         unit c.service launched on m2
         unit d.service launched on m2",
        "b.service -> m1: least loaded: 1 unit
         a.service -> m2: replaced by b.service; least loaded: 2 units",
    );
}

#[test]
fn a_replaced_unit_with_nowhere_to_go_waits() {
    check(
        "machine m1
         unit a.service launched on m1
         unit b.service launched | Replaces=a.service",
        "a.service -> -: replaced by b.service; 1 machine: 1 runs b.service, which replaces it
         b.service -> m1: least loaded: 1 unit",
    );
}

#[test]
fn a_waiting_unit_displaces_nobody_who_has_nowhere_to_go() {
    check(
        "machine m1
         unit a.service launched on m1
         unit b.service launched waits | Replaces=a.service",
        "b.service -> -: 1 machine: 1 runs units it replaces that have nowhere else to go",
    );
}

#[test]
fn of_two_that_replace_each_other_one_runs() {
    check(
        "machine m1
         machine m2
         unit a.service launched on m2 | Replaces=b.service
         unit b.service launched | Replaces=a.service",
        "a.service -> -: replaced by b.service; it and b.service replace each other, and b.service is there
         b.service -> m2: takes the place of a.service",
    );
    check(
        "machine m1
         machine m2
         unit a.service launched | Replaces=b.service
         unit b.service launched | Replaces=a.service",
        "b.service -> -: it and a.service replace each other, and a.service is there
         a.service -> m1: least loaded: 0 units",
    );
}

#[test]
fn a_follower_of_a_replaced_unit_follows() {
    check(
        "machine m1
         machine m2
         unit a.service launched on m1
         unit b.service launched on m1 | MachineOf=a.service
         unit r.service launched | Replaces=a.service; MachineID=m1",
        "r.service -> m1: MachineID m1
         a.service -> m2: replaced by r.service; least loaded: 0 units
         b.service -> m2: a.service is not on machine m1; MachineOf a.service",
    );
}

#[test]
fn a_circle_of_replaces_comes_to_rest() {
    let mut view = cluster(
        "machine m1
         unit a.service launched | Replaces=b.service
         unit b.service launched | Replaces=c.service
         unit c.service launched | Replaces=a.service",
    );
    for _ in 0..3 {
        let next = plan(&view, &Policy::default());
        super::apply(&mut view, &next);
    }
    assert!(plan(&view, &Policy::default()).decisions.is_empty());
    assert_eq!(
        view.units.values().filter(|unit| unit.assigned.is_some()).count(),
        1
    );
}

#[test]
fn reserved_cpu_and_memory_are_kept_free_and_the_least_reserved_machine_wins() {
    check(
        "machine m1 cpus=2 memory=4G
         machine m2 cpus=8 memory=4G
         machine m3
         unit a.service launched on m1 | CPUReserve=50%
         unit b.service launched on m2 | CPUReserve=100%
         unit c.service launched | CPUReserve=100%; MemoryReserve=1G
         unit d.service launched | CPUReserve=120%; MemoryReserve=2G
         unit e.service launched | MemoryReserve=3G
         unit f.service launched | CPUReserve=900%
         unit g.service launched",
        "f.service -> -: 3 machines: 3 have too little CPU left
         c.service -> m2: least loaded: 1 unit
         d.service -> m1: least loaded: 1 unit
         e.service -> m2: least loaded: 2 units
         g.service -> m3: least loaded: 0 units",
    );
}

#[test]
fn what_is_reserved_moves_nobody_and_is_free_again_when_a_unit_leaves() {
    check(
        "machine m1 memory=1G
         unit a.service launched on m1 | MemoryReserve=1G
         unit b.service launched on m1 | MemoryReserve=1G
         unit c.service launched | MemoryReserve=1K",
        "c.service -> -: 1 machine: 1 has too little memory left",
    );
    check(
        "machine m1 memory=1G
         unit a.service inactive on m1 | MemoryReserve=1G
         unit b.service launched | MemoryReserve=1G",
        "a.service -> -: its desired state is inactive
         b.service -> m1: least loaded: 0 units",
    );
    check(
        "machine m1 memory=1G
         unit a.service launched on m1 | MemoryReserve=1G
         unit b.service launched | MemoryReserve=1G; Replaces=a.service",
        "a.service -> -: replaced by b.service; 1 machine: 1 runs b.service, which replaces it
         b.service -> m1: least loaded: 1 unit",
    );
}

#[test]
fn a_cordoned_machine_takes_no_new_units_and_keeps_its_own() {
    check(
        "machine m1 scheduling=cordon
         machine m2
         unit a.service launched on m1
         unit b.service launched
         unit c.service launched | MachineID=m1",
        "c.service -> -: 2 machines: 1 is cordoned, 1 is not the one MachineID asks for
         b.service -> m2: least loaded: 0 units",
    );
}

#[test]
fn a_machine_in_trouble_takes_no_new_units_and_keeps_its_own() {
    check(
        "machine m1 trouble=deaf
         machine m2
         unit a.service launched on m1
         unit b.service launched
         unit c.service launched | MachineID=m1
         unit d.service launched | MachineOf=a.service
         unit e.service launched on m1 | MachineID=m1
         unit f.service launched | Conflicts=b.service
         unit g.service launched | Global=true",
        "c.service -> -: machine m1 has trouble: deaf
         d.service -> -: 2 machines: 1 has trouble: deaf, 1 does not run a.service
         f.service -> -: 2 machines: 1 conflicts with b.service, 1 has trouble: deaf
         b.service -> m2: least loaded: 1 unit",
    );
    check(
        "machine m1 trouble=deaf scheduling=cordon
         machine m2 trouble=deaf
         machine m3 trouble=ill
         unit a.service launched
         unit b.service launched | MachineID=m1; MachineMetadata=role=db",
        "a.service -> -: 3 machines: 2 have trouble: deaf, 1 has trouble: ill
         b.service -> -: 3 machines: 1 lacks metadata role=db, 2 are not the one MachineID asks for",
    );
    check(
        "machine m1 trouble=deaf scheduling=drain
         machine m2
         unit a.service launched on m1",
        "a.service -> m2: machine m1 is drained; least loaded: 0 units",
    );
}

#[test]
fn a_drained_machine_keeps_only_global_units() {
    check(
        "machine m1 scheduling=drain
         machine m2
         unit a.service launched on m1
         unit b.service launched on m1 | MachineOf=a.service
         unit c.service launched on m1 | MachineID=m1
         unit g.service launched | Global=true",
        "c.service -> -: machine m1 is drained; 2 machines: 1 is drained, 1 is not the one MachineID asks for
         a.service -> m2: machine m1 is drained; least loaded: 1 unit
         b.service -> m2: machine m1 is drained; MachineOf a.service",
    );
}

#[test]
fn instances_spread_over_the_values_of_a_key() {
    check(
        "machine m1 zone=a
         machine m2 zone=a
         machine m3 zone=b
         machine m4
         unit w@1.service launched on m1 | SpreadOver=zone
         unit w@2.service launched | SpreadOver=zone
         unit w@3.service launched | SpreadOver=zone
         unit w@4.service launched | SpreadOver=zone
         unit x@1.service launched on m3
         unit x@2.service launched on m3
         unit x@3.service launched | SpreadOver=zone; Conflicts=x@*.service; MachineMetadata=zone=b",
        "x@3.service -> -: 4 machines: 1 conflicts with x@1.service, 3 lack metadata zone=b
         w@2.service -> m3: least loaded of zone=b: 2 units
         w@3.service -> m2: least loaded of zone=a: 0 units
         w@4.service -> m3: least loaded of zone=b: 3 units",
    );
}

#[test]
fn a_higher_priority_comes_first_and_makes_the_least_important_give_way() {
    check(
        "machine m1 cpus=1
         machine m2 cpus=1
         unit a.service launched on m1 | CPUReserve=60%
         unit b.service launched on m2 | CPUReserve=60%; Priority=5
         unit c.service launched | CPUReserve=80%; Priority=10
         unit d.service launched | CPUReserve=100%; Priority=5",
        "d.service -> -: 2 machines: 2 have too little CPU left
         a.service -> -: made room for c.service; 2 machines: 2 have too little CPU left
         c.service -> m1: priority 10: a.service made room",
    );
    check(
        "machine m1 cpus=1
         unit a.service launched | CPUReserve=80%
         unit z.service launched | CPUReserve=80%; Priority=1",
        "a.service -> -: 1 machine: 1 has too little CPU left
         z.service -> m1: least loaded: 0 units",
    );
}

#[test]
fn nobody_gives_way_whom_someone_as_important_follows() {
    check(
        "machine m1 cpus=1
         unit a.service launched on m1 | CPUReserve=50%
         unit b.service launched on m1 | CPUReserve=10%; Priority=20; MachineOf=a.service
         unit c.service launched | CPUReserve=60%; Priority=10",
        "c.service -> -: 1 machine: 1 has too little CPU left",
    );
}

#[test]
fn nothing_moves_back() {
    check(
        "machine m1
         machine m2
         unit a.service launched on m2
         unit b.service launched on m2",
        "",
    );
}
