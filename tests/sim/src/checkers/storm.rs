//! No machine is declared lost that was not: a change of leader or an outage of the store is nobody's death. In a storm
//! ([`crate::storm`]), from which every machine is back in time, nobody is lost and no unit moves at all.

use corten_spec::machine::MachineId;
use corten_store::fleet::{self, Command, Decision};

use crate::leader::TTL_MS;
use crate::world::World;

/// Slack for the beat that was under way and the tick that looks, in ms.
const SLACK_MS: u64 = 1_500;

/// Judges a command before it is committed.
///
/// # Errors
/// When it declares a machine lost that was well all the time its lease lasts, or moves a unit for a storm.
pub fn before(world: &World, command: &Command) -> Result<(), String> {
    let storms = world.storm_ms.is_some_and(|since_ms| since_ms <= world.now_ms);
    match command {
        Command::Leave { id, session } if has_session(world, id, *session) => {
            if storms {
                return Err(format!("{id} is declared lost in a storm"));
            }
            before_leave(world, id)
        }
        Command::Assign(decisions) if storms => {
            decisions.iter().try_for_each(|decision| stays(world, decision))
        }
        _ => Ok(()),
    }
}

/// Whether the command touches the machine as it is registered now.
fn has_session(world: &World, id: &MachineId, session: Option<u64>) -> bool {
    let record = fleet::machine(&world.log.head, id).expect("memory does not fail");
    record.is_some_and(|record| record.present && session.is_none_or(|session| session == record.session))
}

fn before_leave(world: &World, id: &MachineId) -> Result<(), String> {
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

fn stays(world: &World, decision: &Decision) -> Result<(), String> {
    let record = fleet::unit(&world.log.head, &decision.unit).expect("memory does not fail");
    let now_on = record
        .and_then(|record| record.assigned)
        .map(|assigned| assigned.machine);
    if now_on == decision.machine {
        return Ok(());
    }
    Err(format!(
        "{} moves from {now_on:?} to {:?} in a storm: {}",
        decision.unit, decision.machine, decision.reason
    ))
}
