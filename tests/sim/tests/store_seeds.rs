//! Many seeds of whole clusters, each in a process of its own. A broken seed is its own bug report:
//! `just sim SEED` replays it.

use std::process::{Command, Output};

/// Seeds run by every test run.
const SEEDS: u64 = 200;
/// In how many seeds a promise broken on purpose must be found.
const MUTANT_SEEDS: u64 = 30;

fn sim(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_corten-sim"))
        .args(words)
        .output()
        .expect("the simulation can be started")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn every_promise_holds_for_every_seed() {
    let output = sim(&["store", "0", &SEEDS.to_string()]);
    assert!(output.status.success(), "{}", text(&output));
    println!("{}", text(&output));
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in ["1", "2", "3", "1000003"] {
        let one = sim(&["store", seed]);
        assert_eq!(text(&one), text(&sim(&["store", seed])), "seed {seed}");
        assert!(!one.stdout.is_empty());
    }
}

#[test]
fn seeds_break_things() {
    let traces: String = (0..20)
        .map(|seed: u64| text(&sim(&["store", &seed.to_string()])))
        .collect();
    for sign in [
        "loses its power",
        "is killed",
        "fault: Cut",
        "fault: Weather",
        "fault: Stall",
        "fault: Full",
        "fault: Slow",
        "fault: Snapshot",
        "fault: Lag",
        "fault: MoveLeader",
        "loses its disk",
        "the node died",
        "Refused",
        "Value(Some(",
        "Alive(",
        "Gone",
        "Compacted",
        "Cleared(",
        "got the state as a whole",
        "times behind",
        "times ended",
        "with losses",
    ] {
        assert!(traces.contains(sign), "no seed of the first twenty has {sign:?}");
    }
    for asked in ["Add(", "Promote(", "Remove(", "Compact("] {
        assert!(
            is_done(&traces, asked),
            "no seed of the first twenty does {asked:?}"
        );
    }
}

/// Whether one of these was not only asked for: its number ends with `Done`.
fn is_done(traces: &str, asked: &str) -> bool {
    let mut waits = "";
    traces.lines().any(|line| {
        if line.contains(asked) {
            waits = line
                .split_whitespace()
                .find(|word| word.starts_with('#'))
                .unwrap_or_default();
            return false;
        }
        let ends = format!("{} ends at ", waits.trim_end_matches(':'));
        !waits.is_empty() && line.contains(&ends) && line.contains("seen: Done")
    })
}

#[test]
fn promises_broken_on_purpose_are_found() {
    for (mutation, _) in corten_sim::cluster::Mutation::ALL {
        let found = (0..MUTANT_SEEDS).any(|seed| {
            let output = sim(&["store", &seed.to_string(), "--mutation", mutation]);
            text(&output).contains("BROKEN: ")
        });
        assert!(found, "{mutation} was not found in {MUTANT_SEEDS} seeds");
    }
}
