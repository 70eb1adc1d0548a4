//! What happens to all machines at once, after everything has come to rest: nothing of it is a machine's death, so no unit
//! may move. The network is quick then, as the storm is in the machines.

use crate::rng::Rng;
use crate::scenario::{Fault, Scenario};

/// When it begins.
pub const STORM_MS: u64 = 40_000;
/// Until then everything has come to rest.
const REST_MS: u64 = 20_000;

/// A storm. Each lasts less than the cluster waits for a machine, but for the outage, which may last as long as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storm {
    /// The leader changes, again and again.
    Elections,
    /// The store has no leader for longer than any lease lasts.
    Outage,
    /// All machines lose their power at once and come back one after the other.
    Reboot,
    /// All supervisors die at once and are started again.
    Restart,
}

impl Storm {
    /// All there are.
    pub const ALL: [Storm; 4] = [Storm::Elections, Storm::Outage, Storm::Reboot, Storm::Restart];

    fn faults(self, machines: usize, rng: &mut Rng) -> Vec<(u64, Fault)> {
        let mut each = |fault: fn(usize, u64) -> Fault| {
            let one = |node| (STORM_MS, fault(node, rng.range(200, 2_000)));
            (0..machines).map(one).collect()
        };
        match self {
            Storm::Elections => (0..4).map(|n| (STORM_MS + n * 1_700, Fault::Depose)).collect(),
            Storm::Outage => vec![
                (STORM_MS, Fault::Outage { for_ms: 12_000 }),
                (STORM_MS, Fault::Depose),
            ],
            Storm::Reboot => each(|node, for_ms| Fault::PowerCut { node, for_ms }),
            Storm::Restart => each(|node, for_ms| Fault::Kill { node, for_ms }),
        }
    }
}

impl Scenario {
    /// The plot of a storm.
    pub fn storm(storm: Storm, rng: &mut Rng) -> Scenario {
        let mut scenario = Scenario::new(rng);
        scenario.operator.retain(|(at_ms, _)| *at_ms < REST_MS);
        scenario.faults = storm.faults(scenario.machines.len(), rng);
        scenario.storm_ms = Some(STORM_MS);
        scenario
    }
}
