//! What is to be looked at again. Everything that is not noted here is as the last plan left it: no placed unit outside
//! `suspects` has a reason to leave, and no unit that waits outside `candidates` fits on a machine outside `freed`.
//!
//! | what changed | who is looked at |
//! |---|---|
//! | a unit was put, by the store, on a machine, or left one | all units on that machine; all that wait, for that machine |
//! | a unit came, went, or is somewhere else | its followers |
//! | a machine came, or its metadata or its global units changed | all units on it; all that wait, for it |
//! | anything | units that wait and have to do with `Replaces=`: whom they make give way may go elsewhere now |
//!
//! To note too much costs time; to note too little would be a wrong plan, which the tests look for by comparing with
//! plans made from nothing.

use std::collections::BTreeSet;

use corten_spec::resources::Resources;

use crate::cluster::{Cluster, Place};
use crate::key::{Key, MachineIx, UnitIx};
use crate::patterns::PatternIx;
use crate::pools::PoolIx;

/// The notes.
#[derive(Debug, Default)]
pub struct Work {
    /// Placed units that may have to leave.
    pub suspects: BTreeSet<Key>,
    /// Units that wait and may fit anywhere.
    pub candidates: BTreeSet<Key>,
    /// Machines on which any unit that waits may fit.
    pub freed: BTreeSet<MachineIx>,
    /// Units about which there may be something to decide or to tell.
    pub touched: BTreeSet<Key>,
    /// Machines whose global units are to be worked out again.
    pub unsettled: BTreeSet<MachineIx>,
    /// The same for all machines.
    pub all_unsettled: bool,
    /// Machines came, went or were freed: what was told to those that wait may be out of date.
    pub news: bool,
    /// Units placed in this plan, in order.
    pub placed: Vec<UnitIx>,
    /// What no machine can take at this moment of a plan.
    pub hopeless: BTreeSet<Alike>,
    /// What no machine can take even if units of less than this priority give way.
    pub hopeless_by_priority: BTreeSet<(Alike, i32)>,
}

/// Units of which this is equal fit on the same machines: the pool, the patterns declared, those matched, and what
/// is reserved.
pub type Alike = (PoolIx, Vec<PatternIx>, Vec<PatternIx>, Resources);

impl Work {
    /// Forgets a unit that is gone.
    pub fn forget(&mut self, key: &Key) {
        self.suspects.remove(key);
        self.candidates.remove(key);
        self.touched.remove(key);
    }
}

impl Cluster {
    /// A unit was put on `machine`, or its wishes there changed.
    pub fn suspect_all_on(&mut self, machine: MachineIx) {
        let on = &self.machines[machine as usize].on;
        let placed = on.iter().map(|unit| &self.units[*unit as usize]);
        let placed = placed.filter(|unit| matches!(unit.place, Place::On(_)));
        self.work.suspects.extend(placed.map(|unit| unit.key.clone()));
    }

    /// A unit left `machine`, or the machine itself is another.
    pub fn free(&mut self, machine: MachineIx) {
        self.work.freed.insert(machine);
        self.work.news = true;
        self.suspect_all_on(machine);
    }

    /// The unit called `name` came, went, or is somewhere else: those that follow it are to be looked at.
    pub fn tell_followers(&mut self, name: &str) {
        let Some(followers) = self.followers.get(name) else {
            return;
        };
        for key in followers {
            match self.units[key.ix as usize].place {
                Place::On(_) => drop(self.work.suspects.insert(key.clone())),
                Place::Nowhere => {
                    self.work.candidates.insert(key.clone());
                    self.work.touched.insert(key.clone());
                }
                Place::Held => {}
            }
        }
    }

    /// Takes a unit off its machine for `reason`, within a plan.
    pub fn leave(&mut self, unit: UnitIx, reason: String) {
        let machine = self.unit(unit).place;
        self.take(unit);
        if let Place::On(machine) = machine {
            self.free(machine);
        }
        let it = &mut self.units[unit as usize];
        it.place = Place::Nowhere;
        it.put = None;
        it.left = Some(reason);
        let (key, name) = (it.key.clone(), it.key.name.clone());
        self.waiting.insert(key.clone());
        self.work.candidates.insert(key.clone());
        self.work.touched.insert(key);
        self.tell_followers(&name);
    }
}
