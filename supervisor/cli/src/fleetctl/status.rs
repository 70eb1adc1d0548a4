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
use super::look::{get, not_loaded, retrieving, still_there};
use super::remote::Machines;
use super::wait;
use super::wire::{Machine, State, Unit};
use crate::terminal::{say, tell};

/// Fields of a unit in JSON.
const UNIT: [&str; 8] = [
    "desc", "dstate", "global", "hash", "reason", "state", "target", "unit",
];
/// Fields of what a machine says of it.
const STATE: [&str; 7] = ["active", "hash", "ip", "load", "machine", "reason", "sub"];

/// A unit and what the machines say of it, or why there is none.
type Known = Result<(Unit, Vec<State>), String>;

/// Runs the command.
pub(super) async fn run(api: &mut Api, machines: &Machines<'_>, matches: &ArgMatches) -> Result<u8, Failure> {
    let arguments = arguments_of(matches);
    if arguments.is_empty() {
        return Err(Failure {
            text: "No units given: fleetctl status UNIT...; for all of them: fleetctl list-units".to_owned(),
            code: 2,
        });
    }
    let mut known = Vec::new();
    for name in arguments.into_iter().map(UnitName::complete) {
        known.push(look_up(api, &name).await?);
    }
    let format = matches.get_one::<String>("output").map(String::as_str);
    if format == Some("json") {
        // A list that is not whole would pass for one that is.
        let known: Vec<(Unit, Vec<State>)> = known
            .into_iter()
            .collect::<Result<_, _>>()
            .map_err(Failure::new)?;
        print_json(api, &known).await;
        return Ok(0);
    }
    visit(api, machines, known).await
}

async fn look_up(api: &mut Api, name: &str) -> Result<Known, Failure> {
    let unit = get(api, name).await?;
    let states = api.states_of(name).await;
    let states = states.map_err(|fault| retrieving(name, &fault))?;
    if let Some(unit) = unit {
        return Ok(Ok((unit, states)));
    }
    let mut why = format!("Unit {name} does not exist.");
    for state in &states {
        why.push_str(&format!("\n{}", still_there(api, state).await));
    }
    Ok(Err(why))
}

/// Asks systemctl on their machines. Ends as it did for the first that is not well; with 1, and why, where there is one
/// that it cannot be asked of.
async fn visit(api: &mut Api, machines: &Machines<'_>, known: Vec<Known>) -> Result<u8, Failure> {
    let mut faults: Vec<String> = Vec::new();
    let mut ended = 0;
    let mut first = true;
    for known in known {
        if let Ok((unit, states)) = &known {
            tell_of_left(api, unit, states).await;
        }
        let (name, places) = match known.and_then(places) {
            Ok(found) => found,
            Err(why) => {
                faults.push(why);
                continue;
            }
        };
        for id in places {
            let machine = api.machine(&id).await;
            if let Some(trouble) = machine.trouble() {
                // It would be waited for, and the others with it.
                faults.push(format!("Unit {name} cannot be looked at: {trouble}"));
                continue;
            }
            if !first {
                say("");
            }
            match machines.run(
                &machine,
                &["systemctl", "--no-pager", "status", "-l", "--", &name],
            ) {
                Ok(code) => {
                    first = false;
                    ended = if ended == 0 { code } else { ended };
                }
                // One without ssh is so for all of them.
                Err(failure) if faults.contains(&failure.text) => {}
                Err(failure) => faults.push(failure.text),
            }
        }
    }
    match faults.is_empty() {
        true => Ok(ended),
        false => Err(Failure::new(faults.join("\n"))),
    }
}

/// Where it is still although it is to be elsewhere, or nowhere.
async fn tell_of_left(api: &mut Api, unit: &Unit, states: &[State]) {
    let is_left = |state: &&State| state.machine_id != unit.machine_id && !wait::is_at_rest(state);
    for state in states.iter().filter(|state| !unit.is_global() && is_left(state)) {
        tell(still_there(api, state).await);
    }
}

/// Its name and the machines to ask, and on standard error what they will not say of it.
fn places((unit, states): (Unit, Vec<State>)) -> Result<(String, Vec<String>), String> {
    let name = &unit.name;
    if let Some(rollout) = &unit.rollout {
        tell(format!("Unit {name} is being replaced: {}", rollout.in_words()));
    }
    for state in states.iter().filter(|state| !state.start_error.is_empty()) {
        tell(format!("Unit {name} was not started: {}", state.start_error));
    }
    let ids: Vec<String> = match unit.is_global() {
        true => states.iter().map(|state| state.machine_id.clone()).collect(),
        false if unit.current_state == "inactive" => Vec::new(),
        false => vec![unit.machine_id.clone()],
    };
    match ids.is_empty() {
        true => Err(not_loaded(&unit)),
        false => Ok((unit.name, ids)),
    }
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
