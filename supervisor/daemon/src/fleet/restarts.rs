//! Why a unit that was just told to stop is still called launched for a moment.
//!
//! `fleetctl restart` sets a unit to loaded and then waits until it sees it *launched*, looking for the first time a
//! quarter of a second later; on a server that stops the unit faster than that it would wait forever (contract
//! `fleet.md`, trap 10). For that long, this node goes on saying launched of a unit it was asked to set to loaded.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use corten_spec::unit_name::UnitName;

use super::wire::WireUnit;

/// Two of fleetctl's looks and some.
const HOLD: Duration = Duration::from_millis(700);

/// The units lately told to stop without being unloaded.
#[derive(Debug, Default)]
pub struct Restarts {
    begun: Mutex<BTreeMap<String, Instant>>,
}

impl Restarts {
    /// `unit`, which is launched, is being set to loaded.
    pub fn begun(&self, unit: &UnitName) {
        let now = Instant::now();
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.retain(|_, since| now.duration_since(*since) < HOLD);
        begun.insert(unit.to_string(), now);
    }

    /// The unit as it is shown.
    pub fn seen(&self, unit: WireUnit) -> WireUnit {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let held = begun.get(&unit.name).is_some_and(|since| since.elapsed() < HOLD);
        if held && unit.current_state == "loaded" && unit.desired_state == "loaded" {
            return WireUnit {
                current_state: "launched".to_owned(),
                ..unit
            };
        }
        unit
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_begun_is_held() {
        let restarts = Restarts::default();
        let unit = |name: &str| WireUnit {
            name: name.into(),
            current_state: "loaded".into(),
            desired_state: "loaded".into(),
            ..WireUnit::default()
        };
        restarts.begun(&UnitName::parse("a.service").unwrap());
        assert_eq!(restarts.seen(unit("a.service")).current_state, "launched");
        assert_eq!(restarts.seen(unit("b.service")).current_state, "loaded");
        let unloaded = WireUnit {
            current_state: "inactive".into(),
            ..unit("a.service")
        };
        assert_eq!(restarts.seen(unloaded).current_state, "inactive");
    }
}
