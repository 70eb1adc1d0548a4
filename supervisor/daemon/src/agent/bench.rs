//! What many units cost: created, started and destroyed one after the other, as fleetctl does it.
//!
//! ```text
//! just bench-units
//! ```
//! Three whole supervisors with real stores, in this process, and a systemd in memory: what is measured is what we do, not
//! what systemd and the units do.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use procfs::process::Process;

use crate::testing::{self, Machine, ask, until};

const UNITS: usize = 1000;
const JSON: &str = "application/json";

#[test]
#[ignore = "a benchmark, which asserts nothing of speed: just bench-units"]
fn bench_many_units() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let machines = runtime.block_on(testing::cluster(3, Duration::from_secs(30)));
    let path = |unit: usize| format!("/fleet/v1/units/many%40{unit}.service");
    let request = |method: &'static str, unit: usize, body: &'static str| {
        let (to, path) = (machines[0].fleet, path(unit));
        async move { ask(to, method, &path, JSON, body).await.status }
    };
    let file = r#"{"options":[{"section":"Service","name":"ExecStart","value":"/bin/sleep infinity"}]}"#;
    let phase = |what: &str, work: &mut dyn FnMut()| {
        let (began, before) = (Instant::now(), cpu());
        work();
        let each = |time: Duration| 1000.0 * time.as_secs_f64() / UNITS as f64;
        let (took, used) = (each(began.elapsed()), each(cpu() - before));
        println!("{what:<34} {took:>6.2} ms a unit, {used:>6.2} ms of processor");
    };
    phase("created", &mut || {
        for unit in 0..UNITS {
            runtime.block_on(async {
                assert_eq!(request("GET", unit, "").await, 404);
                assert_eq!(request("PUT", unit, file).await, 201);
            });
        }
    });
    phase("started, until all run", &mut || {
        for unit in 0..UNITS {
            let launch = r#"{"desiredState":"launched"}"#;
            assert_eq!(runtime.block_on(request("PUT", unit, launch)), 204);
        }
        runtime.block_on(until("all run", async || {
            (running(&machines) == UNITS).then_some(())
        }));
    });
    phase("destroyed, until none is left", &mut || {
        for unit in 0..UNITS {
            assert_eq!(runtime.block_on(request("DELETE", unit, "")), 204);
        }
        runtime.block_on(until("all are gone", async || {
            let left = ask(machines[0].fleet, "GET", "/fleet/v1/state", "", "").await;
            (!left.body.contains("many@")).then_some(())
        }));
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
}

fn running(machines: &[Machine]) -> usize {
    let runs = |unit: &usize| {
        let name = format!("many@{unit}.service");
        machines.iter().any(|machine| machine.systemd.runs(&name))
    };
    (0..UNITS).filter(runs).count()
}

/// This process's time.
fn cpu() -> Duration {
    let stat = Process::myself().unwrap().stat().unwrap();
    Duration::from_millis(1000 * (stat.utime + stat.stime) / procfs::ticks_per_second())
}
