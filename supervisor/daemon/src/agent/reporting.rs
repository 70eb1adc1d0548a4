//! What the agent tells the cluster of its units.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use corten_agent::{Contact, NotLoaded, report};
use corten_spec::unit_name::UnitName;
use corten_store::Response;
use corten_store::fleet::{self, Answer, Command};

use super::{Agent, RETRY};
use crate::systemd::Systemd;

/// Longer than a report can be under way: one that was not waited for may come late, and overwrite a newer one.
const LATE: Duration = Duration::from_secs(30);

impl<S: Systemd> Agent<S> {
    /// Publishes what differs from what the store has of this machine; returns when to ask again. Waits for the cluster only
    /// as long as the contact is near: units may have to stop.
    pub(super) async fn report(&mut self) -> Option<Duration> {
        let registered = *self.registered.borrow_and_update() > 0;
        if !registered || self.lease.contact() != Contact::Near {
            return None; // registering, or being heard again, wakes us
        }
        let id = self.interest.machine.id.clone();
        match self.node.read(|tx| fleet::states_on(tx, &id)) {
            Ok(stored) => self.reported.agree_with(stored),
            Err(fault) => {
                tracing::error!(%fault, "the store cannot be read");
                return Some(RETRY);
            }
        }
        let (report, next) = report(&id, &self.observed(), &self.not_loaded(), &self.reported);
        if !report.is_empty() {
            let command = Command::Report {
                machine: id,
                states: report.states,
                gone: report.gone,
            };
            let answer = tokio::select! {
                answer = self.node.propose(corten_store::Command::Fleet(command)) => answer,
                () = self.lease.changed() => {
                    self.late_until = Some(Instant::now() + LATE);
                    return None;
                }
            };
            match answer.map(|applied| applied.response) {
                Ok(Response::Fleet(Answer::NoSuchMachine(_))) => return None, // registering anew wakes us
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "unit states could not be reported: trying again");
                    self.late_until = Some(Instant::now() + LATE);
                    return Some(RETRY);
                }
            }
        }
        self.reported = next;
        self.late()
    }

    /// Units that failed before they had a file here.
    fn not_loaded(&self) -> BTreeMap<UnitName, NotLoaded> {
        let not_loaded = |(unit, why): (&UnitName, &str)| {
            let wanted = self.interest.units.get(unit);
            let wanted = wanted.filter(|_| !self.disk.contains_key(unit))?;
            let (hash, why) = (wanted.hash.clone(), why.to_owned());
            Some((unit.clone(), NotLoaded { hash, why }))
        };
        self.failures.reasons().filter_map(not_loaded).collect()
    }

    /// How long a report may still come late, if any may.
    fn late(&mut self) -> Option<Duration> {
        let left = self.late_until?.checked_duration_since(Instant::now());
        if left.is_none() {
            self.late_until = None;
        }
        left
    }
}
