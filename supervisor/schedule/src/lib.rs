//! The scheduler: says which unit goes where, and why.
//!
//! [`plan`] looks at a whole cluster; a [`Scheduler`] keeps one in mind, is told what changes, and decides on what that
//! concerns, with the same outcome. Decisions are values: they can be printed, compared, checked and stored, and the
//! same history gives the same decisions. Two steps repeat until nothing changes:
//!
//! | step | what happens |
//! |---|---|
//! | keep | placed units are looked at again; one that may not stay is taken off its machine ([`keep`]) |
//! | place | unplaced units that are wanted go to the least loaded machine that may run them ([`place`], [`choose`]) |
//!
//! | a placed unit leaves its machine when | then |
//! |---|---|
//! | its desired state is inactive, it became global or is a template | it rests |
//! | its machine went away (and the policy does not say to hold) | it is placed elsewhere in the same plan |
//! | `MachineID`, `MachineMetadata`, `MachineOf`, `Conflicts` no longer hold | likewise; a follower moves with its peer |
//! | its machine is drained | likewise |
//! | a unit of higher `Priority` fits nowhere, for want of what is reserved | likewise ([`preempt`]) |
//! | a unit that `Replaces` it came to its machine | likewise, on another machine |
//!
//! What units reserve is looked at when they are placed, and moves none that is. Nothing else moves a unit: no rebalancing, nothing moves back. Global units are not planned; they are everywhere
//! their metadata matches, count as load and as conflicts, and win against placed units.
//! Where one gets another file a few machines at a time, [`roll`] says who is next.
//! Semantics: contract `fleet.md` sections 3 and 4.
//!
//! Refuses to do: reading the store, a clock or randomness. Whether absent machines are lost or only silent is the
//! caller's to know ([`Policy`]).
//!
//! Danger: everything here runs on the leader between a change and its effect; keep it linear in what changed hands. [`work`] says who
//! is looked at again after which change.

mod changes;
mod choose;
mod cluster;
mod keep;
mod key;
mod patterns;
mod place;
mod pools;
mod preempt;
mod roll;
mod room;
mod scheduler;
mod spread;
#[cfg(test)]
mod tests;
mod view;
mod why;
mod work;

use std::collections::BTreeMap;

use corten_spec::unit_name::UnitName;

pub use corten_spec::fleet::Decision;
pub use roll::{Kept, RollStep, RollView};
pub use scheduler::Scheduler;
pub use view::{ClusterView, Policy, UnitView};

/// What to change, and why the rest is where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to write, as from [`Scheduler::decide`].
    pub decisions: Vec<Decision>,
    /// Every wanted unit that is on no machine after this plan, with the reason.
    pub unplaced: BTreeMap<UnitName, String>,
}

/// Plans the whole of a cluster from nothing. Pure: equal arguments give equal plans.
pub fn plan(view: &ClusterView, policy: &Policy) -> Plan {
    let mut scheduler = Scheduler::of(view.clone());
    let decisions = scheduler.decide(policy);
    let unplaced = scheduler.unplaced();
    Plan {
        decisions,
        unplaced: unplaced
            .map(|(name, reason)| (name.clone(), reason.to_owned()))
            .collect(),
    }
}
