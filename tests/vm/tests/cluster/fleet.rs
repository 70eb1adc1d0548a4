//! Units over the cluster, by fleetctl.

use anyhow::{Context, Result, ensure};
use corten_vm::faults;
use corten_vm::fleetctl::{Fleetctl, UnitRow, unit_file};
use corten_vm::rig::{says, wait_output};

use super::{NODES, SOON, cluster};

#[test]
#[ignore = "boots machines"]
fn fleetctl_does_everything_through_a_tunnel_with_an_agent() -> Result<()> {
    cluster(|c| {
        let agent = faults::Agent::start(c)?;
        let fleetctl = Fleetctl::by(c, "node2")?.with_agent(agent.socket());
        says(
            &fleetctl.run(&["list-machines", "--full"])?,
            &["10.77.0.11", "10.77.0.13", "role=worker,zone=b"],
        )?;
        let text = "[Unit]\nDescription=says its name\n[Service]\nExecStart=/bin/sh -c 'echo I am %n; exec sleep infinity'\n\
                    [X-Fleet]\nMachineMetadata=zone=c\n";
        let file = unit_file(c, "named.service", text)?;
        says(&fleetctl.run(&["submit", &file])?, &["inactive"])?;
        says(
            &fleetctl.run(&["load", "named.service"])?,
            &["loaded on", "10.77.0.13"],
        )?;
        says(
            &fleetctl.run(&["start", "named.service"])?,
            &["launched on", "10.77.0.13"],
        )?;
        says(
            &fleetctl.run(&["cat", "named.service"])?,
            &["Description=says its name"],
        )?;
        says(
            &fleetctl.run(&["status", "named.service"])?,
            &["active (running)"],
        )?;
        says(
            &fleetctl.run(&["journal", "named.service"])?,
            &["I am named.service"],
        )?;
        ensure!(fleetctl.run(&["ssh", "named.service", "hostname"])?.trim() == "node3");
        fleetctl.run(&["stop", "named.service"])?;
        fleetctl.run(&["unload", "named.service"])?;
        fleetctl.run(&["destroy", "named.service"])?;
        ensure!(!fleetctl.run(&["list-unit-files"])?.contains("named.service"));
        Ok(())
    })
}

#[test]
#[ignore = "boots machines"]
fn a_global_unit_runs_everywhere_and_a_timer_fires() -> Result<()> {
    cluster(|c| {
        let fleetctl = Fleetctl::by(c, "node1")?;
        let global = unit_file(
            c,
            "everywhere.service",
            "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nGlobal=true\n",
        )?;
        fleetctl.run(&["start", &global])?;
        fleetctl.wait_units("three of everywhere.service", SOON, |rows| {
            rows.iter()
                .filter(|row| row.unit == "everywhere.service" && row.active == "active")
                .count()
                == 3
        })?;
        let job = unit_file(
            c,
            "tick.service",
            "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo tick'\n",
        )?;
        let timer = unit_file(
            c,
            "tick.timer",
            "[Timer]\nOnActiveSec=1\n[X-Fleet]\nMachineOf=tick.service\n",
        )?;
        fleetctl.run(&["load", &job])?;
        fleetctl.run(&["start", &timer])?;
        let rows = fleetctl.wait_units("the timer to have run", SOON, |rows| {
            rows.iter().any(|r| r.unit == "tick.timer")
        })?;
        let at = rows
            .iter()
            .find(|row| row.unit == "tick.timer")
            .context("the timer")?
            .address
            .clone();
        let name = faults::name_of(c, &at)?;
        wait_output(
            c,
            &name,
            "sudo journalctl -u tick.service --no-pager",
            SOON,
            |text| text.contains("tick"),
        )?;
        fleetctl.run(&["destroy", "everywhere.service", "tick.timer", "tick.service"])?;
        Ok(())
    })
}

