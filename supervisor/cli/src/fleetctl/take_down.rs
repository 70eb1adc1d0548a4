//! `stop`, `restart`, `unload`, `destroy`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use clap::ArgMatches;
use corten_spec::unit_name::UnitName;

use super::api::Api;
use super::arguments_of;
use super::fault::{ApiFault, Failure};
use super::follow::{FEW, Patience, Wait, follow};
use super::progress::Progress;
use super::remote::Machines;
use super::wait::Goal;
use super::wire::Unit;
use crate::terminal::{say, tell};

/// Runs `stop`.
pub(super) async fn stop(api: &mut Api, matches: &ArgMatches) -> Result<u8, Failure> {
    let Some(units) = named(api, matches).await? else {
        return Ok(0);
    };
    let mut code = 0;
    let mut stopping = Vec::new();
    for unit in units {
        let idle = unit.desired_state != "launched" && unit.current_state != "launched";
        if !unit.is_global() && idle && unit.current_state == "inactive" {
            tell(format!("Unable to stop unit {} in state inactive", unit.name));
            code = 1;
        } else if unit.is_global() || !idle {
            stopping.push(unit);
        }
    }
    let names = bracketed(stopping.iter().filter(|unit| !unit.is_global()));
    let patience = Patience::of(matches);
    if lower(api, &stopping, "loaded", "stop", patience).await? {
        succeeded("stopped", &names, patience);
    } else {
        code = 1;
        tell(format!("Failed to stop units {names}. exit == 1."));
    }
    Ok(code)
}

/// Runs `unload`.
pub(super) async fn unload(api: &mut Api, matches: &ArgMatches) -> Result<u8, Failure> {
    let Some(mut units) = named(api, matches).await? else {
        return Ok(0);
    };
    units.retain(|unit| {
        unit.is_global() || unit.desired_state != "inactive" || unit.current_state != "inactive"
    });
    let names = bracketed(units.iter().filter(|unit| !unit.is_global()));
    let patience = Patience::of(matches);
    if lower(api, &units, "inactive", "unload", patience).await? {
        succeeded("unloaded", &names, patience);
        return Ok(0);
    }
    tell(format!("Failed to unload units {names}. exit == 1."));
    Ok(1)
}

/// Says so of what was waited for. Of what was only asked for each unit has its line already.
fn succeeded(done: &str, names: &str, patience: Patience) {
    if patience != Patience::None {
        tell(format!("Successfully {done} units {names}."));
    }
}

/// Runs `destroy`: the units are gone when no machine knows them any more. Those that were destroyed before, and are still
/// on a machine, are waited for as well.
pub(super) async fn destroy(api: &mut Api, matches: &ArgMatches) -> Result<u8, Failure> {
    let failed = |fault: ApiFault| Failure::new(format!("Error destroying units: {fault}"));
    let Some(mut found) = find(api, matches).await? else {
        return Ok(0);
    };
    let on_machines = told_by_machines(api, &found.missing).await.map_err(failed)?;
    let missing = std::mem::take(&mut found.missing).into_iter();
    let (left, missing): (Vec<String>, Vec<String>) = missing.partition(|name| on_machines.contains(name));
    found.missing = missing;
    if found.units.is_empty() && left.is_empty() {
        found.tell_of_none();
        return Ok(0);
    }
    found.tell_of_missing();
    let patience = Patience::of(matches);
    let mut waits = Vec::new();
    for name in left {
        tell(format!(
            "Unit {name} was destroyed before, and is still on a machine"
        ));
        waits.push(Wait::new(&name, Goal::Gone));
    }
    let mut progress = Progress::new();
    let (begun, all) = (Instant::now(), found.units.len());
    for (asked, unit) in found.units.iter().enumerate() {
        let text = format!("the store: {asked} of {all} units are removed");
        progress.show(&text, begun.elapsed());
        progress.remind(&text);
        api.destroy(&unit.name).await.map_err(failed)?;
        match patience {
            Patience::None => progress.say(&format!("Destroyed {}", unit.name)),
            _ => waits.push(Wait::new(&unit.name, Goal::Gone)),
        }
    }
    drop(progress);
    if patience == Patience::None {
        return Ok(0);
    }
    Ok(u8::from(!follow(api, waits, patience).await))
}

/// The units of which a machine says something, of these and perhaps of others.
async fn told_by_machines(api: &mut Api, names: &[String]) -> Result<BTreeSet<String>, ApiFault> {
    let mut states = Vec::new();
    match names.len() > FEW {
        true => states = api.states().await?,
        false => {
            for name in names {
                states.extend(api.states_of(name).await?);
            }
        }
    }
    Ok(states.into_iter().map(|state| state.name).collect())
}

