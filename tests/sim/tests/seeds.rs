//! A few hundred seeds of the control loop. A broken seed is its own bug report: `just sim SEED`.

/// Seeds run by every test run.
const SEEDS: u64 = 200;

#[test]
fn every_promise_holds_for_every_seed() {
    let broken: Vec<String> = (0..SEEDS)
        .filter_map(|seed| {
            corten_sim::run(seed)
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
        assert_eq!(corten_sim::run(seed), corten_sim::run(seed), "seed {seed}");
    }
    assert_ne!(corten_sim::run(1).trace, corten_sim::run(2).trace);
}

#[test]
fn seeds_break_things_and_move_units() {
    let traces: String = (0..40).map(|seed| corten_sim::run(seed).trace).collect();
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
    ] {
        assert!(traces.contains(sign), "no seed of the first forty has {sign:?}");
    }
}
