//! A global unit whose file is replaced on a few machines at a time.
//!
//! | machine | runs |
//! |---|---|
//! | waits for its turn | the file it had when the roll began, or was allowed in an earlier roll that did not get to its end |
//! | was allowed | the new file |
//! | was never seen before the roll began | the new file, when it comes |
//!
//! One that was absent then waits like the others: cut off, it may run its file all the while, and come back with it.
//!
//! A change in the middle of a roll begins another, in which every machine waits again; what it keeps meanwhile is kept here
//! for each, not guessed from what lies on its disk, so that a machine that reboots does not go back or forth.
//!
//! Where nothing is at stake there is no roll: the unit is not launched, or all have the file already. Who may go on, and
//! when, is the scheduler's to say.

use std::collections::{BTreeMap, BTreeSet};

use corten_spec::fleet::JobState;
use corten_spec::machine::MachineId;
use corten_spec::placement::is_placed_alike;
use corten_spec::unit_file::UnitFile;
use corten_spec::unit_name::UnitName;
use corten_spec::x_fleet::Requirements;
use serde::{Deserialize, Serialize};

use super::{Answer, MachineRecord, UnitRecord, read};
use crate::tables::{Read, StoreFault};

/// How far a roll is. Its row lies beside the unit's, whose form is older.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// On so many machines the unit may be down because of it.
    pub max_unavailable: u32,
    /// Machines whose turn is still to come, with what they run until then, also if they are absent.
    pub waiting: BTreeMap<MachineId, Waiting>,
    /// The files of those that wait, each once.
    pub kept: Vec<UnitFile>,
    /// Machines that were there when it began and have the new file, or are to take it.
    pub allowed: BTreeSet<MachineId>,
    /// What it waits for, or why it does not go on, in words for the operator. Empty before the leader has looked at it.
    pub reason: String,
}

/// A machine whose turn is still to come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Row", into = "Row")]
pub struct Waiting {
    /// Where in [`Rollout::kept`] the file is that it runs.
    pub file: u32,
    /// It was allowed that file in an earlier roll that did not get to its end: it may still be on its way to it.
    pub moved: bool,
    /// It was absent when the roll began: it may never come, and nobody waits for it.
    pub absent: bool,
}

/// [`Waiting`] as it is stored: in a byte that was `moved` alone at first.
#[derive(Serialize, Deserialize)]
struct Row {
    file: u32,
    flags: u8,
}

const MOVED: u8 = 1;
const ABSENT: u8 = 2;

impl From<Row> for Waiting {
    fn from(row: Row) -> Waiting {
        Waiting {
            file: row.file,
            moved: row.flags & MOVED != 0,
            absent: row.flags & ABSENT != 0,
        }
    }
}

impl From<Waiting> for Row {
    fn from(waiting: Waiting) -> Row {
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        Row {
            file: waiting.file,
            flags: flag(waiting.moved, MOVED) | flag(waiting.absent, ABSENT),
        }
    }
}

impl Rollout {
    /// How many machines it is about: those that were there when it began.
    pub fn of(&self) -> usize {
        let here = self.waiting.values().filter(|waiting| !waiting.absent);
        self.allowed.len() + here.count()
    }

    /// The file a machine keeps; none if it does not wait.
    pub fn kept_on(&self, id: &MachineId) -> Option<&UnitFile> {
        self.kept.get(self.waiting.get(id)?.file as usize)
    }

    /// Lets machines that wait have the new file.
    pub(super) fn allow(&mut self, machines: &BTreeSet<MachineId>) {
        for id in machines {
            if self.waiting.remove(id).is_some() {
                self.allowed.insert(id.clone());
            }
        }
    }

    fn wait(&mut self, id: MachineId, file: &UnitFile, turn: Waiting) {
        let at = self.kept.iter().position(|kept| kept == file);
        let at = at.unwrap_or_else(|| {
            self.kept.push(file.clone());
            self.kept.len() - 1
        });
        let file = at as u32;
        self.waiting.insert(id, Waiting { file, ..turn });
    }
}

impl UnitRecord {
    /// The file the machine `id` is to have, if it is to have the unit.
    pub fn file_on(&self, id: &MachineId) -> &UnitFile {
        let kept = self.rollout.as_ref().and_then(|rollout| rollout.kept_on(id));
        kept.unwrap_or(&self.file)
    }

    /// Has the machine `id` another file than before the first of the rolls that did not get to their ends?
    fn has_moved(&self, id: &MachineId) -> bool {
        let moved = |rollout: &Rollout| rollout.waiting.get(id).is_none_or(|waiting| waiting.moved);
        self.rollout.as_ref().is_some_and(moved)
    }
}

/// Why a unit cannot be replaced on a few machines at a time; None if it can.
pub(super) fn refusal(old: Option<&UnitRecord>, name: &UnitName, file: &UnitFile) -> Option<Answer> {
    let new = Requirements::of(name, file);
    if !new.global {
        return Some(Answer::NotGlobal(name.clone()));
    }
    let old = old.filter(|old| old.desired == JobState::Launched)?;
    let alike = is_placed_alike(&Requirements::of(name, &old.file), &new);
    (!alike).then(|| Answer::PlacedOtherwise(name.clone()))
}

/// The roll from `old` to `file`, which is another one; None if there is nothing to wait for.
pub(super) fn begin(
    tx: &(impl Read + ?Sized),
    old: &UnitRecord,
    file: &UnitFile,
    max_unavailable: u32,
) -> Result<Option<Rollout>, StoreFault> {
    let asks = Requirements::of(&old.name, file);
    let (hash, mut rollout) = (file.hash(), Rollout::default());
    rollout.max_unavailable = max_unavailable;
    for MachineRecord { machine, present, .. } in read::machines(tx)? {
        let has = old.file_on(&machine.id);
        if !machine.satisfies(&asks.metadata) {
            continue;
        }
        if has.hash() != hash {
            let turn = Waiting {
                file: 0,
                moved: old.has_moved(&machine.id),
                absent: !present,
            };
            rollout.wait(machine.id, has, turn);
        } else if present {
            rollout.allowed.insert(machine.id);
        }
    }
    let is_due = rollout.waiting.values().any(|waiting| !waiting.absent);
    Ok(is_due.then_some(rollout))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_before_absence_was_told_is_read() {
        for (row, moved, absent) in [
            ([7, 0], false, false),
            ([7, 1], true, false),
            ([7, 2], false, true),
            ([7, 3], true, true),
        ] {
            let waiting = Waiting {
                file: 7,
                moved,
                absent,
            };
            assert_eq!(postcard::from_bytes::<Waiting>(&row).unwrap(), waiting);
            assert_eq!(postcard::to_extend(&waiting, Vec::new()).unwrap(), row);
        }
    }
}
