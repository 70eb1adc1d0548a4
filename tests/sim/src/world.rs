//! The event loop: one queue ordered by time, then by age. Everything that happens is an event; every event may make
//! others. Nothing else moves the world.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use corten_spec::machine::MachineId;
use corten_spec::unit_name::UnitName;
use corten_store::fleet::Command;

use crate::Run;
use crate::checkers;
use crate::commit::{self, Log};
use crate::leader::{Leader, TTL_MS};
use crate::node::{Effect, Node};
use crate::rng::Rng;
use crate::scenario::{Fault, Scenario};
use crate::systemd::Job;

/// From then on nothing breaks any more and all that is broken is mended.
pub const FAULTS_END_MS: u64 = 60_000;
/// The end of a run.
pub const END_MS: u64 = 90_000;
/// Between heartbeats of one machine.
const BEAT_MS: u64 = TTL_MS / 3;
/// Between looks at leases and at what runs.
const TICK_MS: u64 = 250;
/// Nodes that vote; two of them are a quorum.
const VOTERS: usize = 3;

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
    PlanCommitted {
        term: u64,
    },
    Beat {
        node: usize,
        life: u64,
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
    queue: BTreeMap<(u64, u64), Event>,
    age: u64,
    terms: u64,
    outage_until_ms: u64,
    rng: Rng,
    trace: String,
}

impl World {
    /// The beginning of a seed's run.
    pub fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let scenario = Scenario::new(&mut rng);
        let mut world = World {
            now_ms: 0,
            log: Log::default(),
            nodes: scenario.machines.into_iter().map(Node::new).collect(),
            leader: None,
            leftover_since_ms: BTreeMap::new(),
            queue: BTreeMap::new(),
            age: 0,
            terms: 0,
            outage_until_ms: 0,
            rng,
            trace: String::new(),
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
            Event::Operator(command) => self.operate(command)?,
            Event::Fault(fault) => self.break_something(&fault)?,
            Event::PowerOn(node) => self.power_on(node),
            Event::Restart(node) => self.restart(node),
            Event::Heal(node) => self.heal(node),
            Event::Elect => self.elect(),
            Event::Tick => self.tick()?,
            Event::Plan { term } => self.plan(term)?,
            Event::PlanCommitted { term } => self.plan_committed(term)?,
            Event::Beat { node, life } => self.beat(node, life),
            Event::Deliver { node, upto } => self.deliver(node, upto)?,
            Event::Arrive {
                node,
                life,
                ticket,
                command,
            } => self.arrive(node, life, ticket, command)?,
            Event::Ack {
                node,
                life,
                ticket,
                at,
            } => {
                if self.nodes[node].life == life && self.nodes[node].is_well() {
                    self.nodes[node].acknowledge(ticket, at);
                    self.step(node)?;
                }
            }
            Event::Wake { node, life } if self.nodes[node].life == life => self.step(node)?,
            Event::Wake { .. } => {}
            Event::JobDone { node, job } => self.job_done(node, &job)?,
        }
        Ok(())
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

    /// A message's way from one machine to another: mostly quick, sometimes slow.
    fn delay_ms(&mut self) -> u64 {
        if self.rng.chance(10) {
            self.rng.range(40, 1_500)
        } else {
            self.rng.range(1, 40)
        }
    }

    // The store.

    fn commit(&mut self, command: Command) -> Result<usize, String> {
        if let Command::Leave { id, .. } = &command {
            checkers::storm::before_leave(self, id)?;
        }
        self.say("store", &commit::print(&command));
        if let Command::Join { machine, .. } = &command {
            let now_ms = self.now_ms;
            let node = self.ids().iter().position(|id| *id == machine.id);
            if let (Some(node), Some(leader)) = (node, &mut self.leader) {
                leader.seen_ms[node] = now_ms;
            }
        }
        self.log.commit(command);
        checkers::fences::check(self)?;
        for node in 0..self.nodes.len() {
            self.send_log(node);
        }
        self.plan_soon();
        Ok(self.log.len())
    }

    fn send_log(&mut self, node: usize) {
        let (delay, upto) = (self.delay_ms(), self.log.len());
        self.after(delay, Event::Deliver { node, upto });
    }

    fn deliver(&mut self, node: usize, upto: usize) -> Result<(), String> {
        let to = &mut self.nodes[node];
        if !to.is_well() || upto <= to.applied {
            return Ok(());
        }
        self.log.replay(&mut to.replica, to.applied, upto);
        to.applied = upto;
        self.step(node)
    }

    fn operate(&mut self, command: Command) -> Result<(), String> {
        if self.leader.is_none() {
            self.after(200, Event::Operator(command));
            return Ok(());
        }
        self.commit(command).map(drop)
    }

