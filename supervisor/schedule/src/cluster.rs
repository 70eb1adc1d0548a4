//! The scheduler's working picture: where every unit is, and whether one may go somewhere.
//!
//! Lives as long as its [`crate::Scheduler`]: [`crate::changes`] brings it what the store says, the steps of a plan move
//! units in it, and [`crate::work`] notes what is to be looked at again because of either.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use corten_spec::fleet::JobState;
use corten_spec::machine::{Machine, MachineId, Scheduling};
use corten_spec::unit_name::UnitName;
use slab::Slab;

use crate::key::{Key, MachineIx, UnitIx};
use crate::patterns::{PatternIx, Patterns};
use crate::pools::{PoolIx, Pools};
use crate::room::Room;
use crate::spread::{Group, Spread};
use crate::view::UnitView;
use crate::work::Work;

/// Where a unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On no machine.
    Nowhere,
    /// On a machine that is present.
    On(MachineIx),
    /// On a machine that is absent but not given up; nobody may touch it.
    Held,
}

/// One unit.
#[derive(Debug)]
pub struct Unit {
    pub key: Key,
    pub name: UnitName,
    /// As the store has it, or will once it has taken what was decided.
    pub view: UnitView,
    /// The pool of its `MachineMetadata=`.
    pub pool: PoolIx,
    /// With whom it is spread.
    pub group: Option<Group>,
    pub place: Place,
    /// Why it was taken off its machine in this plan.
    pub left: Option<String>,
    /// Why it is where it was put in this plan.
    pub put: Option<String>,
    /// It gave way to another in this plan, and does not displace others in turn.
    pub displaced: bool,
}

impl Unit {
    /// Does the scheduler look for a machine for it?
    pub fn is_wanted(&self) -> bool {
        self.is_active() && !self.view.requirements.global
    }

    /// Does every suitable machine run it?
    pub fn is_everywhere(&self) -> bool {
        self.is_active() && self.view.requirements.global
    }

    fn is_active(&self) -> bool {
        self.view.desired != JobState::Inactive && !self.name.is_template()
    }

    /// Just asked for: never planned, and so allowed to make others give way.
    pub fn is_new(&self) -> bool {
        self.view.assigned.is_none() && self.view.unplaced.is_none() && !self.displaced
    }

    /// Wanted, and on no machine.
    pub fn waits(&self) -> bool {
        self.place == Place::Nowhere && self.is_wanted()
    }
}

/// One machine that is present.
#[derive(Debug)]
pub struct Spot {
    pub key: Key,
    pub machine: Machine,
    /// Units on it, global ones too, by name.
    pub on: Vec<UnitIx>,
    /// Pools it is in.
    pub pools: Vec<PoolIx>,
    /// What its units reserve, and how many of them.
    pub room: Room,
    /// Whether it takes units, as its metadata says.
    pub scheduling: Scheduling,
}

impl Spot {
    /// How loaded it is, see [`Room::load`].
    pub fn load(&self) -> usize {
        self.room.load(self.on.len())
    }
}

/// Why a unit may not be on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unable {
    /// `MachineID` means another machine.
    OtherMachine,
    /// `MachineMetadata`: something is missing.
    Lacks,
    /// It takes no new units.
    Cordoned,
    /// It says that something is wrong with it, and takes no new units.
    Troubled,
    /// It takes no units and keeps none.
    Drained,
    /// `MachineOf`: a peer is not there.
    Peer,
    /// `Conflicts`: with a unit there.
    Conflict,
    /// `Replaces`: this unit there makes it give way.
    Replaced(UnitIx),
}

