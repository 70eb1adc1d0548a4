//! The store beside Debian's etcd: both are started with the same flags on loopback, driven by the same public clients in
//! the same run, round by round in turns, and the medians are printed with their ratio. Prints; asserts nothing.

mod bench;
mod fan_out;
mod grpc;
mod load;
mod table;
mod wrk;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use corten_store_bench::server::Program;

/// Measures Corten's store beside Debian's etcd-server.
#[derive(Debug, Parser)]
#[command(name = "corten-store-bench")]
struct Arguments {
    /// Our program, which is started as `corten etcd`
    #[arg(long, default_value = "target/release/corten")]
    corten: PathBuf,
    /// The peer to compare with (default: etcd on the PATH)
    #[arg(long, default_value = "etcd")]
    etcd: PathBuf,
    /// How often each figure is taken; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long each load lasts, in seconds
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Only the measures whose name holds this
    #[arg(long, default_value = "")]
    only: String,
    /// Where the servers' data goes: a directory on the disk to be measured, not in memory
    #[arg(long, default_value = "out")]
    dir: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    wrk::check()?;
    let etcd = Program::etcd(&arguments.etcd);
    etcd.check()?;
    let plan = bench::Plan {
        programs: [Program::corten(&arguments.corten)?, etcd],
        rounds: arguments.rounds.max(1),
        load: Duration::from_secs(arguments.seconds.max(1)),
        only: arguments.only,
        dir: arguments.dir,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let table = runtime.block_on(bench::run(&plan))?;
    table.print();
    Ok(())
}
