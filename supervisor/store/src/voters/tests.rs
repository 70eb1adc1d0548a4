//! The decision as a table: each line of members is who it is, `V` votes or `-` does not, `v` is to or `s` stands by, how
//! long it has been silent in s, how many entries it lacks.
#![allow(clippy::unwrap_used)]

use super::*;

const NOW_MS: u64 = 10_000_000;

/// `1 Vv 0 0` and so on; member 1 leads; a fifth word is the address.
fn view(lines: &[&str]) -> View {
    let seats = lines.iter().map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [id, roles, silent, behind, ref more @ ..] = words[..] else {
            panic!("{line}")
        };
        Seat {
            id: id.parse().unwrap(),
            votes: roles.starts_with('V'),
            shall_vote: roles.ends_with('v'),
            heard_ms: NOW_MS - silent.parse::<u64>().unwrap() * 1000,
            behind: behind.parse().ok(),
            peer_urls: vec![format!("http://{}", more.first().unwrap_or(&id))],
        }
    });
    View {
        leader: 1,
        seats: seats.collect(),
        unfinished: None,
    }
}

fn policy(active_size: Option<usize>) -> Policy {
    Policy {
        active_size,
        remove_delay_ms: Some(300_000),
        alive_ms: 3_000,
    }
}

fn settle(ids: &[MemberId]) -> Option<Change> {
    Some(Change::Settle(ids.iter().copied().collect()))
}

fn roles(up: Option<MemberId>, down: Option<MemberId>) -> Option<Change> {
    Some(Change::Roles { up, down })
}

#[test]
fn table() {
    let none = None;
    type Case<'c> = (&'c str, &'c [&'c str], Option<usize>, Option<Change>);
    let cases: &[Case<'_>] = &[
        ("all is well", &["1 Vv 0 0", "2 Vv 0 0", "3 Vv 0 0"], none, None),
        (
            "one is away, not for long",
            &["1 Vv 0 0", "2 Vv 0 0", "3 Vv 299 0", "4 -s 0 0"],
            none,
            None,
        ),
        (
            "one is gone, and a standby is ready",
            &["1 Vv 0 0", "2 Vv 0 0", "3 Vv 300 0", "4 -s 0 0"],
            none,
            roles(Some(4), Some(3)),
        ),
        (
            "the readiest of the standbys",
            &[
                "1 Vv 0 0",
                "2 Vv 0 0",
                "3 Vv 300 0",
                "4 -s 0 50",
                "5 -s 0 2",
                "6 -s 9 0",
            ],
            none,
            roles(Some(5), Some(3)),
        ),
        (
            "no standby is ready: one is far behind, one silent, one never came",
            &[
                "1 Vv 0 0",
                "2 Vv 0 0",
                "3 Vv 900 0",
                "4 -s 0 101",
                "5 -s 9 0",
                "6 -s 0 -",
            ],
            none,
            None,
        ),
        (
            "of two that are gone the longer one first",
            &[
                "1 Vv 0 0",
                "2 Vv 0 0",
                "3 Vv 0 0",
                "4 Vv 400 0",
                "5 Vv 500 0",
                "6 -s 0 0",
            ],
            none,
            roles(Some(6), Some(5)),
        ),
        (
            "the majority is gone: nothing can be done",
            &["1 Vv 0 0", "2 Vv 900 0", "3 Vv 900 0", "4 -s 0 0", "5 -s 0 0"],
            none,
            None,
        ),
        (
            "roles are changed: the standby votes in the other's place, in one step",
            &["1 Vv 0 0", "2 Vv 0 0", "3 Vs 301 0", "4 -v 0 0"],
            none,
            settle(&[1, 2, 4]),
        ),
        (
            "it has fallen behind meanwhile: the other one's vote is kept",
            &["1 Vv 0 0", "2 Vv 0 0", "3 Vs 301 0", "4 -v 0 101"],
            none,
            None,
        ),
        (
            "it has died meanwhile: the next standby",
            &["1 Vv 0 0", "2 Vv 0 0", "3 Vs 900 0", "4 -v 300 0", "5 -s 0 0"],
            none,
            roles(Some(5), Some(4)),
        ),
        (
            "a new member that is to vote has caught up",
            &["1 Vv 0 0", "2 -v 0 0"],
            none,
            settle(&[1, 2]),
        ),
        (
            "a new member that was not started yet",
            &["1 Vv 0 0", "2 -v 0 -"],
            none,
            None,
        ),
        (
            "a learner stays one while all is well",
            &["1 Vv 0 0", "2 -s 0 0"],
            none,
            None,
        ),
        (
            "fewer than wanted",
            &["1 Vv 0 0", "2 -s 0 0", "3 -s 0 0"],
            Some(3),
            roles(Some(2), None),
        ),
        (
            "fewer than wanted, and nobody is ready",
            &["1 Vv 0 0", "2 -s 9 0"],
            Some(3),
            None,
        ),
        (
            "more than wanted: the silent one stands by",
            &["1 Vv 0 0", "2 Vv 9 0", "3 Vv 0 0", "4 Vv 0 0"],
            Some(3),
            roles(None, Some(2)),
        ),
        (
            "more than wanted: never the leader, and the majority of what is left must live",
            &["1 Vv 0 0", "2 Vv 0 0", "3 Vv 9 0"],
            Some(1),
            roles(None, Some(3)),
        ),
        (
            "a voter that is to stand by leaves",
            &["1 Vv 0 0", "2 Vv 0 0", "3 Vs 0 0"],
            Some(2),
            settle(&[1, 2]),
        ),
        (
            "it stays while what would be left has no majority of living",
            &["1 Vv 0 0", "2 Vv 9 0", "3 Vs 0 0"],
            none,
            None,
        ),
        (
            "a machine lost its disk and joined anew: it votes in its old place",
            &["1 Vv 0 0", "2 Vv 0 0", "3 Vs 20 0 c", "4 -v 0 0 c"],
            none,
            settle(&[1, 2, 4]),
        ),
        (
            "and what it was is removed",
            &["1 Vv 0 0", "2 Vv 0 0", "3 -s 20 0 c", "4 Vv 0 0 c"],
            none,
            Some(Change::Remove(3)),
        ),
        (
            "not while nobody lives at that address",
            &["1 Vv 0 0", "2 Vv 0 0", "3 -s 20 0 c", "4 Vv 20 0 c"],
            none,
            None,
        ),
    ];
    for (name, lines, active_size, expected) in cases {
        let decided = decide(&view(lines), &policy(*active_size), NOW_MS);
        assert_eq!(decided.map(|decision| decision.change), *expected, "{name}");
    }
}