/// The picture.
#[derive(Debug, Default)]
pub struct Cluster {
    pub units: Slab<Unit>,
    pub machines: Slab<Spot>,
    pub names: BTreeMap<Arc<str>, UnitIx>,
    pub ids: BTreeMap<Arc<str>, MachineIx>,
    pub pools: Pools,
    pub spread: Spread,
    pub conflicts: Patterns,
    pub replaces: Patterns,
    /// Units by the peers they follow, whether these exist or not.
    pub followers: BTreeMap<String, BTreeSet<Key>>,
    /// Global units that are to run.
    pub globals: BTreeSet<Key>,
    /// Units assigned to machines that are absent.
    pub held: BTreeMap<MachineId, BTreeSet<Key>>,
    /// How many wanted units there are of each priority.
    pub priorities: BTreeMap<i32, usize>,
    /// Wanted units on no machine.
    pub waiting: BTreeSet<Key>,
    pub work: Work,
}

impl Cluster {
    /// The unit at a position.
    pub fn unit(&self, ix: UnitIx) -> &Unit {
        &self.units[ix as usize]
    }

    /// The machine at a position.
    pub fn spot(&self, ix: MachineIx) -> &Spot {
        &self.machines[ix as usize]
    }

    /// The unit called `name`.
    pub fn find(&self, name: &str) -> Option<UnitIx> {
        self.names.get(name).copied()
    }

    /// The machines `MachineID=wanted` means, by id.
    pub fn meant_by(&self, wanted: &str) -> Vec<MachineIx> {
        let from = self
            .ids
            .range::<str, _>((Bound::Included(wanted), Bound::Unbounded));
        from.take_while(|(id, _)| id.starts_with(wanted))
            .map(|(_, ix)| *ix)
            .filter(|ix| self.spot(*ix).machine.id.is_meant_by(wanted))
            .collect()
    }

    /// Puts a unit on a machine.
    pub fn put(&mut self, unit: UnitIx, machine: MachineIx) {
        let it = &mut self.units[unit as usize];
        it.place = Place::On(machine);
        self.waiting.remove(&it.key);
        self.add(unit, machine);
    }

    /// Takes a unit off the machine it is on, if it is on one that is present.
    pub fn take(&mut self, unit: UnitIx) {
        let it = &mut self.units[unit as usize];
        let Place::On(machine) = it.place else {
            return;
        };
        it.place = Place::Nowhere;
        self.drop_off(unit, machine);
    }

    /// Counts a unit, global or placed, as being on a machine.
    pub fn add(&mut self, unit: UnitIx, machine: MachineIx) {
        let name = &self.units[unit as usize].key.name;
        let reserves = self.units[unit as usize].view.requirements.reserves;
        let spot = &mut self.machines[machine as usize];
        let before = spot.load();
        spot.room.take(reserves);
        if let Some(group) = &self.units[unit as usize].group {
            self.spread.put(group, &spot.machine);
        }
        let at = spot
            .on
            .partition_point(|other| self.units[*other as usize].key.name < *name);
        spot.on.insert(at, unit);
        self.pools.reload(before, spot);
        self.conflicts.put(unit, machine);
        self.replaces.put(unit, machine);
    }

    /// The reverse of [`Cluster::add`].
    pub fn drop_off(&mut self, unit: UnitIx, machine: MachineIx) {
        let reserves = self.units[unit as usize].view.requirements.reserves;
        let spot = &mut self.machines[machine as usize];
        let before = spot.load();
        spot.room.give(reserves);
        if let Some(group) = &self.units[unit as usize].group {
            self.spread.take(group, &spot.machine);
        }
        spot.on.retain(|other| *other != unit);
        self.pools.reload(before, spot);
        self.conflicts.take(unit, machine);
        self.replaces.take(unit, machine);
        self.work.hopeless.clear();
        self.work.hopeless_by_priority.clear();
    }

    /// The machines a unit is on; several only for global ones.
    pub fn machines_of(&self, unit: UnitIx) -> Vec<MachineIx> {
        match self.unit(unit).place {
            Place::On(machine) => vec![machine],
            Place::Nowhere if self.globals.contains(&self.unit(unit).key) => {
                let on = self.machines.iter().filter(|(_, spot)| spot.on.contains(&unit));
                on.map(|(ix, _)| ix as MachineIx).collect()
            }
            _ => Vec::new(),
        }
    }

