//! The scheduler's figures: a cluster of a size no simulation of the whole loop reaches, placed from nothing, given one
//! unit after the other, and robbed of machines.
//!
//! The cluster is drawn from the seed ([`cluster`]); the clock only measures, so the same seed gives the same plans. It
//! counts the time of one core, so that what else the machine does is not measured.

use std::fmt::Write as _;
use std::time::Duration;

use corten_schedule::{ClusterView, Decision, Policy, Scheduler, UnitView};
use corten_spec::fleet::JobState;
use corten_spec::machine::{Machine, MachineId};
use corten_spec::unit_file::UnitFile;
use corten_spec::unit_name::UnitName;
use corten_spec::x_fleet::Requirements;
use cpu_time::ThreadTime;

use crate::rng::Rng;

/// How large, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Machines of the cluster.
    pub machines: usize,
    /// Units in it.
    pub units: usize,
    /// Units that come one by one when all others are placed.
    pub more: usize,
    /// Machines that are lost at once.
    pub lost: usize,
}

/// What was measured, and every decision as text.
#[derive(Debug)]
pub struct Figures {
    /// From nothing to all placed.
    pub all: Duration,
    /// Units that fit nowhere then.
    pub unplaced: usize,
    /// Each unit that came later, quickest first.
    pub more: Vec<Duration>,
    /// Machines lost, their units placed elsewhere.
    pub lost: Duration,
    /// Units that were on them.
    pub moved: usize,
    /// All decisions, in order.
    pub decisions: String,
}

/// Measures; the same seed and size give the same decisions.
pub fn run(seed: u64, size: Size) -> Figures {
    let mut rng = Rng::new(seed);
    let view = cluster(&mut rng, size);
    let mut ids: Vec<MachineId> = view.machines.keys().cloned().collect();
    let mut decisions = String::new();
    let policy = Policy::default();
    let (all, (mut scheduler, made)) = timed(|| {
        let mut scheduler = Scheduler::of(view);
        let made = scheduler.decide(&policy);
        (scheduler, made)
    });
    print(&made, &mut decisions);
    let unplaced = scheduler.unplaced().count();
    let mut more: Vec<Duration> = (0..size.more)
        .map(|number| {
            let (name, unit) = one_more(&mut rng, number);
            let (took, made) = timed(|| {
                scheduler.set_unit(name, unit);
                scheduler.decide(&policy)
            });
            print(&made, &mut decisions);
            took
        })
        .collect();
    more.sort_unstable();
    let gone: Vec<MachineId> = (0..size.lost.min(ids.len()))
        .map(|_| ids.swap_remove(rng.range(0, ids.len() as u64) as usize))
        .collect();
    let (lost, made) = timed(|| {
        gone.iter().for_each(|id| scheduler.remove_machine(id));
        scheduler.decide(&policy)
    });
    print(&made, &mut decisions);
    let moved = made
        .iter()
        .filter(|decision| decision.reason.contains("went away"))
        .count();
    Figures {
        all,
        unplaced,
        more,
        lost,
        moved,
        decisions,
    }
}

impl Figures {
    /// The figures as a table.
    pub fn print(&self, size: Size) -> String {
        let ms = |took: Duration| took.as_secs_f64() * 1000.0;
        let at = |percent: usize| {
            self.more
                .get((self.more.len() * percent / 100).min(self.more.len() - 1))
        };
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{} units over {} machines, from nothing to all placed: {:.0} ms ({} fit nowhere)",
            size.units,
            size.machines,
            ms(self.all),
            self.unplaced
        );
        if let (Some(half), Some(p99), Some(worst)) = (at(50), at(99), self.more.last()) {
            let _ = writeln!(
                text,
                "one more unit, {} times: p50 {:.3} ms, p99 {:.3} ms, worst {:.3} ms",
                size.more,
                ms(*half),
                ms(*p99),
                ms(*worst)
            );
        }
        let _ = writeln!(
            text,
            "{} machines lost at once, {} units placed elsewhere: {:.0} ms",
            size.lost,
            self.moved,
            ms(self.lost)
        );
        text
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begin = ThreadTime::now();
    let done = work();
    (begin.elapsed(), done)
}

fn print(made: &[Decision], text: &mut String) {
    for decision in made {
        let to = decision.machine.as_ref().map_or("-", |id| id.0.as_str());
        let _ = writeln!(text, "{} -> {to}: {}", decision.unit, decision.reason);
    }
}

const ZONES: [&str; 5] = ["a", "b", "c", "d", "e"];
const ROLES: [&str; 3] = ["web", "db", "batch"];

