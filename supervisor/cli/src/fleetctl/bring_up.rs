//! `submit`, `load`, `start`: units into the cluster, onto machines, into systemd's hands.

use std::collections::BTreeMap;

use clap::ArgMatches;
use corten_spec::unit_file::UnitFile;
use corten_spec::unit_name::UnitName;
use corten_spec::x_fleet;

use super::api::Api;
use super::fault::Failure;
use super::follow::{Patience, Wait, follow};
use super::resolve::{self, Found, Plan, Verb};
use super::wait::{Goal, SETTLED, Verdict, judge};
use super::wire::{Rollout, Unit};
use super::{SIGNED, arguments_of, go, local};
use crate::terminal::{say, tell};

/// A unit that is in the cluster now.
struct Ready {
    name: String,
    global: bool,
    /// The state that is asked of it.
    desired: String,
    /// The hash of the content it has in the cluster.
    hash: String,
    /// Was that put there just now, in the place of another?
    replaced: bool,
    /// Does it come to its machines a few at a time, as a global unit?
    rolls: bool,
}

/// Runs the command.
pub(super) async fn run(api: &mut Api, verb: Verb, matches: &ArgMatches) -> Result<u8, Failure> {
    if go::switch_on(matches, "sign") {
        return Err(Failure {
            text: SIGNED.to_owned(),
            code: 2,
        });
    }
    let arguments = arguments_of(matches);
    if arguments.is_empty() {
        tell("No units given");
        return Ok(0);
    }
    let creating = |why: String| Failure::new(format!("Error creating units: {why}"));
    for argument in &arguments {
        local::check(argument).map_err(creating)?;
    }
    let at_once = (verb == Verb::Start).then(|| at_once(matches)).flatten();
    let mut left = arguments.len();
    for group in arguments.chunks(at_once.unwrap_or(arguments.len())) {
        left -= group.len();
        match bring_up(api, verb, group, matches).await {
            Ok(0) => {}
            ended if at_once.is_some() && left > 0 => return stopped_there(ended, left),
            ended => return ended,
        }
    }
    Ok(0)
}

/// The end of a roll that did not get to its end.
fn stopped_there(ended: Result<u8, Failure>, left: usize) -> Result<u8, Failure> {
    let text = format!("Stopped there: the last {left} of the units given were not touched");
    match ended {
        Ok(code) => {
            tell(text);
            Ok(code)
        }
        Err(failure) => Err(Failure {
            text: format!("{}\n{text}", failure.text),
            ..failure
        }),
    }
}

/// `--max-unavailable`, which only `start` has.
fn at_once(matches: &ArgMatches) -> Option<usize> {
    matches.get_one::<usize>("max-unavailable").copied()
}

/// How content comes to units.
#[derive(Clone, Copy)]
struct How {
    /// `--replace`.
    replace: bool,
    /// `--max-unavailable`.
    at_once: Option<usize>,
}

/// Templates that the cluster has, each asked for once: a hundred instances of one come with one command.
type Templates = BTreeMap<String, Option<UnitFile>>;

/// Brings units where the command wants them, all at once.
async fn bring_up(
    api: &mut Api,
    verb: Verb,
    arguments: &[&str],
    matches: &ArgMatches,
) -> Result<u8, Failure> {
    let how = How {
        replace: go::switch_on(matches, "replace"),
        at_once: (verb == Verb::Start).then(|| at_once(matches)).flatten(),
    };
    let mut units: Vec<Ready> = Vec::new();
    let mut templates = Templates::new();
    for argument in arguments {
        let ready = ensure(api, verb, argument, how, &mut templates).await;
        let ready = ready.map_err(|why| Failure::new(format!("Error creating units: {why}")))?;
        if units.iter().all(|unit| unit.name != ready.name) {
            units.push(ready);
        }
    }
    match verb {
        Verb::Submit => Ok(0),
        Verb::Load => advance(api, verb, units, Patience::of(matches), false).await,
        Verb::Start => {
            advance(
                api,
                verb,
                units,
                Patience::of(matches),
                at_once(matches).is_some(),
            )
            .await
        }
    }
}

/// Sees to it that the unit an argument stands for is in the cluster.
async fn ensure(
    api: &mut Api,
    verb: Verb,
    argument: &str,
    how: How,
    templates: &mut Templates,
) -> Result<Ready, String> {
    let name = UnitName::complete(argument);
    let found = find(api, argument, &name, how.replace, templates).await?;
    let known = found.unit.clone();
    match resolve::plan(verb, &name, how.replace, found) {
        Plan::Missing(why) => Err(why + &local::misnamed(argument, &name)),
        Plan::Keep { warning } => {
            warning.iter().for_each(tell);
            Ok(ready(&known.unwrap_or_default(), false))
        }
        Plan::Same => {
            say(format!("Found same Unit({name}) in Registry, nothing to do"));
            let known = known.unwrap_or_default();
            limit_anew(api, &known, how).await?;
            Ok(ready(&known, false))
        }
        Plan::Create { file, warning } => {
            warning.iter().for_each(tell);
            let unit = put(api, &name, &file, "inactive", None).await?;
            templates.remove(&name);
            say(format!("Unit {name} inactive"));
            Ok(ready(&unit, false))
        }
        Plan::Replace { file } => {
            let global = x_fleet::is_global(&file) || known.is_some_and(|known| known.is_global());
            let limit = how.at_once.filter(|_| global);
            let mut unit = put(api, &name, &file, verb.desired(), limit).await?;
            templates.remove(&name);
            if limit.is_some() {
                unit.rollout = rollout_of(api, &name).await?;
            }
            if verb == Verb::Submit {
                say(format!("Unit {name} inactive"));
            }
            Ok(ready(&unit, true))
        }
    }
}

