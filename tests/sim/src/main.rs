//! `corten-sim SEED` replays one seed of both simulations and prints their traces; `corten-sim fleet|store SEED` of one.
//! `corten-sim [fleet|store] FROM TO` runs a range of seeds and prints the broken ones, and how many there were in a
//! minute. The exit status is 1 when a promise was broken. `corten-sim bench [MACHINES UNITS]` measures the scheduler.

use std::num::NonZero;
use std::ops::Range;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use corten_sim::Run;
use corten_sim::bench::{self, Size};
use corten_sim::cluster::{self, Mutation};

const USAGE: &str = "usage: corten-sim [fleet|store] SEED [MUTATION] | corten-sim [fleet|store] FROM TO | \
                     corten-sim bench [MACHINES UNITS]";

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("bench") {
        return measure();
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match broken(&words) {
        Some(0) => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
        None => {
            eprintln!("{USAGE}");
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
            eprintln!("{USAGE}");
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

/// Does what is asked and counts the broken seeds; `None` if it cannot be understood.
fn broken(words: &[&str]) -> Option<usize> {
    let (which, words): (&[&str], _) = match words {
        [one @ ("fleet" | "store"), rest @ ..] => (&[*one], rest),
        rest => (&["fleet", "store"], rest),
    };
    let mutation = |word: &str| Mutation::ALL.iter().find(|(name, _)| *name == word);
    match words {
        [seed] => {
            let seed = seed.parse().ok()?;
            Some(which.iter().filter(|which| !replay(which, seed, None)).count())
        }
        [seed, word] if let Some((_, mutation)) = mutation(word) => {
            let held = replay("store", seed.parse().ok()?, Some(*mutation));
            Some(usize::from(!held))
        }
        [from, to] => {
            let seeds = from.parse().ok()?..to.parse().ok()?;
            Some(which.iter().map(|which| sweep(which, seeds.clone())).sum())
        }
        _ => None,
    }
}

fn replay(which: &str, seed: u64, mutation: Option<Mutation>) -> bool {
    let Run { trace, broken } = match which {
        "fleet" => corten_sim::run(seed),
        _ => cluster::run(seed, mutation),
    };
    print!("{trace}");
    match &broken {
        Some(broken) => println!("BROKEN: {broken}"),
        None => println!("{which} {seed}: every promise held"),
    }
    broken.is_none()
}

/// Runs each seed, those of the store in a process of its own each, on all cores.
fn sweep(which: &str, seeds: Range<u64>) -> usize {
    let (begun, count) = (Instant::now(), seeds.end.saturating_sub(seeds.start));
    let (next, broken) = (AtomicU64::new(seeds.start), AtomicUsize::new(0));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let failure = match which {
                "fleet" => corten_sim::run(seed).broken,
                _ => in_a_process(seed),
            };
            if let Some(failure) = failure {
                println!("{which} {seed}: {failure}");
                broken.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|threads| {
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            threads.spawn(work);
        }
    });
    let broken = broken.into_inner();
    let pace = count as f64 / begun.elapsed().as_secs_f64() * 60.0;
    println!("{which}: {count} seeds, {broken} broken, {pace:.0} seeds per minute");
    broken
}

fn in_a_process(seed: u64) -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let output = match Command::new(program).args(["store", &seed.to_string()]).output() {
        Ok(output) => output,
        Err(e) => return Some(format!("could not be run: {e}")),
    };
    if output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let told = text.lines().find_map(|line| line.strip_prefix("BROKEN: "));
    let died = || format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Some(told.map_or_else(died, str::to_owned))
}
