//! `cat`, `journal`, `ssh`: looking at one unit or machine.

use clap::ArgMatches;
use corten_spec::unit_name::UnitName;

use super::api::Api;
use super::fault::{ApiFault, Failure};
use super::remote::Machines;
use super::wire::{Machine, State, Unit};
use super::{arguments_of, go};
use crate::terminal::print;

/// Runs `cat`.
pub(super) async fn cat(api: &mut Api, matches: &ArgMatches) -> Result<u8, Failure> {
    let [argument] = arguments_of(matches)[..] else {
        return Err(Failure::new("One unit file must be provided"));
    };
    let name = UnitName::complete(argument);
    let unit = get(api, &name)
        .await?
        .ok_or_else(|| Failure::new(format!("Unit {name} not found")))?;
    print(unit.file().to_string());
    Ok(0)
}

/// Why a unit does not stand on a machine as it should, as far as anybody knows.
pub(super) fn not_loaded(unit: &Unit) -> String {
    let name = &unit.name;
    let why = match (unit.desired_state.as_str(), unit.unplaced_reason.as_str()) {
        _ if UnitName::parse(name).is_ok_and(|name| name.is_template()) => {
            let instance = name.replacen('@', "@NAME", 1);
            format!("It is a template, of which instances are started: fleetctl start {instance}")
        }
        ("inactive" | "", _) => format!("Nobody has asked for it: fleetctl start {name}"),
        (desired, "") => format!("It is to be {desired}, and not there yet."),
        (desired, reason) if unit.machine_id.is_empty() => {
            format!("It is to be {desired}, but waits for a machine: {reason}")
        }
        (desired, reason) => format!("It is to be {desired}, but waits for its machine: {reason}"),
    };
    format!("Unit {name} does not appear to be loaded.\n{why}")
}

/// Runs `journal`.
pub(super) async fn journal(
    api: &mut Api,
    machines: &Machines<'_>,
    matches: &ArgMatches,
) -> Result<u8, Failure> {
    let [argument] = arguments_of(matches)[..] else {
        return Err(Failure::new("One unit file must be provided."));
    };
    let name = UnitName::complete(argument);
    let unit = get(api, &name)
        .await?
        .ok_or_else(|| Failure::new(format!("Unit {name} does not exist.")))?;
    if unit.is_global() {
        let text = format!(
            "Unable to retrieve journal of global unit {name}.\nOn one machine: fleetctl ssh MACHINE journalctl --unit {name}"
        );
        return Err(Failure::new(text));
    }
    if unit.current_state == "inactive" {
        let why = not_loaded(&unit)
            .split_once('\n')
            .map_or(String::new(), |(_, why)| format!("\n{why}"));
        return Err(Failure::new(format!(
            "Unit {name} does not appear to be running.{why}"
        )));
    }
    let lines = matches
        .get_one::<u64>("lines")
        .copied()
        .unwrap_or_default()
        .to_string();
    let output = matches.get_one::<String>("output").cloned().unwrap_or_default();
    let mut words = vec![
        "journalctl",
        "--unit",
        &name,
        "--no-pager",
        "-n",
        &lines,
        "--output",
        &output,
    ];
    if go::switch_on(matches, "sudo") {
        words.insert(0, "sudo");
    }
    if go::switch_on(matches, "follow") {
        words.push("-f");
    }
    machines.run(&api.machine(&unit.machine_id).await, &words)
}

/// Runs `ssh`.
pub(super) async fn ssh(api: &mut Api, machines: &Machines<'_>, matches: &ArgMatches) -> Result<u8, Failure> {
    let given = |name: &str| {
        matches
            .get_one::<String>(name)
            .filter(|value| !value.is_empty())
            .cloned()
    };
    let mut words: Vec<String> = matches.get_many("words").unwrap_or_default().cloned().collect();
    let found = match (given("machine"), given("unit")) {
        (Some(_), Some(_)) => {
            return Err(Failure::new(
                "Both machine and unit flags provided, please specify only one.",
            ));
        }
        (Some(id), None) => by_id(api, &id)
            .await
            .and_then(|machine| machine.ok_or_else(|| "machine does not exist".into())),
        (None, Some(unit)) => by_unit(api, &unit)
            .await
            .and_then(|machine| machine.ok_or_else(|| "unit does not exist".into())),
        (None, None) if words.is_empty() => Err("one machine or unit must be provided".to_owned()),
        (None, None) => by_either(api, &words.remove(0)).await,
    };
    let machine = found.map_err(|why| Failure::new(format!("Unable to proceed: {why}")))?;
    if words.first().is_some_and(|word| word == "--") {
        words.remove(0);
    }
    let command = (!words.is_empty()).then(|| words.join(" "));
    machines.open(&machine, command, go::switch_on(matches, "forward-agent"))
}

async fn by_either(api: &mut Api, text: &str) -> Result<Machine, String> {
    let machine = by_id(api, text).await;
    let unit = by_unit(api, text).await;
    match (machine, unit) {
        (Ok(Some(_)), Ok(Some(_))) => Err(format!(
            "ambiguous argument, both machine and unit found for `{text}`.\n\
             Please use flag `--machine` or `--unit` to refine the search"
        )),
        (Ok(Some(machine)), _) | (_, Ok(Some(machine))) => Ok(machine),
        (Err(why), _) | (Ok(None), Err(why)) => Err(why),
        (Ok(None), Ok(None)) => Err("could not find matching unit or machine".to_owned()),
    }
}

/// The machine whose id begins with `prefix`.
pub(super) async fn by_id(api: &mut Api, prefix: &str) -> Result<Option<Machine>, String> {
    let machines = api.machines().await.map_err(|fault| fault.to_string())?;
    let mut matching = machines
        .into_iter()
        .filter(|machine| machine.id.starts_with(prefix));
    match (matching.next(), matching.next()) {
        (Some(_), Some(_)) => Err(format!(
            "found more than one machine: the id {prefix} begins several"
        )),
        (first, _) => Ok(first),
    }
}

/// The machine a unit is on.
async fn by_unit(api: &mut Api, argument: &str) -> Result<Option<Machine>, String> {
    let name = UnitName::complete(argument);
    let Some(unit) = api.unit(&name).await.map_err(|fault| fault.to_string())? else {
        return Ok(None);
    };
    if unit.is_global() {
        return Err(format!("global units unsupported: {name} runs on every machine"));
    }
    if unit.machine_id.is_empty() {
        return Err(not_loaded(&unit));
    }
    Ok(Some(api.machine(&unit.machine_id).await))
}

/// What a machine says of a unit that it is to have no more: `Unit a.service is still active (running) on 0123abcd...`, and
/// what is wrong with that machine.
pub(super) async fn still_there(api: &mut Api, state: &State) -> String {
    let machine = api.machine(&state.machine_id).await;
    let trouble = machine
        .trouble()
        .map_or(String::new(), |trouble| format!(": {trouble}"));
    let State {
        name, active, sub, ..
    } = state;
    format!(
        "Unit {name} is still {active} ({sub}) on {}{trouble}",
        machine.legend(false)
    )
}

/// A unit of the cluster.
pub(super) async fn get(api: &mut Api, name: &str) -> Result<Option<Unit>, Failure> {
    api.unit(name).await.map_err(|fault| retrieving(name, &fault))
}

/// That the API did not say.
pub(super) fn retrieving(name: &str, fault: &ApiFault) -> Failure {
    Failure::new(format!("Error retrieving unit {name}: {fault}"))
}