/// A roll that is under way goes on with this limit.
async fn limit_anew(api: &mut Api, unit: &Unit, how: How) -> Result<(), String> {
    match (&unit.rollout, how.at_once) {
        (Some(rollout), Some(limit)) if rollout.max_unavailable != limit => {
            let (file, desired) = (unit.file(), &unit.desired_state);
            let put = put(api, &unit.name, &file, desired, Some(limit)).await;
            put.map(drop)
        }
        _ => Ok(()),
    }
}

async fn rollout_of(api: &mut Api, name: &str) -> Result<Option<Rollout>, String> {
    let unit = api.unit(name).await;
    let unit = unit.map_err(|fault| format!("error retrieving Unit({name}) from Registry: {fault}"))?;
    Ok(unit.and_then(|unit| unit.rollout))
}

fn ready(unit: &Unit, replaced: bool) -> Ready {
    Ready {
        name: unit.name.clone(),
        global: unit.is_global(),
        desired: unit.desired_state.clone(),
        hash: unit.file().hash(),
        replaced,
        rolls: unit.rollout.is_some(),
    }
}

/// Looks in the cluster and on the disk, no further than needed.
async fn find(
    api: &mut Api,
    argument: &str,
    name: &str,
    replace: bool,
    templates: &mut Templates,
) -> Result<Found, String> {
    let retrieving = |what: &str, fault| format!("error retrieving {what} from Registry: {fault}");
    let unit = api
        .unit(name)
        .await
        .map_err(|fault| retrieving(&format!("Unit({name})"), fault))?;
    let local = local::read(&local::path_of(argument, name), unit.is_none() || replace)?;
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
    let path = local::path_of(argument, template_name);
    found.local_template = local::read(&path, found.unit.is_none() || replace)?;
    if found.unit.is_none() || (replace && found.local_template.is_none()) {
        if !templates.contains_key(template_name) {
            let template = api.unit(template_name).await;
            let template =
                template.map_err(|fault| retrieving(&format!("template Unit({template_name})"), fault))?;
            templates.insert(template_name.to_owned(), template.map(|unit| unit.file()));
        }
        found.template = templates.get(template_name).cloned().flatten();
    }
    Ok(found)
}

/// Creates or replaces, on all machines at once or on a few at a time.
async fn put(
    api: &mut Api,
    name: &str,
    file: &UnitFile,
    desired: &str,
    max_unavailable: Option<usize>,
) -> Result<Unit, String> {
    local::approve(name, file)?;
    let unit = Unit {
        max_unavailable,
        ..Unit::of_file(name, file, desired)
    };
    api.put_unit(&unit)
        .await
        .map_err(|fault| format!("failed creating unit {name}: {fault}"))?;
    Ok(unit)
}

/// Asks for the state the command wants, and waits for it; `every`: also where nothing had to be done for it, because what
/// was replaced shortly before is as unavailable as what is replaced now.
async fn advance(
    api: &mut Api,
    verb: Verb,
    units: Vec<Ready>,
    patience: Patience,
    every: bool,
) -> Result<u8, Failure> {
    let (word, doing) = match verb {
        Verb::Load => ("load", "loading"),
        Verb::Submit | Verb::Start => ("start", "starting"),
    };
    let mut waits = Vec::new();
    let mut good = true;
    for unit in units {
        let is_there = !unit.replaced && unit.desired == verb.desired();
        let rolls = every && unit.rolls;
        if is_there && !rolls && (!every || unit.global) {
            good &= unit.global || stands(api, verb, &unit.name).await?;
            continue;
        }
        if unit.desired != verb.desired() {
            let set = api.set_desired(&unit.name, verb.desired()).await;
            set.map_err(|fault| Failure::new(format!("Error {doing} units: {fault}")))?;
        }
        let goal = match verb {
            Verb::Load => Goal::Loaded,
            _ if rolls => Goal::Rolled { hash: unit.hash },
            _ => Goal::Started {
                hash: (unit.replaced || every).then_some(unit.hash),
            },
        };
        match patience {
            _ if unit.global && !rolls => say(format!("Triggered global unit {} {word}", unit.name)),
            Patience::None => say(format!("Triggered unit {} {word}", unit.name)),
            _ => waits.push(Wait::new(&unit.name, goal)),
        }
    }
    good &= follow(api, waits, patience).await;
    Ok(u8::from(!good))
}

/// Has a unit that was started or loaded before not failed? It is not again; who asks for that must not believe that all is well.
async fn stands(api: &mut Api, verb: Verb, name: &str) -> Result<bool, Failure> {
    let (done, doing, goal) = match verb {
        Verb::Load => ("loaded", "loading", Goal::Loaded),
        Verb::Submit | Verb::Start => ("started", "starting", Goal::Started { hash: None }),
    };
    let looking = |fault| Failure::new(format!("Error {doing} units: {fault}"));
    let unit = api.unit(name).await.map_err(looking)?;
    let states = api.states_of(name).await.map_err(looking)?;
    let Verdict::Failed(why) = judge(&goal, unit.as_ref(), &states, SETTLED) else {
        return Ok(true);
    };
    let told_what_to_do = states.iter().any(|state| !state.start_error.is_empty());
    let advice = match told_what_to_do {
        true => String::new(),
        false => format!("; fleetctl restart {name} starts it again, fleetctl journal {name} may say why"),
    };
    tell(format!(
        "Unit {name} was to be {done} before, and is not: {why}{advice}"
    ));
    Ok(false)
}
