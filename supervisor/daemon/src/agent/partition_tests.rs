//! A machine that is cut off ends what must not run twice before its lease is over, whatever else goes wrong.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use crate::systemd::Systemd;
use crate::testing::{self, Machine, ask, until};

/// A report that nobody answers would be waited for longer.
const TTL: Duration = Duration::from_secs(6);
/// The machine that is cut off.
const LONELY: usize = 2;

async fn put(machines: &[Machine], name: &str, on_partition: &str) {
    let text = format!(
        r#"{{"desiredState":"launched","options":[{{"section":"Service","name":"ExecStart","value":"/bin/true"}},
            {{"section":"X-Fleet","name":"MachineMetadata","value":"at={LONELY}"}},
            {{"section":"X-Fleet","name":"OnPartition","value":"{on_partition}"}}]}}"#
    );
    let path = format!("/fleet/v1/units/{name}");
    let answer = ask(machines[0].fleet, "PUT", &path, "application/json", &text).await;
    assert_eq!(answer.line(), "201 ");
    runs(&machines[LONELY], name).await;
}

async fn runs(machine: &Machine, unit: &str) {
    until(&format!("{unit} runs"), async || {
        machine.systemd.runs(unit).then_some(())
    })
    .await;
}

async fn ends(machine: &Machine, unit: &str) {
    until(&format!("{unit} ends"), async || {
        (!machine.systemd.runs(unit)).then_some(())
    })
    .await;
}

/// Stops the other two; returns when the machine's lease has begun to run at the latest.
async fn cut_off(machines: &mut [Machine]) -> Instant {
    machines[0].stop().await;
    machines[1].stop().await;
    Instant::now()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_run_twice_ends_in_time_and_starts_again() {
    let mut machines = testing::cluster(3, TTL).await;
    for (name, on_partition) in [
        ("fenced.service", "stop"),
        ("stuck.service", "stop"),
        ("free.service", "keep"),
        ("other.service", "keep"),
    ] {
        put(&machines, name, on_partition).await;
    }
    let systemd = machines[LONELY].systemd.clone();
    systemd.refuse_stop("stuck.service", true);
    let cut = cut_off(&mut machines).await;
    // This is reported to nobody.
    systemd.kill("other.service").await.unwrap();

    ends(&machines[LONELY], "fenced.service").await;
    ends(&machines[LONELY], "stuck.service").await;
    assert!(cut.elapsed() < TTL, "it took {:?}", cut.elapsed());
    assert!(systemd.runs("free.service"));
    let calls = systemd.calls();
    assert!(
        !calls.contains(&"kill fenced.service".to_owned()),
        "there was time to stop it: {calls:?}"
    );
    assert!(calls.contains(&"kill stuck.service".to_owned()), "{calls:?}");

    systemd.refuse_stop("stuck.service", false);
    let lonely = machines.pop().unwrap();
    let mut back = Vec::new();
    for machine in machines {
        back.push(machine.start_again().await);
    }
    runs(&lonely, "fenced.service").await;
    runs(&lonely, "stuck.service").await;
    assert!(
        !systemd.calls().contains(&"stop free.service".to_owned()),
        "it was touched"
    );
    for mut machine in back.into_iter().chain([lonely]) {
        machine.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_that_starts_again_alone_does_not_count_anew() {
    let mut machines = testing::cluster(3, TTL).await;
    put(&machines, "fenced.service", "stop").await;
    put(&machines, "free.service", "keep").await;
    let cut = cut_off(&mut machines).await;
    let mut lonely = machines.pop().unwrap();
    lonely.stop().await;
    assert!(
        lonely.systemd.runs("fenced.service"),
        "the supervisor's end stops nothing"
    );
    tokio::time::sleep_until((cut + TTL).into()).await;
    let begun = Instant::now();
    let mut lonely = lonely.start_again().await;
    ends(&lonely, "fenced.service").await;
    assert!(
        begun.elapsed() < TTL / 3,
        "its lease was over: {:?}",
        begun.elapsed()
    );
    assert!(lonely.systemd.runs("free.service"));
    lonely.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_systemd_that_does_not_say_what_runs_saves_nothing() {
    let mut machines = testing::cluster(3, TTL).await;
    put(&machines, "fenced.service", "stop").await;
    put(&machines, "free.service", "keep").await;
    let systemd = machines[LONELY].systemd.clone();
    systemd.be_mute(true);
    let cut = cut_off(&mut machines).await;
    ends(&machines[LONELY], "fenced.service").await;
    assert!(cut.elapsed() < TTL, "it took {:?}", cut.elapsed());
    assert!(systemd.runs("free.service"));
    machines[LONELY].stop().await;
}
