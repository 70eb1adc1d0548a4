//! Who names whom in `Conflicts=` or `Replaces=`, and how many of them are on each machine, so that asking whether a
//! unit may go to a machine does not look at every other unit.
//!
//! Each distinct pattern is matched once against the names that share its literal prefix, and each new name against the
//! patterns whose literal prefix it begins with. Each machine has a short list: for each pattern that matters there, how
//! many units match it and how many declare it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use corten_spec::glob::Glob;
use slab::Slab;

use crate::key::{MachineIx, UnitIx};

/// A pattern's position.
pub type PatternIx = u32;

/// Names among units, by one of the two keys.
#[derive(Debug, Default)]
pub struct Patterns {
    patterns: Slab<Pattern>,
    ids: BTreeMap<Arc<str>, PatternIx>,
    by_prefix: BTreeMap<String, Vec<PatternIx>>,
    declared_by: Vec<Vec<PatternIx>>,
    matching: Vec<Vec<PatternIx>>,
    on: Vec<Vec<Count>>,
}

#[derive(Debug)]
struct Pattern {
    text: Arc<str>,
    glob: Glob,
    members: BTreeSet<UnitIx>,
    declarers: BTreeSet<UnitIx>,
}

/// Of one pattern, on one machine.
#[derive(Debug, Clone, Copy)]
struct Count {
    pattern: PatternIx,
    members: u32,
    declarers: u32,
}

impl Patterns {
    /// Adds a unit, which is on no machine; `names` has it already. Returns the patterns that are new: their members
    /// that are on machines are to be counted with [`Patterns::count_member`].
    pub fn add(
        &mut self,
        unit: UnitIx,
        name: &str,
        declares: &[String],
        names: &BTreeMap<Arc<str>, UnitIx>,
    ) -> Vec<PatternIx> {
        let at = unit as usize;
        if self.matching.len() <= at {
            self.matching.resize(at + 1, Vec::new());
            self.declared_by.resize(at + 1, Vec::new());
        }
        self.matching[at] = self.matches_of(name);
        for id in &self.matching[at] {
            self.patterns[*id as usize].members.insert(unit);
        }
        let mut new = Vec::new();
        let mut declared = Vec::new();
        for text in declares {
            let id = self.ids.get(text.as_str()).copied().unwrap_or_else(|| {
                let id = self.add_pattern(text, names);
                new.push(id);
                id
            });
            self.patterns[id as usize].declarers.insert(unit);
            declared.push(id);
        }
        declared.sort_unstable();
        declared.dedup();
        self.declared_by[at] = declared;
        new
    }

    /// Removes a unit, which is on no machine.
    pub fn remove(&mut self, unit: UnitIx) {
        for id in std::mem::take(&mut self.matching[unit as usize]) {
            self.patterns[id as usize].members.remove(&unit);
        }
        for id in std::mem::take(&mut self.declared_by[unit as usize]) {
            self.patterns[id as usize].declarers.remove(&unit);
            if self.patterns[id as usize].declarers.is_empty() {
                self.remove_pattern(id);
            }
        }
    }

    fn add_pattern(&mut self, text: &str, names: &BTreeMap<Arc<str>, UnitIx>) -> PatternIx {
        let glob = Glob::new(text);
        let prefix = glob.literal_prefix();
        let members = members(&glob, &prefix, names);
        let text: Arc<str> = text.into();
        let id = self.patterns.insert(Pattern {
            text: text.clone(),
            glob,
            members,
            declarers: BTreeSet::new(),
        }) as PatternIx;
        for unit in &self.patterns[id as usize].members {
            self.matching[*unit as usize].push(id);
        }
        self.by_prefix.entry(prefix).or_default().push(id);
        self.ids.insert(text, id);
        id
    }