/// A cluster with nothing placed: five zones, three roles, some with an SSD, each with its own host name and
/// the same CPU and memory.
pub fn cluster(rng: &mut Rng, size: Size) -> ClusterView {
    let mut view = ClusterView::default();
    for number in 0..size.machines {
        let machine = machine(rng, number);
        view.machines.insert(machine.id.clone(), machine);
    }
    for number in 0..5 {
        let only = ["", "MachineMetadata=disk=ssd"][number % 2];
        let (name, unit) = unit(
            &format!("global{number}.service"),
            &format!("Global=true\n{only}"),
        );
        view.units.insert(name, unit);
    }
    let mut group = 0;
    while view.units.len() < size.units {
        let left = size.units - view.units.len();
        for (name, options) in family(rng, group).into_iter().take(left) {
            let (name, unit) = unit(&name, &options);
            view.units.insert(name, unit);
        }
        group += 1;
    }
    view
}

fn machine(rng: &mut Rng, number: usize) -> Machine {
    let mut metadata = vec![
        ("zone", (*rng.pick(&ZONES)).to_owned()),
        ("role", (*rng.pick(&ROLES)).to_owned()),
        ("host", format!("host{number}")),
        ("cpus", "16".to_owned()),
        ("memory", "32G".to_owned()),
    ];
    if rng.chance(40) {
        metadata.push(("disk", "ssd".to_owned()));
    }
    Machine {
        id: MachineId(format!("{:016x}{:016x}", rng.number(), rng.number())),
        primary_ip: String::new(),
        metadata: metadata
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
        found: Default::default(),
    }
}

/// Units that belong together: names and `[X-Fleet]` options.
fn family(rng: &mut Rng, group: usize) -> Vec<(String, String)> {
    let number = rng.range(0, 100);
    let instances = rng.range(2, 40);
    let place = place(rng);
    match number {
        0..20 => vec![(format!("plain{group}.service"), String::new())],
        20..30 => vec![(format!("hungry{group}.service"), reserve(rng))],
        30..60 => vec![(
            format!("picky{group}.service"),
            format!("{place}\n{}", reserve(rng)),
        )],
        60..65 => (0..instances)
            .map(|i| {
                (
                    format!("wide{group}@{i}.service"),
                    format!("SpreadOver=zone\n{}", reserve(rng)),
                )
            })
            .collect(),
        65..75 => (0..instances)
            .map(|i| {
                (
                    format!("spread{group}@{i}.service"),
                    format!("Conflicts=spread{group}@*.service\n{place}"),
                )
            })
            .collect(),
        75..90 => {
            let next = |i| match i {
                0 => place.clone(),
                i => format!("MachineOf=chain{group}-{}.service", i - 1),
            };
            (0..4)
                .map(|i| (format!("chain{group}-{i}.service"), next(i)))
                .collect()
        }
        90..98 => vec![
            (
                format!("loud{group}.service"),
                format!("Conflicts=quiet{group}-*.service\n{place}"),
            ),
            (format!("quiet{group}-1.service"), place.clone()),
            (format!("quiet{group}-2.service"), place),
        ],
        98 => vec![
            (format!("old{group}.service"), String::new()),
            (
                format!("new{group}.service"),
                format!("Replaces=old{group}.service"),
            ),
        ],
        _ => vec![(
            format!("lost{group}.service"),
            "MachineMetadata=zone=nowhere".to_owned(),
        )],
    }
}

fn reserve(rng: &mut Rng) -> String {
    let (cpu, memory) = (rng.range(1, 30) * 5, rng.range(1, 40) * 100);
    format!("CPUReserve={cpu}%\nMemoryReserve={memory}M")
}

fn place(rng: &mut Rng) -> String {
    let zone = *rng.pick(&ZONES);
    let role = *rng.pick(&ROLES);
    match rng.range(0, 4) {
        0 => String::new(),
        1 => format!("MachineMetadata=zone={zone}"),
        2 => format!("MachineMetadata=role={role}\nMachineMetadata=zone={zone}"),
        _ => format!("MachineMetadata=role={role}\nMachineMetadata=disk=ssd"),
    }
}

fn one_more(rng: &mut Rng, number: usize) -> (UnitName, UnitView) {
    let place = place(rng);
    match rng.range(0, 3) {
        0 => unit(
            &format!("more{number}.service"),
            &format!("{place}\n{}", reserve(rng)),
        ),
        1 => unit(
            &format!("more@{number}.service"),
            &format!("Conflicts=more@*.service\n{place}"),
        ),
        _ => unit(
            &format!("more{number}.service"),
            &format!("MachineOf=chain{}-0.service\n", rng.range(0, 2000)),
        ),
    }
}

fn unit(name: &str, options: &str) -> (UnitName, UnitView) {
    let name = UnitName::parse(name).expect("made of valid parts");
    let file = UnitFile::parse(&format!("[X-Fleet]\n{options}\n")).expect("made of valid parts");
    let view = UnitView {
        requirements: Requirements::of(&name, &file),
        desired: JobState::Launched,
        assigned: None,
        unplaced: None,
    };
    (name, view)
}
