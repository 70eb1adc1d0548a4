//! The scheduler's working picture: where every unit is at this point of the plan, and whether one may go somewhere.
//!
//! Built from a [`ClusterView`], changed by the steps of a plan. Units and machines are positions in sorted lists, so
//! that every loop below runs in the order of names and ids.

use std::collections::{BTreeMap, BTreeSet};

use corten_spec::fleet::JobState;
use corten_spec::machine::Machine;
use corten_spec::placement::globals_on;
use corten_spec::unit_name::UnitName;

use crate::patterns::{MachineIx, Patterns, UnitIx};
use crate::view::{ClusterView, Policy, UnitView};

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

/// One unit during a plan.
#[derive(Debug)]
pub struct Unit<'a> {
    pub name: &'a UnitName,
    pub view: &'a UnitView,
    pub place: Place,
    /// Why it was taken off its machine in this plan.
    pub left: Option<String>,
    /// Why it is where it was put in this plan.
    pub put: Option<String>,
    /// It gave way to another in this plan, and does not displace others in turn.
    pub displaced: bool,
}

impl Unit<'_> {
    /// Does the scheduler look for a machine for it?
    pub fn is_wanted(&self) -> bool {
        self.view.desired != JobState::Inactive && !self.view.requirements.global && !self.name.is_template()
    }

    /// Just asked for: never planned, and so allowed to make others give way.
    pub fn is_new(&self) -> bool {
        self.view.assigned.is_none() && self.view.unplaced.is_none() && !self.displaced
    }
}

/// Why a unit may not be on a machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unable {
    /// `MachineID` means another machine.
    OtherMachine,
    /// `MachineMetadata`: what is missing.
    Lacks(String),
    /// `MachineOf`: this peer is not there.
    Peer(String),
    /// `Conflicts`: with this unit there.
    Conflict(UnitIx),
    /// `Replaces`: this unit there makes it give way.
    Replaced(UnitIx),
}

/// The picture.
pub struct Cluster<'a> {
    pub machines: Vec<&'a Machine>,
    pub units: Vec<Unit<'a>>,
    /// Units placed in this plan, in order.
    pub placed: Vec<UnitIx>,
    pub conflicts: Patterns,
    pub replaces: Patterns,
    names: BTreeMap<&'a str, UnitIx>,
    on: Vec<BTreeSet<UnitIx>>,
    by_load: BTreeSet<(usize, MachineIx)>,
}

impl<'a> Cluster<'a> {
    /// The cluster as the view has it, global units on their machines.
    pub fn new(view: &'a ClusterView, policy: &Policy) -> Cluster<'a> {
        let machines: Vec<&Machine> = view.machines.values().collect();
        let names: Vec<&str> = view.units.keys().map(UnitName::as_str).collect();
        let views: Vec<&UnitView> = view.units.values().collect();
        let mut cluster = Cluster {
            units: view.units.iter().map(|(name, view)| unit(name, view)).collect(),
            placed: Vec::new(),
            conflicts: Patterns::new(&names, |at| &views[at].requirements.conflicts),
            replaces: Patterns::new(&names, |at| &views[at].requirements.replaces),
            names: names
                .iter()
                .enumerate()
                .map(|(at, name)| (*name, at as UnitIx))
                .collect(),
            on: vec![BTreeSet::new(); machines.len()],
            by_load: (0..machines.len()).map(|at| (0, at as MachineIx)).collect(),
            machines,
        };
        cluster.put_globals();
        cluster.put_assigned(policy);
        cluster
    }

    fn put_globals(&mut self) {
        let globals: Vec<(UnitIx, _)> = (0..self.units.len() as UnitIx)
            .map(|at| (at, &self.units[at as usize]))
            .filter(|(_, u)| {
                u.view.requirements.global && u.view.desired != JobState::Inactive && !u.name.is_template()
            })
            .map(|(at, u)| (at, (u.name, &u.view.requirements)))
            .collect();
        for machine in 0..self.machines.len() {
            let here = globals_on(self.machines[machine], globals.iter().map(|(_, party)| *party));
            for (name, _) in here {
                self.add(self.names[name.as_str()], machine as MachineIx);
            }
        }
    }

    fn put_assigned(&mut self, policy: &Policy) {
        for at in 0..self.units.len() {
            let unit = &self.units[at];
            let Some(id) = unit.view.assigned.as_ref().filter(|_| unit.is_wanted()) else {
                continue;
            };
            match self.machines.binary_search_by(|machine| machine.id.cmp(id)) {
                Ok(machine) => self.put(at as UnitIx, machine as MachineIx),
                Err(_) if policy.hold_absent => self.units[at].place = Place::Held,
                Err(_) => self.units[at].left = Some(format!("machine {} went away", id.short())),
            }
        }
    }

    /// The unit called `name`.
    pub fn find(&self, name: &str) -> Option<UnitIx> {
        self.names.get(name).copied()
    }

    /// Machines by load, least first, ties by lowest id.
    pub fn least_loaded(&self) -> impl Iterator<Item = MachineIx> + '_ {
        self.by_load.iter().map(|(_, machine)| *machine)
    }

