//! One machine: its power, its supervisor, its systemd and disk, and its replica of the store. The shell around the real
//! agent, as thin as the real one should be.
//!
//! | lost with | the power | the supervisor |
//! |---|---|---|
//! | unit files, marks, when it was heard last (/run), what runs | yes | no |
//! | replica (state partition) | no | no |
//! | session, what is in flight, what was reported | yes | yes |

mod acting;
mod registering;

use std::collections::BTreeMap;
use std::time::Duration;

use corten_agent::{Candidate, Contact, OnDisk, Reported};
use corten_spec::machine::{Machine, MachineId};
use corten_spec::unit_name::UnitName;
use corten_spec::x_fleet::Requirements;
use corten_store::fleet::{self, Command};
use corten_store::memory::Memory;

use crate::leader::TTL_MS;
use crate::rng::Rng;
use crate::systemd::{Job, Systemd};
use crate::world::Mutation;

/// How long a proposal is waited for, in ms, before it is made again.
const PROPOSAL_TIMEOUT_MS: u64 = 1_000;
/// Until the leader is asked again how new the replica must be, in ms.
const ASK_AGAIN_MS: u64 = 500;

/// What a step asks of the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send this to the leader.
    Propose {
        /// To know the answer by.
        ticket: u64,
        /// What.
        command: Command,
    },
    /// systemd is at it.
    Job(Job),
    /// Step again at this time.
    Wake(u64),
    /// For the trace.
    Note(String),
}

/// A proposal on its way.
#[derive(Debug, Clone, Copy)]
struct Flight {
    ticket: u64,
    until_ms: u64,
    joins: bool,
}

/// What the cluster has of a machine, as far as it has heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Unregistered,
    /// It joined then, in ms; the leader may not have seen it yet.
    Joined(u64),
    /// The leader has heard it.
    Known,
}

/// The machine.
#[derive(Debug)]
pub struct Node {
    /// Who it is, with its own metadata.
    pub machine: Machine,
    /// Its power is on.
    pub powered: bool,
    /// Its supervisor runs.
    pub supervised: bool,
    /// It reaches the others.
    pub linked: bool,
    /// Counts supervisors' lives: a message to an earlier one is lost.
    pub life: u64,
    /// Its systemd.
    pub systemd: Systemd,
    /// Unit files of ours.
    pub disk: BTreeMap<UnitName, OnDisk>,
    /// Its copy of the store.
    pub replica: Memory,
    /// How many commands the copy has.
    pub applied: usize,
    /// The last moment it was without power, supervisor or link.
    pub last_unwell_ms: u64,
    /// When it sent the last heartbeat that was heard, since it booted.
    pub heard_ms: Option<u64>,
    /// When this life began.
    pub since_ms: u64,
    /// The session of its last join.
    pub session: u64,
    /// How it stands.
    pub standing: Standing,
    contact: Contact,
    /// How much of the log the replica must hold before units start, once the leader has said it.
    must_reach: Option<usize>,
    /// When it looks at the contact again.
    fence_wake_ms: u64,
    /// When it asks the leader again.
    ask_wake_ms: u64,
    reported: Reported,
    flight: Option<Flight>,
    /// The store has our last proposal here; the replica must get there before the next.
    acknowledged: usize,
    tickets: u64,
    mutation: Option<Mutation>,
}

impl Node {
    /// A machine that is off.
    pub fn new(machine: Machine, mutation: Option<Mutation>) -> Node {
        Node {
            machine,
            powered: false,
            supervised: false,
            linked: true,
            life: 0,
            systemd: Systemd::default(),
            disk: BTreeMap::new(),
            replica: Memory::new(),
            applied: 0,
            last_unwell_ms: 0,
            heard_ms: None,
            since_ms: 0,
            session: 0,
            standing: Standing::Unregistered,
            contact: Contact::Overdue,
            must_reach: None,
            fence_wake_ms: 0,
            ask_wake_ms: 0,
            reported: Reported::default(),
            flight: None,
            acknowledged: 0,
            tickets: 0,
            mutation,
        }
    }