    fn arrive(&mut self, node: usize, life: u64, ticket: u64, command: Command) -> Result<(), String> {
        if self.leader.is_none() {
            return Ok(());
        }
        let at = self.commit(command)?;
        if !self.rng.chance(5) {
            let delay = self.delay_ms();
            self.after(
                delay,
                Event::Ack {
                    node,
                    life,
                    ticket,
                    at,
                },
            );
        }
        Ok(())
    }

    // The leader.

    /// The machines' ids, by node.
    pub fn ids(&self) -> Vec<MachineId> {
        self.nodes.iter().map(|node| node.machine.id.clone()).collect()
    }

    fn has_quorum(&self) -> bool {
        let well = self
            .nodes
            .iter()
            .take(VOTERS)
            .filter(|node| node.is_well())
            .count();
        well > VOTERS / 2 && self.now_ms >= self.outage_until_ms
    }

    fn elect(&mut self) {
        if self.leader.is_some() {
            return;
        }
        let able: Vec<usize> = (0..VOTERS).filter(|node| self.nodes[*node].is_well()).collect();
        if !self.has_quorum() {
            self.after(200, Event::Elect);
            return;
        }
        self.terms += 1;
        let node = *self.rng.pick(&able);
        self.say("store", &format!("{} leads term {}", self.name(node), self.terms));
        self.leader = Some(Leader::new(node, self.terms, self.nodes.len(), self.now_ms));
        let grace = TTL_MS + 1;
        self.after(grace, Event::Plan { term: self.terms });
        self.plan_soon();
    }

    /// Ends the term if it cannot go on. What was proposed is committed before the next term or never.
    fn check_leader(&mut self) -> Result<(), String> {
        let can_lead = |leader: &Leader| self.nodes[leader.node].is_well();
        if self.leader.as_ref().is_some_and(can_lead) && self.has_quorum() {
            return Ok(());
        }
        self.depose()
    }

    fn depose(&mut self) -> Result<(), String> {
        let Some(leader) = self.leader.take() else {
            return Ok(());
        };
        self.say("store", "the leader is lost");
        if let Some(decisions) = leader.proposed
            && self.rng.chance(50)
        {
            self.commit(commit::assign(&decisions))?;
        }
        let delay = self.rng.range(300, 1_500);
        self.after(delay, Event::Elect);
        Ok(())
    }

    fn plan_soon(&mut self) {
        let Some(leader) = &mut self.leader else { return };
        if leader.plan_due || leader.proposed.is_some() {
            return;
        }
        leader.plan_due = true;
        let term = leader.term;
        let delay = self.rng.range(1, 10);
        self.after(delay, Event::Plan { term });
    }

    fn plan(&mut self, term: u64) -> Result<(), String> {
        let Some(leader) = self.leader.as_mut().filter(|leader| leader.term == term) else {
            return Ok(());
        };
        leader.plan_due = false;
        if leader.proposed.is_some() {
            return Ok(());
        }
        let policy = leader.policy(self.now_ms);
        let view = commit::view(&self.log.head);
        let decisions = leader.decide(&view, &policy);
        checkers::plans::check(&view, &policy, &decisions)?;
        if !decisions.is_empty() {
            leader.proposed = Some(decisions);
            let delay = self.rng.range(1, 30);
            self.after(delay, Event::PlanCommitted { term });
        }
        Ok(())
    }

    fn plan_committed(&mut self, term: u64) -> Result<(), String> {
        let Some(leader) = self.leader.as_mut().filter(|leader| leader.term == term) else {
            return Ok(());
        };
        let Some(decisions) = leader.proposed.take() else {
            return Ok(());
        };
        self.commit(commit::assign(&decisions)).map(drop)
    }

    fn tick(&mut self) -> Result<(), String> {
        self.after(TICK_MS, Event::Tick);
        if let Some(leader) = &self.leader {
            for (id, session) in leader.expired(&self.log.head, &self.ids(), self.now_ms) {
                self.commit(Command::Leave {
                    id,
                    session: Some(session),
                })?;
            }
        }
        let now_ms = self.now_ms;
        let unwell = self.nodes.iter_mut().filter(|node| !node.is_well());
        unwell.for_each(|node| node.last_unwell_ms = now_ms);
        checkers::fences::check(self)?;
        checkers::leftovers::check(self)
    }

    // The machines.

