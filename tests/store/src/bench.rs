//! What is measured, in which order.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use corten_store_bench::client;
use corten_store_bench::server::{Cluster, Program};

use crate::fan_out;
use crate::table::{Better, Row, Table};
use crate::wrk::{self, Load, Measured};

/// How many keys the memory and the restart are measured with.
const FILL: usize = 100_000;

/// What to measure, of whom, how often.
#[derive(Debug)]
pub struct Plan {
    /// Ours and the peer.
    pub programs: [Program; 2],
    /// How often each figure is taken.
    pub rounds: usize,
    /// How long each load lasts.
    pub load: Duration,
    /// Only measures whose name holds this.
    pub only: String,
    /// Where data goes.
    pub dir: PathBuf,
}

/// A load and what is wanted of it.
struct Measure {
    name: &'static str,
    load: Load,
    connections: usize,
    /// The aims: operations (more), p50 (less), p99 (less).
    aims: [Option<f64>; 3],
}

const LOADS: &[Measure] = &[
    Measure {
        name: "v2 PUT, 1 client",
        load: Load::Put,
        connections: 1,
        aims: [None, Some(0.8), None],
    },
    Measure {
        name: "v2 PUT, 64 clients",
        load: Load::Put,
        connections: 64,
        aims: [Some(2.0), None, Some(1.0)],
    },
    Measure {
        name: "v2 PUT, 256 clients",
        load: Load::Put,
        connections: 256,
        aims: [Some(2.0), None, Some(1.0)],
    },
    Measure {
        name: "v2 GET, 64 clients",
        load: Load::Get,
        connections: 64,
        aims: [Some(2.0), None, None],
    },
    Measure {
        name: "v2 quorum GET, 64 clients",
        load: Load::QuorumGet,
        connections: 64,
        aims: [Some(2.0), None, None],
    },
];

/// Measures everything.
pub async fn run(plan: &Plan) -> Result<Table> {
    let mut table = Table::default();
    for size in [1, 3] {
        let nodes = if size == 1 { "1 node" } else { "3 nodes" };
        for measure in LOADS {
            let name = format!("{nodes}: {}", measure.name);
            if name.contains(&plan.only) {
                loads(plan, &mut table, &name, size, measure).await?;
            }
        }
        let name = format!("{nodes}: 1000 watchers, PUT to last receipt");
        if name.contains(&plan.only) {
            fanned_out(plan, &mut table, name, size).await?;
        }
    }
    if "memory and restart".contains(&plan.only) {
        memory(plan, &mut table).await?;
    }
    Ok(table)
}

/// What is going on, and who is at it.
fn say(what: &str, round: usize, program: &Program, found: &str) {
    eprintln!(
        "bench-store: {what}, round {}, {}: {found}",
        round + 1,
        program.name
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// One load against both, in turns; each round begins with fresh servers that hold every key once.
async fn loads(plan: &Plan, table: &mut Table, name: &str, size: usize, measure: &Measure) -> Result<()> {
    let mut found: [Vec<Measured>; 2] = [vec![], vec![]];
    for round in 0..plan.rounds {
        for (program, found) in plan.programs.iter().zip(&mut found) {
            let cluster = Cluster::start(program, size, &plan.dir).await?;
            let leader = cluster.leader().await?;
            client::fill(leader, "/bench/k", wrk::KEYS, &"x".repeat(wrk::VALUE)).await?;
            let measured = wrk::run(leader, measure.load, measure.connections, plan.load).await?;
            let text = format!(
                "{:.0}/s, p50 {:.2} ms, p99 {:.2} ms",
                measured.per_second, measured.p50_ms, measured.p99_ms
            );
            say(name, round, program, &text);
            found.push(measured);
        }
    }
    let of =
        |pick: fn(&Measured) -> f64| [0, 1].map(|at: usize| median(found[at].iter().map(pick).collect()));
    let figures = [
        ("operations/s", of(|m| m.per_second), Better::More),
        ("p50 ms", of(|m| m.p50_ms), Better::Less),
        ("p99 ms", of(|m| m.p99_ms), Better::Less),
    ];
    for ((unit, values, better), aim) in figures.into_iter().zip(measure.aims) {
        let what = format!("{name}, {unit}");
        table.rows.push(Row {
            what,
            values,
            better,
            aim,
        });
    }
    Ok(())
}

async fn fanned_out(plan: &Plan, table: &mut Table, name: String, size: usize) -> Result<()> {
    let mut found = [vec![], vec![]];
    for round in 0..plan.rounds {
        for (program, found) in plan.programs.iter().zip(&mut found) {
            let cluster = Cluster::start(program, size, &plan.dir).await?;
            let ms = fan_out::measure(cluster.leader().await?).await?;
            say(&name, round, program, &format!("{ms:.1} ms"));
            found.push(ms);
        }
    }
    table.rows.push(Row {
        what: format!("{name}, ms"),
        values: found.map(median),
        better: Better::Less,
        aim: Some(0.5),
    });
    Ok(())
}

/// Memory at rest and with many keys, and the restart with them.
async fn memory(plan: &Plan, table: &mut Table) -> Result<()> {
    let mut found: [[Vec<f64>; 3]; 2] = Default::default();
    let value = "x".repeat(wrk::VALUE);
    for round in 0..plan.rounds {
        for (program, [idle, full, restart]) in plan.programs.iter().zip(&mut found) {
            let mut cluster = Cluster::start(program, 1, &plan.dir).await?;
            let leader = cluster.leader().await?;
            idle.push(cluster.resident_mib(leader)?);
            client::fill(leader, "/fill/k", FILL, &value).await?;
            full.push(cluster.resident_mib(leader)?);
            restart.push(cluster.restart().await?.as_secs_f64() * 1e3);
            let last = |values: &[f64]| values.last().copied().unwrap_or_default();
            let text = format!(
                "{:.1} MiB idle, {:.1} MiB with {FILL} keys, healthy after {:.0} ms",
                last(idle),
                last(full),
                last(restart)
            );
            say("memory and restart", round, program, &text);
        }
    }
    let names = [
        ("resident memory, idle, MiB", 0.5),
        ("resident memory, 100,000 v2 keys, MiB", 0.25),
        ("restart to healthy with those keys, ms", 0.5),
    ];
    for (at, (what, aim)) in names.into_iter().enumerate() {
        table.rows.push(Row {
            what: what.to_owned(),
            values: [0, 1].map(|program: usize| median(found[program][at].clone())),
            better: Better::Less,
            aim: Some(aim),
        });
    }
    Ok(())
}
