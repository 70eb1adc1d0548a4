//! Runs the simulations: a seed is replayed with its trace, of a range the broken ones are told. The exit status is 1 when a
//! promise was broken.

use std::num::NonZero;
use std::ops::Range;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use corten_sim::Run;
use corten_sim::bench::{self, Size};
use corten_sim::cluster::{self, Mutation};
use corten_sim::world::Mutation as Broken;

/// Corten in simulated time, from a seed: the same seed gives the same run
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The fleet's rooms: scheduler, agents and the store's state
    Fleet {
        #[command(flatten)]
        seeds: Seeds,
        /// A promise to break on purpose, which must then be found
        #[arg(long, value_parser = named(Broken::ALL))]
        mutation: Option<Broken>,
    },
    /// Whole clusters of the Raft room, with clients of both versions
    Store {
        #[command(flatten)]
        seeds: Seeds,
        /// A promise to break on purpose, which must then be found
        #[arg(long, conflicts_with = "to", value_parser = named(Mutation::ALL))]
        mutation: Option<Mutation>,
    },
    /// Both
    Both(Seeds),
    /// Measures the scheduler
    Bench {
        #[arg(default_value_t = 10_000)]
        machines: usize,
        #[arg(default_value_t = 100_000)]
        units: usize,
    },
}

#[derive(Args)]
struct Seeds {
    /// The seed to replay, or the first of a range
    from: u64,
    /// The end of the range, not in it
    to: Option<u64>,
}

fn named<M, const N: usize>(all: [(&'static str, M); N]) -> impl TypedValueParser<Value = M>
where
    M: Copy + Send + Sync + 'static,
{
    let names = PossibleValuesParser::new(all.map(|(name, _)| name));
    names.try_map(move |word| {
        let found = all.into_iter().find(|(name, _)| *name == word);
        found.map(|(_, mutation)| mutation).ok_or("no such mutation")
    })
}

fn main() -> ExitCode {
    let broken = match Cli::parse().what {
        What::Fleet { seeds, mutation } => simulate(Which::Fleet(mutation), &seeds),
        What::Store { seeds, mutation } => simulate(Which::Store(mutation), &seeds),
        What::Both(seeds) => simulate(Which::Fleet(None), &seeds) + simulate(Which::Store(None), &seeds),
        What::Bench { machines, units } => {
            measure(machines, units);
            0
        }
    };
    ExitCode::from(u8::from(broken > 0))
}

/// A twentieth of the machines is lost, as 500 of 10,000.
fn measure(machines: usize, units: usize) {
    let size = Size {
        machines,
        units,
        more: 1_000,
        lost: machines / 20,
    };
    print!("{}", bench::run(1, size).print(size));
}

/// A simulation, with what is broken on purpose.
#[derive(Clone, Copy)]
enum Which {
    Fleet(Option<Broken>),
    Store(Option<Mutation>),
}

impl Which {
    fn name(self) -> &'static str {
        match self {
            Which::Fleet(_) => "fleet",
            Which::Store(_) => "store",
        }
    }
}

/// Counts the broken seeds.
fn simulate(which: Which, seeds: &Seeds) -> usize {
    match seeds.to {
        None => usize::from(!replay(which, seeds.from)),
        Some(to) => sweep(which, seeds.from..to),
    }
}

fn replay(which: Which, seed: u64) -> bool {
    let Run { trace, broken } = match which {
        Which::Fleet(mutation) => corten_sim::run(seed, mutation),
        Which::Store(mutation) => cluster::run(seed, mutation),
    };
    print!("{trace}");
    match &broken {
        Some(broken) => println!("BROKEN: {broken}"),
        None => println!("{} {seed}: every promise held", which.name()),
    }
    broken.is_none()
}

/// Runs each seed, those of the store in a process of its own each, on all cores.
fn sweep(which: Which, seeds: Range<u64>) -> usize {
    let name = which.name();
    let (begun, count) = (Instant::now(), seeds.end.saturating_sub(seeds.start));
    let (next, broken) = (AtomicU64::new(seeds.start), AtomicUsize::new(0));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let failure = match which {
                Which::Fleet(mutation) => corten_sim::run(seed, mutation).broken,
                Which::Store(_) => in_a_process(seed),
            };
            if let Some(failure) = failure {
                println!("{name} {seed}: {failure}");
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
    println!("{name}: {count} seeds, {broken} broken, {pace:.0} seeds per minute");
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
