//! systemd finds new unit files by itself: a start does not have it read all others again.

use anyhow::{Result, ensure};
use corten_vm::Cluster;
use corten_vm::fleetctl::{Fleetctl, unit_file};

use super::{NODES, cluster};

/// How often systemd has read all files again, on each machine.
fn reloads(c: &Cluster) -> Result<String> {
    let count = "sudo journalctl -b _PID=1 --no-pager -q | grep -c 'Reloading finished' || true";
    let counts = NODES.iter().map(|node| c.run(node, count));
    Ok(counts.collect::<Result<Vec<_>>>()?.concat())
}

#[test]
#[ignore = "boots machines"]
fn new_units_are_found_without_a_reload() -> Result<()> {
    cluster(|c| {
        let fleetctl = Fleetctl::by(c, "node1")?;
        let sleeps = |name: &str, head: &str| {
            let text = format!("[Unit]\n{head}\n[Service]\nExecStart=/bin/sleep infinity\n");
            unit_file(c, name, &text)
        };
        // A file that systemd has seen is missing.
        let pulls = sleeps("pulls.service", "Wants=later.service\nAfter=later.service")?;
        fleetctl.run(&["start", &pulls])?;
        let before = reloads(c)?;

        let later = sleeps("later.service", "[X-Fleet]\nMachineOf=pulls.service")?;
        let (template, one) = (sleeps("found@.service", "")?, "found@1.service");
        fleetctl.run(&["submit", &template])?;
        fleetctl.run(&["start", &later, one, "found@2.service", "found@3.service"])?;
        let after = reloads(c)?;
        ensure!(
            before == after,
            "it has read all files again: {before:?} times, then {after:?}"
        );
        for node in NODES {
            let missed = c.run(
                node,
                "sudo journalctl -b -u corten --no-pager -q | grep 'has missed' || true",
            )?;
            ensure!(missed.is_empty(), "{node}: {missed}");
            let outdated = c.run(node, "systemctl show -P NeedDaemonReload corten.service")?;
            ensure!(outdated.trim() == "no", "{node} calls its units outdated");
        }

        // With what it removes it does.
        let all = ["found@.service", "found@2.service", "found@3.service"];
        fleetctl.run(&[&["destroy", one, "later.service", "pulls.service"], &all[..]].concat())?;
        ensure!(reloads(c)? != after, "what was removed is still known");
        Ok(())
    })
}
