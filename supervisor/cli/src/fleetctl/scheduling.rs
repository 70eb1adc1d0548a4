//! `cordon`, `uncordon`, `drain`: whether units are placed on a machine, by its metadata `scheduling`.

use std::collections::BTreeMap;
use std::time::Instant;

use clap::ArgMatches;

use super::api::Api;
use super::fault::{ApiFault, Failure};
use super::follow::{Patience, Wait, follow};
use super::look;
use super::wait::{self, Goal, Verdict};
use super::wire::{Machine, MetadataChange, State, Unit};
use crate::terminal::say;

/// Runs `cordon`: no new units come to the machines.
pub(super) async fn cordon(api: &mut Api, matches: &ArgMatches) -> Result<u8, Failure> {
    let machines = named(api, matches, "cordon").await?;
    set(api, &machines, Some("cordon")).await?;
    tell_each(&machines, "cordoned");
    Ok(0)
}

/// Runs `uncordon`: the end of either. Nothing moves back.
pub(super) async fn uncordon(api: &mut Api, matches: &ArgMatches) -> Result<u8, Failure> {
    let machines = named(api, matches, "uncordon").await?;
    set(api, &machines, None).await?;
    tell_each(&machines, "uncordoned");
    Ok(0)
}

/// Runs `drain`: the units on the machines move away, too, and it waits until they have.
pub(super) async fn drain(api: &mut Api, matches: &ArgMatches) -> Result<u8, Failure> {
    let machines = named(api, matches, "drain").await?;
    set(api, &machines, Some("drain")).await?;
    let patience = Patience::of(matches);
    if patience == Patience::None {
        machines
            .iter()
            .for_each(|machine| say(format!("Triggered machine {} drain", machine.legend(false))));
        return Ok(0);
    }
    let start = Instant::now();
    loop {
        // What was decided just before may have put another unit there.
        let waits = left_on(api, &machines).await?;
        if waits.is_empty() {
            tell_each(&machines, "drained");
            return Ok(0);
        }
        if !follow(api, waits, patience.after(start.elapsed())).await {
            return Ok(1);
        }
    }
}

fn tell_each(machines: &[Machine], done: &str) {
    machines
        .iter()
        .for_each(|machine| say(format!("Machine {} {done}", machine.legend(false))));
}

/// The machines whose ids begin so; all of them exist, or nothing is done.
async fn named(api: &mut Api, matches: &ArgMatches, verb: &str) -> Result<Vec<Machine>, Failure> {
    let mut machines: Vec<Machine> = Vec::new();
    for id in matches.get_many::<String>("machines").unwrap_or_default() {
        let found = look::by_id(api, id).await;
        let found =
            found.and_then(|machine| machine.ok_or_else(|| format!("no machine {id} is in the cluster")));
        let machine = found.map_err(|why| Failure::new(format!("Unable to {verb}: {why}")))?;
        if !machines.contains(&machine) {
            machines.push(machine);
        }
    }
    Ok(machines)
}

async fn set(api: &mut Api, machines: &[Machine], value: Option<&str>) -> Result<(), Failure> {
    let change = |machine: &Machine| MetadataChange::new(&machine.id, "scheduling", value);
    let changes: Vec<MetadataChange> = machines.iter().map(change).collect();
    let setting = |fault| Failure::new(format!("Error changing the machines' metadata: {fault}"));
    api.change_metadata(&changes).await.map_err(setting)
}

async fn left_on(api: &mut Api, machines: &[Machine]) -> Result<Vec<Wait>, Failure> {
    let retrieving = |fault: ApiFault| Failure::new(format!("Error retrieving units: {fault}"));
    let units = api.units().await.map_err(retrieving)?;
    let states = api.states().await.map_err(retrieving)?;
    let left = left(machines, &units, states);
    Ok(left
        .into_iter()
        .map(|(name, machine)| Wait::new(&name, Goal::Away { machine }))
        .collect())
}

/// The units that are still on the machines, each with its machine; global ones stay there.
fn left(machines: &[Machine], units: &[Unit], states: Vec<State>) -> Vec<(String, String)> {
    let mut by_unit: BTreeMap<String, Vec<State>> = BTreeMap::new();
    for state in states {
        by_unit.entry(state.name.clone()).or_default().push(state);
    }
    let mut left = Vec::new();
    for unit in units.iter().filter(|unit| !unit.is_global()) {
        let states = by_unit.get(&unit.name).map_or(&[][..], Vec::as_slice);
        let is_on = |machine: &&Machine| wait::away(&machine.id, Some(unit), states) != Verdict::Reached;
        left.extend(
            machines
                .iter()
                .filter(is_on)
                .map(|machine| (unit.name.clone(), machine.id.clone())),
        );
    }
    left
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use corten_spec::unit_file::UnitFile;

    use super::*;

    fn unit(name: &str, machine: &str, text: &str) -> Unit {
        Unit {
            machine_id: machine.into(),
            ..Unit::of_file(name, &UnitFile::parse(text).unwrap(), "launched")
        }
    }

    fn state(name: &str, machine: &str, active: &str) -> State {
        State {
            name: name.into(),
            machine_id: machine.into(),
            active: active.into(),
            ..State::default()
        }
    }

    #[test]
    fn a_unit_is_left_until_the_scheduler_has_moved_it_and_systemd_has_stopped_it() {
        let machines = ["m1", "m2"].map(|id| Machine {
            id: id.into(),
            ..Machine::default()
        });
        let global = "[X-Fleet]\nGlobal=true\n";
        let units = [
            unit("assigned.service", "m1", ""),
            unit("elsewhere.service", "m3", ""),
            unit("failed.service", "", ""),
            unit("global.service", "", global),
            unit("stopping.service", "m3", ""),
        ];
        let states = vec![
            state("elsewhere.service", "m3", "active"),
            state("failed.service", "m1", "failed"),
            state("global.service", "m1", "active"),
            state("stopping.service", "m2", "deactivating"),
        ];
        let expected = [("assigned.service", "m1"), ("stopping.service", "m2")];
        let expected = expected.map(|(unit, machine)| (unit.to_owned(), machine.to_owned()));
        assert_eq!(left(&machines, &units, states), expected);
    }
}
