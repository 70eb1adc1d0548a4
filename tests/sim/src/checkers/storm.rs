//! No machine is declared lost that was not: a change of leader or an outage of the store is nobody's death.

use corten_spec::machine::MachineId;

use crate::leader::TTL_MS;
use crate::world::World;

/// Slack for the beat that was under way and the tick that looks, in ms.
const SLACK_MS: u64 = 1_500;

/// Judges a machine's being declared lost.
///
/// # Errors
/// When it was well all the time its lease lasts.
pub fn before_leave(world: &World, id: &MachineId) -> Result<(), String> {
    let Some(node) = world.nodes.iter().find(|node| node.machine.id == *id) else {
        return Ok(());
    };
    let well_for_ms = world.now_ms - node.last_unwell_ms;
    if node.is_well() && well_for_ms > TTL_MS + SLACK_MS {
        return Err(format!(
            "{id} is declared lost although it was well for {well_for_ms} ms"
        ));
    }
    Ok(())
}
