//! The store: one log, the state at its head, and what the checkers and the leader read from a state.

use corten_schedule::{ClusterView, Decision, Kept, RollStep, RollView, UnitView};
use corten_spec::unit_file::UnitFile;
use corten_spec::unit_name::UnitName;
use corten_spec::x_fleet::Requirements;
use corten_store::fleet::{self, Answer, Command, Waiting};
use corten_store::memory::Memory;
use corten_store::{Response, apply};

/// The committed commands and the state they lead to.
#[derive(Debug, Default)]
pub struct Log {
    entries: Vec<Command>,
    /// The state at the head.
    pub head: Memory,
}

impl Log {
    /// How many commands are committed.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Is nothing committed?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Commits a command.
    pub fn commit(&mut self, command: Command) -> Answer {
        self.entries.push(command);
        let at = self.entries.len();
        put(&mut self.head, at, &self.entries[at - 1])
    }

    /// Brings a replica that has `from` commands applied to `upto`.
    pub fn replay(&self, replica: &mut Memory, from: usize, upto: usize) {
        for at in from..upto {
            put(replica, at + 1, &self.entries[at]);
        }
    }
}

fn put(state: &mut Memory, at: usize, command: &Command) -> Answer {
    let outcome = apply(state, at as u64, &corten_store::Command::Fleet(command.clone()));
    match outcome.expect("memory does not fail").response {
        Response::Fleet(answer) => answer,
        other => panic!("a fleet command was answered with {other:?}"),
    }
}

/// Every unit of a state.
pub fn units(state: &Memory) -> Vec<fleet::UnitRecord> {
    fleet::units(state).expect("memory does not fail")
}

/// Every machine of a state.
pub fn machines(state: &Memory) -> Vec<fleet::MachineRecord> {
    fleet::machines(state).expect("memory does not fail")
}

/// What the scheduler looks at.
pub fn view(state: &Memory) -> ClusterView {
    let present = machines(state).into_iter().filter(|record| record.present);
    let unit = |record: fleet::UnitRecord| {
        let view = UnitView {
            requirements: Requirements::of(&record.name, &record.file),
            desired: record.desired,
            assigned: record.assigned.map(|assignment| assignment.machine),
            unplaced: record.unplaced,
        };
        (record.name, view)
    };
    ClusterView {
        machines: present
            .map(|record| (record.machine.id.clone(), record.machine))
            .collect(),
        units: units(state).into_iter().map(unit).collect(),
    }
}

/// The rolls that are under way, as the scheduler looks at them.
pub fn rolls(state: &Memory) -> Vec<(UnitName, RollView)> {
    let rolling = fleet::rolling(state).expect("memory does not fail").into_iter();
    rolling
        .map(|record| (record.name.clone(), roll(state, &record)))
        .collect()
}

fn roll(state: &Memory, record: &fleet::UnitRecord) -> RollView {
    let rollout = record.rollout.clone().unwrap_or_default();
    let kept = |id, waiting: &Waiting| Kept {
        hash: rollout.kept_on(id).map(UnitFile::hash).unwrap_or_default(),
        moved: waiting.moved,
        absent: waiting.absent,
    };
    let waiting = rollout.waiting.iter();
    let states = fleet::states_of(state, &record.name).expect("memory does not fail");
    RollView {
        hash: record.file.hash(),
        max_unavailable: rollout.max_unavailable as usize,
        waiting: waiting
            .map(|(id, waiting)| (id.clone(), kept(id, waiting)))
            .collect(),
        allowed: rollout.allowed.clone(),
        reason: rollout.reason.clone(),
        states: states.into_iter().map(|row| (row.machine.clone(), row)).collect(),
    }
}

/// A step of a roll as the store takes it.
pub fn roll_on(unit: UnitName, hash: String, step: RollStep) -> Command {
    match step {
        RollStep::Allow { machines, reason } => Command::Allow {
            unit,
            hash,
            machines,
            reason,
        },
        RollStep::End => Command::EndRollout { unit, hash },
    }
}

/// A plan's decisions as the store takes them.
pub fn assign(decisions: &[Decision]) -> Command {
    Command::Assign(decisions.to_vec())
}

fn options(file: &UnitFile) -> String {
    let options = file.options.iter().filter(|o| o.section == "X-Fleet");
    options.map(|o| format!(" {}={}", o.name, o.value)).collect()
}

/// A command in one short line.
pub fn print(command: &Command) -> String {
    match command {
        Command::SetUnit { name, file, desired } => format!("set {name} {desired}{}", options(file)),
        Command::RollUnit {
            name,
            file,
            desired,
            max_unavailable,
        } => {
            let run = file.values("Service", "ExecStart").next().unwrap_or_default();
            format!("roll {name} {desired} {run}, at most {max_unavailable}")
        }
        Command::Allow {
            unit,
            machines,
            reason,
            ..
        } => {
            let machines: Vec<&str> = machines.iter().map(|id| id.0.as_str()).collect();
            format!("allow {unit} on {} ({reason})", machines.join(" "))
        }
        Command::EndRollout { unit, .. } => format!("end the roll of {unit}"),
        Command::SetDesired { name, desired } => format!("want {name} {desired}"),
        Command::DestroyUnit { name } => format!("destroy {name}"),
        Command::Join { machine, session } => format!("join {} session {session}", machine.id),
        Command::Leave { id, .. } => format!("leave {id}"),
        Command::PatchMetadata { id, key, value } => {
            format!("patch {id} {key}={}", value.as_deref().unwrap_or(""))
        }
        Command::Assign(decisions) => {
            let one = |d: &fleet::Decision| {
                let to = d.machine.as_ref().map_or("-", |id| id.0.as_str());
                format!("{} -> {to} ({})", d.unit, d.reason)
            };
            format!(
                "assign {}",
                decisions.iter().map(one).collect::<Vec<_>>().join(", ")
            )
        }
        Command::Report {
            machine,
            states,
            gone,
        } => {
            let state = |s: &corten_spec::fleet::UnitState| {
                format!(
                    " {} {}{}",
                    s.name,
                    s.active,
                    if s.launched { " launched" } else { "" }
                )
            };
            let gone = gone.iter().map(|name| format!(" {name} gone"));
            format!(
                "report {machine}:{}",
                states.iter().map(state).chain(gone).collect::<Vec<_>>().join(",")
            )
        }
    }
}
