//! A few hundred seeds of the control loop. A broken seed is its own bug report: `just sim SEED`.

use corten_sim::storm::Storm;
use corten_sim::world::Mutation;

/// Seeds run by every test run.
const SEEDS: u64 = 200;

#[test]
fn every_promise_holds_for_every_seed() {
    let broken: Vec<String> = (0..SEEDS)
        .filter_map(|seed| {
            corten_sim::run(seed, None)
                .broken
                .map(|broken| format!("seed {seed}: {broken}"))
        })
        .collect();
    assert!(
        broken.is_empty(),
        "{} of {SEEDS} seeds broken:\n{}",
        broken.len(),
        broken.join("\n")
    );
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [1, 2, 3, 1_000_003] {
        assert_eq!(
            corten_sim::run(seed, None),
            corten_sim::run(seed, None),
            "seed {seed}"
        );
    }
    assert_ne!(corten_sim::run(1, None).trace, corten_sim::run(2, None).trace);
}

#[test]
fn seeds_break_things_and_move_units() {
    let traces: String = (0..40).map(|seed| corten_sim::run(seed, None).trace).collect();
    for sign in [
        "boots",
        "link is back",
        "leads term 2",
        "went away",
        "least loaded",
        "conflict",
        "leave m",
        " gone",
        "is drained",
        "made room for",
        "too little CPU",
        "least loaded of zone=",
        " kill ",
        "roll rolling1.service",
        "waits until it is active on machine",
        " to be back",
        "end the roll of",
    ] {
        assert!(traces.contains(sign), "no seed of the first forty has {sign:?}");
    }
}

/// Seeds of each storm.
const STORMS: u64 = 20;

#[test]
fn no_storm_moves_a_unit() {
    for storm in Storm::ALL {
        for seed in 0..STORMS {
            let broken = corten_sim::run_storm(storm, seed, None).broken;
            assert_eq!(broken, None, "{storm:?}, seed {seed}");
        }
    }
}

/// The seeds in which a promise that is broken on purpose is looked for.
const LOOKED_AT: u64 = 1_000;

#[test]
fn what_is_broken_on_purpose_is_found() {
    for (name, mutation) in Mutation::ALL {
        let found = |seed: &u64| match mutation {
            Mutation::NoGrace => corten_sim::run_storm(Storm::Reboot, *seed, Some(mutation))
                .broken
                .is_some(),
            Mutation::AnyVersionCounts => corten_sim::run(*seed, Some(mutation))
                .broken
                .is_some_and(|why| why.contains("because of its roll")),
            _ => corten_sim::run(*seed, Some(mutation))
                .broken
                .is_some_and(|why| why.contains("given up")),
        };
        let seed = (0..LOOKED_AT).find(found);
        assert!(seed.is_some(), "{name} is found by none of {LOOKED_AT} seeds");
    }
}