#[test]
#[ignore = "boots machines"]
fn units_of_every_type_are_started() -> Result<()> {
    const UNITS: &[(&str, &str)] = &[
        (
            "greet.service",
            "[Service]\nExecStart=/bin/cat /etc/hostname\nStandardOutput=socket\n",
        ),
        ("greet.socket", "[Socket]\nListenStream=/run/greet.sock\n"),
        (
            "found.service",
            "[Service]\nType=oneshot\nExecStart=/bin/touch /run/found\nRemainAfterExit=yes\n",
        ),
        ("found.path", "[Path]\nPathExists=/run/scratch/lost\n"),
        (
            "run-scratch.mount",
            "[Mount]\nWhat=tmpfs\nWhere=/run/scratch\nType=tmpfs\n",
        ),
        (
            "run-lazy.mount",
            "[Mount]\nWhat=tmpfs\nWhere=/run/lazy\nType=tmpfs\n",
        ),
        ("run-lazy.automount", "[Automount]\nWhere=/run/lazy\n"),
        ("small.slice", "[Slice]\nMemoryMax=64M\n"),
        ("arrived.target", "[Unit]\nDescription=a point in time\n"),
        ("dev-vda.device", "[Unit]\nDescription=the disk\n"),
    ];
    // These two are started by what watches for them.
    let loaded = ["greet.service", "found.service", "run-lazy.mount"];
    cluster(|c| {
        let fleetctl = Fleetctl::by(c, "node2")?;
        for (name, text) in UNITS {
            let file = unit_file(c, name, &format!("{text}[X-Fleet]\nMachineMetadata=zone=a\n"))?;
            let verb = if loaded.contains(name) { "load" } else { "start" };
            fleetctl
                .run(&[verb, &file])
                .with_context(|| format!("{verb} {name}"))?;
        }
        let watching = ["greet.socket", "found.path", "run-lazy.automount"];
        let rows = fleetctl.wait_units("all of them to be active", SOON, |rows| {
            UNITS
                .iter()
                .filter(|(name, _)| !loaded.contains(name))
                .all(|(name, _)| rows.iter().any(|row| row.unit == *name && row.active == "active"))
        })?;
        ensure!(
            watching
                .iter()
                .all(|name| rows.iter().any(|row| row.unit == *name)),
            "{rows:?}"
        );
        c.run("node1", "sudo touch /run/scratch/lost; ls /run/lazy")?;
        fleetctl.wait_units("what was watched for", SOON, |rows| {
            ["found.service", "run-lazy.mount"]
                .iter()
                .all(|name| rows.iter().any(|row| row.unit == *name && row.active == "active"))
        })?;
        let names: Vec<&str> = UNITS.iter().map(|(name, _)| *name).collect();
        fleetctl.run(&[&["destroy"], names.as_slice()].concat())?;
        ensure!(
            !c.run("node1", "findmnt -n; ls /run/fleet/units")?
                .contains("scratch")
        );
        Ok(())
    })
}

#[test]
#[ignore = "boots machines"]
fn fleetctl_says_what_is_wrong() -> Result<()> {
    cluster(|c| {
        let fleetctl = Fleetctl::by(c, "node1")?;
        let unknown = fleetctl.output(&["cat", "nobody.service"])?;
        ensure!(
            unknown.code == Some(1) && unknown.stderr.contains("nobody.service"),
            "{unknown:?}"
        );
        let template = unit_file(c, "t@.service", "[Service]\nExecStart=/bin/true\n")?;
        fleetctl.run(&["submit", &template])?;
        let started = fleetctl.output(&["start", "t@.service"])?;
        ensure!(
            started.code == Some(1) && started.stderr.contains("template"),
            "{started:?}"
        );
        fleetctl.run(&["destroy", "t@.service"])?;
        let broken = unit_file(
            c,
            "broken.service",
            "[Service]\nExecStart=/bin/true\n[X-Fleet]\nGlobal=true\nMachineOf=a.service\n",
        )?;
        let refused = fleetctl.output(&["start", &broken])?;
        ensure!(
            refused.code == Some(1) && refused.stderr.contains("Global"),
            "{refused:?}"
        );
        let nowhere = fleetctl.output(&["ssh", "no-such-machine", "true"])?;
        ensure!(nowhere.code == Some(1), "{nowhere:?}");
        Ok(())
    })
}