    fn remove_pattern(&mut self, id: PatternIx) {
        let pattern = self.patterns.remove(id as usize);
        for unit in pattern.members {
            self.matching[unit as usize].retain(|other| *other != id);
        }
        let prefix = pattern.glob.literal_prefix();
        if let Some(ids) = self.by_prefix.get_mut(&prefix) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_prefix.remove(&prefix);
            }
        }
        self.ids.remove(&pattern.text);
        for counts in &mut self.on {
            if let Ok(at) = counts.binary_search_by_key(&id, |count| count.pattern) {
                counts.remove(at);
            }
        }
    }

    /// The patterns `name` matches.
    fn matches_of(&self, name: &str) -> Vec<PatternIx> {
        let mut found = Vec::new();
        let mut upto = name;
        // The last prefix not after `upto` either begins `name`, or what they share bounds all that may.
        while let Some((prefix, ids)) = self
            .by_prefix
            .range::<str, _>((Bound::Unbounded, Bound::Included(upto)))
            .next_back()
        {
            let shared = shared(prefix, upto);
            if shared == prefix.len() {
                found.extend(
                    ids.iter()
                        .filter(|id| self.patterns[**id as usize].glob.matches(name)),
                );
                let Some((last, _)) = prefix.char_indices().next_back() else {
                    break;
                };
                upto = &name[..last];
            } else {
                upto = &name[..shared];
            }
        }
        found
    }

    /// Counts `unit` as being on `machine`.
    pub fn put(&mut self, unit: UnitIx, machine: MachineIx) {
        if self.on.len() <= machine as usize {
            self.on.resize(machine as usize + 1, Vec::new());
        }
        let counts = &mut self.on[machine as usize];
        for id in &self.matching[unit as usize] {
            entry(counts, *id).members += 1;
        }
        for id in &self.declared_by[unit as usize] {
            entry(counts, *id).declarers += 1;
        }
    }

    /// No longer counts `unit` as being on `machine`.
    pub fn take(&mut self, unit: UnitIx, machine: MachineIx) {
        let counts = &mut self.on[machine as usize];
        for id in &self.matching[unit as usize] {
            entry(counts, *id).members -= 1;
        }
        for id in &self.declared_by[unit as usize] {
            entry(counts, *id).declarers -= 1;
        }
        counts.retain(|count| count.members + count.declarers > 0);
    }

    /// The units that match `pattern`.
    pub fn members(&self, pattern: PatternIx) -> &BTreeSet<UnitIx> {
        &self.patterns[pattern as usize].members
    }

    /// Counts one member of a new pattern as being on `machine`.
    pub fn count_member(&mut self, pattern: PatternIx, machine: MachineIx) {
        if self.on.len() <= machine as usize {
            self.on.resize(machine as usize + 1, Vec::new());
        }
        entry(&mut self.on[machine as usize], pattern).members += 1;
    }

    fn count(&self, machine: MachineIx, pattern: PatternIx) -> Option<&Count> {
        let counts = self.on.get(machine as usize)?;
        let at = counts.binary_search_by_key(&pattern, |count| count.pattern);
        at.ok().map(|at| &counts[at])
    }

    /// Does `unit` name another unit on `machine`? `there` says whether it is there itself.
    pub fn names_one_on(&self, unit: UnitIx, machine: MachineIx, there: bool) -> bool {
        let matching = &self.matching[unit as usize];
        self.declared_by[unit as usize].iter().any(|id| {
            let itself = u32::from(there && matching.contains(id));
            self.count(machine, *id)
                .is_some_and(|count| count.members > itself)
        })
    }

    /// Does another unit on `machine` name `unit`? `there` says whether it is there itself.
    pub fn is_named_on(&self, unit: UnitIx, machine: MachineIx, there: bool) -> bool {
        let declared = &self.declared_by[unit as usize];
        self.matching[unit as usize].iter().any(|id| {
            let itself = u32::from(there && declared.contains(id));
            self.count(machine, *id)
                .is_some_and(|count| count.declarers > itself)
        })
    }

    /// Does no unit name any?
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Does `a` name `b`? A unit never names itself.
    pub fn names(&self, a: UnitIx, b: UnitIx) -> bool {
        let matching = &self.matching[b as usize];
        a != b
            && self.declared_by[a as usize]
                .iter()
                .any(|id| matching.contains(id))
    }

    /// All units `unit` names, each once, in no order that means anything.
    pub fn named_by(&self, unit: UnitIx) -> BTreeSet<UnitIx> {
        let declared = self.declared_by[unit as usize].iter();
        declared
            .flat_map(|id| self.members(*id))
            .copied()
            .filter(|other| *other != unit)
            .collect()
    }

    /// Has `unit` anything to do with this key at all?
    pub fn concerns(&self, unit: UnitIx) -> bool {
        !self.declared_by[unit as usize].is_empty() || !self.matching[unit as usize].is_empty()
    }

    /// All units that have anything to do with this key.
    pub fn concerned(&self) -> impl Iterator<Item = UnitIx> + '_ {
        let both = |(_, pattern): (usize, &Pattern)| {
            let all: Vec<UnitIx> = pattern.members.union(&pattern.declarers).copied().collect();
            all
        };
        self.patterns.iter().flat_map(both)
    }

    /// The patterns that decide what `unit` may be with: those it declares and those it matches.
    pub fn sides(&self, unit: UnitIx) -> (&[PatternIx], &[PatternIx]) {
        (&self.declared_by[unit as usize], &self.matching[unit as usize])
    }
}

