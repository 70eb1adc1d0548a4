//! The scheduler: [`plan`] looks at the cluster and says which unit goes where, and why.
//!
//! A plan is a value: it can be printed, compared, checked and stored, and the same view gives the same plan. Two steps
//! repeat until nothing changes:
//!
//! | step | what happens |
//! |---|---|
//! | keep | every placed unit is looked at again; one that may not stay is taken off its machine ([`keep`]) |
//! | place | every unplaced unit that is wanted goes to the least loaded machine that may run it ([`place`]) |
//!
//! | a placed unit leaves its machine when | then |
//! |---|---|
//! | its desired state is inactive, it became global or is a template | it rests |
//! | its machine went away (and the policy does not say to hold) | it is placed elsewhere in the same plan |
//! | `MachineID`, `MachineMetadata`, `MachineOf`, `Conflicts` no longer hold | likewise; a follower moves with its peer |
//! | a unit that `Replaces` it came to its machine | likewise, on another machine |
//!
//! Nothing else moves a unit: no rebalancing, nothing moves back. Global units are not planned; they are everywhere
//! their metadata matches, count as load and as conflicts, and win against placed units.
//! Semantics: contract `fleet.md` sections 3 and 4.
//!
//! Refuses to do: reading the store, a clock or randomness. Whether absent machines are lost or only silent is the
//! caller's to know ([`Policy`]).
//!
//! Danger: everything here runs on the leader between a change and its effect; keep it linear in what changed hands.

mod cluster;
mod keep;
mod patterns;
mod place;
#[cfg(test)]
mod tests;
mod view;
mod why;

use std::collections::BTreeMap;

use corten_spec::unit_name::UnitName;

pub use corten_spec::fleet::Decision;
pub use view::{ClusterView, Policy, UnitView};

use cluster::Cluster;

/// What to change, and why the rest is where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to write, at most one decision per unit: first units taken off their machines or newly found unplaceable,
    /// by name, then units placed, in the order they were. Empty when nothing is to be done.
    pub decisions: Vec<Decision>,
    /// Every wanted unit that is on no machine after this plan, with the reason.
    pub unplaced: BTreeMap<UnitName, String>,
}

/// Plans. Pure: equal arguments give equal plans. A plan applied leaves nothing to decide; only where units replace each
/// other in a chain it may take another plan or two, because a unit gives way once per plan.
pub fn plan(view: &ClusterView, policy: &Policy) -> Plan {
    let mut cluster = Cluster::new(view, policy);
    loop {
        let dropped = keep::drop_unable(&mut cluster);
        let moved = place::place_waiting(&mut cluster);
        if !dropped && !moved {
            break;
        }
    }
    why::plan_of(&cluster)
}
