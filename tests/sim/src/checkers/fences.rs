//! A machine that the cluster has given up runs nothing that must not run twice.

use crate::commit;
use crate::world::World;

/// Judges all machines at this moment.
///
/// A supervisor that is dead, or has not been heard since it began, cannot have known: that much is not promised.
///
/// # Errors
/// A fenced unit on a machine whose units others may start.
pub fn check(world: &World) -> Result<(), String> {
    let machines = commit::machines(&world.log.head);
    for record in machines.iter().filter(|record| !record.present) {
        let of = |node: &&crate::node::Node| node.machine.id == record.machine.id;
        let Some(node) = world.nodes.iter().find(of) else {
            continue;
        };
        if !node.is_alive() || node.heard_ms.is_none() {
            continue;
        }
        let fenced = node
            .disk
            .iter()
            .filter(|(_, on_disk)| on_disk.requirements.fenced);
        if let Some((unit, _)) = fenced.into_iter().find(|(unit, _)| node.systemd.is_busy(unit)) {
            return Err(format!(
                "{unit} runs on {}, which was given up",
                record.machine.id
            ));
        }
    }
    Ok(())
}
