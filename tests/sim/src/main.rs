//! `corten-sim SEED`: replays one seed and prints its trace. `corten-sim FROM TO`: runs a range of seeds and prints the
//! broken ones. The exit status is 1 when a promise was broken.

use std::process::ExitCode;

fn main() -> ExitCode {
    let seeds: Result<Vec<u64>, _> = std::env::args().skip(1).map(|word| word.parse()).collect();
    match seeds.as_deref() {
        Ok([seed]) => replay(*seed),
        Ok([from, to]) => sweep(*from, *to),
        _ => {
            eprintln!("usage: corten-sim SEED | corten-sim FROM TO");
            ExitCode::from(2)
        }
    }
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
