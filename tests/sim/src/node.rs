//! One machine: its power, its supervisor, its systemd and disk, and its replica of the store. The shell around the real
//! agent, as thin as the real one should be.
//!
//! | lost with | the power | the supervisor |
//! |---|---|---|
//! | unit files, marks, what runs (/run, systemd) | yes | no |
//! | replica (state partition) | no | no |
//! | session, what is in flight, what was reported | yes | yes |

use std::collections::BTreeMap;
use std::time::Duration;

use corten_agent::{
    Action, Candidate, Contact, Observed, OnDisk, Reported, desired, fence, reconcile_fenced, report,
};
use corten_spec::machine::Machine;
use corten_spec::unit_file::UnitFile;
use corten_spec::unit_name::UnitName;
use corten_spec::x_fleet::Requirements;
use corten_store::fleet::{self, Command};
use corten_store::memory::Memory;

use crate::commit;
use crate::leader::TTL_MS;
use crate::rng::Rng;
use crate::systemd::{Job, Systemd};

/// How long a proposal is waited for, in ms, before it is made again.
const PROPOSAL_TIMEOUT_MS: u64 = 1_000;

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
    /// For a join, when it was sent.
    joined_ms: Option<u64>,
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
    /// When it sent the last heartbeat or join that was heard, in this life of its supervisor.
    pub heard_ms: Option<u64>,
    /// When this life began.
    pub since_ms: u64,
    /// When it looks at that again.
    fence_wake_ms: u64,
    reported: Reported,
    flight: Option<Flight>,
    /// The store has our last proposal here; the replica must get there before the next.
    acknowledged: usize,
    tickets: u64,
}