    /// May `unit` be on `machine`? It does not matter whether it is there now.
    pub fn able(&self, unit: UnitIx, machine: MachineIx) -> Result<(), Unable> {
        let it = self.unit(unit);
        let asks = &it.view.requirements;
        let spot = self.spot(machine);
        if let Some(wanted) = &asks.machine_id
            && !spot.machine.id.is_meant_by(wanted)
        {
            return Err(Unable::OtherMachine);
        }
        if !spot.pools.contains(&it.pool) {
            return Err(Unable::Lacks);
        }
        match spot.scheduling {
            Scheduling::Drained => return Err(Unable::Drained),
            Scheduling::Cordoned if it.place != Place::On(machine) => return Err(Unable::Cordoned),
            Scheduling::Troubled if it.place != Place::On(machine) => return Err(Unable::Troubled),
            Scheduling::Open | Scheduling::Cordoned | Scheduling::Troubled => {}
        }
        if self.first_missing_peer(unit, machine).is_some() {
            return Err(Unable::Peer);
        }
        if self.is_among(&self.conflicts, unit, machine) {
            return Err(Unable::Conflict);
        }
        if !self.replaces.is_empty() && self.is_among(&self.replaces, unit, machine) {
            let here = spot.on.iter().find(|other| self.replaces_only(**other, unit));
            return here.map_or(Ok(()), |other| Err(Unable::Replaced(*other)));
        }
        Ok(())
    }

    /// Does `unit` name another unit on `machine`, or one there `unit`?
    fn is_among(&self, patterns: &Patterns, unit: UnitIx, machine: MachineIx) -> bool {
        let there = self.unit(unit).place == Place::On(machine);
        patterns.names_one_on(unit, machine, there) || patterns.is_named_on(unit, machine, there)
    }

    /// The first peer of `unit` that is not on `machine`; a unit is no peer of itself.
    pub fn first_missing_peer(&self, unit: UnitIx, machine: MachineIx) -> Option<&str> {
        let mut peers = self.unit(unit).view.requirements.machine_of.iter();
        let is_there = |peer: &&String| {
            self.find(peer)
                .is_some_and(|other| other != unit && self.is_on(other, machine))
        };
        peers.find(|peer| !is_there(peer)).map(String::as_str)
    }

    fn is_on(&self, unit: UnitIx, machine: MachineIx) -> bool {
        match self.unit(unit).place {
            Place::On(on) => on == machine,
            _ => self.spot(machine).on.contains(&unit),
        }
    }

    /// The first unit on `machine` that `unit` may not be with.
    pub fn first_conflict(&self, unit: UnitIx, machine: MachineIx) -> Option<UnitIx> {
        let mut on = self.spot(machine).on.iter().copied();
        on.find(|other| self.conflicts.names(unit, *other) || self.conflicts.names(*other, unit))
    }

    /// Does `a` replace `b`, and not also `b` replace `a`?
    pub fn replaces_only(&self, a: UnitIx, b: UnitIx) -> bool {
        self.replaces.names(a, b) && !self.replaces.names(b, a)
    }

    /// Units that are somewhere and of which `unit` and they each replace the other, by name: only one may be anywhere.
    pub fn rivals(&self, unit: UnitIx) -> Vec<UnitIx> {
        if !self.replaces.concerns(unit) {
            return Vec::new();
        }
        let named = self.replaces.named_by(unit).into_iter();
        let mut rivals: Vec<UnitIx> = named
            .filter(|other| self.replaces.names(*other, unit))
            .filter(|other| self.unit(*other).place != Place::Nowhere)
            .collect();
        rivals.sort_by(|a, b| self.unit(*a).key.cmp(&self.unit(*b).key));
        rivals
    }

    /// Counts the members of new patterns where they are.
    pub fn count_members(&mut self, new: &[PatternIx], of: fn(&mut Cluster) -> &mut Patterns) {
        for pattern in new {
            let members = of(self).members(*pattern).clone();
            for unit in members {
                for machine in self.machines_of(unit) {
                    of(self).count_member(*pattern, machine);
                }
            }
        }
    }
}
