//! What is measured, in which order.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use corten_store_bench::client;
use corten_store_bench::server::{Cluster, Program};

use crate::fan_out;
use crate::load::{Face, KEYS, Load, Measured, VALUE};
use crate::table::{Better, Row, Table};
use crate::{grpc, wrk};

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
    face: Face,
    load: Load,
    clients: usize,
    /// The aims: operations (more), p50 (less), p99 (less).
    aims: [Option<f64>; 3],
}

impl Measure {
    const fn new(
        name: &'static str,
        face: Face,
        load: Load,
        clients: usize,
        aims: [Option<f64>; 3],
    ) -> Measure {
        Measure {
            name,
            face,
            load,
            clients,
            aims,
        }
    }

    /// Fresh servers hold every key once.
    async fn fill(&self, port: u16) -> Result<()> {
        match self.face {
            Face::V2 => client::fill(port, "/bench/k", KEYS, &"x".repeat(VALUE)).await,
            Face::V3 => grpc::fill(port, "/bench/k", KEYS).await,
        }
    }

    async fn run(&self, port: u16, lasting: Duration) -> Result<Measured> {
        match self.face {
            Face::V2 => wrk::run(port, self.load, self.clients, lasting).await,
            Face::V3 => grpc::run(port, self.load, self.clients, lasting).await,
        }
    }
}

const ALONE: [Option<f64>; 3] = [None, Some(0.8), None];
const MANY_WRITE: [Option<f64>; 3] = [Some(2.0), None, Some(1.0)];
const MANY_READ: [Option<f64>; 3] = [Some(2.0), None, None];

const LOADS: &[Measure] = &[
    Measure::new("v2 PUT, 1 client", Face::V2, Load::Put, 1, ALONE),
    Measure::new("v2 PUT, 64 clients", Face::V2, Load::Put, 64, MANY_WRITE),
    Measure::new("v2 PUT, 256 clients", Face::V2, Load::Put, 256, MANY_WRITE),
    Measure::new("v2 GET, 64 clients", Face::V2, Load::Get, 64, MANY_READ),
    Measure::new(
        "v2 quorum GET, 64 clients",
        Face::V2,
        Load::QuorumGet,
        64,
        MANY_READ,
    ),
    Measure::new("v3 put, 1 client", Face::V3, Load::Put, 1, ALONE),
    Measure::new("v3 put, 64 clients", Face::V3, Load::Put, 64, MANY_WRITE),
    Measure::new("v3 put, 256 clients", Face::V3, Load::Put, 256, MANY_WRITE),
    Measure::new(
        "v3 serializable range, 64 clients",
        Face::V3,
        Load::Get,
        64,
        MANY_READ,
    ),
    Measure::new(
        "v3 linearizable range, 64 clients",
        Face::V3,
        Load::QuorumGet,
        64,
        MANY_READ,
    ),
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
        for (face, what) in [(Face::V2, "v2"), (Face::V3, "v3")] {
            let name = format!("{nodes}: 1000 {what} watchers, PUT to last receipt");
            if name.contains(&plan.only) {
                fanned_out(plan, &mut table, name, size, face).await?;
            }
        }
    }
    for (face, what) in [(Face::V2, "v2"), (Face::V3, "v3")] {
        let name = format!("memory and restart, 100,000 {what} keys");
        if name.contains(&plan.only) {
            memory(plan, &mut table, &name, face).await?;
        }
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
            measure.fill(leader).await?;
            let measured = measure.run(leader, plan.load).await?;
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

async fn fanned_out(plan: &Plan, table: &mut Table, name: String, size: usize, face: Face) -> Result<()> {
    let mut found = [vec![], vec![]];
    for round in 0..plan.rounds {
        for (program, found) in plan.programs.iter().zip(&mut found) {
            let cluster = Cluster::start(program, size, &plan.dir).await?;
            let ms = fan_out::measure(cluster.leader().await?, face).await?;
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
///
/// The first two are judged by all that is resident, pages of mapped files included, as `ps` and a memory limit see it.
/// Those pages the kernel may take back whenever it likes; what it cannot take back is told beside it.
async fn memory(plan: &Plan, table: &mut Table, name: &str, face: Face) -> Result<()> {
    let mut found: [[Vec<f64>; 4]; 2] = Default::default();
    for round in 0..plan.rounds {
        for (program, found) in plan.programs.iter().zip(&mut found) {
            let mut cluster = Cluster::start(program, 1, &plan.dir).await?;
            let leader = cluster.leader().await?;
            let idle = cluster.memory(leader)?;
            match face {
                Face::V2 => client::fill(leader, "/fill/k", FILL, &"x".repeat(VALUE)).await?,
                Face::V3 => grpc::fill(leader, "/fill/k", FILL).await?,
            }
            let full = cluster.memory(leader)?;
            let restart_ms = cluster.restart().await?.as_secs_f64() * 1e3;
            let text = format!(
                "{:.1} MiB idle, {:.1} MiB full ({:.1} MiB anonymous), healthy after {restart_ms:.0} ms",
                idle.resident_mib, full.resident_mib, full.anonymous_mib
            );
            say(name, round, program, &text);
            for (values, value) in found.iter_mut().zip([
                idle.resident_mib,
                full.resident_mib,
                full.anonymous_mib,
                restart_ms,
            ]) {
                values.push(value);
            }
        }
    }
    let names = [
        ("resident, idle, MiB", Some(0.5)),
        ("resident, full, MiB", Some(0.25)),
        ("of that anonymous, MiB", None),
        ("restart to healthy, ms", Some(0.5)),
    ];
    for (at, (what, aim)) in names.into_iter().enumerate() {
        table.rows.push(Row {
            what: format!("{name}: {what}"),
            values: [0, 1].map(|program: usize| median(found[program][at].clone())),
            better: Better::Less,
            aim,
        });
    }
    Ok(())
}
