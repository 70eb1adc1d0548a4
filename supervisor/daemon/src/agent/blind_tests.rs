//! A machine whose systemd does not answer keeps what it has and is given nothing more, and everybody is told why.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::testing::{self, Machine, ask, until};

/// Long enough for a unit to be placed before anybody has noticed.
const TTL: Duration = Duration::from_secs(5);
const TROUBLE: &str = r#""trouble":"systemd does not answer""#;

async fn put(to: SocketAddr, name: &str) {
    let text = r#"{"desiredState":"launched","options":[{"section":"Service","name":"ExecStart","value":"/bin/true"}]}"#;
    let path = format!("/fleet/v1/units/{name}");
    let answer = ask(to, "PUT", &path, "application/json", text).await;
    assert_eq!(answer.line(), "201 ");
}

async fn runs(machine: &Machine, unit: &str) {
    until(&format!("{unit} runs"), async || {
        let path = format!("/fleet/v1/state/{unit}");
        let state = ask(machine.fleet, "GET", &path, "", "").await.body;
        (machine.systemd.runs(unit) && state.contains(r#""systemdActiveState":"active""#)).then_some(())
    })
    .await;
}

/// Waits until the machines' list says so, or no longer does.
async fn in_trouble(machine: &Machine, is: bool) {
    until(&format!("in trouble: {is}"), async || {
        let machines = ask(machine.fleet, "GET", "/fleet/v1/machines", "", "").await.body;
        assert!(machines.contains(&machine.id), "{machines}");
        (machines.contains(TROUBLE) == is).then_some(())
    })
    .await;
}

/// Waits until a unit has this reason; the empty one is none.
async fn says(to: SocketAddr, unit: &str, reason: &str) -> String {
    until(&format!("{unit}: {reason:?}"), async || {
        let body = ask(to, "GET", &format!("/fleet/v1/units/{unit}"), "", "")
            .await
            .body;
        let told = format!(r#""unplacedReason":"{reason}""#);
        let is_so = match reason {
            "" => !body.contains("unplacedReason"),
            _ => body.contains(&told),
        };
        is_so.then_some(body)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_its_units_and_gets_no_new_ones_until_systemd_answers_again() {
    let mut machines = testing::cluster(1, TTL).await;
    let machine = &machines[0];
    let to = machine.fleet;
    put(to, "runs.service").await;
    runs(machine, "runs.service").await;

    machine.systemd.be_mute(true);
    put(to, "early.service").await;
    in_trouble(machine, true).await;
    let early = says(
        to,
        "early.service",
        "machine 00000000 has trouble: systemd does not answer",
    );
    let placed = format!(r#""machineID":"{}""#, machine.id);
    assert!(early.await.contains(&placed));
    put(to, "late.service").await;
    let late = says(
        to,
        "late.service",
        "1 machine: 1 has trouble: systemd does not answer",
    );
    assert!(!late.await.contains("machineID"));
    assert!(says(to, "runs.service", "").await.contains(&placed));

    let pulses = &machine.supervisor.as_ref().unwrap().pulses;
    let stuck = pulses.stuck(Instant::now(), Duration::from_secs(20));
    assert!(stuck.is_empty(), "{stuck:?}");
    let patch = format!(r#"[{{"op":"remove","path":"/{}/metadata/trouble"}}]"#, machine.id);
    let refused = ask(to, "PATCH", "/fleet/v1/machines", "application/json", &patch).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("the machine's own"), "{}", refused.body);

    machine.systemd.be_mute(false);
    for unit in ["early.service", "late.service"] {
        runs(machine, unit).await;
        assert!(says(to, unit, "").await.contains(&placed));
    }
    in_trouble(machine, false).await;
    let calls = machine.systemd.calls();
    let touched = |verb: &str| {
        calls
            .iter()
            .filter(|call| **call == format!("{verb} runs.service"))
            .count()
    };
    assert_eq!((touched("start"), touched("stop")), (1, 0), "{calls:?}");
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_has_nothing_to_do_notices_it_too() {
    let mut machines = testing::cluster(2, TTL).await;
    machines[0].systemd.be_mute(true);
    in_trouble(&machines[0], true).await;
    for unit in ["a.service", "b.service"] {
        put(machines[0].fleet, unit).await;
        runs(&machines[1], unit).await;
    }
    machines[0].systemd.be_mute(false);
    in_trouble(&machines[1], false).await;
    put(machines[0].fleet, "c.service").await;
    runs(&machines[0], "c.service").await;
    for machine in &mut machines {
        machine.stop().await;
    }
}