#[test]
#[ignore = "boots machines"]
fn fleetctl_says_why_systemd_did_not_start_a_unit() -> Result<()> {
    cluster(|c| {
        let fleetctl = Fleetctl::by(c, "node2")?;
        let sleeps = |name: &str, head: &str| {
            let text = format!("[Unit]\n{head}\n[Service]\nExecStart=/bin/sleep infinity\n");
            unit_file(c, name, &text)
        };
        let refused = fleetctl.output(&[
            "start",
            &sleeps("needs-none.service", "Requires=no-such.service")?,
        ])?;
        ensure!(refused.code == Some(1), "{refused:?}");
        says(
            &refused.stderr,
            &[
                "systemd refused to start needs-none.service",
                "no-such.service not found",
            ],
        )?;
        says(
            &fleetctl.run(&["list-units", "--fields=unit,active,reason"])?,
            &["needs-none.service", "inactive", "no-such.service not found"],
        )?;
        let status = fleetctl.output(&["status", "needs-none.service"])?;
        ensure!(status.code == Some(3), "{status:?}");
        says(&status.stderr, &["no-such.service not found"])?;

        // Of a failed dependency nothing is in the state of the unit itself.
        let fails = unit_file(
            c,
            "fails.service",
            "[Service]\nType=oneshot\nExecStart=/bin/false\n",
        )?;
        fleetctl.run(&["load", &fails])?;
        let head = "Requires=fails.service\nAfter=fails.service\n[X-Fleet]\nMachineOf=fails.service";
        let failed = fleetctl.output(&["start", &sleeps("needs-failed.service", head)?])?;
        ensure!(failed.code == Some(1), "{failed:?}");
        says(&failed.stderr, &["a unit that it requires failed"])?;

        // A timer without its service stays inactive, and so says nothing itself either.
        let lonely = unit_file(c, "lonely.timer", "[Timer]\nOnActiveSec=1h\n")?;
        let refused = fleetctl.output(&["start", &lonely])?;
        ensure!(refused.code == Some(1), "{refused:?}");
        says(&refused.stderr, &["systemd could not start it"])?;

        fleetctl.run(&[
            "start",
            &sleeps(
                "needs-docker.service",
                "Requires=docker.service\nAfter=docker.service",
            )?,
        ])?;
        let all = [
            "needs-none.service",
            "needs-failed.service",
            "fails.service",
            "lonely.timer",
            "needs-docker.service",
        ];
        fleetctl.run(&[&["destroy"], &all[..]].concat())?;
        Ok(())
    })
}

#[test]
#[ignore = "boots machines"]
fn a_global_unit_is_replaced_one_machine_at_a_time() -> Result<()> {
    cluster(|c| {
        let fleetctl = Fleetctl::by(c, "node1")?;
        let file = |run: &str| {
            let text = format!("[Service]\nType=exec\nExecStart={run}\n[X-Fleet]\nGlobal=true\n");
            unit_file(c, "rolling.service", &text)
        };
        let running = |run: &str| -> Result<usize> {
            let show =
                "systemctl show -P ExecStart rolling.service; systemctl is-active rolling.service; true";
            let mut count = 0;
            for name in NODES {
                let said = c.run(name, show)?;
                count += usize::from(said.contains(run) && said.trim().ends_with("\nactive"));
            }
            Ok(count)
        };
        fleetctl.run(&["start", &file("/bin/sleep 2001")?])?;
        fleetctl.wait_units("it to run on all", SOON, |rows| {
            let active = |row: &&UnitRow| row.unit == "rolling.service" && row.active == "active";
            rows.iter().filter(active).count() == 3
        })?;
        ensure!(running("2001")? == 3);
        let roll = ["start", "--replace", "--max-unavailable", "1"];
        let broken = fleetctl.output(&[&roll[..], &[file("/bin/no-such-program")?.as_str()]].concat())?;
        ensure!(broken.code == Some(1), "{broken:?}");
        ensure!(running("2001")? == 2, "it went on although it failed");
        let mended = fleetctl.output(&[&roll[..], &[file("/bin/sleep 2002")?.as_str()]].concat())?;
        ensure!(mended.code == Some(0), "{mended:?}");
        ensure!(running("2002")? == 3);
        fleetctl.run(&["destroy", "rolling.service"])?;
        Ok(())
    })
}

