//! Who names whom in `Conflicts=` or `Replaces=`, and how many of them are on each machine, so that asking whether a
//! unit may go to a machine does not look at every other unit.
//!
//! Each distinct pattern is matched once against the sorted names that share its literal prefix. For each pattern the
//! index counts, per machine, the placed units that match it and the placed units that declare it.

use std::collections::BTreeMap;

use corten_spec::glob::Glob;

/// A unit's position in the sorted list of units.
pub type UnitIx = u32;
/// A machine's position in the sorted list of machines.
pub type MachineIx = u32;

type PerMachine = BTreeMap<MachineIx, u32>;

/// Names among units, by one of the two keys.
#[derive(Debug, Default)]
pub struct Patterns {
    declared_by: Vec<Vec<u32>>,
    matching: Vec<Vec<u32>>,
    members: Vec<Vec<UnitIx>>,
    placed_members: Vec<PerMachine>,
    placed_declarers: Vec<PerMachine>,
}

impl Patterns {
    /// Builds the index; `names` are sorted and `of` gives each one's patterns. Nothing counts as placed yet.
    pub fn new<'a>(names: &[&'a str], of: impl Fn(usize) -> &'a [String]) -> Patterns {
        let mut ids: BTreeMap<&str, u32> = BTreeMap::new();
        let mut index = Patterns {
            matching: vec![Vec::new(); names.len()],
            ..Patterns::default()
        };
        for unit in 0..names.len() {
            let mut declared = Vec::new();
            for pattern in of(unit) {
                let next = ids.len() as u32;
                let id = *ids.entry(pattern).or_insert(next);
                if id == next {
                    index.add_pattern(id, pattern, names);
                }
                declared.push(id);
            }
            declared.sort_unstable();
            declared.dedup();
            index.declared_by.push(declared);
        }
        index
    }

    fn add_pattern(&mut self, id: u32, pattern: &str, names: &[&str]) {
        let members = members(&Glob::new(pattern), names);
        for unit in &members {
            self.matching[*unit as usize].push(id);
        }
        self.members.push(members);
        self.placed_members.push(PerMachine::new());
        self.placed_declarers.push(PerMachine::new());
    }

    /// Counts `unit` as being on `machine`.
    pub fn put(&mut self, unit: UnitIx, machine: MachineIx) {
        for id in &self.matching[unit as usize] {
            *self.placed_members[*id as usize].entry(machine).or_default() += 1;
        }
        for id in &self.declared_by[unit as usize] {
            *self.placed_declarers[*id as usize].entry(machine).or_default() += 1;
        }
    }

    /// No longer counts `unit` as being on `machine`.
    pub fn take(&mut self, unit: UnitIx, machine: MachineIx) {
        for id in &self.matching[unit as usize] {
            decrement(&mut self.placed_members[*id as usize], machine);
        }
        for id in &self.declared_by[unit as usize] {
            decrement(&mut self.placed_declarers[*id as usize], machine);
        }
    }

    /// Does `unit` name a unit on `machine`? Take `unit` itself off first.
    pub fn names_one_on(&self, unit: UnitIx, machine: MachineIx) -> bool {
        self.declared_by[unit as usize]
            .iter()
            .any(|id| self.placed_members[*id as usize].contains_key(&machine))
    }

    /// Does a unit on `machine` name `unit`? Take `unit` itself off first.
    pub fn is_named_on(&self, unit: UnitIx, machine: MachineIx) -> bool {
        self.matching[unit as usize]
            .iter()
            .any(|id| self.placed_declarers[*id as usize].contains_key(&machine))
    }

    /// Does `a` name `b`? A unit never names itself.
    pub fn names(&self, a: UnitIx, b: UnitIx) -> bool {
        let matching = &self.matching[b as usize];
        a != b
            && self.declared_by[a as usize]
                .iter()
                .any(|id| matching.contains(id))
    }

    /// All units `unit` names, in order, each once.
    pub fn named_by(&self, unit: UnitIx) -> Vec<UnitIx> {
        let declared = &self.declared_by[unit as usize];
        let mut named: Vec<_> = declared
            .iter()
            .flat_map(|id| &self.members[*id as usize])
            .copied()
            .collect();
        named.sort_unstable();
        named.dedup();
        named.retain(|other| *other != unit);
        named
    }

    /// Has `unit` anything to do with this key at all?
    pub fn concerns(&self, unit: UnitIx) -> bool {
        !self.declared_by[unit as usize].is_empty() || !self.matching[unit as usize].is_empty()
    }
}

fn members(glob: &Glob, names: &[&str]) -> Vec<UnitIx> {
    let prefix = glob.literal_prefix();
    if glob.is_literal() {
        return names
            .binary_search(&prefix.as_str())
            .map(|at| at as UnitIx)
            .into_iter()
            .collect();
    }
    let from = names.partition_point(|name| *name < prefix.as_str());
    (from..names.len())
        .take_while(|at| names[*at].starts_with(&prefix))
        .filter(|at| glob.matches(names[*at]))
        .map(|at| at as UnitIx)
        .collect()
}

fn decrement(counts: &mut PerMachine, machine: MachineIx) {
    if let Some(count) = counts.get_mut(&machine) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&machine);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_who_is_named_where() {
        let names = ["a.service", "b@1.service", "b@2.service", "c.service"];
        let patterns: Vec<Vec<String>> = [&["b@*.service"][..], &["b@*.service"], &[], &["[", "c.service"]]
            .iter()
            .map(|list| list.iter().map(|p| (*p).to_owned()).collect())
            .collect();
        let mut index = Patterns::new(&names, |unit| &patterns[unit]);
        assert!(index.names(0, 1) && index.names(1, 2) && !index.names(2, 1) && !index.names(1, 1));
        assert_eq!(index.named_by(1), [2]);
        assert!(index.concerns(2) && index.concerns(3));
        index.put(2, 7);
        assert!(index.names_one_on(0, 7) && !index.names_one_on(0, 8));
        assert!(!index.is_named_on(1, 7));
        index.put(0, 7);
        assert!(index.is_named_on(1, 7));
        index.take(0, 7);
        index.take(2, 7);
        assert!(!index.is_named_on(1, 7) && !index.names_one_on(0, 7));
    }
}