impl Node {
    /// A machine that is off.
    pub fn new(machine: Machine) -> Node {
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
            fence_wake_ms: 0,
            reported: Reported::default(),
            flight: None,
            acknowledged: 0,
            tickets: 0,
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

    /// The session of this supervisor's life.
    pub fn session(&self) -> u64 {
        self.life
    }

    /// Power on, supervisor started.
    pub fn boot(&mut self, now_ms: u64) {
        self.powered = true;
        self.systemd = Systemd::default();
        self.disk.clear();
        self.start_supervisor(now_ms);
    }

    /// A new supervisor on a machine that is on.
    pub fn start_supervisor(&mut self, now_ms: u64) {
        self.supervised = true;
        (self.heard_ms, self.since_ms, self.fence_wake_ms) = (None, now_ms, 0);
        self.life += 1;
        self.reported = Reported::default();
        self.flight = None;
        self.acknowledged = 0;
    }

    /// The leader has answered.
    pub fn acknowledge(&mut self, ticket: u64, at: usize) {
        if self.flight.is_some_and(|flight| flight.ticket == ticket) {
            self.acknowledged = at;
            let joined = self.flight.take().and_then(|flight| flight.joined_ms);
            self.heard_ms = self.heard_ms.max(joined);
        }
    }

    /// Looks at the replica and at systemd, acts, and reports.
    ///
    /// # Errors
    /// When the agent asks for something systemd would refuse.
    pub fn step(&mut self, now_ms: u64, rng: &mut Rng) -> Result<Vec<Effect>, String> {
        let mut effects = Vec::new();
        if !self.is_alive() {
            return Ok(effects);
        }
        let record = fleet::machine(&self.replica, &self.machine.id).expect("memory does not fail");
        // Assignments of an earlier life may be old: only after this life's join is in the replica is it known to be
        // as new as that.
        let ours = record.filter(|record| record.session == self.session());
        let silence = now_ms - self.heard_ms.unwrap_or(self.since_ms);
        let (contact, left) = Contact::after(Duration::from_millis(silence), Duration::from_millis(TTL_MS));
        if let Some(left) = left.filter(|_| self.fence_wake_ms <= now_ms) {
            self.fence_wake_ms = now_ms + left.as_millis() as u64;
            effects.push(Effect::Wake(self.fence_wake_ms));
        }
        let machine = ours.as_ref().map(|record| &record.machine);
        self.act(machine, contact, rng, &mut effects)?;
        if self.applied >= self.acknowledged && self.flight.is_none_or(|flight| flight.until_ms <= now_ms) {
            match ours {
                Some(record) if record.present => self.report(now_ms, &mut effects),
                _ => self.join(now_ms, &mut effects),
            }
        }
        Ok(effects)
    }

    /// `machine` is this one, once the replica is known to be current.
    fn act(
        &mut self,
        machine: Option<&Machine>,
        contact: Contact,
        rng: &mut Rng,
        effects: &mut Vec<Effect>,
    ) -> Result<(), String> {
        let observed = self.observed();
        let actions = match machine {
            None => fence(&observed, contact),
            Some(machine) => {
                let units: Vec<Candidate> = commit::units(&self.replica).into_iter().map(candidate).collect();
                reconcile_fenced(&desired(machine, &units), &observed, contact)
            }
        };
        for action in actions {
            effects.push(Effect::Note(print(&action)));
            effects.extend(self.perform(action, rng)?.map(Effect::Job));
        }
        Ok(())
    }

    fn perform(&mut self, action: Action, rng: &mut Rng) -> Result<Option<Job>, String> {
        let mut job = None;
        match action {
            Action::Stop(unit) => {
                job = self.systemd.stop(&unit, rng);
                self.disk
                    .entry(unit)
                    .and_modify(|on_disk| on_disk.launched = false);
            }
            Action::Kill(unit) => job = self.systemd.kill(&unit),
            Action::Start(unit) => {
                job = self.systemd.start(&unit, rng)?;
                self.disk
                    .entry(unit)
                    .and_modify(|on_disk| on_disk.launched = true);
            }
            Action::Write { unit, text } => {
                let file = UnitFile::parse(&text).map_err(|error| format!("{unit}: {error}"))?;
                let requirements = Requirements::of(&unit, &file);
                self.disk.insert(
                    unit,
                    OnDisk {
                        hash: file.hash(),
                        requirements,
                        launched: false,
                        start_error: String::new(),
                    },
                );
            }
            Action::Remove(unit) => drop(self.disk.remove(&unit)),
            Action::Link(unit) => self.systemd.link(&unit),
            Action::Disable(unit) => self.systemd.disable(&unit),
            Action::ResetFailed(unit) => self.systemd.reset_failed(&unit),
            Action::DaemonReload => self.systemd.reload(),
            Action::Enable(_) => {}
        }
        Ok(job)
    }

    fn observed(&self) -> BTreeMap<UnitName, Observed> {
        let one = |(name, on_disk): (&UnitName, &OnDisk)| {
            let active = self.systemd.active(name).to_owned();
            let seen = Observed {
                on_disk: Some(on_disk.clone()),
                load: "loaded".to_owned(),
                sub: active.clone(),
                active,
            };
            (name.clone(), seen)
        };
        self.disk.iter().map(one).collect()
    }

    fn report(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let id = self.machine.id.clone();
        self.reported
            .agree_with(fleet::states_on(&self.replica, &id).expect("memory does not fail"));
        let (out, next) = report(&id, &self.observed(), &self.reported, now_ms);
        self.reported = next;
        effects.extend(out.again_at_ms.map(Effect::Wake));
        if !out.is_empty() {
            self.propose(
                Command::Report {
                    machine: id,
                    states: out.states,
                    gone: out.gone,
                },
                now_ms,
                effects,
            );
        }
    }

    fn join(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let command = Command::Join {
            machine: self.machine.clone(),
            session: self.session(),
        };
        self.propose(command, now_ms, effects);
    }

    fn propose(&mut self, command: Command, now_ms: u64, effects: &mut Vec<Effect>) {
        self.tickets += 1;
        let until_ms = now_ms + PROPOSAL_TIMEOUT_MS;
        let joins = matches!(command, Command::Join { .. });
        self.flight = Some(Flight {
            ticket: self.tickets,
            until_ms,
            joined_ms: joins.then_some(now_ms),
        });
        effects.push(Effect::Propose {
            ticket: self.tickets,
            command,
        });
        effects.push(Effect::Wake(until_ms));
    }
}

/// A stored unit as an agent looks at it.
pub fn candidate(record: fleet::UnitRecord) -> Candidate {
    Candidate {
        requirements: Requirements::of(&record.name, &record.file),
        name: record.name,
        file: record.file,
        desired: record.desired,
        assigned: record.assigned.map(|assignment| assignment.machine),
    }
}

fn print(action: &Action) -> String {
    match action {
        Action::Stop(unit) => format!("stop {unit}"),
        Action::Kill(unit) => format!("kill {unit}"),
        Action::Disable(unit) => format!("disable {unit}"),
        Action::ResetFailed(unit) => format!("reset-failed {unit}"),
        Action::Remove(unit) => format!("remove {unit}"),
        Action::Write { unit, .. } => format!("write {unit}"),
        Action::Link(unit) => format!("link {unit}"),
        Action::Enable(unit) => format!("enable {unit}"),
        Action::DaemonReload => "reload".to_owned(),
        Action::Start(unit) => format!("start {unit}"),
    }
}
