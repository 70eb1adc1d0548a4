//! What the leader keeps in memory: leases, the grace after its election, the scheduler, and the decisions it has proposed.

use corten_schedule::{ClusterView, Decision, Policy, Scheduler};
use corten_spec::machine::MachineId;
use corten_store::memory::Memory;

use crate::commit;

/// How long a machine may be silent, in ms.
pub const TTL_MS: u64 = 3_000;

/// A term of leadership.
#[derive(Debug)]
pub struct Leader {
    /// Which node leads.
    pub node: usize,
    /// Tells terms apart.
    pub term: u64,
    /// When each node was last heard of.
    pub seen_ms: Vec<u64>,
    /// Until then, absent machines may only be silent.
    pub hold_until_ms: u64,
    /// Decisions proposed and not yet committed: nothing is planned meanwhile.
    pub proposed: Option<Vec<Decision>>,
    /// A plan is due.
    pub plan_due: bool,
    scheduler: Scheduler,
    /// What the scheduler believes.
    known: ClusterView,
}

impl Leader {
    /// A new leader: everyone has a full lease, and absent machines are held for as long.
    pub fn new(node: usize, term: u64, nodes: usize, now_ms: u64) -> Leader {
        Leader {
            node,
            term,
            seen_ms: vec![now_ms; nodes],
            hold_until_ms: now_ms + TTL_MS,
            proposed: None,
            plan_due: false,
            scheduler: Scheduler::default(),
            known: ClusterView::default(),
        }
    }

    /// What the scheduler is told.
    pub fn policy(&self, now_ms: u64) -> Policy {
        Policy {
            hold_absent: now_ms < self.hold_until_ms,
        }
    }

    /// Tells the scheduler what is new in `view`, and lets it decide.
    pub fn decide(&mut self, view: &ClusterView, policy: &Policy) -> Vec<Decision> {
        let known = std::mem::replace(&mut self.known, view.clone());
        for name in known.units.keys().filter(|name| !view.units.contains_key(name)) {
            self.scheduler.remove_unit(name);
        }
        for id in known.machines.keys().filter(|id| !view.machines.contains_key(id)) {
            self.scheduler.remove_machine(id);
        }
        for (_, machine) in view
            .machines
            .iter()
            .filter(|(id, now)| known.machines.get(id) != Some(now))
        {
            self.scheduler.set_machine(machine.clone());
        }
        for (name, unit) in view
            .units
            .iter()
            .filter(|(name, now)| known.units.get(name) != Some(now))
        {
            self.scheduler.set_unit(name.clone(), unit.clone());
        }
        let decisions = self.scheduler.decide(policy);
        for decision in &decisions {
            if let Some(unit) = self.known.units.get_mut(&decision.unit) {
                unit.assigned = decision.machine.clone();
                unit.unplaced = decision.machine.is_none().then(|| decision.reason.clone());
            }
        }
        decisions
    }

    /// Machines present in `state` whose lease has run out, with the session that had it.
    pub fn expired(&self, state: &Memory, ids: &[MachineId], now_ms: u64) -> Vec<(MachineId, u64)> {
        let present = commit::machines(state)
            .into_iter()
            .filter(|record| record.present);
        present
            .filter(|record| {
                let node = ids.iter().position(|id| *id == record.machine.id);
                node.is_some_and(|node| now_ms.saturating_sub(self.seen_ms[node]) > TTL_MS)
            })
            .map(|record| (record.machine.id, record.session))
            .collect()
    }
}
