//! fleetctl: fleet's command line for Corten's units and machines; commands, flags, output and exit codes are a
//! contract (`fleet.md` section 1), its defects are not (the README lists the differences).
//!
//! Exit codes: 0 done, 1 not done, 2 wrong arguments; status, journal and ssh end as the program they ran there.
//! Refuses to do: anything the API or SSH does not offer; it never talks to the store behind them.

mod api;
mod arguments;
mod bring_up;
mod fault;
mod follow;
mod forward;
mod json;
mod lists;
mod local;
mod look;
mod progress;
mod remote;
mod resolve;
mod scheduling;
mod settings;
mod ssh;
mod status;
mod table;
mod take_down;
mod verify;
mod wait;
mod wire;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ArgMatches;
use clap::error::{ContextKind, ErrorKind};
use clap::parser::ValueSource;

use crate::terminal::{answer, print, say, tell};
use crate::{go, shell};
use api::Api;
use fault::Failure;
use remote::Machines;
use resolve::Verb;
use settings::Settings;

/// What fleet says of signed units, which it had once.
const SIGNED: &str = "WARNING: The signed/verified units feature is DEPRECATED and cannot be used.";

/// Runs fleetctl; `args[0]` is the name it was called under.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let matches = match arguments::command().try_get_matches_from(arguments::normalize(args)) {
        Ok(matches) => matches,
        Err(error) => return usage(&error),
    };
    match run(&matches) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            tell(&failure.text);
            ExitCode::from(failure.code)
        }
    }
}

/// Help goes to standard output; a mistake costs exit code 2.
fn usage(error: &clap::Error) -> ExitCode {
    let given = error.get(ContextKind::InvalidArg).map(ToString::to_string);
    if error.kind() == ErrorKind::UnknownArgument && given.as_deref() == Some("--sign") {
        tell(SIGNED);
    } else if arguments::is_for_all(error) {
        print(arguments::help());
    } else {
        answer(error);
    }
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

fn run(matches: &ArgMatches) -> Result<u8, Failure> {
    if go::switch_on(matches, "version") {
        return version();
    }
    let Some((name, command)) = matches.subcommand() else {
        return no_command(matches);
    };
    match name {
        "version" => version(),
        "completion" => {
            print(shell::completion(arguments::documented(), command));
            Ok(0)
        }
        "man" => man(command),
        "fd-forward" => forward::run(command.get_one::<String>("socket").map_or("", String::as_str)),
        "verify" => verify::run(command),
        _ => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| Failure::new(format!("cannot start: {error}")))?;
            runtime.block_on(run_with_api(&Settings::read(command)?, name, command))
        }
    }
}

/// Help for who asks for nothing at all. Options without a command are a mistake: the command may have become the value of one.
fn no_command(matches: &ArgMatches) -> Result<u8, Failure> {
    let said = |id: &clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    if matches.ids().any(said) {
        return Err(Failure {
            text: "No command given. An option takes the next word for its value: fleetctl --tunnel HOST list-units; \
                   for all commands: fleetctl --help"
                .to_owned(),
            code: 2,
        });
    }
    print(arguments::help());
    Ok(0)
}

async fn run_with_api(settings: &Settings, name: &str, command: &ArgMatches) -> Result<u8, Failure> {
    settings.check_reachable()?;
    if settings.ssh.tunnel.is_some() {
        remote::prepare(&settings.ssh);
    }
    let mut api = settings.api();
    let done = run_command(&mut api, settings, name, command).await;
    done.map_err(|mut failure| {
        if let Some(advice) = api.advice() {
            failure.text = format!("{}\n{advice}", failure.text);
        }
        failure
    })
}

async fn run_command(
    api: &mut Api,
    settings: &Settings,
    name: &str,
    command: &ArgMatches,
) -> Result<u8, Failure> {
    let port = command.try_get_one::<u16>("ssh-port").ok().flatten().copied();
    let machines = Machines::new(&settings.ssh, port);
    match name {
        "list-machines" => lists::machines(api, command).await.map(|()| 0),
        "list-units" => lists::units(api, command).await.map(|()| 0),
        "list-unit-files" => lists::unit_files(api, command).await.map(|()| 0),
        "submit" => bring_up::run(api, Verb::Submit, command).await,
        "load" => bring_up::run(api, Verb::Load, command).await,
        "start" => bring_up::run(api, Verb::Start, command).await,
        "stop" => take_down::stop(api, command).await,
        "unload" => take_down::unload(api, command).await,
        "destroy" => take_down::destroy(api, command).await,
        "restart" => take_down::restart(api, &machines, command).await,
        "cordon" => scheduling::cordon(api, command).await,
        "uncordon" => scheduling::uncordon(api, command).await,
        "drain" => scheduling::drain(api, command).await,
        "cat" => look::cat(api, command).await,
        "status" => status::run(api, &machines, command).await,
        "journal" => look::journal(api, &machines, command).await,
        "ssh" => look::ssh(api, &machines, command).await,
        other => Err(Failure {
            text: format!("no command {other}"),
            code: 2,
        }),
    }
}

fn man(command: &ArgMatches) -> Result<u8, Failure> {
    let folder = command.get_one::<PathBuf>("folder").expect("clap asks for it");
    shell::man(arguments::documented(), folder).map_err(|error| {
        Failure::new(format!(
            "cannot write manual pages into {}: {error}",
            folder.display()
        ))
    })?;
    Ok(0)
}

fn version() -> Result<u8, Failure> {
    say(format!("fleetctl version {}", env!("CARGO_PKG_VERSION")));
    Ok(0)
}

/// The unit arguments of a command.
fn arguments_of(matches: &ArgMatches) -> Vec<&str> {
    matches
        .get_many::<String>("units")
        .unwrap_or_default()
        .map(String::as_str)
        .collect()
}
