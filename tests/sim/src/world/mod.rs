//! The event loop: one queue ordered by time, then by age. Everything that happens is an event; every event may make
//! others. Nothing else moves the world.

mod faults;
mod leading;
mod machines;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use corten_spec::machine::MachineId;
use corten_spec::unit_name::UnitName;
use corten_store::fleet::Command;

use crate::Run;
use crate::checkers;
use crate::commit::Log;
use crate::leader::Leader;
use crate::node::Node;
use crate::rng::Rng;
use crate::scenario::{Fault, Scenario};
use crate::systemd::Job;

/// From then on nothing breaks any more and all that is broken is mended.
pub const FAULTS_END_MS: u64 = 60_000;
/// The end of a run.
pub const END_MS: u64 = 90_000;
/// Between looks at leases and at what runs.
const TICK_MS: u64 = 250;
/// Nodes that vote; two of them are a quorum.
const VOTERS: usize = 3;

/// A promise that is broken on purpose, for the test of the checkers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Agents never end what must not run twice.
    NoFence,
    /// A supervisor that starts again has forgotten when it was heard last, and counts from then on.
    ForgottenHeard,
    /// The leader knows a machine that it is just giving up.
    KnownWhileLeaving,
    /// A new leader gives nobody time to be heard.
    NoGrace,
    /// A unit that is active counts in a roll, whichever file it was started from.
    AnyVersionCounts,
}

impl Mutation {
    /// All, by name.
    pub const ALL: [(&str, Mutation); 5] = [
        ("no-fence", Mutation::NoFence),
        ("forgotten-heard", Mutation::ForgottenHeard),
        ("known-while-leaving", Mutation::KnownWhileLeaving),
        ("no-grace", Mutation::NoGrace),
        ("any-version-counts", Mutation::AnyVersionCounts),
    ];
}

#[derive(Debug, Clone)]
enum Event {
    Operator(Command),
    Fault(Fault),
    PowerOn(usize),
    Restart(usize),
    Heal(usize),
    Elect,
    Tick,
    Plan {
        term: u64,
    },
    Written {
        term: u64,
    },
    /// The periodic heartbeat.
    Beat {
        node: usize,
        life: u64,
    },
    /// One in between.
    Probe {
        node: usize,
        life: u64,
    },
    BeatArrives {
        node: usize,
        session: u64,
        sent_ms: u64,
    },
    BeatAnswered {
        node: usize,
        session: u64,
        sent_ms: u64,
        known: bool,
    },
    Deliver {
        node: usize,
        upto: usize,
    },
    Arrive {
        node: usize,
        life: u64,
        ticket: u64,
        command: Command,
    },
    Ack {
        node: usize,
        life: u64,
        ticket: u64,
        at: usize,
    },
    Wake {
        node: usize,
        life: u64,
    },
    JobDone {
        node: usize,
        job: Job,
    },
}

/// Everything there is.
pub struct World {
    /// Milliseconds since the beginning.
    pub now_ms: u64,
    /// The store.
    pub log: Log,
    /// The machines.
    pub nodes: Vec<Node>,
    /// Who leads, if anyone.
    pub leader: Option<Leader>,
    /// Since when a unit runs where it no longer belongs, on a machine that should know.
    pub leftover_since_ms: BTreeMap<(usize, UnitName), u64>,
    /// Nodes on which a rolling unit is down because of its roll.
    pub rolled: BTreeMap<UnitName, BTreeSet<usize>>,
    /// From then on no unit may move, and nobody be declared lost.
    pub storm_ms: Option<u64>,
    queue: BTreeMap<(u64, u64), Event>,
    age: u64,
    terms: u64,
    outage_until_ms: u64,
    rng: Rng,
    trace: String,
    mutation: Option<Mutation>,
}

impl World {
    /// The beginning of a seed's run.
    pub fn new(seed: u64, mutation: Option<Mutation>) -> World {
        let mut rng = Rng::new(seed);
        let scenario = Scenario::new(&mut rng);
        World::of(scenario, rng, mutation)
    }

