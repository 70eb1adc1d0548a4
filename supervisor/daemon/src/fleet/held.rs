//! Units that were launched when they were last asked to be loaded: they are said to be launched for a moment more.
//!
//! fleet's `fleetctl restart` asks for loaded, then waits to see *launched* first, and waits forever where a server is
//! quick (contract `fleet.md` section 0, trap 10). It looks where it asked, so this is kept by the node that was asked. What
//! the machines report knows nothing of it: there it would be taken for a start that is yet to come.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use corten_spec::unit_name::UnitName;

/// How long: fleetctl looks 250 ms after its request and then every 250 ms.
const SHOWN: Duration = Duration::from_millis(700);
/// How much longer a request counts as one of who saw it launched: it looked before it asked.
const SEEN: Duration = Duration::from_secs(1);

/// The units, and when they were asked for.
#[derive(Debug, Clone, Default)]
pub struct Held(Arc<Mutex<BTreeMap<UnitName, Instant>>>);

impl Held {
    /// May who asks now have seen it launched, though it is not?
    pub fn was_seen(&self, unit: &UnitName, now: Instant) -> bool {
        let mut held = self.lock();
        held.retain(|_, asked| now.duration_since(*asked) < SHOWN + SEEN);
        held.contains_key(unit)
    }

    /// A unit is to be loaded from now on that who asked for it may have seen launched.
    pub fn note(&self, unit: &UnitName, now: Instant) {
        self.lock().insert(unit.clone(), now);
    }

    /// Is it to be shown as launched?
    pub fn shows(&self, unit: &UnitName, now: Instant) -> bool {
        let asked = self.lock().get(unit).copied();
        asked.is_some_and(|asked| now.duration_since(asked) < SHOWN)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<UnitName, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_that_was_launched_is_shown_so_for_a_moment_after_each_request() {
        let (held, begun) = (Held::default(), Instant::now());
        let unit = UnitName::parse("a.service").unwrap();
        let at = |ms| begun + Duration::from_millis(ms);
        assert!(
            !held.was_seen(&unit, begun) && !held.shows(&unit, begun),
            "it was loaded"
        );
        held.note(&unit, begun);
        assert!(held.shows(&unit, at(699)) && !held.shows(&unit, at(700)));
        // Who looked at 699 and asks now waits to see it launched, however long its request takes.
        assert!(held.was_seen(&unit, at(720)));
        held.note(&unit, at(2720));
        assert!(held.shows(&unit, at(3419)) && !held.shows(&unit, at(3420)));
        assert!(!held.was_seen(&unit, at(4420)), "nobody has seen it launched");
    }
}
