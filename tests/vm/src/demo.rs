//! The main job: three machines, one cluster, a container service spread over it, and the loss of a machine.
//!
//! Everything goes the operator's way: `fleetctl --tunnel` from outside, SSH, and what the services answer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cluster::{Cluster, WEB_IMAGE};
use crate::config::REGISTRY;
use crate::faults::name_of;
use crate::fleetctl::{Fleetctl, UnitRow, unit_file};
use crate::steps::Steps;

/// The template's name.
const TEMPLATE: &str = "paas-monitor@.service";
/// How long a container service may take to be pulled and started.
const ACTIVE_WITHIN: Duration = Duration::from_secs(180);
/// How long a unit of a lost machine may take to run elsewhere; the figure itself is printed.
const MOVED_WITHIN: Duration = Duration::from_secs(60);

/// The unit that may run anywhere.
const WANDERER: &str = "wanderer.service";
const WANDERER_TEXT: &str = "[Unit]\nDescription=runs wherever there is a machine\n[Service]\n\
                             ExecStart=/bin/sh -c \"while :; do date; sleep 10; done\"\n";

/// The template, in the form in which such units are written.
fn template() -> String {
    format!(
        r#"[Unit]
Description=paas monitor %i
[Service]
EnvironmentFile=/etc/environment
ExecStartPre=-/usr/bin/docker kill paas-monitor-%i
ExecStartPre=-/usr/bin/docker rm paas-monitor-%i
ExecStartPre=/usr/bin/docker pull {REGISTRY}/{WEB_IMAGE}
ExecStart=/bin/sh -c "/usr/bin/docker run --name paas-monitor-%i -p 1337:1337 {REGISTRY}/{WEB_IMAGE}"
ExecStop=/usr/bin/docker stop paas-monitor-%i
Restart=always
RestartSec=30
TimeoutStartSec=3m
[X-Fleet]
Conflicts=paas-monitor@*.service
"#
    )
}

/// Runs the main job on a prepared cluster whose machines are off.
pub fn run(cluster: &mut Cluster, steps: &Steps) -> Result<()> {
    form(cluster, steps)?;
    let fleetctl = Fleetctl::by(cluster, "node1")?;
    steps.show("fleetctl list-machines", &fleetctl.run(&["list-machines"])?);
    steps.step("a container service, one on each machine", |steps| {
        spread(cluster, &fleetctl, steps)
    })?;
    steps.step("the loss of a machine", |steps| lose(cluster, steps))?;
    Ok(())
}

fn form(cluster: &mut Cluster, steps: &Steps) -> Result<()> {
    let count = cluster.names().len();
    steps.step(&format!("power on: {count} machines"), |_| cluster.power_on_all())?;
    let (_, formed) = steps.step("they boot, are configured and form one cluster", |steps| {
        cluster.wait_all_ready(|name, time| {
            steps.line(format_args!(
                "   {name} is Ready after {:.1} s",
                time.as_secs_f64()
            ));
        })
    })?;
    steps.line(format_args!(
        "   a cluster of {count} after {:.1} s",
        formed.as_secs_f64()
    ));
    Ok(())
}

fn instances() -> [String; 3] {
    [1, 2, 3].map(|number| format!("paas-monitor@{number}.service"))
}

