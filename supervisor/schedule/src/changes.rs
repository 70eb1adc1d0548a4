//! What the store says, brought into the picture. Nothing is decided here; [`crate::work`] takes note of who is to be
//! looked at.

use std::sync::Arc;

use corten_spec::machine::{Machine, MachineId};
use corten_spec::placement::globals_on;
use corten_spec::unit_name::UnitName;

use crate::cluster::{Cluster, Place, Spot, Unit};
use crate::key::{Key, MachineIx, UnitIx};
use crate::room::Room;
use crate::spread;
use crate::view::UnitView;

impl Cluster {
    /// A unit is new, or is now as `view` says.
    pub fn set_unit(&mut self, name: UnitName, view: UnitView) {
        let Some(ix) = self.find(name.as_str()) else {
            return self.add_unit(name, view);
        };
        let mut new = UnitView { ..view };
        let it = &mut self.units[ix as usize];
        if it.view == new {
            return;
        }
        std::mem::swap(&mut it.view, &mut new);
        let (now, before) = (&it.view, &new);
        let asks_the_same = now.requirements == before.requirements
            && (now.desired == corten_spec::fleet::JobState::Inactive)
                == (before.desired == corten_spec::fleet::JobState::Inactive);
        if asks_the_same && now.assigned == before.assigned {
            if now.unplaced != before.unplaced && it.waits() {
                self.work.candidates.insert(it.key.clone());
                self.work.touched.insert(it.key.clone());
            }
            return;
        }
        std::mem::swap(&mut it.view, &mut new);
        self.remove_unit(ix);
        self.add_unit(name, new);
    }

    fn add_unit(&mut self, name: UnitName, view: UnitView) {
        let text: Arc<str> = name.as_str().into();
        let pool = self
            .pools
            .acquire(&view.requirements.metadata, &mut self.machines);
        let group = spread::group_of(&name, &view.requirements);
        let entry = self.units.vacant_entry();
        let ix = entry.key() as UnitIx;
        let rank = match view.requirements.global {
            true => 0,
            false => -i64::from(view.requirements.priority),
        };
        let key = Key {
            rank,
            name: text.clone(),
            ix,
        };
        entry.insert(Unit {
            key: key.clone(),
            name,
            view,
            pool,
            group,
            place: Place::Nowhere,
            left: None,
            put: None,
            displaced: false,
        });
        self.names.insert(text.clone(), ix);
        self.index(ix, &key);
        if self.unit(ix).is_everywhere() {
            self.globals.insert(key.clone());
            self.work.all_unsettled = true;
        }
        if self.unit(ix).is_wanted() {
            let priority = self.unit(ix).view.requirements.priority;
            *self.priorities.entry(priority).or_default() += 1;
            self.place_as_assigned(ix, &key);
        }
        self.work.touched.insert(key);
        self.tell_followers(&text);
    }

    fn index(&mut self, ix: UnitIx, key: &Key) {
        let asks = &self.units[ix as usize].view.requirements;
        let conflicts = self.conflicts.add(ix, &key.name, &asks.conflicts, &self.names);
        let replaces = self.replaces.add(ix, &key.name, &asks.replaces, &self.names);
        for peer in &asks.machine_of {
            self.followers
                .entry(peer.clone())
                .or_default()
                .insert(key.clone());
        }
        self.count_members(&conflicts, |cluster| &mut cluster.conflicts);
        self.count_members(&replaces, |cluster| &mut cluster.replaces);
    }

    fn place_as_assigned(&mut self, ix: UnitIx, key: &Key) {
        let Some(id) = self.unit(ix).view.assigned.clone() else {
            self.waiting.insert(key.clone());
            self.work.candidates.insert(key.clone());
            return;
        };
        match self.ids.get(id.0.as_str()).copied() {
            Some(machine) => {
                self.put(ix, machine);
                self.suspect_all_on(machine);
            }
            None => {
                self.units[ix as usize].place = Place::Held;
                self.held.entry(id).or_default().insert(key.clone());
            }
        }
        let rivals = self
            .rivals(ix)
            .into_iter()
            .map(|rival| self.unit(rival).key.clone());
        let rivals: Vec<Key> = rivals.collect();
        self.work.suspects.extend(rivals);
    }

    /// A unit is gone.
    pub fn remove_unit(&mut self, ix: UnitIx) {
        let key = self.unit(ix).key.clone();
        for machine in self.machines_of(ix) {
            self.drop_off(ix, machine);
            self.free(machine);
        }
        if self.globals.remove(&key) {
            self.work.all_unsettled = true;
        }
        let unit = self.units.remove(ix as usize);
        if unit.is_wanted() {
            self.forget_priority(unit.view.requirements.priority);
        }
        if let (Place::Held, Some(id)) = (unit.place, &unit.view.assigned) {
            self.let_go(id, &key);
        }
        for peer in &unit.view.requirements.machine_of {
            if let Some(followers) = self.followers.get_mut(peer) {
                followers.remove(&key);
                if followers.is_empty() {
                    self.followers.remove(peer);
                }
            }
        }
        self.conflicts.remove(ix);
        self.replaces.remove(ix);
        self.pools.release(unit.pool, &mut self.machines);
        self.names.remove(&key.name);
        self.waiting.remove(&key);
        self.work.forget(&key);
        self.tell_followers(&key.name);
    }

