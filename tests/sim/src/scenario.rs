//! What happens in a run, drawn from the seed before it begins: the machines, what the operator does, what breaks.

use std::num::NonZeroU32;

use corten_spec::fleet::JobState;
use corten_spec::machine::{Machine, MachineId};
use corten_spec::unit_file::UnitFile;
use corten_spec::unit_name::UnitName;
use corten_store::fleet::Command;

use crate::rng::Rng;
use crate::world::FAULTS_END_MS;

/// Something that breaks. Times in ms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The machine loses its power, and gets it back after this long.
    PowerCut {
        /// Which machine.
        node: usize,
        /// For how long.
        for_ms: u64,
    },
    /// The supervisor is killed, and started again after this long.
    Kill {
        /// On which machine.
        node: usize,
        /// For how long.
        for_ms: u64,
    },
    /// The machine is cut off from all others.
    Cut {
        /// Which machine.
        node: usize,
        /// For how long.
        for_ms: u64,
    },
    /// The leader steps down; another is elected.
    Depose,
    /// No leader can be elected.
    Outage {
        /// For how long.
        for_ms: u64,
    },
    /// A running unit dies; systemd restarts it.
    UnitDies {
        /// On which machine.
        node: usize,
    },
}

/// A run's plot.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The machines; the first three vote.
    pub machines: Vec<Machine>,
    /// What the operator does, and when.
    pub operator: Vec<(u64, Command)>,
    /// What breaks, and when.
    pub faults: Vec<(u64, Fault)>,
    /// From then on no unit may move, and nobody be declared lost.
    pub storm_ms: Option<u64>,
}

const ZONES: [&str; 2] = ["a", "b"];

/// Options units are made with; `@i` stands for any machine's id.
const OPTIONS: [&str; 20] = [
    "",
    "",
    "CPUReserve=60%",
    "CPUReserve=80%\nPriority=3",
    "Conflicts=web@*.service",
    "Conflicts=%p@*.service",
    "Conflicts=db@1.service",
    "MachineMetadata=zone=a",
    "MachineMetadata=zone=b",
    "MachineOf=db@1.service",
    "MachineOf=web@2.service",
    "Replaces=web@1.service",
    "Replaces=db@2.service",
    "MachineID=@i",
    "CPUReserve=40%",
    "CPUReserve=70%\nPriority=5",
    "CPUReserve=30%\nPriority=-1\nMachineOf=db@1.service",
    "SpreadOver=zone",
    "OnPartition=stop",
    "OnPartition=stop\nConflicts=%p@*.service",
];
const GLOBAL_OPTIONS: [&str; 3] = [
    "Global=true",
    "Global=true\nMachineMetadata=zone=a",
    "Global=true\nConflicts=db@2.service",
];
/// Global units whose file is replaced a few machines at a time, on so many, and always placed so.
const ROLLING: [(&str, u32, &str); 2] = [
    ("rolling1.service", 1, "Global=true"),
    ("rolling2.service", 2, "Global=true\nMachineMetadata=zone=a"),
];
const FAMILIES: [&str; 4] = ["web", "db", "bad", "once"];

impl Scenario {
    /// The plot of a seed.
    pub fn new(rng: &mut Rng) -> Scenario {
        let count = rng.range(3, 8) as usize;
        let machines: Vec<Machine> = (1..=count).map(|number| machine(number, rng)).collect();
        let operator = operator(&machines, rng);
        let mut faults: Vec<(u64, Fault)> = (0..rng.range(0, 25))
            .map(|_| (rng.range(3_000, FAULTS_END_MS), fault(count, rng)))
            .collect();
        if rng.chance(15) {
            let at = rng.range(3_000, FAULTS_END_MS);
            faults.extend((0..count).map(|node| {
                let for_ms = rng.range(50, 6_000);
                (at, Fault::PowerCut { node, for_ms })
            }));
        }
        faults.sort_by_key(|(at, _)| *at);
        Scenario {
            machines,
            operator,
            faults,
            storm_ms: None,
        }
    }
}

fn machine(number: usize, rng: &mut Rng) -> Machine {
    Machine {
        id: MachineId(format!("m{number}")),
        primary_ip: format!("10.0.0.{number}"),
        metadata: [
            ("zone".to_owned(), (*rng.pick(&ZONES)).to_owned()),
            ("cpus".to_owned(), "1".to_owned()),
        ]
        .into(),
        found: Default::default(),
    }
}

