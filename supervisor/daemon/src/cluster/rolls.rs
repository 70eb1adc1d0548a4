//! Rolls of global units: which changes concern them, and the leader's next steps, as `corten_schedule` says.

use std::collections::BTreeSet;

use corten_raft::AppliedBatch;
use corten_schedule::{RollStep, Scheduler};
use corten_spec::unit_name::UnitName;
use corten_store::Event;
use corten_store::fleet::Change;

use super::leader::Leading;
use super::view;

/// What one term knows of rolls: whether to look at them. All else the store knows.
#[derive(Debug)]
pub struct Rolls {
    rolling: BTreeSet<UnitName>,
    due: bool,
}

impl Rolls {
    /// At the beginning of a term, or when it is not known what has changed.
    pub fn begin() -> Rolls {
        Rolls {
            rolling: BTreeSet::new(),
            due: true,
        }
    }

    /// Are they to be looked at?
    pub fn are_due(&self) -> bool {
        self.due
    }

    /// Takes note of what a batch changed.
    pub fn note(&mut self, batch: &AppliedBatch) {
        self.due |= batch.events.iter().any(|event| match event {
            Event::Fleet(Change::Unit(_)) => true,
            Event::Fleet(Change::Machine(_)) => !self.rolling.is_empty(),
            Event::Fleet(Change::State { unit, .. }) => self.rolling.contains(unit),
            _ => false,
        });
    }

    /// Writes each roll's next step, if there is one; they stay due if that fails.
    pub async fn go_on(&mut self, leading: &Leading, term: u64, scheduler: &Scheduler) {
        let rolls = match view::rolls(&leading.node) {
            Ok(rolls) => rolls,
            Err(fault) => return tracing::error!(%fault, "the store cannot be read"),
        };
        self.rolling = rolls.iter().map(|(unit, _)| unit.clone()).collect();
        self.due = false;
        for (unit, roll) in rolls {
            let Some(step) = scheduler.roll(&unit, &roll) else {
                continue;
            };
            tell(&unit, &step);
            let command = corten_store::Command::Fleet(view::roll_command(unit, roll.hash, step));
            if let Err(error) = leading.node.propose_leading(term, &command).await {
                tracing::warn!("a step of a roll could not be written, trying again: {error}");
                self.due = true;
                return;
            }
        }
    }
}

fn tell(unit: &UnitName, step: &RollStep) {
    match step {
        RollStep::Allow { machines, reason } if machines.is_empty() => {
            tracing::info!("the roll of {unit} {reason}");
        }
        RollStep::Allow { machines, reason } => {
            let machines: Vec<&str> = machines.iter().map(|id| id.short()).collect();
            let machines = machines.join(", ");
            tracing::info!("{unit} gets its new file on {machines}; the rest {reason}");
        }
        RollStep::End => tracing::info!("{unit} has its new file everywhere"),
    }
}
