//! What happens in a run, drawn from the seed before it begins: the cluster, its settings, what breaks and when.

use super::FAULTS_END_MS;
use crate::rng::Rng;

/// Something that breaks. Times in ms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed, and started again after this long.
    Kill { machine: usize, for_ms: u64 },
    /// The power goes at this operation of the disk, or soon after if there are not as many.
    PowerCut {
        machine: usize,
        operation: u64,
        for_ms: u64,
    },
    /// The power goes everywhere at once.
    PowerCutAll { for_ms: u64 },
    /// The process does not get to run.
    Stall { machine: usize, for_ms: u64 },
    /// The disk takes long.
    Slow {
        machine: usize,
        slow_ms: u64,
        for_ms: u64,
    },
    /// The disk is full.
    Full { machine: usize, for_ms: u64 },
    /// These cannot reach those; and the other way round, if `both`.
    Cut {
        one: Vec<usize>,
        both: bool,
        for_ms: u64,
    },
    /// Messages are lost, doubled, late.
    Weather {
        lost: u64,
        doubled: u64,
        late: u64,
        late_ms: u64,
        for_ms: u64,
    },
    /// A snapshot is built, and the log purged.
    Snapshot { machine: usize },
    /// Whoever leads hands over to this one.
    MoveLeader { machine: usize },
    /// This one, which some watch, is cut off until it can catch up by a snapshot only.
    Lag { machine: usize, for_ms: u64 },
    /// The machine comes back with an empty disk.
    LoseDisk { machine: usize, for_ms: u64 },
}

/// A run's plot.
#[derive(Debug, Clone)]
pub struct Plot {
    /// How many found the cluster, and are to vote.
    pub founders: usize,
    /// How many there are in all: the others stand by.
    pub machines: usize,
    /// How many of them stand by from the beginning on; the rest wait for an operator to add them.
    pub standbys: usize,
    /// Whether an operator adds, promotes and removes members.
    pub operated: bool,
    /// How many events v2's history shall keep.
    pub v2_history: Option<u64>,
    /// How long a voter may be silent before another machine takes its place.
    pub remove_delay_ms: u64,
    pub clients: usize,
    pub keys: u64,
    pub heartbeat_ms: u64,
    pub election_ms: u64,
    pub snapshot_count: u64,
    pub keep_entries: u64,
    pub segment_bytes: u64,
    pub faults: Vec<(u64, Fault)>,
}

impl Plot {
    /// The plot of a seed.
    pub fn new(rng: &mut Rng) -> Plot {
        let founders = if rng.chance(70) { 3 } else { 5 };
        let standbys = if rng.chance(35) { rng.range(1, 3) } else { 0 } as usize;
        let operated = rng.chance(35);
        let spares = usize::from(operated && rng.chance(60));
        let machines = founders + standbys + spares;
        let mut faults: Vec<(u64, Fault)> = (0..rng.range(2, 14))
            .map(|_| (rng.range(1_500, FAULTS_END_MS), fault(machines, rng)))
            .collect();
        // One at most: two of three lost disks are a lost cluster.
        if rng.chance(25) {
            let (machine, for_ms) = (rng.range(0, machines as u64) as usize, rng.range(20, 2_000));
            faults.push((rng.range(3_000, 7_000), Fault::LoseDisk { machine, for_ms }));
        }
        faults.sort_by_key(|(at, _)| *at);
        Plot {
            founders,
            machines,
            standbys,
            operated,
            v2_history: *rng.pick(&[None, Some(10), Some(60)]),
            remove_delay_ms: *rng.pick(&[1_500, 4_000, 60_000]),
            clients: rng.range(3, 7) as usize,
            keys: rng.range(1, 4),
            heartbeat_ms: 50,
            election_ms: rng.range(150, 300),
            snapshot_count: *rng.pick(&[15, 40, 200, 100_000]),
            keep_entries: rng.range(1, 30),
            segment_bytes: *rng.pick(&[2 << 10, 16 << 10, 1 << 20]),
            faults,
        }
    }
}

fn fault(machines: usize, rng: &mut Rng) -> Fault {
    let machine = rng.range(0, machines as u64) as usize;
    let for_ms = if rng.chance(60) {
        rng.range(20, 800)
    } else {
        rng.range(800, 4_000)
    };
    match rng.range(0, 23) {
        0..3 => Fault::Kill { machine, for_ms },
        3..7 => Fault::PowerCut {
            machine,
            operation: rng.range(0, 30),
            for_ms,
        },
        7..9 => Fault::PowerCutAll { for_ms },
        9..11 => Fault::Stall { machine, for_ms },
        11 => Fault::Slow {
            machine,
            slow_ms: rng.range(5, 400),
            for_ms,
        },
        12 => Fault::Full { machine, for_ms },
        13..17 => Fault::Cut {
            one: (0..machines).filter(|_| rng.chance(35)).collect(),
            both: rng.chance(60),
            for_ms,
        },
        17..19 => Fault::Weather {
            lost: rng.range(0, 25),
            doubled: rng.range(0, 30),
            late: rng.range(0, 50),
            late_ms: rng.range(10, 600),
            for_ms,
        },
        19 => Fault::Snapshot { machine },
        20..22 => Fault::Lag {
            machine,
            for_ms: rng.range(800, 3_000),
        },
        _ => Fault::MoveLeader { machine },
    }
}