    fn beat(&mut self, node: usize, life: u64) {
        if self.nodes[node].life != life || !self.nodes[node].is_alive() {
            return;
        }
        if let Some(leader) = self.leader.as_mut().filter(|_| self.nodes[node].linked) {
            leader.seen_ms[node] = self.now_ms;
            if self.knows(node) {
                self.nodes[node].heard_ms = Some(self.now_ms);
                self.after(1, Event::Wake { node, life });
            }
        }
        self.after(BEAT_MS, Event::Beat { node, life });
    }

    /// Whether the cluster has this life of a machine.
    fn knows(&self, node: usize) -> bool {
        let machines = commit::machines(&self.log.head);
        let (id, session) = (&self.nodes[node].machine.id, self.nodes[node].session());
        let mut present = machines.iter().filter(|record| record.present);
        present.any(|record| record.machine.id == *id && record.session == session)
    }

    fn step(&mut self, node: usize) -> Result<(), String> {
        let effects = self.nodes[node].step(self.now_ms, &mut self.rng)?;
        let (life, name) = (self.nodes[node].life, self.name(node));
        for effect in effects {
            match effect {
                Effect::Note(text) => self.say(&name, &text),
                Effect::Job(job) => self.begin_job(node, job),
                Effect::Wake(at_ms) => self.at(at_ms.max(self.now_ms), Event::Wake { node, life }),
                Effect::Propose { ticket, command } => {
                    let delay = self.delay_ms();
                    if self.nodes[node].linked && !self.rng.chance(5) {
                        self.after(
                            delay,
                            Event::Arrive {
                                node,
                                life,
                                ticket,
                                command,
                            },
                        );
                    }
                }
            }
        }
        checkers::neighbours::check(&self.nodes[node])
    }

    fn begin_job(&mut self, node: usize, job: Job) {
        let delay = job.after_ms;
        self.after(delay, Event::JobDone { node, job });
    }

    fn job_done(&mut self, node: usize, job: &Job) -> Result<(), String> {
        if !self.nodes[node].powered {
            return Ok(());
        }
        let Some(next) = self.nodes[node].systemd.done(job, &mut self.rng) else {
            return Ok(());
        };
        let active = self.nodes[node].systemd.active(&job.unit);
        self.say(&self.name(node), &format!("systemd: {} is {active}", job.unit));
        if let Some(job) = next {
            self.begin_job(node, job);
        }
        self.step(node)
    }

    fn begin_life(&mut self, node: usize) {
        let life = self.nodes[node].life;
        self.after(1, Event::Wake { node, life });
        self.after(2, Event::Beat { node, life });
        self.send_log(node);
    }

    // Faults.

    fn mend_at(&self, for_ms: u64) -> u64 {
        (self.now_ms + for_ms).min(FAULTS_END_MS + 500)
    }

    fn break_something(&mut self, fault: &Fault) -> Result<(), String> {
        self.say("fault", &format!("{fault:?}"));
        match fault {
            Fault::PowerCut { node, for_ms } if self.nodes[*node].powered => {
                self.nodes[*node].powered = false;
                self.at(self.mend_at(*for_ms), Event::PowerOn(*node));
            }
            Fault::Kill { node, for_ms } if self.nodes[*node].is_alive() => {
                self.nodes[*node].supervised = false;
                self.at(self.mend_at(*for_ms), Event::Restart(*node));
            }
            Fault::Cut { node, for_ms } if self.nodes[*node].linked => {
                self.nodes[*node].linked = false;
                self.at(self.mend_at(*for_ms), Event::Heal(*node));
            }
            Fault::Depose => self.depose()?,
            Fault::Outage { for_ms } => self.outage_until_ms = self.mend_at(*for_ms),
            Fault::UnitDies { node } if self.nodes[*node].powered => {
                if let Some(job) = self.nodes[*node].systemd.crash(&mut self.rng) {
                    self.begin_job(*node, job);
                    self.step(*node)?;
                }
            }
            _ => {}
        }
        for node in &mut self.nodes {
            if !node.is_well() {
                node.last_unwell_ms = self.now_ms;
            }
        }
        self.check_leader()
    }

    fn power_on(&mut self, node: usize) {
        self.say(&self.name(node), "boots");
        self.nodes[node].boot(self.now_ms);
        self.begin_life(node);
    }

    fn restart(&mut self, node: usize) {
        if self.nodes[node].powered && !self.nodes[node].supervised {
            self.say(&self.name(node), "supervisor starts");
            self.nodes[node].start_supervisor(self.now_ms);
            self.begin_life(node);
        }
    }

    fn heal(&mut self, node: usize) {
        self.say(&self.name(node), "link is back");
        self.nodes[node].linked = true;
        let life = self.nodes[node].life;
        self.after(1, Event::Wake { node, life });
        self.send_log(node);
    }
}
