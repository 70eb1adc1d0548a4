//! A global unit that is replaced a few machines at a time is never down on more of them, because of that, than was asked for.
//!
//! It is down because of its roll on a machine that was allowed to take the new file, until it is seen to be active there with
//! the file that the machine is to have. What is seen is the truth, not what was reported. A machine that loses its
//! power, its supervisor or its link meanwhile is down because of that.

use std::collections::BTreeSet;

use corten_spec::unit_name::UnitName;
use corten_spec::x_fleet::Requirements;
use corten_store::fleet::{self, Command, UnitRecord};

use crate::commit;
use crate::node::Node;
use crate::world::World;

/// Takes note of whom a command, which is about to be committed, lets have a new file.
pub fn before(world: &mut World, command: &Command) {
    let Command::Allow {
        unit, hash, machines, ..
    } = command
    else {
        return;
    };
    let record = fleet::unit(&world.log.head, unit).expect("memory does not fail");
    let record = record.filter(|record| record.file.hash() == *hash);
    let Some(rollout) = record.and_then(|record| record.rollout) else {
        return;
    };
    let go_on = |node: &Node| {
        let id = &node.machine.id;
        machines.contains(id) && rollout.waiting.contains_key(id)
    };
    let nodes = world.nodes.iter().enumerate();
    let nodes: Vec<usize> = nodes.filter(|(_, node)| go_on(node)).map(|(at, _)| at).collect();
    world.rolled.entry(unit.clone()).or_default().extend(nodes);
}

/// Judges all rolls at this moment.
///
/// # Errors
/// A unit that is down on too many machines.
pub fn check(world: &mut World) -> Result<(), String> {
    let rolled = std::mem::take(&mut world.rolled);
    for (unit, nodes) in rolled {
        let Some((limit, down)) = still_down(world, &unit, nodes) else {
            continue;
        };
        if down.len() > limit {
            let ids: Vec<&str> = down
                .iter()
                .map(|at| world.nodes[*at].machine.id.0.as_str())
                .collect();
            return Err(format!(
                "{unit} is down because of its roll on {}, where it may be on {limit}",
                ids.join(", ")
            ));
        }
        world.rolled.insert(unit, down);
    }
    Ok(())
}

/// The roll's limit, and where the unit is still down; None when there is no roll any more.
fn still_down(world: &World, unit: &UnitName, nodes: BTreeSet<usize>) -> Option<(usize, BTreeSet<usize>)> {
    let record = fleet::unit(&world.log.head, unit).expect("memory does not fail")?;
    let limit = record.rollout.as_ref()?.max_unavailable as usize;
    let down = nodes.into_iter().filter(|at| {
        let node = &world.nodes[*at];
        node.is_well() && is_to_run(world, &record, node) && !runs(&record, node)
    });
    Some((limit, down.collect()))
}

fn is_to_run(world: &World, record: &UnitRecord, node: &Node) -> bool {
    let asks = Requirements::of(&record.name, &record.file);
    let machines = commit::machines(&world.log.head);
    let mut present = machines.iter().filter(|machine| machine.present);
    present.any(|machine| machine.machine.id == node.machine.id && machine.machine.satisfies(&asks.metadata))
}

fn runs(record: &UnitRecord, node: &Node) -> bool {
    let hash = record.file_on(&node.machine.id).hash();
    let has = node.disk.get(&record.name);
    has.is_some_and(|on_disk| on_disk.hash == hash) && node.systemd.active(&record.name) == "active"
}
