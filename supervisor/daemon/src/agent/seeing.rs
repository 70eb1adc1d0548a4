//! What the agent sees: its units in systemd and on the disk.

use std::collections::{BTreeMap, BTreeSet};

use corten_agent::{Observed, judge_starts};
use corten_spec::fleet::JobState;
use corten_spec::unit_name::UnitName;

use super::answers::ITSELF;
use super::{Agent, perform};
use crate::systemd::{self, Changed, Systemd, SystemdError};

impl<S: Systemd> Agent<S> {
    /// Asks systemd for the units that changed and are ours; false, and what was known stays, when it does not answer.
    pub(super) async fn observe(&mut self, changed: &Changed) -> bool {
        let known: BTreeSet<&UnitName> = self.disk.keys().chain(self.interest.units.keys()).collect();
        let ask: Vec<String> = match changed {
            Changed::Units(names) if !self.blind => {
                let unseen = |name: &&&UnitName| {
                    !self.seen.contains_key(**name) || names.contains(name.as_str()) || self.is_to_come(name)
                };
                known.iter().filter(unseen).map(ToString::to_string).collect()
            }
            _ => known.iter().map(ToString::to_string).collect(),
        };
        self.seen.retain(|name, _| known.contains(name));
        let answer = self.ask(&ask).await;
        self.blind = answer.is_err();
        match answer {
            Ok(all) => {
                let named = |seen: systemd::Observed| Some((UnitName::parse(&seen.name).ok()?, seen));
                self.seen.extend(all.into_iter().filter_map(named));
                self.note_starts();
            }
            Err(error) => tracing::error!("{error}"),
        }
        !self.blind
    }

    /// Asks for these units, or, when there are none, whether it answers at all, unless that is known.
    async fn ask(&mut self, units: &[String]) -> Result<Vec<systemd::Observed>, SystemdError> {
        if !units.is_empty() {
            return self.answers.wait_for(self.systemd.observe(units)).await;
        }
        if self.blind || self.answers.are_old() {
            let itself = [ITSELF.to_owned()];
            self.answers.wait_for(self.systemd.observe(&itself)).await?;
        }
        Ok(Vec::new())
    }

    /// Is its file to be written here? Whether systemd has heard of it is then asked anew: it does not say when it does.
    fn is_to_come(&self, name: &UnitName) -> bool {
        let wanted = self.interest.units.get(name);
        !self.disk.contains_key(name) && wanted.is_some_and(|unit| unit.desired != JobState::Inactive)
    }

    /// Takes note of starts that came to nothing, and forgets it of units that run after all.
    fn note_starts(&mut self) {
        for (unit, error) in judge_starts(&self.observed(), &self.systemd.ended_badly()) {
            if !error.is_empty() {
                tracing::error!(%unit, "systemd did not start it: {error}");
            }
            if let Err(error) = perform::mark_launched(&self.folder, &mut self.disk, &unit, error) {
                tracing::error!(%unit, "{error}");
            }
        }
    }

    /// What is here, as the deciding half wants it.
    pub(super) fn observed(&self) -> BTreeMap<UnitName, Observed> {
        let names: BTreeSet<&UnitName> = self.disk.keys().chain(self.seen.keys()).collect();
        let one = |name: &UnitName| {
            let seen = self.seen.get(name);
            let text = |f: fn(&systemd::Observed) -> &String| seen.map(f).cloned().unwrap_or_default();
            Observed {
                on_disk: self.disk.get(name).cloned(),
                load: text(|seen| &seen.load),
                active: text(|seen| &seen.active),
                sub: text(|seen| &seen.sub),
            }
        };
        names.into_iter().map(|name| (name.clone(), one(name))).collect()
    }
}