#[test]
#[ignore = "boots machines"]
fn instances_are_replaced_one_at_a_time() -> Result<()> {
    cluster(|c| {
        let fleetctl = Fleetctl::by(c, "node2")?;
        let units = ["roll@1.service", "roll@2.service", "roll@3.service"];
        let folder = unit_file(
            c,
            "roll@.service",
            "[Service]\nType=exec\nExecStart=/bin/sleep 1001\n",
        )?;
        let folder = folder.trim_end_matches("roll@.service").to_owned();
        let paths = units.map(|unit| format!("{folder}{unit}"));
        let start = |options: &[&str]| {
            let words = [&["start"], options].concat();
            let paths = paths.iter().map(String::as_str);
            fleetctl.output(&words.into_iter().chain(paths).collect::<Vec<_>>())
        };
        let versions = |text: &str| -> Result<usize> {
            let count = |unit: &&str| {
                let cat = fleetctl.run(&["cat", unit])?;
                anyhow::Ok(usize::from(cat.contains(text)))
            };
            units.iter().map(count).sum()
        };
        ensure!(start(&[])?.code == Some(0));

        unit_file(
            c,
            "roll@.service",
            "[Service]\nType=exec\nExecStart=/bin/no-such-program\n",
        )?;
        let roll = ["--replace", "--max-unavailable", "1"];
        let broken = start(&roll)?;
        ensure!(broken.code == Some(1), "{broken:?}");
        says(
            &broken.stderr,
            &["the last 2 of the units given were not touched"],
        )?;
        ensure!(versions("no-such-program")? == 1 && versions("1001")? == 2);

        unit_file(
            c,
            "roll@.service",
            "[Service]\nType=exec\nExecStart=/bin/sleep 1002\n",
        )?;
        let mended = start(&roll)?;
        ensure!(mended.code == Some(0), "{mended:?}");
        ensure!(versions("1002")? == 3);
        let huge = "[Service]\nExecStart=/bin/true\n[X-Fleet]\nMemoryReserve=64G\n";
        let huge = unit_file(c, "huge.service", huge)?;
        let waits = fleetctl.output(&["start", "--timeout", "20s", &huge])?;
        says(&waits.stderr, &["3 machines", "memory"])?;
        fleetctl.run(&[&["destroy", "huge.service"], &units[..]].concat())?;
        Ok(())
    })
}

#[test]
#[ignore = "boots machines"]
fn a_drained_machine_gets_rid_of_its_units_and_gets_none_until_it_is_uncordoned() -> Result<()> {
    cluster(|c| {
        let fleetctl = Fleetctl::by(c, "node1")?;
        let sleeps = |name: &str, options: &str| {
            let text = format!("[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\n{options}\n");
            unit_file(c, name, &text)
        };
        fleetctl.run(&["start", &sleeps("stays.service", "Global=true")?])?;
        fleetctl.run(&["start", &sleeps("moves.service", "")?])?;
        let before = fleetctl.wait_active("moves.service", SOON)?;
        let machines = fleetctl.run(&["list-machines", "--full", "--no-legend"])?;
        let id = machines.lines().find(|line| line.contains(&before));
        let id = id.and_then(|line| line.split_whitespace().next());
        let id = id.with_context(|| machines.clone())?;
        says(&fleetctl.run(&["drain", id])?, &["drained"])?;
        // It has waited: neither here is there anything to wait for.
        let rows = fleetctl.units()?;
        let on_it = |row: &&UnitRow| row.address == before && row.active == "active";
        let left: Vec<&str> = rows.iter().filter(on_it).map(|row| row.unit.as_str()).collect();
        ensure!(left == ["stays.service"], "{rows:?}");
        ensure!(fleetctl.wait_active("moves.service", SOON)? != before);

        let nowhere = sleeps("nowhere.service", &format!("MachineID={id}"))?;
        let waits = fleetctl.output(&["start", "--timeout", "10s", &nowhere])?;
        ensure!(waits.code == Some(1), "{waits:?}");
        says(&waits.stderr, &["drain"])?;
        fleetctl.run(&["uncordon", id])?;
        ensure!(fleetctl.wait_active("nowhere.service", SOON)? == before);
        fleetctl.run(&["destroy", "stays.service", "moves.service", "nowhere.service"])?;
        Ok(())
    })
}
