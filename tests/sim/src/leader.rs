//! The leader: what it knows since its election, the leases of machines, the scheduler, and what it is writing.

use std::time::Duration;

use corten_schedule::{ClusterView, Decision, Policy, RollStep, RollView, Scheduler};
use corten_spec::machine::MachineId;
use corten_spec::unit_name::UnitName;
use corten_store::fleet::Command;
use corten_store::fleet::leases::Leases;
use corten_store::memory::Memory;

use crate::commit;

/// How long a machine may be silent, in ms.
pub const TTL_MS: u64 = 3_000;

/// What the leader has proposed and waits for: nothing else is decided meanwhile.
#[derive(Debug)]
pub enum Writing {
    /// A machine's lease has run out.
    Leave {
        /// Which.
        id: MachineId,
        /// The session that had it.
        session: u64,
    },
    /// Where units go.
    Assign(Vec<Decision>),
    /// Who of a roll is next.
    Roll(Command),
}

impl Writing {
    /// As the store takes it.
    pub fn command(self) -> Command {
        match self {
            Writing::Leave { id, session } => Command::Leave {
                id,
                session: Some(session),
            },
            Writing::Assign(decisions) => commit::assign(&decisions),
            Writing::Roll(command) => command,
        }
    }
}

/// A term of leadership.
#[derive(Debug)]
pub struct Leader {
    /// Which node leads.
    pub node: usize,
    /// Tells terms apart.
    pub term: u64,
    /// Until then, absent machines may only be silent.
    pub hold_until_ms: u64,
    /// What is under way.
    pub writing: Option<Writing>,
    /// A plan is due.
    pub plan_due: bool,
    leases: Leases,
    scheduler: Scheduler,
    /// What the scheduler believes.
    known: ClusterView,
}

impl Leader {
    /// A new leader, who gives everybody this long to be heard.
    pub fn new(node: usize, term: u64, now_ms: u64, grace_ms: u64) -> Leader {
        Leader {
            node,
            term,
            hold_until_ms: now_ms + grace_ms,
            writing: None,
            plan_due: false,
            leases: Leases::new(Duration::from_millis(TTL_MS)),
            scheduler: Scheduler::default(),
            known: ClusterView::default(),
        }
    }

    /// Looks which machines the store has, unless it waits for something.
    pub fn look_at_machines(&mut self, state: &Memory, now_ms: u64) {
        if self.writing.is_some() {
            return;
        }
        for record in commit::machines(state) {
            let session = record.present.then_some(record.session);
            self.leases
                .present(&record.machine.id, session, Duration::from_millis(now_ms));
        }
    }

    /// A heartbeat; false when the machine must join.
    pub fn beat(&mut self, id: &MachineId, session: u64, now_ms: u64) -> bool {
        self.leases.beat(id, session, Duration::from_millis(now_ms))
    }

    /// Ends the next lease that has run out, if there is time for that.
    pub fn end_next(&mut self, now_ms: u64) -> Option<Writing> {
        if self.writing.is_some() {
            return None;
        }
        let now = Duration::from_millis(now_ms);
        let (id, session) = self.leases.due(now).into_iter().next()?;
        let ends = self.leases.end(&id, session, now);
        ends.then_some(Writing::Leave { id, session })
    }

    /// The next step of a roll.
    pub fn roll(&self, unit: &UnitName, roll: &RollView) -> Option<RollStep> {
        self.scheduler.roll(unit, roll)
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
}
