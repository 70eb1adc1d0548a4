//! What becomes of units when machines, links and the supervisor are broken.

use anyhow::{Context, Result, ensure};
use corten_vm::faults;
use corten_vm::fleetctl::{Fleetctl, UnitRow, unit_file};
use corten_vm::rig::{fails, says, wait_output};

use super::{NODES, SOON, cluster};

#[test]
#[ignore = "boots machines"]
fn a_killed_supervisor_comes_back_with_everything_and_disturbs_no_unit() -> Result<()> {
    cluster(|c| {
        let fleetctl = Fleetctl::by(c, "node1")?;
        let file = unit_file(c, "steady.service", "[Service]\nExecStart=/bin/sleep infinity\n")?;
        fleetctl.run(&["start", &file])?;
        let at = faults::name_of(c, &fleetctl.wait_active("steady.service", SOON)?)?;
        let pid = "systemctl show -P MainPID steady.service";
        let before = c.run(&at, pid)?;
        let acknowledged = faults::write_until(c, "node1", "/killed", |c| {
            for _ in 0..3 {
                for name in NODES {
                    c.run(
                        name,
                        "sudo systemctl kill --kill-whom=main -s KILL corten.service",
                    )?;
                }
                c.wait_all_ready(|_, _| {})?;
            }
            Ok(())
        })?;
        faults::all_there(c, "node3", "/killed", &acknowledged)?;
        ensure!(c.run(&at, pid)? == before, "steady.service was restarted");
        fleetctl.run(&["destroy", "steady.service"])?;
        Ok(())
    })
}

#[test]
#[ignore = "boots machines"]
fn a_machine_cut_off_loses_its_unit_and_stops_it_when_it_is_back() -> Result<()> {
    cluster(|c| {
        let fleetctl = Fleetctl::by(c, "node1")?;
        let file = unit_file(c, "single.service", "[Service]\nExecStart=/bin/sleep infinity\n")?;
        fleetctl.run(&["start", &file])?;
        let text = "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nMachineOf=single.service\nOnPartition=stop\n";
        let fenced = unit_file(c, "fenced.service", text)?;
        fleetctl.run(&["start", &fenced])?;
        let address = fleetctl.wait_active("single.service", SOON)?;
        let lonely = faults::name_of(c, &address)?;
        ensure!(fleetctl.wait_active("fenced.service", SOON)? == address);
        let other = NODES
            .into_iter()
            .find(|name| *name != lonely)
            .context("another machine")?;
        c.network().cut(&lonely)?;
        let fleetctl = Fleetctl::by(c, other)?;
        fleetctl.wait_units("both elsewhere", SOON, |rows| {
            let is_one = |row: &&UnitRow| ["single.service", "fenced.service"].contains(&row.unit.as_str());
            rows.iter()
                .filter(is_one)
                .filter(|row| row.is_active_elsewhere(&address))
                .count()
                == 2
        })?;
        ensure!(c.run(&lonely, "systemctl is-active single.service")?.trim() == "active");
        // systemd forgets a stopped unit's times, the journal does not.
        let when = |name: &str, what: &str| -> Result<f64> {
            let ask =
                format!("sudo journalctl -b -u fenced.service -o short-unix | grep ' systemd.*{what} '");
            let line = c.run(name, &ask)?;
            Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
        };
        let next = fleetctl.wait_active("fenced.service", SOON)?;
        let stopped = when(&lonely, "Stopped")?;
        let started = when(&faults::name_of(c, &next)?, "Started")?;
        ensure!(
            stopped <= started,
            "it stopped at {stopped} on the machine that was cut off, and had started at {started} elsewhere"
        );
        says(&fails(c, &lonely, "etcdctl set /minority x", 4)?, &["Error"])?;
        c.network().heal(&lonely)?;
        wait_output(
            c,
            &lonely,
            "systemctl is-active single.service; true",
            SOON,
            |text| text.trim() != "active",
        )?;
        wait_output(
            c,
            other,
            "fleetctl list-machines --no-legend | wc -l",
            SOON,
            |count| count.trim() == "3",
        )?;
        fleetctl.run(&["destroy", "single.service", "fenced.service"])?;
        Ok(())
    })
}

#[test]
#[ignore = "boots machines"]
fn without_a_majority_clients_say_so_and_units_run_on() -> Result<()> {
    cluster(|c| {
        let fleetctl = Fleetctl::by(c, "node1")?;
        let text = "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nMachineMetadata=zone=a\n";
        let file = unit_file(c, "held.service", text)?;
        fleetctl.run(&["start", &file])?;
        c.network().cut("node2")?;
        c.network().cut("node3")?;
        says(&fails(c, "node1", "etcdctl set /nobody x", 4)?, &["Error"])?;
        let later = unit_file(c, "later.service", "[Service]\nExecStart=/bin/true\n")?;
        let refused = fleetctl.output(&["submit", &later])?;
        ensure!(
            refused.code == Some(1) && !refused.stderr.is_empty(),
            "{refused:?}"
        );
        ensure!(c.run("node1", "systemctl is-active held.service")?.trim() == "active");
        wait_output(c, "node1", "systemctl show -P StatusText corten", SOON, |text| {
            text.contains("nothing can be changed")
        })?;
        c.network().heal_all()?;
        wait_output(c, "node1", "etcdctl set /again x || true", SOON, |text| {
            text.trim() == "x"
        })?;
        fleetctl.run(&["destroy", "held.service"])?;
        Ok(())
    })
}

#[test]
#[ignore = "boots machines"]
fn a_power_cut_of_all_machines_loses_no_acknowledged_key_and_moves_no_unit() -> Result<()> {
    cluster(|c| {
        let fleetctl = Fleetctl::by(c, "node1")?;
        let names = ["left@1.service", "left@2.service", "left@3.service"];
        let text = "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nConflicts=left@*.service\n";
        let template = unit_file(c, "left@.service", text)?;
        fleetctl.run(&["submit", &template])?;
        fleetctl.run(&[&["start"], &names[..]].concat())?;
        let places = |rows: &[UnitRow]| -> Vec<(String, String)> {
            let active = |row: &&UnitRow| row.unit.starts_with("left@") && row.active == "active";
            let place = |row: &UnitRow| (row.unit.clone(), row.address.clone());
            rows.iter().filter(active).map(place).collect()
        };
        let before = places(&fleetctl.wait_units("all to run", SOON, |rows| places(rows).len() == 3)?);
        let acknowledged = faults::write_until(c, "node2", "/cut", |c| {
            for name in NODES {
                c.machine_mut(name)?.power_cut()?;
            }
            Ok(())
        })?;
        c.power_on_all()?;
        c.wait_all_ready(|_, _| {})?;
        faults::all_there(c, "node1", "/cut", &acknowledged)?;
        // Whoever boots last was away for longer than its lease, as was the store.
        let after = places(&fleetctl.wait_units("all to run again", SOON, |rows| places(rows).len() == 3)?);
        ensure!(before == after, "moved: {before:?} to {after:?}");
        fleetctl.run(&[&["destroy"], &names[..], &["left@.service"]].concat())?;
        Ok(())
    })
}
