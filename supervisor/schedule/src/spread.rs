//! Instances of a template that are to be spread over the values of a metadata key (`SpreadOver=zone`): how many are
//! where.

use std::collections::BTreeMap;

use corten_spec::machine::Machine;
use corten_spec::unit_name::UnitName;
use corten_spec::x_fleet::Requirements;

/// A template and a metadata key.
pub type Group = (String, String);

/// The counts.
#[derive(Debug, Default)]
pub struct Spread {
    /// Of each metadata key, how many machines have each value.
    machines: BTreeMap<String, BTreeMap<String, usize>>,
    /// Of each group, how many instances are where the key has each value.
    instances: BTreeMap<Group, BTreeMap<String, usize>>,
}

/// The group a unit belongs to; None when it is not to be spread.
pub fn group_of(name: &UnitName, asks: &Requirements) -> Option<Group> {
    let key = asks.spread_over.clone()?;
    name.instance()?;
    let kind = name.as_str().rsplit_once('.').map_or("", |(_, kind)| kind);
    Some((format!("{}@.{kind}", name.prefix()), key))
}

impl Spread {
    /// A machine is present.
    pub fn join(&mut self, machine: &Machine) {
        for (key, value) in &machine.metadata {
            *self
                .machines
                .entry(key.clone())
                .or_default()
                .entry(value.clone())
                .or_default() += 1;
        }
    }

    /// A machine is gone, or will have other metadata.
    pub fn leave(&mut self, machine: &Machine) {
        for (key, value) in &machine.metadata {
            if let Some(values) = self.machines.get_mut(key) {
                decrement(values, value);
            }
        }
    }

    /// An instance is on a machine.
    pub fn put(&mut self, group: &Group, machine: &Machine) {
        if let Some(value) = machine.metadata.get(&group.1) {
            let values = self.instances.entry(group.clone()).or_default();
            *values.entry(value.clone()).or_default() += 1;
        }
    }

    /// An instance is no longer on a machine.
    pub fn take(&mut self, group: &Group, machine: &Machine) {
        let values = self.instances.get_mut(group);
        if let (Some(values), Some(value)) = (values, machine.metadata.get(&group.1)) {
            decrement(values, value);
            if values.is_empty() {
                self.instances.remove(group);
            }
        }
    }

    /// How many instances are where the key is as on `machine`; a machine without the key comes after all others.
    pub fn count(&self, group: &Group, machine: &Machine) -> usize {
        let Some(value) = machine.metadata.get(&group.1) else {
            return usize::MAX;
        };
        let values = self.instances.get(group);
        values
            .and_then(|values| values.get(value))
            .copied()
            .unwrap_or_default()
    }

    /// The least that [`Spread::count`] gives for any machine that has the key.
    pub fn least(&self, group: &Group) -> usize {
        let there = self.machines.get(&group.1).map_or(0, BTreeMap::len);
        match self.instances.get(group) {
            Some(values) if values.len() >= there => values.values().copied().min().unwrap_or_default(),
            _ => 0,
        }
    }
}

fn decrement(counts: &mut BTreeMap<String, usize>, of: &str) {
    if let Some(count) = counts.get_mut(of) {
        *count -= 1;
        if *count == 0 {
            counts.remove(of);
        }
    }
}
