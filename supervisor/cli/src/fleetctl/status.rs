//! `status`: systemctl's own words of a unit, from where it is; or as JSON all that the cluster knows of it.
//!
//! The JSON is one array with an object for each unit: the fields of list-unit-files, and under `machines` one object for
//! each machine that says something of it, with the fields of list-units and the machine's `ip`. Nobody is visited for it,
//! so that it needs no SSH and ends with 0 whatever state the units are in.

use clap::ArgMatches;
use corten_spec::unit_name::UnitName;
use serde_json::{Value, json};

use super::api::Api;
use super::arguments_of;
use super::fault::Failure;
use super::json::{machine_value, object, state_value, unit_value};
use super::look::{get, not_loaded, retrieving};
use super::remote::Machines;
use super::wire::{Machine, State, Unit};
use crate::terminal::{say, tell};

/// Fields of a unit in JSON.
const UNIT: [&str; 8] = [
    "desc", "dstate", "global", "hash", "reason", "state", "target", "unit",
];
/// Fields of what a machine says of it.
const STATE: [&str; 7] = ["active", "hash", "ip", "load", "machine", "reason", "sub"];

/// Runs the command.
pub(super) async fn run(api: &mut Api, machines: &Machines<'_>, matches: &ArgMatches) -> Result<u8, Failure> {
    let mut known = Vec::new();
    for name in arguments_of(matches).into_iter().map(UnitName::complete) {
        let Some(unit) = get(api, &name).await? else {
            return Err(Failure::new(format!("Unit {name} does not exist.")));
        };
        let states = api
            .states_of(&name)
            .await
            .map_err(|fault| retrieving(&name, &fault))?;
        known.push((unit, states));
    }
    let format = matches.get_one::<String>("output").map(String::as_str);
    if format == Some("json") {
        print_json(api, &known).await;
        return Ok(0);
    }
    visit(api, machines, known).await
}

/// Asks systemctl on their machines; ends at the first that is not well.
async fn visit(
    api: &mut Api,
    machines: &Machines<'_>,
    known: Vec<(Unit, Vec<State>)>,
) -> Result<u8, Failure> {
    let mut places = Vec::new();
    for (unit, states) in known {
        let name = &unit.name;
        let ids: Vec<String> = if unit.is_global() {
            states.iter().map(|state| state.machine_id.clone()).collect()
        } else {
            vec![unit.machine_id.clone()]
        };
        if let Some(rollout) = &unit.rollout {
            tell(format!("Unit {name} is being replaced: {}", rollout.in_words()));
        }
        for state in states.iter().filter(|state| !state.start_error.is_empty()) {
            tell(format!("Unit {name} was not started: {}", state.start_error));
        }
        if ids.is_empty() || (!unit.is_global() && unit.current_state == "inactive") {
            return Err(Failure::new(not_loaded(&unit)));
        }
        for id in ids {
            places.push((name.clone(), api.machine(&id).await));
        }
    }
    for (number, (name, machine)) in places.iter().enumerate() {
        if number > 0 {
            say("");
        }
        let code = machines.run(machine, &["systemctl", "--no-pager", "status", "-l", "--", name])?;
        if code != 0 {
            return Ok(code);
        }
    }
    Ok(0)
}

async fn print_json(api: &mut Api, known: &[(Unit, Vec<State>)]) {
    let mut units = Vec::new();
    for (unit, states) in known {
        let mut machines = Vec::new();
        for state in states {
            machines.push(on_machine(state, &api.machine(&state.machine_id).await));
        }
        units.push(story(unit, machines));
    }
    say(Value::Array(units).to_string());
}

fn story(unit: &Unit, machines: Vec<Value>) -> Value {
    let mut story = object(&UNIT, |field| unit_value(unit, field));
    story["machines"] = json!(machines);
    story
}

fn on_machine(state: &State, machine: &Machine) -> Value {
    object(&STATE, |field| match field {
        "ip" => machine_value(machine, field),
        _ => state_value(state, field),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use corten_spec::unit_file::UnitFile;

    use super::*;

    #[test]
    fn the_whole_story_in_one_object() {
        let file = UnitFile::parse("[Unit]\nDescription=web\n").unwrap();
        let waiting = Unit {
            current_state: "inactive".into(),
            unplaced_reason: "no machine".into(),
            ..Unit::of_file("web.service", &file, "launched")
        };
        let hash = file.hash();
        assert_eq!(
            story(&waiting, Vec::new()).to_string(),
            format!(
                r#"{{"desc":"web","dstate":"launched","global":false,"hash":"{hash}","machines":[],"reason":"no machine","state":"inactive","target":null,"unit":"web.service"}}"#
            )
        );
        let state = State {
            name: "web.service".into(),
            machine_id: "m1".into(),
            active: "failed".into(),
            sub: "failed".into(),
            load: "loaded".into(),
            start_error: "refused".into(),
            ..State::default()
        };
        let machine = Machine {
            id: "m1".into(),
            ip: "10.0.0.1".into(),
            ..Machine::default()
        };
        assert_eq!(
            on_machine(&state, &machine).to_string(),
            r#"{"active":"failed","hash":null,"ip":"10.0.0.1","load":"loaded","machine":"m1","reason":"refused","sub":"failed"}"#
        );
    }
}