    /// Units on `machine`, global ones too, by name.
    pub fn units_on(&self, machine: MachineIx) -> &BTreeSet<UnitIx> {
        &self.on[machine as usize]
    }

    /// Puts a unit on a machine.
    pub fn put(&mut self, unit: UnitIx, machine: MachineIx) {
        self.units[unit as usize].place = Place::On(machine);
        self.add(unit, machine);
    }

    /// Takes a unit off the machine it is on, if it is on one that is present.
    pub fn take(&mut self, unit: UnitIx) {
        let Place::On(machine) = self.units[unit as usize].place else {
            return;
        };
        self.units[unit as usize].place = Place::Nowhere;
        let load = self.on[machine as usize].len();
        self.by_load.remove(&(load, machine));
        self.by_load.insert((load - 1, machine));
        self.on[machine as usize].remove(&unit);
        self.conflicts.take(unit, machine);
        self.replaces.take(unit, machine);
    }

    fn add(&mut self, unit: UnitIx, machine: MachineIx) {
        let load = self.on[machine as usize].len();
        self.by_load.remove(&(load, machine));
        self.by_load.insert((load + 1, machine));
        self.on[machine as usize].insert(unit);
        self.conflicts.put(unit, machine);
        self.replaces.put(unit, machine);
    }

    /// May `unit`, which is on no machine now, be on `machine`?
    pub fn able(&self, unit: UnitIx, machine: MachineIx) -> Result<(), Unable> {
        let asks = &self.units[unit as usize].view.requirements;
        let there = self.machines[machine as usize];
        if asks
            .machine_id
            .as_ref()
            .is_some_and(|wanted| !there.id.is_meant_by(wanted))
        {
            return Err(Unable::OtherMachine);
        }
        if let Some(missing) = there.lacks(&asks.metadata) {
            return Err(Unable::Lacks(missing));
        }
        if let Some(peer) = asks.machine_of.iter().find(|peer| !self.is_on(peer, machine)) {
            return Err(Unable::Peer(peer.clone()));
        }
        if self.conflicts.names_one_on(unit, machine) || self.conflicts.is_named_on(unit, machine) {
            return Err(Unable::Conflict(
                self.first_on(machine, |other| self.in_conflict(unit, other)),
            ));
        }
        if self.replaces.is_named_on(unit, machine) {
            let replacer = self
                .units_on(machine)
                .iter()
                .find(|other| self.replaces_only(**other, unit));
            return replacer.map_or(Ok(()), |other| Err(Unable::Replaced(*other)));
        }
        Ok(())
    }

    fn is_on(&self, name: &str, machine: MachineIx) -> bool {
        self.find(name)
            .is_some_and(|unit| self.on[machine as usize].contains(&unit))
    }

    fn first_on(&self, machine: MachineIx, wanted: impl Fn(UnitIx) -> bool) -> UnitIx {
        let found = self
            .units_on(machine)
            .iter()
            .copied()
            .find(|other| wanted(*other));
        found.expect("the pattern index counts only units that are on the machine")
    }

    /// Does one of the two name the other in `Conflicts=`?
    pub fn in_conflict(&self, a: UnitIx, b: UnitIx) -> bool {
        self.conflicts.names(a, b) || self.conflicts.names(b, a)
    }

    /// Does `a` replace `b`, and not also `b` replace `a`?
    pub fn replaces_only(&self, a: UnitIx, b: UnitIx) -> bool {
        self.replaces.names(a, b) && !self.replaces.names(b, a)
    }

    /// Units that are somewhere and of which `unit` and they each replace the other: only one may be anywhere.
    pub fn rivals(&self, unit: UnitIx) -> Vec<UnitIx> {
        if !self.replaces.concerns(unit) {
            return Vec::new();
        }
        let named = self.replaces.named_by(unit).into_iter();
        named
            .filter(|other| self.replaces.names(*other, unit))
            .filter(|other| self.units[*other as usize].place != Place::Nowhere)
            .collect()
    }
}

fn unit<'a>(name: &'a UnitName, view: &'a UnitView) -> Unit<'a> {
    Unit {
        name,
        view,
        place: Place::Nowhere,
        left: None,
        put: None,
        displaced: false,
    }
}