#[test]
fn what_an_earlier_leader_left_is_finished_first() {
    let mut view = view(&["1 Vv 0 0", "2 Vv 0 0", "3 Vs 900 0", "4 Vv 0 0"]);
    view.unfinished = Some([1, 2, 4].into());
    let decided = decide(&view, &policy(None), NOW_MS).unwrap();
    assert_eq!(decided.change, Change::Settle([1, 2, 4].into()));
}

#[test]
fn without_a_delay_nobody_is_replaced() {
    let never = Policy {
        remove_delay_ms: None,
        ..policy(None)
    };
    let view = view(&["1 Vv 0 0", "2 Vv 0 0", "3 Vv 9000 0", "4 -s 0 0"]);
    assert_eq!(decide(&view, &never, NOW_MS), None);
    let why = decide(&view, &policy(None), NOW_MS).unwrap().why;
    assert_eq!(why, "member 3 has not answered for 9000 s");
}

#[test]
fn a_full_leader_gives_way_to_a_majority_that_can_do_without_it() {
    let cases: &[(&[&str], bool)] = &[
        (&["1 Vv 0 0"], false),
        (&["1 Vv 0 0", "2 Vv 0 0"], false),
        (&["1 Vv 0 0", "2 Vv 0 0", "3 Vv 0 0"], true),
        (&["1 Vv 0 0", "2 Vv 0 0", "3 Vv 9 0"], false),
        (&["1 Vv 0 0", "2 Vv 0 0", "3 -s 0 0", "4 -s 0 0"], false),
        (
            &["1 Vv 0 0", "2 Vv 0 0", "3 Vv 0 0", "4 Vv 0 0", "5 Vv 9 0"],
            true,
        ),
    ];
    for (lines, expected) in cases {
        assert_eq!(
            gives_way(&view(lines), &policy(None), NOW_MS),
            *expected,
            "{lines:?}"
        );
    }
}

/// Every small cluster, every combination: each step keeps a living majority among those who vote, and the steps end.
#[test]
fn every_step_is_safe_and_the_steps_end() {
    let kinds = [
        "Vv 0 0", "Vv 900 0", "Vs 0 0", "Vs 900 0", "-v 0 0", "-v 900 0", "-s 0 0", "-s 900 0",
    ];
    for case in 0..kinds.len().pow(4) {
        for active_size in [None, Some(1), Some(3)] {
            let mut lines = vec!["1 Vv 0 0".to_owned()];
            let mut rest = case;
            for id in 2..=5 {
                lines.push(format!("{id} {}", kinds[rest % kinds.len()]));
                rest /= kinds.len();
            }
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let mut now = view(&lines);
            let mut steps = 0;
            while let Some(decision) = decide(&now, &policy(active_size), NOW_MS) {
                steps += 1;
                assert!(steps < 20, "{lines:?} never ends: {decision:?}");
                follow(&mut now, &decision.change, &lines);
            }
        }
    }
}

/// Does a step, as the leader would.
fn follow(view: &mut View, change: &Change, lines: &[&str]) {
    match change {
        Change::Settle(next) => {
            let living = |seats: &[Seat], voters: &BTreeSet<MemberId>| {
                let live = seats.iter().filter(|seat| seat.heard_ms == NOW_MS);
                live.filter(|seat| voters.contains(&seat.id)).count() > voters.len() / 2
            };
            let old: BTreeSet<MemberId> = view.seats.iter().filter(|s| s.votes).map(|s| s.id).collect();
            assert!(
                living(&view.seats, &old) && living(&view.seats, next),
                "{lines:?}"
            );
            for seat in &mut view.seats {
                seat.votes = next.contains(&seat.id);
            }
        }
        Change::Roles { up, down } => {
            for seat in &mut view.seats {
                if Some(seat.id) == *up {
                    seat.shall_vote = true;
                }
                if Some(seat.id) == *down {
                    seat.shall_vote = false;
                }
            }
        }
        Change::Remove(id) => view.seats.retain(|seat| seat.id != *id),
    }
}