    /// The beginning of a plot.
    pub fn of(scenario: Scenario, rng: Rng, mutation: Option<Mutation>) -> World {
        let node = |machine| Node::new(machine, mutation);
        let mut world = World {
            now_ms: 0,
            log: Log::default(),
            nodes: scenario.machines.into_iter().map(node).collect(),
            leader: None,
            leftover_since_ms: BTreeMap::new(),
            rolled: BTreeMap::new(),
            storm_ms: scenario.storm_ms,
            queue: BTreeMap::new(),
            age: 0,
            terms: 0,
            outage_until_ms: 0,
            rng,
            trace: String::new(),
            mutation,
        };
        for node in 0..world.nodes.len() {
            world.at(node as u64, Event::PowerOn(node));
        }
        world.at(100, Event::Elect);
        world.at(TICK_MS, Event::Tick);
        scenario
            .operator
            .into_iter()
            .for_each(|(at, command)| world.at(at, Event::Operator(command)));
        scenario
            .faults
            .into_iter()
            .for_each(|(at, fault)| world.at(at, Event::Fault(fault)));
        world
    }

    /// Runs to the end or to the first broken promise.
    pub fn run(mut self) -> Run {
        let broken = self.run_events().err();
        Run {
            trace: self.trace,
            broken,
        }
    }

    fn run_events(&mut self) -> Result<(), String> {
        while let Some(((now_ms, _), event)) = self.queue.pop_first() {
            if now_ms > END_MS {
                break;
            }
            self.now_ms = now_ms;
            self.happen(event)?;
        }
        checkers::rest::at_the_end(self)
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Operator(command) => self.operate(command),
            Event::Fault(fault) => self.break_something(&fault),
            Event::PowerOn(node) => self.power_on(node),
            Event::Restart(node) => self.restart(node),
            Event::Heal(node) => self.heal(node),
            Event::Elect => self.elect(),
            Event::Tick => self.tick(),
            Event::Plan { term } => self.plan(term),
            Event::Written { term } => self.written(term),
            Event::Beat { node, life } => self.beat(node, life),
            Event::Probe { node, life } => self.probe(node, life),
            Event::BeatArrives {
                node,
                session,
                sent_ms,
            } => self.beat_arrives(node, session, sent_ms),
            Event::BeatAnswered {
                node,
                session,
                sent_ms,
                known,
            } => self.beat_answered(node, session, sent_ms, known),
            Event::Deliver { node, upto } => self.deliver(node, upto),
            Event::Arrive {
                node,
                life,
                ticket,
                command,
            } => self.arrive(node, life, ticket, command),
            Event::Ack {
                node,
                life,
                ticket,
                at,
            } => self.acknowledge(node, life, ticket, at),
            Event::Wake { node, life } if self.nodes[node].life == life => self.step(node),
            Event::Wake { .. } => Ok(()),
            Event::JobDone { node, job } => self.job_done(node, &job),
        }
    }

    fn at(&mut self, at_ms: u64, event: Event) {
        self.age += 1;
        self.queue.insert((at_ms, self.age), event);
    }

    fn after(&mut self, delay_ms: u64, event: Event) {
        self.at(self.now_ms + delay_ms, event);
    }

    fn say(&mut self, who: &str, what: &str) {
        let _ = writeln!(self.trace, "{:>6} {who:<6} {what}", self.now_ms);
    }

    fn name(&self, node: usize) -> String {
        self.nodes[node].machine.id.0.clone()
    }

    /// The machines' ids, by node.
    pub fn ids(&self) -> Vec<MachineId> {
        self.nodes.iter().map(|node| node.machine.id.clone()).collect()
    }

    /// A message's way from one machine to another: mostly quick, sometimes slow, but in a storm, which is of machines.
    fn delay_ms(&mut self) -> u64 {
        if self.storm_ms.is_none() && self.rng.chance(10) {
            self.rng.range(40, 1_500)
        } else {
            self.rng.range(1, 40)
        }
    }

    /// Whether a message gets lost.
    fn is_lost(&mut self) -> bool {
        self.storm_ms.is_none() && self.rng.chance(5)
    }
}
