//! Which of the cluster's units this machine runs.

use corten_spec::fleet::JobState;
use corten_spec::machine::{Machine, MachineId};
use corten_spec::placement::{conflict, globals_on};
use corten_spec::unit_file::UnitFile;
use corten_spec::unit_name::UnitName;
use corten_spec::x_fleet::Requirements;

/// A unit of the cluster, as far as an agent must know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: UnitName,
    /// Its content.
    pub file: UnitFile,
    /// The content's hash, made once.
    pub hash: String,
    /// Read from the content once, by [`Requirements::of`].
    pub requirements: Requirements,
    /// What the operator wants.
    pub desired: JobState,
    /// Where the scheduler put it.
    pub assigned: Option<MachineId>,
}

/// A unit this machine should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredUnit {
    /// Its name.
    pub name: UnitName,
    /// Its content.
    pub file: UnitFile,
    /// The content's hash.
    pub hash: String,
    /// What it asks of its neighbours.
    pub requirements: Requirements,
    /// Started, or only loaded.
    pub launch: bool,
}

/// The units `machine` should have, by name: those assigned to it, and the global ones whose metadata matches and that
/// conflict with none of them. (The scheduler moves units away from where a global one conflicts; until it has, the
/// global one waits.) `units` must come in the order of their names.
pub fn desired<'a>(machine: &Machine, units: impl IntoIterator<Item = &'a Candidate>) -> Vec<DesiredUnit> {
    let wanted = |unit: &&Candidate| unit.desired != JobState::Inactive && !unit.name.is_template();
    let (globals, placed): (Vec<&Candidate>, Vec<&Candidate>) = units
        .into_iter()
        .filter(wanted)
        .filter(|unit| unit.requirements.global || unit.assigned.as_ref() == Some(&machine.id))
        .partition(|unit| unit.requirements.global);
    let here = globals_on(machine, globals.iter().map(|unit| party(unit)));
    let is_here = |unit: &&Candidate| {
        let party = party(unit);
        here.contains(&party)
            && !placed
                .iter()
                .any(|other| conflict(party, (&other.name, &other.requirements)))
    };
    let mut units: Vec<&Candidate> = globals.iter().copied().filter(is_here).collect();
    units.extend(&placed);
    units.sort_by_key(|unit| &unit.name);
    units.into_iter().map(resolve).collect()
}

fn party(unit: &Candidate) -> (&UnitName, &Requirements) {
    (&unit.name, &unit.requirements)
}

fn resolve(unit: &Candidate) -> DesiredUnit {
    DesiredUnit {
        name: unit.name.clone(),
        file: unit.file.clone(),
        hash: unit.hash.clone(),
        requirements: unit.requirements.clone(),
        launch: unit.desired == JobState::Launched,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn candidate(name: &str, desired: JobState, on: Option<&str>, options: &str) -> Candidate {
        let name = UnitName::parse(name).unwrap();
        let file = UnitFile::parse(&format!("[X-Fleet]\n{options}\n")).unwrap();
        let requirements = Requirements::of(&name, &file);
        Candidate {
            name,
            hash: file.hash(),
            file,
            requirements,
            desired,
            assigned: on.map(|id| MachineId(id.to_owned())),
        }
    }

    #[test]
    fn takes_its_own_and_the_globals_that_suit_it() {
        use JobState::{Inactive, Launched, Loaded};
        let machine = Machine {
            id: MachineId("m1".to_owned()),
            primary_ip: String::new(),
            metadata: [("role".to_owned(), "db".to_owned())].into(),
            found: Default::default(),
        };
        let units = [
            candidate("a.service", Launched, Some("m1"), ""),
            candidate("b.service", Launched, Some("m2"), ""),
            candidate("c.service", Inactive, Some("m1"), ""),
            candidate("d.service", Loaded, Some("m1"), ""),
            candidate(
                "g1.service",
                Launched,
                None,
                "Global=true\nMachineMetadata=role=db",
            ),
            candidate(
                "g2.service",
                Launched,
                None,
                "Global=true\nMachineMetadata=role=web",
            ),
            candidate("g3.service", Launched, None, "Global=true\nConflicts=a.service"),
            candidate("g4.service", Inactive, None, "Global=true"),
            candidate("t@.service", Launched, None, "Global=true"),
        ];
        let here: Vec<_> = desired(&machine, &units)
            .into_iter()
            .map(|u| (u.name.to_string(), u.launch))
            .collect();
        let want = [("a.service", true), ("d.service", false), ("g1.service", true)];
        assert_eq!(here, want.map(|(name, launch)| (name.to_owned(), launch)));
    }
}
