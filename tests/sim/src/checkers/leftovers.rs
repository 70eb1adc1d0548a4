//! A machine that is in touch with the store runs nothing for long that is not its own: so at most one machine that is in
//! touch runs a unit, but for the time a move takes.

use std::collections::BTreeSet;

use corten_spec::placement::Party;
use corten_spec::unit_name::UnitName;

use super::layout::layout;
use crate::commit;
use crate::world::World;

/// How long a unit may run on after it was taken away, in ms: news 1.5 s, joining again 2 x 2.5 s with a lost message,
/// stopping 2 s, and a start on its way.
const LIMIT_MS: u64 = 10_000;

/// Judges what runs on all machines at this moment.
///
/// # Errors
/// A unit that runs for too long where it does not belong.
pub fn check(world: &mut World) -> Result<(), String> {
    let view = commit::view(&world.log.head);
    let layout = layout(&view);
    let mut now: BTreeSet<(usize, UnitName)> = BTreeSet::new();
    if world.leader.is_some() {
        for (at, node) in world.nodes.iter().enumerate().filter(|(_, node)| node.is_well()) {
            let here: &[Party<'_>] = layout.get(&node.machine.id).map_or(&[], Vec::as_slice);
            let own = |unit: &&UnitName| here.iter().any(|other| other.0 == *unit);
            now.extend(
                node.systemd
                    .busy()
                    .filter(|unit| !own(unit))
                    .map(|unit| (at, unit.clone())),
            );
        }
    }
    world.leftover_since_ms.retain(|key, _| now.contains(key));
    for key in now {
        let since_ms = *world.leftover_since_ms.entry(key.clone()).or_insert(world.now_ms);
        if world.now_ms - since_ms > LIMIT_MS {
            let machine = &world.nodes[key.0].machine.id;
            return Err(format!(
                "{} runs on {machine} since {since_ms} ms although it is not its own",
                key.1
            ));
        }
    }
    Ok(())
}