fn operator(machines: &[Machine], rng: &mut Rng) -> Vec<(u64, Command)> {
    let mut names: Vec<UnitName> = Vec::new();
    let mut plot = Vec::new();
    let mut now = 500;
    while now < FAULTS_END_MS {
        let command = if rng.chance(15) {
            roll(&mut names, rng)
        } else if names.is_empty() || rng.chance(45) {
            let name = unit_name(rng);
            names.push(name.clone());
            set_unit(name, machines, rng)
        } else {
            change(&names, machines, rng)
        };
        plot.push((now, command));
        now += if rng.chance(60) {
            rng.range(1, 200)
        } else {
            rng.range(200, 6_000)
        };
    }
    plot
}

/// Another file for a rolling unit: a new one, or one that it may have had before; now and then not at all a few at a time.
fn roll(names: &mut Vec<UnitName>, rng: &mut Rng) -> Command {
    let (name, limit, options) = *rng.pick(&ROLLING);
    let version = if rng.chance(30) {
        rng.range(1, 3)
    } else {
        rng.range(3, 1_000)
    };
    let (name, file) = (parsed(name), unit_file(version, options));
    names.push(name.clone());
    let desired = JobState::Launched;
    match NonZeroU32::new(limit).filter(|_| rng.chance(90)) {
        None => Command::SetUnit { name, file, desired },
        Some(max_unavailable) => Command::RollUnit {
            name,
            file,
            desired,
            max_unavailable,
        },
    }
}

fn parsed(name: &str) -> UnitName {
    UnitName::parse(name).expect("made of valid parts")
}

fn unit_file(version: u64, options: &str) -> UnitFile {
    let text = format!("[Service]\nExecStart=/bin/run --version {version}\n[X-Fleet]\n{options}\n");
    UnitFile::parse(&text).expect("made of valid parts")
}

fn change(names: &[UnitName], machines: &[Machine], rng: &mut Rng) -> Command {
    let name = rng.pick(names).clone();
    match rng.range(0, 10) {
        0..6 => Command::SetDesired {
            name,
            desired: state(rng),
        },
        6..8 if name.as_str().starts_with("rolling") => roll(&mut Vec::new(), rng),
        6..8 => set_unit(name, machines, rng),
        8 => Command::DestroyUnit { name },
        9 if rng.chance(30) => Command::PatchMetadata {
            id: rng.pick(machines).id.clone(),
            key: "scheduling".to_owned(),
            value: Some((*rng.pick(&["cordon", "drain", "open", "open"])).to_owned()),
        },
        _ => Command::PatchMetadata {
            id: rng.pick(machines).id.clone(),
            key: "zone".to_owned(),
            value: Some((*rng.pick(&ZONES)).to_owned()),
        },
    }
}

fn unit_name(rng: &mut Rng) -> UnitName {
    let family = if rng.chance(70) {
        FAMILIES[rng.range(0, 2) as usize]
    } else {
        *rng.pick(&FAMILIES)
    };
    let name = format!("{family}@{}.service", rng.range(1, 6));
    let name = if rng.chance(10) {
        format!("everywhere{}.service", rng.range(1, 3))
    } else {
        name
    };
    parsed(&name)
}

fn set_unit(name: UnitName, machines: &[Machine], rng: &mut Rng) -> Command {
    let options = if name.as_str().starts_with("everywhere") {
        rng.pick(&GLOBAL_OPTIONS)
    } else {
        rng.pick(&OPTIONS)
    };
    let options = options.replace("@i", &rng.pick(machines).id.0);
    let file = unit_file(rng.range(1, 3), &options);
    Command::SetUnit {
        name,
        file,
        desired: state(rng),
    }
}

fn state(rng: &mut Rng) -> JobState {
    *rng.pick(&[
        JobState::Inactive,
        JobState::Loaded,
        JobState::Launched,
        JobState::Launched,
        JobState::Launched,
    ])
}

fn fault(machines: usize, rng: &mut Rng) -> Fault {
    let node = rng.range(0, machines as u64) as usize;
    let for_ms = if rng.chance(50) {
        rng.range(50, 2_500)
    } else {
        rng.range(2_500, 15_000)
    };
    match rng.range(0, 12) {
        0..3 => Fault::PowerCut { node, for_ms },
        3..5 => Fault::Kill { node, for_ms },
        5..8 => Fault::Cut { node, for_ms },
        8 => Fault::Depose,
        9 => Fault::Outage { for_ms },
        _ => Fault::UnitDies { node },
    }
}