/// Runs `restart`: waits until systemd has stopped each unit, then starts it again, so that a restart is one.
pub(super) async fn restart(
    api: &mut Api,
    machines: &Machines<'_>,
    matches: &ArgMatches,
) -> Result<u8, Failure> {
    let asked: BTreeSet<String> = arguments_of(matches)
        .into_iter()
        .map(UnitName::complete)
        .collect();
    let units = named(api, matches).await?.unwrap_or_default();
    let mut code = u8::from(units.len() < asked.len());
    let patience = Patience::of(matches);
    let (global, units): (Vec<Unit>, Vec<Unit>) = units.into_iter().partition(Unit::is_global);
    let (idle, units): (Vec<Unit>, Vec<Unit>) = units
        .into_iter()
        .partition(|unit| unit.current_state == "inactive");
    for unit in idle {
        tell(format!("Unable to restart unit {} in state inactive", unit.name));
        code = 1;
    }
    let running: Vec<Unit> = units
        .iter()
        .filter(|unit| unit.current_state == "launched")
        .cloned()
        .collect();
    let waiting = if patience == Patience::None {
        Patience::Endless
    } else {
        patience
    };
    let stopped = lower(api, &running, "loaded", "stop", waiting).await?;
    let mut waits = Vec::new();
    for unit in &units {
        // Also where the stop took too long: a restart must not leave a unit stopped.
        set(api, &unit.name, "launched").await?;
        match patience {
            Patience::None => say(format!("Triggered unit {} restart", unit.name)),
            _ => waits.push(Wait::new(&unit.name, Goal::Started { hash: None })),
        }
    }
    let started = follow(api, waits, patience).await;
    if stopped && started && patience != Patience::None {
        units
            .iter()
            .for_each(|unit| tell(format!("Unit({}) was restarted.", unit.name)));
    }
    for unit in global {
        code = code.max(restart_everywhere(api, machines, &unit.name).await?);
    }
    Ok(if stopped && started { code } else { 1 })
}

async fn restart_everywhere(api: &mut Api, machines: &Machines<'_>, name: &str) -> Result<u8, Failure> {
    let states = api
        .states_of(name)
        .await
        .map_err(|fault| Failure::new(format!("Error retrieving unit: {fault}")))?;
    let mut code = 0;
    for state in states {
        let machine = api.machine(&state.machine_id).await;
        match machines.run(&machine, &["sudo", "systemctl", "restart", name])? {
            0 => say(format!("Unit {name} restarted on {}", machine.legend(false))),
            failed => code = failed,
        }
    }
    Ok(code)
}

/// Asks for a lower state and waits for it; true when all got there.
async fn lower(
    api: &mut Api,
    units: &[Unit],
    desired: &str,
    word: &str,
    patience: Patience,
) -> Result<bool, Failure> {
    let mut waits = Vec::new();
    for unit in units {
        let goal = if desired == "inactive" {
            Goal::Unloaded
        } else {
            Goal::Stopped {
                ran: ran(api, unit).await?,
            }
        };
        set(api, &unit.name, desired).await?;
        match patience {
            _ if unit.is_global() => say(format!("Triggered global unit {} {word}", unit.name)),
            Patience::None => say(format!("Triggered unit {} {word}", unit.name)),
            _ => waits.push(Wait::new(&unit.name, goal)),
        }
    }
    Ok(follow(api, waits, patience).await)
}

/// Does systemd call it running now?
async fn ran(api: &mut Api, unit: &Unit) -> Result<bool, Failure> {
    let states = api
        .states_of(&unit.name)
        .await
        .map_err(|fault| Failure::new(fault.to_string()))?;
    let here = states.iter().find(|state| state.machine_id == unit.machine_id);
    Ok(here.is_some_and(|state| matches!(state.active.as_str(), "active" | "reloading" | "activating")))
}

async fn set(api: &mut Api, name: &str, desired: &str) -> Result<(), Failure> {
    let setting = |fault: ApiFault| Failure::new(format!("Error setting unit {name} to {desired}: {fault}"));
    api.set_desired(name, desired).await.map_err(setting)
}

/// What there is of the units that were named.
struct Found {
    /// In the order in which they were named.
    units: Vec<Unit>,
    missing: Vec<String>,
}

impl Found {
    fn tell_of_none(&self) {
        tell(format!("Units not found in registry: {}", self.missing.join(" ")));
    }

    fn tell_of_missing(&self) {
        for name in &self.missing {
            tell(format!("Unit {name} not found in registry"));
        }
    }
}

/// The units named; none at all, with a line about it, where there is nothing to do.
async fn named(api: &mut Api, matches: &ArgMatches) -> Result<Option<Vec<Unit>>, Failure> {
    let Some(found) = find(api, matches).await? else {
        return Ok(None);
    };
    if found.units.is_empty() {
        found.tell_of_none();
        return Ok(None);
    }
    found.tell_of_missing();
    Ok(Some(found.units))
}

/// Looks for the units named; `None`, with a line about it, where no name was given.
async fn find(api: &mut Api, matches: &ArgMatches) -> Result<Option<Found>, Failure> {
    let arguments = arguments_of(matches);
    if arguments.is_empty() {
        tell("No units given");
        return Ok(None);
    }
    let all = api
        .units()
        .await
        .map_err(|fault| Failure::new(format!("Error retrieving units: {fault}")))?;
    let mut all: BTreeMap<String, Unit> = all.into_iter().map(|unit| (unit.name.clone(), unit)).collect();
    let mut units: Vec<Unit> = Vec::new();
    let mut missing = Vec::new();
    for name in arguments.into_iter().map(UnitName::complete) {
        match all.remove(&name) {
            Some(unit) => units.push(unit),
            None if units.iter().any(|unit| unit.name == name) || missing.contains(&name) => {}
            None => missing.push(name),
        }
    }
    Ok(Some(Found { units, missing }))
}

fn bracketed<'u>(units: impl Iterator<Item = &'u Unit>) -> String {
    let names: Vec<&str> = units.map(|unit| unit.name.as_str()).collect();
    format!("[{}]", names.join(" "))
}