fn spread(cluster: &Cluster, fleetctl: &Fleetctl, steps: &Steps) -> Result<()> {
    let file = unit_file(cluster, TEMPLATE, &template())?;
    steps.show(
        &format!("fleetctl submit {TEMPLATE}"),
        &fleetctl.run(&["submit", &file])?,
    );
    let names = instances();
    let mut start = vec!["start", "--no-block"];
    start.extend(names.iter().map(String::as_str));
    steps.show(&format!("fleetctl {}", start.join(" ")), &fleetctl.run(&start)?);
    let rows = fleetctl.wait_units("three instances to be active", ACTIVE_WITHIN, |rows| {
        active(rows).len() == 3
    })?;
    steps.show("fleetctl list-units", &fleetctl.run(&["list-units"])?);
    let places = active(&rows);
    let mut machines: Vec<&String> = places.values().collect();
    machines.sort();
    machines.dedup();
    ensure!(
        machines.len() == 3,
        "Conflicts was not kept: the instances run on {places:?}"
    );
    for (unit, address) in &places {
        let page = page(cluster, "node1", address)?;
        steps.line(format_args!("   {unit} at {address}:1337 says: {page}"));
    }
    let file = unit_file(cluster, WANDERER, WANDERER_TEXT)?;
    steps.show(
        &format!("fleetctl start {WANDERER}"),
        &fleetctl.run(&["start", &file])?,
    );
    Ok(())
}

/// The active instances and the addresses of their machines.
fn active(rows: &[UnitRow]) -> BTreeMap<String, String> {
    let ours = rows
        .iter()
        .filter(|row| row.unit.starts_with("paas-monitor@") && row.active == "active");
    ours.map(|row| (row.unit.clone(), row.address.clone())).collect()
}

/// The page of the instance on the machine with an address.
fn page(cluster: &Cluster, through: &str, address: &str) -> Result<String> {
    fetch(cluster, through, &format!("{address}:1337"))
}

/// Fetches a page through a machine, waiting until it answers.
pub fn fetch(cluster: &Cluster, through: &str, target: &str) -> Result<String> {
    let request = format!("GET / HTTP/1.0\r\nHost: {target}\r\n\r\n");
    let ssh = cluster.ssh(through)?;
    let answer = corten_qemu::wait_until(&format!("a page from {target}"), ACTIVE_WITHIN, || {
        let text = ssh
            .through(target, request.as_bytes(), Duration::from_secs(20))
            .map_err(|e| e.to_string())?;
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        if head.contains(" 200 ") {
            Ok(body.trim().to_owned())
        } else {
            Err(format!("{text:?}"))
        }
    })?;
    Ok(answer)
}

fn lose(cluster: &mut Cluster, steps: &Steps) -> Result<()> {
    let fleetctl = Fleetctl::by(cluster, "node1")?;
    let address = fleetctl.wait_active(WANDERER, ACTIVE_WITHIN)?;
    let victim = name_of(cluster, &address)?;
    let survivor = cluster
        .names()
        .into_iter()
        .find(|name| *name != victim)
        .context("no other machine")?;
    let fleetctl = Fleetctl::by(cluster, &survivor)?;
    let before = active(&fleetctl.units()?);
    let waits = before
        .iter()
        .find(|(_, at)| **at == address)
        .map(|(unit, _)| unit.clone());
    let waits = waits.with_context(|| format!("no instance ran on {victim}"))?;

    steps.line(format_args!(
        "   cutting the power of {victim}, which runs {WANDERER} and {waits}"
    ));
    let cut = Instant::now();
    cluster
        .machine_mut(&victim)?
        .power_cut()
        .context("cutting the power")?;
    let rows = fleetctl.wait_units(
        &format!("{WANDERER} to be active elsewhere"),
        MOVED_WITHIN,
        |rows| {
            rows.iter()
                .any(|row| row.unit == WANDERER && row.is_active_elsewhere(&address))
        },
    )?;
    steps.line(format_args!(
        "   {WANDERER} is active elsewhere {:.1} s after the cut",
        cut.elapsed().as_secs_f64()
    ));
    let left = active(&rows);
    ensure!(
        left.len() == 2 && !left.contains_key(&waits),
        "{waits} should wait, but these run: {left:?}"
    );
    steps.show("fleetctl list-machines", &fleetctl.run(&["list-machines"])?);
    steps.show("fleetctl list-units", &fleetctl.run(&["list-units"])?);
    steps.show("fleetctl list-unit-files", &fleetctl.run(&["list-unit-files"])?);
    steps.line(format_args!(
        "   {waits} waits: its conflicts leave no machine for it"
    ));

    steps.line(format_args!("   power on: {victim}"));
    let on = Instant::now();
    cluster.machine_mut(&victim)?.power_on()?;
    cluster.wait_ready(&victim)?;
    steps.line(format_args!(
        "   {victim} is Ready again after {:.1} s",
        on.elapsed().as_secs_f64()
    ));
    let back = fleetctl.wait_active(&waits, ACTIVE_WITHIN)?;
    let said = page(cluster, &survivor, &back)?;
    steps.line(format_args!(
        "   {waits} runs again, at {back}:1337, and says: {said}"
    ));
    steps.show("fleetctl list-units", &fleetctl.run(&["list-units"])?);
    Ok(())
}

