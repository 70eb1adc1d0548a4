//! `submit`, `load`, `start`: units into the cluster, onto machines, into systemd's hands.

use std::path::Path;

use clap::ArgMatches;
use corten_spec::unit_file::UnitFile;
use corten_spec::unit_name::UnitName;
use corten_spec::x_fleet;

use super::api::Api;
use super::fault::Failure;
use super::follow::{Patience, Wait, follow};
use super::resolve::{self, Found, Local, Plan, Verb};
use super::wait::Goal;
use super::wire::Unit;
use super::{arguments_of, go};
use crate::terminal::{say, tell};

/// A unit that is in the cluster now.
struct Ready {
    name: String,
    global: bool,
    /// The state that is asked of it.
    desired: String,
    /// The hash of its new content, if it was replaced.
    replaced: Option<String>,
}

/// Runs the command.
pub(super) async fn run(api: &mut Api, verb: Verb, matches: &ArgMatches) -> Result<u8, Failure> {
    if go::switch_on(matches, "sign") {
        let text = "WARNING: The signed/verified units feature is DEPRECATED and cannot be used.";
        return Err(Failure {
            text: text.to_owned(),
            code: 2,
        });
    }
    let arguments = arguments_of(matches);
    if arguments.is_empty() {
        tell("No units given");
        return Ok(0);
    }
    let replace = go::switch_on(matches, "replace");
    let mut units: Vec<Ready> = Vec::new();
    for argument in arguments {
        let ready = ensure(api, verb, argument, replace).await;
        let ready = ready.map_err(|why| Failure::new(format!("Error creating units: {why}")))?;
        if units.iter().all(|unit| unit.name != ready.name) {
            units.push(ready);
        }
    }
    match verb {
        Verb::Submit => Ok(0),
        Verb::Load => advance(api, verb, units, Patience::of(matches), ("load", "loading")).await,
        Verb::Start => advance(api, verb, units, Patience::of(matches), ("start", "starting")).await,
    }
}

/// Sees to it that the unit an argument stands for is in the cluster.
async fn ensure(api: &mut Api, verb: Verb, argument: &str, replace: bool) -> Result<Ready, String> {
    let name = UnitName::complete(argument);
    let found = find(api, argument, &name, replace).await?;
    let known = found.unit.clone();
    match resolve::plan(verb, &name, replace, found) {
        Plan::Missing(why) => Err(why),
        Plan::Keep { warning } => {
            warning.iter().for_each(tell);
            Ok(ready(&known.unwrap_or_default(), None))
        }
        Plan::Same => {
            say(format!("Found same Unit({name}) in Registry, nothing to do"));
            Ok(ready(&known.unwrap_or_default(), None))
        }
        Plan::Create { file, warning } => {
            warning.iter().for_each(tell);
            let unit = put(api, &name, &file, "inactive").await?;
            say(format!("Unit {name} inactive"));
            Ok(ready(&unit, None))
        }
        Plan::Replace { file } => {
            let unit = put(api, &name, &file, verb.desired()).await?;
            if verb == Verb::Submit {
                say(format!("Unit {name} inactive"));
            }
            Ok(ready(&unit, Some(file.hash())))
        }
    }
}

fn ready(unit: &Unit, replaced: Option<String>) -> Ready {
    Ready {
        name: unit.name.clone(),
        global: unit.is_global(),
        desired: unit.desired_state.clone(),
        replaced,
    }
}

/// Looks in the cluster and on the disk, no further than needed.
async fn find(api: &mut Api, argument: &str, name: &str, replace: bool) -> Result<Found, String> {
    let retrieving = |what: &str, fault| format!("error retrieving {what} from Registry: {fault}");
    let unit = api
        .unit(name)
        .await
        .map_err(|fault| retrieving(&format!("Unit({name})"), fault))?;
    let directory = Path::new(argument).parent().unwrap_or(Path::new(""));
    let local = read(&directory.join(name), unit.is_none() || replace)?;
    let template_name = UnitName::parse(name)
        .ok()
        .and_then(|name| name.template())
        .map(|name| name.to_string());
    let mut found = Found {
        unit,
        local,
        template_name,
        ..Found::default()
    };
    let Some(template_name) = found.template_name.as_deref().filter(|_| found.local.is_none()) else {
        return Ok(found);
    };
    found.local_template = read(&directory.join(template_name), found.unit.is_none() || replace)?;
    if found.unit.is_none() || (replace && found.local_template.is_none()) {
        let template = api.unit(template_name).await;
        let template =
            template.map_err(|fault| retrieving(&format!("template Unit({template_name})"), fault))?;
        found.template = template.map(|unit| unit.file());
    }
    Ok(found)
}

/// Reads a unit file, if it exists. One that is only to be compared may be unreadable.
fn read(path: &Path, needed: bool) -> Result<Option<Local>, String> {
    let shown = path.display().to_string();
    let wrong = |why: String| format!("failed getting Unit({shown}) from file: {why}");
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound || !needed => return Ok(None),
        Err(error) => return Err(wrong(error.to_string())),
    };
    match UnitFile::parse(&text) {
        Ok(file) => Ok(Some((shown, file))),
        Err(_) if !needed => Ok(None),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// Creates or replaces, after the checks that the server makes too; ours come with the same words and without a way.
async fn put(api: &mut Api, name: &str, file: &UnitFile, desired: &str) -> Result<Unit, String> {
    UnitName::parse(name).map_err(|error| error.to_string())?;
    x_fleet::validate(file).map_err(|error| error.to_string())?;
    for key in x_fleet::unknown_keys(file) {
        tell(format!(
            "WARNING: Unit {name}: unrecognized requirement in [X-Fleet] section: {key:?}"
        ));
    }
    let unit = Unit::of_file(name, file, desired);
    api.put_unit(&unit)
        .await
        .map_err(|fault| format!("failed creating unit {name}: {fault}"))?;
    Ok(unit)
}

/// Asks for the state the command wants, and waits for it.
async fn advance(
    api: &mut Api,
    verb: Verb,
    units: Vec<Ready>,
    patience: Patience,
    (word, doing): (&str, &str),
) -> Result<u8, Failure> {
    let mut waits = Vec::new();
    for unit in units {
        if unit.replaced.is_none() && unit.desired == verb.desired() {
            continue;
        }
        if unit.desired != verb.desired() {
            let set = api.set_desired(&unit.name, verb.desired()).await;
            set.map_err(|fault| Failure::new(format!("Error {doing} units: {fault}")))?;
        }
        let goal = if verb == Verb::Load {
            Goal::Loaded
        } else {
            Goal::Started { hash: unit.replaced }
        };
        match patience {
            _ if unit.global => say(format!("Triggered global unit {} {word}", unit.name)),
            Patience::None => say(format!("Triggered unit {} {word}", unit.name)),
            _ => waits.push(Wait::new(&unit.name, goal)),
        }
    }
    Ok(u8::from(!follow(api, waits, patience).await))
}
