//! A machine that the cluster has given up runs nothing that must not run twice, and does not believe that it may.

use crate::commit;
use crate::leader::TTL_MS;
use crate::node::Node;
use crate::world::World;

/// How long a supervisor may take to look for the first time, in ms.
const FIRST_LOOK_MS: u64 = 10;

/// Judges all machines at this moment.
///
/// # Errors
/// A machine whose units others may start, and which counts on its lease or runs a fenced unit.
pub fn check(world: &World) -> Result<(), String> {
    let machines = commit::machines(&world.log.head);
    for record in machines.iter().filter(|record| !record.present) {
        let of = |node: &&Node| node.machine.id == record.machine.id;
        if let Some(node) = world.nodes.iter().find(of) {
            counts_on_nothing(world, node)?;
            runs_nothing_fenced(world, node)?;
        }
    }
    Ok(())
}

fn counts_on_nothing(world: &World, node: &Node) -> Result<(), String> {
    match node.heard_ms {
        Some(at_ms) if at_ms + TTL_MS > world.now_ms => Err(format!(
            "{} was given up, and counts on a lease since {at_ms} ms",
            node.machine.id
        )),
        _ => Ok(()),
    }
}

/// Of a machine whose supervisor is dead nothing is promised; one that comes back ends at once what it finds.
fn runs_nothing_fenced(world: &World, node: &Node) -> Result<(), String> {
    if !node.is_alive() || world.now_ms < node.since_ms + FIRST_LOOK_MS {
        return Ok(());
    }
    let mut fenced = node
        .disk
        .iter()
        .filter(|(_, on_disk)| on_disk.requirements.fenced);
    match fenced.find(|(unit, _)| node.systemd.is_busy(unit)) {
        Some((unit, _)) => Err(format!("{unit} runs on {}, which was given up", node.machine.id)),
        None => Ok(()),
    }
}
