//! Which of the cluster's units concern this machine: kept in memory, changed by what the store says has changed.

use std::collections::{BTreeMap, BTreeSet};

use corten_agent::Candidate;
use corten_raft::{AppliedBatch, Node};
use corten_spec::machine::{Machine, MachineId};
use corten_spec::unit_name::UnitName;
use corten_spec::x_fleet::Requirements;
use corten_store::fleet::{self, Change, MachineRecord, UnitRecord};
use corten_store::{Event, StoreFault};

/// The units assigned to this machine and the global ones.
#[derive(Debug)]
pub struct Interest {
    /// This machine, with the metadata the cluster gives it.
    pub machine: Machine,
    /// The cluster has it.
    pub is_member: bool,
    /// By name.
    pub units: BTreeMap<UnitName, Candidate>,
}

impl Interest {
    /// Nothing yet.
    pub fn new(machine: Machine) -> Interest {
        Interest {
            machine,
            is_member: false,
            units: BTreeMap::new(),
        }
    }

    /// Reads everything.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn read_all(&mut self, node: &Node) -> Result<(), StoreFault> {
        let id = self.machine.id.clone();
        let (units, machine) = node.read(|tx| Ok((fleet::units(tx)?, fleet::machine(tx, &id)?)))?;
        let candidates = units.into_iter().filter_map(|record| candidate(record, &id));
        self.units = candidates
            .map(|candidate| (candidate.name.clone(), candidate))
            .collect();
        self.note_machine(machine);
        Ok(())
    }

    fn note_machine(&mut self, record: Option<MachineRecord>) {
        let record = record.filter(|record| record.present);
        self.is_member = record.is_some();
        if let Some(record) = record {
            self.machine = record.machine;
        }
    }

    /// Reads what a batch changed; true if anything of it concerns this machine.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn take(&mut self, node: &Node, batch: &AppliedBatch) -> Result<bool, StoreFault> {
        let id = self.machine.id.clone();
        let mut units: BTreeSet<&UnitName> = BTreeSet::new();
        let mut machine = false;
        for event in &batch.events {
            match event {
                Event::Fleet(Change::Unit(name)) => drop(units.insert(name)),
                Event::Fleet(Change::Machine(changed)) => machine |= *changed == id,
                _ => {}
            }
        }
        let mut concerned = machine;
        for name in units {
            let record = node.read(|tx| fleet::unit(tx, name))?;
            concerned |= match record.and_then(|record| candidate(record, &id)) {
                Some(new) => self.units.insert(name.clone(), new.clone()) != Some(new),
                None => self.units.remove(name).is_some(),
            };
        }
        if machine {
            self.note_machine(node.read(|tx| fleet::machine(tx, &id))?);
        }
        Ok(concerned)
    }
}

/// The unit, if it concerns the machine `id`, as it is to be there: in the middle of a roll another machine may have another
/// file. A template concerns nobody, a global one neither: systemd knows nothing of it, and does not even take the question.
fn candidate(record: UnitRecord, id: &MachineId) -> Option<Candidate> {
    let file = record.file_on(id).clone();
    let assigned = record.assigned.map(|assigned| assigned.machine);
    let requirements = Requirements::of(&record.name, &file);
    let concerns = !record.name.is_template() && (requirements.global || assigned.as_ref() == Some(id));
    concerns.then(|| Candidate {
        name: record.name,
        hash: file.hash(),
        file,
        requirements,
        desired: record.desired,
        assigned,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use corten_spec::fleet::JobState;
    use corten_spec::unit_file::UnitFile;
    use corten_store::fleet::{Rollout, Waiting};

    use super::*;

    #[test]
    fn a_machine_that_waits_in_a_roll_keeps_the_file_it_has() {
        let file = |options: &str| UnitFile::parse(&format!("[X-Fleet]\nGlobal=true\n{options}")).unwrap();
        let [waits, next] = ["m1", "m2"].map(|id| MachineId(id.to_owned()));
        let rollout = Rollout {
            waiting: [(
                waits.clone(),
                Waiting {
                    file: 0,
                    moved: false,
                    absent: false,
                },
            )]
            .into(),
            kept: vec![file("OnPartition=stop\n")],
            ..Rollout::default()
        };
        let record = UnitRecord {
            name: UnitName::parse("g.service").unwrap(),
            file: file(""),
            desired: JobState::Launched,
            assigned: None,
            unplaced: None,
            rollout: Some(rollout),
        };
        let on = |id: &MachineId| candidate(record.clone(), id).unwrap();
        assert_eq!(on(&waits).file, file("OnPartition=stop\n"));
        assert!(on(&waits).requirements.fenced && !on(&next).requirements.fenced);
        assert_eq!(on(&next).file, file(""));
    }
}
