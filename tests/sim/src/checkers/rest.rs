//! When nothing breaks any more: every placeable unit is placed once and runs there, every machine runs its own and
//! nothing else, of the file that was set last, no roll is under way, the store knows the truth, and all copies of it are the
//! same.

use std::collections::BTreeSet;

use corten_schedule::{ClusterView, Policy, plan};
use corten_spec::fleet::{JobState, UnitState};
use corten_spec::placement::{Party, Replacement, conflict, replacement};
use corten_spec::unit_name::UnitName;
use corten_store::fleet;

use super::layout::{Layout, is_wanted, layout, objection, takes_more};
use crate::commit;
use crate::node::Node;
use crate::world::World;

/// Judges the end of a run.
///
/// # Errors
/// The first broken promise.
pub fn at_the_end(world: &World) -> Result<(), String> {
    let view = commit::view(&world.log.head);
    if let Some(away) = world
        .nodes
        .iter()
        .find(|node| !view.machines.contains_key(&node.machine.id))
    {
        return Err(format!("at the end {} is not in the cluster", away.machine.id));
    }
    let left = plan(&view, &Policy::default());
    if !left.decisions.is_empty() {
        return Err(format!(
            "at the end the scheduler is not done: {:?}",
            left.decisions
        ));
    }
    if let Some((unit, roll)) = commit::rolls(&world.log.head).first() {
        return Err(format!(
            "at the end {unit} is still being rolled: {}",
            roll.reason
        ));
    }
    let layout = layout(&view);
    placeable_are_placed(&view, &layout)?;
    for node in &world.nodes {
        if node.replica != world.log.head {
            return Err(format!("at the end the replica of {} differs", node.machine.id));
        }
        runs_its_own(&view, &layout[&node.machine.id], node)?;
        runs_what_was_set(world, node)?;
        is_reported(world, node)?;
    }
    Ok(())
}

/// Units that have nothing to do with `Replaces=` are placed if any machine could take them.
fn placeable_are_placed(view: &ClusterView, layout: &Layout<'_>) -> Result<(), String> {
    for (name, unit) in view
        .units
        .iter()
        .filter(|(name, unit)| is_wanted(name, unit) && unit.assigned.is_none())
    {
        let party = (name, &unit.requirements);
        let replaces = |(other, its): (&UnitName, &corten_schedule::UnitView)| {
            replacement(party, (other, &its.requirements)) != Replacement::None
        };
        if view.units.iter().any(replaces) {
            continue;
        }
        if let Some((id, _)) = layout.iter().find(|(id, here)| {
            objection(view, id, here, party).is_none() && takes_more(view, id, here, party)
        }) {
            return Err(format!(
                "at the end {name} is on no machine, but {id} could take it"
            ));
        }
    }
    Ok(())
}

fn runs_its_own(view: &ClusterView, here: &[Party<'_>], node: &Node) -> Result<(), String> {
    let id = &node.machine.id;
    let placed: Vec<Party<'_>> = here.iter().copied().filter(|unit| !unit.1.global).collect();
    let yields = |unit: &Party<'_>| unit.1.global && placed.iter().any(|other| conflict(*unit, *other));
    let own: BTreeSet<&UnitName> = here
        .iter()
        .filter(|unit| !yields(unit))
        .map(|unit| unit.0)
        .collect();
    let files: BTreeSet<&UnitName> = node.disk.keys().collect();
    if own != files {
        return Err(format!(
            "at the end {id} has the files {files:?} and should have {own:?}"
        ));
    }
    if let Some(unit) = node.systemd.busy().find(|unit| !own.contains(unit)) {
        return Err(format!("at the end {id} runs {unit}, which is not its own"));
    }
    for unit in own {
        let launch = view.units[unit].desired == JobState::Launched;
        if node.disk[unit].launched != launch {
            return Err(format!(
                "at the end {unit} on {id} should {}be launched",
                if launch { "" } else { "not " }
            ));
        }
        let steady = !matches!(unit.prefix(), "bad" | "once");
        if steady && node.systemd.is_busy(unit) != launch {
            return Err(format!(
                "at the end {unit} on {id} is {}",
                node.systemd.active(unit)
            ));
        }
    }
    Ok(())
}

fn runs_what_was_set(world: &World, node: &Node) -> Result<(), String> {
    for record in commit::units(&world.log.head) {
        let has = node.disk.get(&record.name);
        if has.is_some_and(|on_disk| on_disk.hash != record.file.hash()) {
            return Err(format!(
                "at the end {} has an old file of {}",
                node.machine.id, record.name
            ));
        }
    }
    Ok(())
}

fn is_reported(world: &World, node: &Node) -> Result<(), String> {
    let id = &node.machine.id;
    let rows = fleet::states_on(&world.log.head, id).map_err(|fault| fault.to_string())?;
    let told: Vec<(&UnitName, &str, &str, bool)> = rows.iter().map(row).collect();
    let truth: Vec<(&UnitName, &str, &str, bool)> = node
        .disk
        .iter()
        .map(|(name, on_disk)| {
            (
                name,
                on_disk.hash.as_str(),
                node.systemd.active(name),
                on_disk.launched,
            )
        })
        .collect();
    if told != truth {
        return Err(format!(
            "at the end the store has of {id} {told:?}, the truth is {truth:?}"
        ));
    }
    Ok(())
}

fn row(state: &UnitState) -> (&UnitName, &str, &str, bool) {
    (&state.name, &state.hash, &state.active, state.launched)
}
