//! What the agent waits for between two turns.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use corten_raft::AppliedBatch;
use corten_spec::unit_name::UnitName;
use corten_store::fleet::{self, Change};
use corten_store::{Event, StoreFault};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::Agent;
use crate::pulse::{BEAT, Pulse};
use crate::systemd::{Changed, Systemd};

/// What to look at in the next turn.
pub struct Look {
    /// Read all units of the store again.
    pub store: bool,
    /// Ask systemd for these.
    pub units: Changed,
}

impl Look {
    /// At everything there is.
    pub fn everything() -> Look {
        Look {
            store: true,
            units: Changed::Everything,
        }
    }

    /// At what is known already.
    fn nothing_new() -> Look {
        Look {
            store: false,
            units: Changed::Units(BTreeSet::new()),
        }
    }
}

impl<S: Systemd> Agent<S> {
    /// Waits until there is something to look at, or `until` then; `None`: for as long as that takes.
    pub(super) async fn wait(
        &mut self,
        events: &mut Receiver<Arc<AppliedBatch>>,
        until: Option<Instant>,
        pulse: &Pulse,
    ) -> Look {
        loop {
            pulse.beat();
            let left = until.map_or(BEAT, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                // Also when nothing could be done: what is to be done may be another thing now.
                let store = self.taken_all(None, events).is_some_and(|look| look.store);
                return Look {
                    store,
                    units: Changed::Everything,
                };
            }
            if self.answers.are_old() {
                return Look::nothing_new();
            }
            tokio::select! {
                batch = events.recv() => if let Some(look) = self.taken_all(Some(batch), events) { return look },
                units = self.systemd.changed() => if self.concerns(&units) {
                    return Look { store: false, units };
                },
                () = self.lease.changed() => return Look::nothing_new(),
                _ = self.registered.changed() => return Look::everything(),
                () = tokio::time::sleep(left.min(BEAT)) => {}
            }
        }
    }

    /// Takes a batch and those that have come behind it: what a turn does, a reload of systemd above all, it does once for all.
    /// What comes meanwhile is left: a turn has also to look at its lease.
    fn taken_all(
        &mut self,
        first: Option<Result<Arc<AppliedBatch>, RecvError>>,
        events: &mut Receiver<Arc<AppliedBatch>>,
    ) -> Option<Look> {
        let mut look = first.and_then(|first| self.taken(first));
        for _ in 0..events.len() {
            let next = match events.try_recv() {
                Ok(batch) => Ok(batch),
                Err(TryRecvError::Lagged(missed)) => Err(RecvError::Lagged(missed)),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return look,
            };
            look = match (look, self.taken(next)) {
                (Some(Look { store: true, .. }), _) => Some(Look::everything()),
                (look, next) => next.or(look),
            };
        }
        look
    }

    fn taken(&mut self, batch: Result<Arc<AppliedBatch>, RecvError>) -> Option<Look> {
        if batch.as_ref().is_ok_and(|batch| batch.reset) {
            return Some(Look::everything());
        }
        let concerns = |batch: Arc<AppliedBatch>| {
            let concerned = self.interest.take(&self.node, &batch)?;
            Ok::<bool, StoreFault>(concerned || self.is_overwritten(&batch)?)
        };
        match batch.map(concerns) {
            Ok(Ok(false)) => None,
            Ok(Ok(true)) => Some(Look::nothing_new()),
            Ok(Err(_)) | Err(RecvError::Lagged(_) | RecvError::Closed) => Some(Look::everything()),
        }
    }

    /// Has the store something else of a unit here than was reported? One that was destroyed and made again between two turns
    /// is else as it was.
    fn is_overwritten(&self, batch: &AppliedBatch) -> Result<bool, StoreFault> {
        let here = &self.interest.machine.id;
        for event in &batch.events {
            if let Event::Fleet(Change::State { unit, machine }) = event
                && machine == here
            {
                let stored = self.node.read(|tx| fleet::state(tx, unit, here))?;
                if !self.reported.agrees_with(unit, stored.as_ref()) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn concerns(&self, changed: &Changed) -> bool {
        let ours = |name: &String| {
            UnitName::parse(name)
                .is_ok_and(|name| self.disk.contains_key(&name) || self.interest.units.contains_key(&name))
        };
        match changed {
            Changed::Everything => true,
            Changed::Units(names) => names.iter().any(ours),
        }
    }
}