    /// Is its supervisor alive?
    pub fn is_alive(&self) -> bool {
        self.powered && self.supervised
    }

    /// Is it alive and within reach?
    pub fn is_well(&self) -> bool {
        self.is_alive() && self.linked
    }

    /// Power on, supervisor started.
    pub fn boot(&mut self, now_ms: u64) {
        self.powered = true;
        self.systemd = Systemd::default();
        self.disk.clear();
        self.heard_ms = None;
        self.start_supervisor(now_ms);
    }

    /// A new supervisor on a machine that is on.
    pub fn start_supervisor(&mut self, now_ms: u64) {
        self.supervised = true;
        self.life += 1;
        self.since_ms = now_ms;
        // Drawn, as the daemon does: it says nothing of which life was first.
        self.session = Rng::new(self.life).number();
        self.standing = Standing::Unregistered;
        self.contact = Contact::Overdue;
        self.must_reach = None;
        (self.fence_wake_ms, self.ask_wake_ms) = (0, 0);
        self.reported = Reported::default();
        self.flight = None;
        self.acknowledged = 0;
        if self.mutation == Some(Mutation::ForgottenHeard) {
            self.heard_ms = Some(now_ms);
        }
    }

    /// Looks at the replica and at systemd, acts, and reports. `head` is how much of the log there is, if a leader can be
    /// asked.
    ///
    /// # Errors
    /// When the agent asks for something systemd would refuse.
    pub fn step(&mut self, now_ms: u64, head: Option<usize>, rng: &mut Rng) -> Result<Vec<Effect>, String> {
        let mut effects = Vec::new();
        if !self.is_alive() {
            return Ok(effects);
        }
        let contact = self.look(now_ms, &mut effects);
        let is_current = self.is_current(now_ms, head, &mut effects);
        self.act(contact, is_current, rng, &mut effects)?;
        if self.applied >= self.acknowledged && self.flight.is_none_or(|flight| flight.until_ms <= now_ms) {
            match self.standing {
                Standing::Unregistered => self.join(now_ms, &mut effects),
                _ if contact == Contact::Near => self.report(now_ms, &mut effects),
                _ => {}
            }
        }
        Ok(effects)
    }

    fn look(&mut self, now_ms: u64, effects: &mut Vec<Effect>) -> Contact {
        let silence = self.heard_ms.map(|at| Duration::from_millis(now_ms - at));
        let (contact, left) = Contact::after(silence, Duration::from_millis(TTL_MS));
        if let Some(left) = left.filter(|_| self.fence_wake_ms <= now_ms) {
            self.fence_wake_ms = now_ms + left.as_millis() as u64;
            effects.push(Effect::Wake(self.fence_wake_ms));
        }
        if contact == Contact::Near && self.contact != Contact::Near {
            self.must_reach = None; // it may have been given up meanwhile
        }
        self.contact = contact;
        contact
    }

    /// Whether the replica holds all that there was when this machine began to live, or was heard again.
    fn is_current(&mut self, now_ms: u64, head: Option<usize>, effects: &mut Vec<Effect>) -> bool {
        self.must_reach = self.must_reach.or(head);
        if self.must_reach.is_none() && self.ask_wake_ms <= now_ms {
            self.ask_wake_ms = now_ms + ASK_AGAIN_MS;
            effects.push(Effect::Wake(self.ask_wake_ms));
        }
        self.must_reach.is_some_and(|upto| self.applied >= upto)
    }
}

/// A stored unit as the agent of the machine `id` looks at it.
pub fn candidate(record: fleet::UnitRecord, id: &MachineId) -> Candidate {
    let file = record.file_on(id).clone();
    Candidate {
        requirements: Requirements::of(&record.name, &file),
        name: record.name,
        hash: file.hash(),
        file,
        desired: record.desired,
        assigned: record.assigned.map(|assignment| assignment.machine),
    }
}
