//! Whole clusters under seeded time, network and disk: the real Raft room (openraft, our log with its recovery, the heed
//! state, snapshots, proposals, linearizable reads, leases), the real state machine and the real hubs that hand changes on to
//! those who watch, on simulated machines.
//!
//! ```text
//!  clients ──► node ──► net (lost, late, doubled, cut) ──► node
//!  (v2, v3)     │ disk (unsynced writes lost or torn, full, slow)
//!               ▼
//!          what is applied ──► hubs ──► watchers
//!                 └──────────────► checkers
//! ```
//!
//! Founders and standbys come and go, lose their disks and hand over the lead; an operator adds, promotes and removes
//! members. What must hold is in [`checkers`], one file for each promise. Not here, because the daemon is not: TLS, and HTTP
//! itself, of which the network has only the fates of its messages.
//!
//! One seed is one run in a process of its own ([`entropy`] says why); the same seed gives the same trace, byte for byte.
//! Faults end after [`FAULTS_END_MS`]; then all nodes must become equal, and writes must go on, within [`HEAL_MS`].

mod checkers;
mod client;
mod disk;
mod entropy;
mod hubs;
mod logs;
mod machine;
mod net;
mod panics;
mod plot;
mod world;

use crate::Run;

/// From then on nothing breaks any more, and all that is broken is mended.
pub const FAULTS_END_MS: u64 = 10_000;
/// How long clients go on then at least.
pub const CALM_MS: u64 = 1_500;
/// How long it may take from the end of the faults until all is well.
pub const HEAL_MS: u64 = 20_000;

/// A promise that is broken on purpose, for the test of the checkers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Disks say that they have synced, and have not.
    SyncLies,
    /// A read does not ask the leader.
    StaleRead,
    /// A machine comes back with what it had the last time but one.
    Rollback,
    /// A watcher does not get every change.
    WatchForgets,
    /// A machine's clock is far ahead.
    ClockAhead,
    /// A member answers signs of life itself, and passes none on to the leader.
    DeafMember,
    /// A member is said to be removed, and is not.
    ForgottenRemoval,
    /// The history is said to be compacted, and is not.
    ForgottenCompaction,
}

impl Mutation {
    /// All, by name.
    pub const ALL: [(&str, Mutation); 8] = [
        ("sync-lies", Mutation::SyncLies),
        ("stale-read", Mutation::StaleRead),
        ("rollback", Mutation::Rollback),
        ("watch-forgets", Mutation::WatchForgets),
        ("clock-ahead", Mutation::ClockAhead),
        ("deaf-member", Mutation::DeafMember),
        ("forgotten-removal", Mutation::ForgottenRemoval),
        ("forgotten-compaction", Mutation::ForgottenCompaction),
    ];
}

/// Runs one seed to its end, or to the first broken promise.
pub fn run(seed: u64, mutation: Option<Mutation>) -> Run {
    assert!(
        entropy::is_steady(),
        "chance comes from elsewhere: a seed would not be a run"
    );
    logs::begin();
    panics::begin();
    world::World::new(seed, mutation).run()
}
