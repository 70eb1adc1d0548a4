//! Two simulations. [`cluster`] is the store: whole clusters of the real Raft room under seeded time, network and disk. The
//! rest is the fleet, the control loop under seeded time: the real store state machine, scheduler and agent on simulated
//! machines with a simulated systemd, while machines lose power, supervisors die, links are cut, messages are late or lost,
//! leaders change and the store stops.
//!
//! ```text
//!  operator ──► log ──► replica on every machine (late, lost with its link)
//!                ▲ │            │ desired, reconcile
//!    Assign, Leave │            ▼
//!       leader ◄───┘      simulated systemd ──► Report ──► log
//! ```
//!
//! One seed is one run: the same seed gives the same trace, byte for byte. Faults end after [`world::FAULTS_END_MS`];
//! then everything must come to rest in the right place until [`world::END_MS`]. What must hold is in [`checkers`], one
//! file for each promise.
//!
//! The store is one log there, committed at the leader: what Raft itself must withstand is [`cluster`]'s.

pub mod bench;
pub mod checkers;
pub mod cluster;
pub mod commit;
pub mod leader;
pub mod node;
pub mod rng;
pub mod scenario;
pub mod storm;
pub mod systemd;
pub mod world;

use rng::Rng;
use scenario::Scenario;
use storm::Storm;
use world::{Mutation, World};

/// What a run gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Every event, one line each.
    pub trace: String,
    /// The first broken promise.
    pub broken: Option<String>,
}

/// Runs one seed to its end, or to the first broken promise.
pub fn run(seed: u64, mutation: Option<Mutation>) -> Run {
    World::new(seed, mutation).run()
}

/// Runs one seed's storm.
pub fn run_storm(storm: Storm, seed: u64, mutation: Option<Mutation>) -> Run {
    let mut rng = Rng::new(seed);
    let scenario = Scenario::storm(storm, &mut rng);
    World::of(scenario, rng, mutation).run()
}