/// How to go on by hand with a cluster that was left up.
pub fn how_to_go_on(cluster: &Cluster, program: &str) -> Result<String> {
    let names = cluster.names();
    let first = names.first().context("a cluster without machines")?;
    let fleetctl = Fleetctl::by(cluster, first)?;
    let variables: Vec<String> = fleetctl
        .environment()
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let by_hand = format!(
        "{} {}/bin/fleetctl",
        variables.join(" "),
        cluster.layout().dir().display()
    );
    Ok(go_on(program, &names, &by_hand))
}

/// The commands, each for a machine that there is.
fn go_on(program: &str, names: &[String], by_hand: &str) -> String {
    let name = |number: usize| names.get(number).or(names.last()).map_or("node1", String::as_str);
    let (first, second, third) = (name(0), name(1), name(2));
    let mut lines = vec![
        (
            format!("ssh {first}"),
            "a shell on a machine, where etcdctl, docker and fleetctl are",
        ),
        (format!("ssh {first} etcdctl set /greeting hello"), ""),
        (format!("ssh {second} etcdctl get /greeting"), ""),
        (format!("ssh {first} docker ps"), ""),
        (
            "fleetctl list-units".to_owned(),
            "fleetctl from here, through a tunnel",
        ),
        ("status".to_owned(), "which machines are on"),
        (format!("kill {second}"), "cut its power"),
        (format!("start {second}"), "and turn it on again"),
        (format!("cut {third}"), "take it off the machines' network"),
        (format!("heal {third}"), "and put it back"),
        (format!("logs {first}"), "its console"),
        ("down".to_owned(), "end it"),
    ];
    if names.len() == 1 {
        lines.retain(|(command, _)| !command.starts_with("cut ") && !command.starts_with("heal "));
    }
    let lines: String = lines
        .iter()
        .map(|(command, what)| format!("  {}\n", format!("{program} {command:<40} {what}").trim_end()))
        .collect();
    format!("The cluster is up. Go on with:\n\n{lines}\nfleetctl by hand:\n  {by_hand} list-units\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_active_instances_count() {
        let row = |unit: &str, active: &str| UnitRow {
            unit: unit.into(),
            address: "10.77.0.11".into(),
            active: active.into(),
            sub: String::new(),
        };
        let rows = [
            row("paas-monitor@1.service", "active"),
            row("paas-monitor@2.service", "activating"),
            row(WANDERER, "active"),
        ];
        assert_eq!(
            active(&rows).into_keys().collect::<Vec<_>>(),
            ["paas-monitor@1.service"]
        );
    }

    #[test]
    fn the_go_on_names_no_machine_that_is_not_there() {
        let text = |count: usize| {
            let names: Vec<String> = (1..=count).map(|number| format!("node{number}")).collect();
            go_on("corten-vm", &names, "fleetctl")
        };
        assert!(text(3).contains("cut node3") && text(3).contains("kill node2"));
        assert!(text(2).contains("cut node2") && !text(2).contains("node3"));
        assert!(
            text(1).contains("kill node1") && !text(1).contains("node2") && !text(1).contains(" cut node")
        );
    }
}