    fn forget_priority(&mut self, priority: i32) {
        if let Some(units) = self.priorities.get_mut(&priority) {
            *units -= 1;
            if *units == 0 {
                self.priorities.remove(&priority);
            }
        }
    }

    fn let_go(&mut self, id: &MachineId, key: &Key) {
        if let Some(held) = self.held.get_mut(id) {
            held.remove(key);
            if held.is_empty() {
                self.held.remove(id);
            }
        }
    }

    /// A machine is new, or is now as `machine` says.
    pub fn set_machine(&mut self, machine: Machine) {
        let Some(ix) = self.ids.get(machine.id.0.as_str()).copied() else {
            return self.add_machine(machine);
        };
        let spot = &mut self.machines[ix as usize];
        if spot.machine.metadata == machine.metadata {
            spot.machine = machine;
            return;
        }
        self.pools.leave(spot);
        let groups = spot
            .on
            .iter()
            .filter_map(|unit| self.units[*unit as usize].group.as_ref());
        for group in groups {
            self.spread.take(group, &spot.machine);
            self.spread.put(group, &machine);
        }
        self.spread.leave(&spot.machine);
        self.spread.join(&machine);
        spot.room.resize(&machine);
        spot.scheduling = machine.scheduling();
        spot.machine = machine;
        self.pools.join(spot);
        self.machine_changed(ix);
    }

    fn add_machine(&mut self, machine: Machine) {
        let id = machine.id.clone();
        let entry = self.machines.vacant_entry();
        let ix = entry.key() as MachineIx;
        let key = Key {
            rank: 0,
            name: id.0.as_str().into(),
            ix,
        };
        self.ids.insert(key.name.clone(), ix);
        self.spread.join(&machine);
        let (room, scheduling) = (Room::of(&machine), machine.scheduling());
        let spot = entry.insert(Spot {
            key,
            machine,
            on: Vec::new(),
            pools: Vec::new(),
            room,
            scheduling,
        });
        self.pools.join(spot);
        for unit in self.held.remove(&id).unwrap_or_default() {
            self.put(unit.ix, ix);
            self.tell_followers(&unit.name);
        }
        self.machine_changed(ix);
    }

    fn machine_changed(&mut self, ix: MachineIx) {
        self.free(ix);
        self.work.unsettled.insert(ix);
        self.work.news = true;
    }

    /// A machine is gone; its units are held until a plan gives it up.
    pub fn remove_machine(&mut self, id: &MachineId) {
        let Some(ix) = self.ids.remove(id.0.as_str()) else {
            return;
        };
        for unit in self.spot(ix).on.clone() {
            self.drop_off(unit, ix);
            let it = &mut self.units[unit as usize];
            if it.place == Place::On(ix) {
                it.place = Place::Held;
                let key = it.key.clone();
                self.work.suspects.remove(&key);
                self.tell_followers(&key.name);
                self.held.entry(id.clone()).or_default().insert(key);
            }
        }
        let mut spot = self.machines.remove(ix as usize);
        self.pools.leave(&mut spot);
        self.spread.leave(&spot.machine);
        self.work.freed.remove(&ix);
        self.work.unsettled.remove(&ix);
        self.work.news = true;
    }

    /// Gives up all machines that are absent: their units are to be placed elsewhere.
    pub fn give_up_absent(&mut self) {
        for (id, units) in std::mem::take(&mut self.held) {
            for key in units {
                self.leave(key.ix, format!("machine {} went away", id.short()));
            }
        }
    }

    /// Puts global units where they are to run, and takes them off where not.
    pub fn settle_globals(&mut self) {
        let unsettled = std::mem::take(&mut self.work.unsettled);
        if std::mem::take(&mut self.work.all_unsettled) {
            let all: Vec<MachineIx> = self.ids.values().copied().collect();
            all.into_iter()
                .for_each(|machine| self.settle_globals_on(machine));
        } else {
            unsettled
                .into_iter()
                .for_each(|machine| self.settle_globals_on(machine));
        }
    }

    fn settle_globals_on(&mut self, machine: MachineIx) {
        let spot = self.spot(machine);
        let parties = self.globals.iter().map(|key| self.unit(key.ix));
        let parties = parties.map(|unit| (&unit.name, &unit.view.requirements));
        let wanted: Vec<UnitIx> = globals_on(&spot.machine, parties)
            .into_iter()
            .filter_map(|(name, _)| self.find(name.as_str()))
            .collect();
        let is_global = |unit: &UnitIx| self.unit(*unit).view.requirements.global;
        let there: Vec<UnitIx> = spot.on.iter().copied().filter(is_global).collect();
        if wanted == there {
            return;
        }
        for unit in there.iter().filter(|unit| !wanted.contains(unit)) {
            self.drop_off(*unit, machine);
        }
        for unit in wanted.iter().filter(|unit| !there.contains(unit)) {
            self.add(*unit, machine);
        }
        self.free(machine);
    }
}
