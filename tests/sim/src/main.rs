//! `corten-sim SEED`: replays one seed and prints its trace. `corten-sim FROM TO`: runs a range of seeds and prints the
//! broken ones. The exit status is 1 when a promise was broken. `corten-sim bench [MACHINES UNITS]` measures the scheduler.

use std::process::ExitCode;

use corten_sim::bench::{self, Size};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("bench") {
        return measure();
    }
    let seeds: Result<Vec<u64>, _> = std::env::args().skip(1).map(|word| word.parse()).collect();
    match seeds.as_deref() {
        Ok([seed]) => replay(*seed),
        Ok([from, to]) => sweep(*from, *to),
        _ => {
            eprintln!("usage: corten-sim SEED | corten-sim FROM TO | corten-sim bench [MACHINES UNITS]");
            ExitCode::from(2)
        }
    }
}

/// A twentieth of the machines is lost, as 500 of 10,000.
fn measure() -> ExitCode {
    let words: Result<Vec<usize>, _> = std::env::args().skip(2).map(|word| word.parse()).collect();
    let (machines, units) = match words.as_deref() {
        Ok([]) => (10_000, 100_000),
        Ok([machines, units]) => (*machines, *units),
        _ => {
            eprintln!("usage: corten-sim bench [MACHINES UNITS]");
            return ExitCode::from(2);
        }
    };
    let size = Size {
        machines,
        units,
        more: 1_000,
        lost: machines / 20,
    };
    print!("{}", bench::run(1, size).print(size));
    ExitCode::SUCCESS
}

fn replay(seed: u64) -> ExitCode {
    let run = corten_sim::run(seed);
    print!("{}", run.trace);
    match run.broken {
        Some(broken) => {
            println!("BROKEN: {broken}");
            ExitCode::FAILURE
        }
        None => {
            println!("seed {seed}: every promise held");
            ExitCode::SUCCESS
        }
    }
}

fn sweep(from: u64, to: u64) -> ExitCode {
    let mut count = 0;
    for seed in from..to {
        if let Some(broken) = corten_sim::run(seed).broken {
            println!("seed {seed}: {broken}");
            count += 1;
        }
    }
    println!("{} seeds, {count} broken", to.saturating_sub(from));
    if count == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
