//! Every plan keeps every constraint, is the one that would be made from nothing, comes to rest, gives every unplaced unit a reason,
//! and moves no unit without one.

use corten_schedule::{ClusterView, Decision, Policy, plan};
use corten_spec::machine::MachineId;
use corten_spec::placement::{Party, Replacement, replacement};
use corten_spec::unit_name::UnitName;

use super::layout::{Layout, is_wanted, layout, objection, replacer};

/// Plans after which nothing may be left to decide.
const PLANS_TO_REST: usize = 3;

/// Checks what a scheduler that was told of every change decided when the cluster was as `before`.
///
/// # Errors
/// The first broken promise.
pub fn check(before: &ClusterView, policy: &Policy, made: &[Decision]) -> Result<(), String> {
    let from_nothing = plan(before, policy).decisions;
    if made != from_nothing {
        return Err(format!("decided {made:?}, but from nothing {from_nothing:?}"));
    }
    let mut after = before.clone();
    apply(&mut after, made)?;
    constraints(&after)?;
    everyone_has_an_answer(&after)?;
    moves(before, &after, policy)?;
    comes_to_rest(after, policy)
}

/// One plan is nearly always all there is to do; where units replace each other in a chain it may take another.
fn comes_to_rest(mut view: ClusterView, policy: &Policy) -> Result<(), String> {
    for _ in 0..PLANS_TO_REST {
        let next = plan(&view, policy);
        if next.decisions.is_empty() {
            return Ok(());
        }
        apply(&mut view, &next.decisions)?;
    }
    Err(format!(
        "after {PLANS_TO_REST} more plans there is more to decide"
    ))
}

fn apply(view: &mut ClusterView, made: &[Decision]) -> Result<(), String> {
    for decision in made {
        let unit = view
            .units
            .get_mut(&decision.unit)
            .ok_or("a decision for a unit that is not there")?;
        unit.assigned = decision.machine.clone();
        unit.unplaced = decision.machine.is_none().then(|| decision.reason.clone());
        if decision.reason.is_empty() {
            return Err(format!("a decision for {} without a reason", decision.unit));
        }
    }
    Ok(())
}

fn constraints(after: &ClusterView) -> Result<(), String> {
    let layout = layout(after);
    for (id, here) in &layout {
        for unit in here {
            if let Some(objection) = objection(after, id, here, *unit) {
                return Err(objection);
            }
            if let Some(other) = replacer(here, *unit).filter(|_| !unit.1.global) {
                return Err(format!("{} on {id} beside {other}, which replaces it", unit.0));
            }
        }
    }
    Ok(())
}

fn everyone_has_an_answer(after: &ClusterView) -> Result<(), String> {
    for (name, unit) in after.units.iter().filter(|(name, unit)| is_wanted(name, unit)) {
        if unit.assigned.is_some() == unit.unplaced.is_some() {
            return Err(format!("{name} is neither placed nor told why, or both"));
        }
    }
    Ok(())
}

/// Every unit that left its machine had to.
fn moves(before: &ClusterView, after: &ClusterView, policy: &Policy) -> Result<(), String> {
    let (old, new) = (layout(before), layout(after));
    for (name, unit) in &before.units {
        let to = &after.units[name].assigned;
        let Some(from) = unit.assigned.as_ref().filter(|from| Some(*from) != to.as_ref()) else {
            continue;
        };
        if !had_to_leave(before, policy, name, from, &old, &new) {
            return Err(format!("{name} moved from {from} to {to:?} without need"));
        }
    }
    Ok(())
}

fn had_to_leave(
    before: &ClusterView,
    policy: &Policy,
    name: &UnitName,
    from: &MachineId,
    old: &Layout<'_>,
    new: &Layout<'_>,
) -> bool {
    let unit = &before.units[name];
    let party = (name, &unit.requirements);
    if !is_wanted(name, unit) {
        return true;
    }
    if !before.machines.contains_key(from) {
        return !policy.hold_absent;
    }
    let peer_left = |peer: &String| !new[from].iter().any(|other| other.0.as_str() == peer);
    let is_more_important =
        |other: &Party<'_>| !other.1.global && other.1.priority > unit.requirements.priority;
    let came = |other: &&Party<'_>| !old[from].iter().any(|before| before.0 == other.0);
    objection(before, from, &old[from], party).is_some()
        || new[from].iter().filter(came).any(is_more_important)
        || unit.requirements.machine_of.iter().any(peer_left)
        || replacer(&old[from], party).is_some()
        || replacer(&new[from], party).is_some()
        || before.units.iter().any(|(other, its)| {
            replacement(party, (other, &its.requirements)) == Replacement::Mutual && is_wanted(other, its)
        })
}