fn members(glob: &Glob, prefix: &str, names: &BTreeMap<Arc<str>, UnitIx>) -> BTreeSet<UnitIx> {
    if glob.is_literal() {
        return names.get(prefix).copied().into_iter().collect();
    }
    names
        .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
        .take_while(|(name, _)| name.starts_with(prefix))
        .filter(|(name, _)| glob.matches(name))
        .map(|(_, unit)| *unit)
        .collect()
}

/// How many bytes the two begin with alike, whole characters only.
fn shared(a: &str, b: &str) -> usize {
    let alike = a.chars().zip(b.chars()).take_while(|(a, b)| a == b);
    alike.map(|(a, _)| a.len_utf8()).sum()
}

fn entry(counts: &mut Vec<Count>, pattern: PatternIx) -> &mut Count {
    let at = match counts.binary_search_by_key(&pattern, |count| count.pattern) {
        Ok(at) => at,
        Err(at) => {
            let none = Count {
                pattern,
                members: 0,
                declarers: 0,
            };
            counts.insert(at, none);
            at
        }
    };
    &mut counts[at]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn index(units: &[(&str, &[&str])]) -> (Patterns, BTreeMap<Arc<str>, UnitIx>) {
        let mut names = BTreeMap::new();
        let mut index = Patterns::default();
        for (at, (name, declares)) in units.iter().enumerate() {
            names.insert(Arc::from(*name), at as UnitIx);
            let declares: Vec<String> = declares.iter().map(|text| (*text).to_owned()).collect();
            index.add(at as UnitIx, name, &declares, &names);
        }
        (index, names)
    }

    #[test]
    fn counts_who_is_named_where() {
        let (mut index, _) = index(&[
            ("a.service", &["b@*.service"]),
            ("b@1.service", &["b@*.service"]),
            ("b@2.service", &[]),
            ("c.service", &["[", "c.service"]),
        ]);
        assert!(index.names(0, 1) && index.names(1, 2) && !index.names(2, 1) && !index.names(1, 1));
        assert_eq!(index.named_by(1), [2].into());
        assert!(index.concerns(2) && index.concerns(3));
        index.put(2, 7);
        assert!(index.names_one_on(0, 7, false) && !index.names_one_on(0, 8, false));
        assert!(!index.is_named_on(1, 7, false));
        index.put(0, 7);
        assert!(index.is_named_on(1, 7, false));
        index.take(0, 7);
        index.take(2, 7);
        assert!(!index.is_named_on(1, 7, false) && !index.names_one_on(0, 7, false));
    }

    #[test]
    fn names_and_patterns_meet_in_any_order_and_part() {
        let declares: &[&str] = &["b@*.service", "b*", "*", "b@2.service", "b@10*", "c*", "b@\\*"];
        let (mut index, mut names) = index(&[("a.service", declares), ("b@1.service", &[])]);
        for (at, name) in [(2, "b@2.service"), (3, "b@10.service"), (4, "z.service")] {
            names.insert(Arc::from(name), at);
            index.add(at, name, &[], &names);
        }
        let matched = |unit: usize| {
            let mut texts: Vec<&str> = index.matching[unit]
                .iter()
                .map(|id| &*index.patterns[*id as usize].text)
                .collect();
            texts.sort_unstable();
            texts.join(" ")
        };
        assert_eq!(matched(1), "* b* b@*.service");
        assert_eq!(matched(2), "* b* b@*.service b@2.service");
        assert_eq!(matched(3), "* b* b@*.service b@10*");
        assert_eq!(matched(4), "*");
        index.put(2, 0);
        index.remove(0);
        assert!(!index.concerns(2) && index.patterns.is_empty() && index.by_prefix.is_empty());
        let again = index.add(0, "a.service", &["b@2*".to_owned()], &names);
        assert_eq!(again.len(), 1);
        index.count_member(again[0], 0);
        assert!(index.names_one_on(0, 0, false));
    }
}
