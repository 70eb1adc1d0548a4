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
use super::{SIGNED, arguments_of, go};
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
        check_local(argument).map_err(creating)?;
    }
    let at_once = match verb {
        Verb::Start => matches.get_one::<usize>("max-unavailable").copied(),
        Verb::Submit | Verb::Load => None,
    };
    let groups = arguments.chunks(at_once.unwrap_or(arguments.len()));
    let mut left = arguments.len();
    for group in groups {
        let code = bring_up(api, verb, group, matches).await?;
        left -= group.len();
        if code != 0 {
            if at_once.is_some() && left > 0 {
                tell(format!(
                    "Stopped there: the last {left} of the units given were not touched"
                ));
            }
            return Ok(code);
        }
    }
    Ok(0)
}

/// Brings units where the command wants them, all at once.
async fn bring_up(
    api: &mut Api,
    verb: Verb,
    arguments: &[&str],
    matches: &ArgMatches,
) -> Result<u8, Failure> {
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
        Plan::Missing(why) => Err(why + &misnamed(argument, &name)),
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
    x_fleet::validate(file).map_err(|error| format!("{error}{}", at_odds(name, file)))?;
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

/// Refuses a local file that says nothing, before anybody is asked.
fn check_local(argument: &str) -> Result<(), String> {
    let path = Path::new(argument).with_file_name(UnitName::complete(argument));
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Ok(());
    };
    if !UnitFile::parse(&text).is_ok_and(|file| file.options.is_empty()) {
        return Ok(());
    }
    let why = match text.trim() {
        "" => "the file is empty",
        _ => "it has no [Section] with an option in it",
    };
    Err(format!(
        "failed getting Unit({}) from file: {why}",
        path.display()
    ))
}

/// For a name nobody knows: maybe it is that of a file that is no unit file by its suffix.
fn misnamed(argument: &str, name: &str) -> String {
    let path = Path::new(argument);
    let other = path.file_name().is_some_and(|file| file != name);
    if other && path.is_file() {
        format!(
            "; there is a file {argument}, but its name ends in no unit's suffix: call it {name}, for example"
        )
    } else {
        String::new()
    }
}

/// The unit and what it says about machines, behind fleet's words for options that do not go together.
fn at_odds(name: &str, file: &UnitFile) -> String {
    let options = file
        .options
        .iter()
        .filter(|option| option.section == x_fleet::SECTION);
    let written: Vec<String> = options
        .map(|option| format!("{}={}", option.name, option.value))
        .collect();
    format!(" (in [{}] of {name}: {})", x_fleet::SECTION, written.join(", "))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_says_nothing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text, why) in [
            ("empty.service", " \n", Some("the file is empty")),
            (
                "bare.service",
                "ExecStart=/bin/true\n",
                Some("it has no [Section]"),
            ),
            (
                "header.service",
                "[Service]\n",
                Some("it has no [Section] with an option"),
            ),
            ("good.service", "[Service]\nExecStart=/bin/true\n", None),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let argument = path.display().to_string();
            match (check_local(&argument), why) {
                (Ok(()), None) => {}
                (Err(said), Some(why)) => assert!(said.contains(why) && said.contains(&argument), "{said}"),
                (found, _) => panic!("{name}: {found:?}"),
            }
        }
        assert_eq!(check_local("/nowhere/a.service"), Ok(()));
    }

    #[test]
    fn a_file_without_a_units_suffix_is_recognized() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.conf");
        std::fs::write(&path, "[Service]\n").unwrap();
        let argument = path.display().to_string();
        let said = misnamed(&argument, &UnitName::complete(&argument));
        assert!(
            said.contains(&argument) && said.contains("call it web.conf.service"),
            "{said}"
        );
        assert_eq!(misnamed("/nowhere/web", "web.service"), "");
    }

    #[test]
    fn options_at_odds_are_shown_as_they_are_written() {
        let file = UnitFile::parse("[Service]\nExecStart=/a\n[X-Fleet]\nGlobal=yes\nMachineOf=db.service\n")
            .unwrap();
        let said = at_odds("web.service", &file);
        assert_eq!(
            said,
            " (in [X-Fleet] of web.service: Global=yes, MachineOf=db.service)"
        );
    }
}
