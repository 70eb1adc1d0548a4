//! The command line: what may be said, and the help that teaches it. Here what holds for all commands; the commands stand
//! in the files below.

mod lists;
mod look;
mod machines;
mod other;
mod units;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command};

use crate::go;

const TEMPLATE: &str = "\
NAME:
  {name} - {about}

USAGE:
  {usage}

VERSION:
  {version}

COMMANDS:
{subcommands}

OPTIONS:
{options}{after-help}
";

const SUB_TEMPLATE: &str = "\
NAME:
  {bin} - {about}

USAGE:
  {usage}

{all-args}{after-help}

How the cluster is reached (--tunnel, --endpoint, --ssh-identity and others): fleetctl --help
";

const EXAMPLES: &str = "\
EXAMPLES:
  fleetctl list-machines                          who is in the cluster
  fleetctl start hello.service                    submit, place and start a unit file of this directory
  fleetctl submit web@.service                    hand in a template, then
  fleetctl start web@1.service web@2.service      start instances of it
  fleetctl list-units                             what runs where
  fleetctl journal -f hello.service               its log, wherever it runs
  fleetctl --tunnel 10.0.0.1 list-units           all of it from outside the cluster, over SSH

  The options of a command: fleetctl start --help.
  Every option above has an environment variable: --ssh-username is FLEETCTL_SSH_USERNAME.
  SSH is the system's: keys from an agent, --ssh-identity or ~/.ssh/config.";

/// `fleetctl help --help` is no other question than `fleetctl help`; clap would take `--help` for a command there.
pub(super) fn normalize(mut args: Vec<OsString>) -> Vec<OsString> {
    if args.get(1).is_some_and(|word| word == "help") {
        args.retain(|word| word != "--help" && word != "-h" && word != "--h");
    }
    args
}

/// Is it the help of fleetctl itself, not of one of its commands?
pub(super) fn is_for_all(error: &clap::Error) -> bool {
    let start = "NAME:\n  fleetctl - ";
    error.kind() == ErrorKind::DisplayHelp && error.render().to_string().starts_with(start)
}

/// The help of fleetctl itself.
pub(super) fn help() -> String {
    build(true).render_help().to_string()
}

/// The whole command line as manuals and shells want it.
pub(super) fn documented() -> Command {
    build(true)
}

/// The whole command line. The global options are shown by [`help`] only, lest each command's help repeats them all.
pub(super) fn command() -> Command {
    build(false)
}

fn build(with_globals: bool) -> Command {
    let globals = globals().into_iter().map(|arg| {
        let hidden = !with_globals || arg.is_hide_set();
        arg.hide(hidden)
    });
    Command::new("fleetctl")
        .about("a command-line interface to fleet, the cluster-wide init system")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_version_flag(true)
        .help_template(TEMPLATE)
        .after_help(EXAMPLES)
        .subcommand_value_name("COMMAND")
        .infer_subcommands(true)
        .args(globals)
        .subcommands(lists::commands())
        .subcommands(units::commands())
        .subcommands(machines::commands())
        .subcommands(look::commands())
        .subcommands(other::commands())
}

fn globals() -> Vec<Arg> {
    vec![
        text(
            "endpoint",
            "URL",
            "Where the API is: unix:///path, http://host:port or https://host:port",
        )
        .default_value("unix:///var/run/fleet.sock"),
        text(
            "tunnel",
            "HOST[:PORT]",
            "Reach the API and the machines over SSH through this one",
        ),
        text("ssh-username", "USER", "Who to be on the machines").default_value("core"),
        text(
            "ssh-identity",
            "FILE",
            "A private key for SSH, beside those of agent and ~/.ssh/config",
        ),
        text("ssh-config", "FILE", "Read this instead of ~/.ssh/config"),
        text(
            "ssh-timeout",
            "SECONDS",
            "Time an SSH connection may take to come about [default: 10]",
        ),
        loose_switch(
            "strict-host-key-checking",
            "Check the machines' host keys [default: true]",
        ),
        text(
            "known-hosts-file",
            "FILE",
            "Known host keys; new ones are added [default: ~/.fleetctl/known_hosts, and ~/.ssh/known_hosts is read too]",
        ),
        text(
            "ca-file",
            "FILE",
            "Check the API's certificate against this CA bundle, for https",
        )
        .alias("etcd-cafile"),
        text("cert-file", "FILE", "Our certificate, for https").alias("etcd-certfile"),
        text("key-file", "FILE", "Its key").alias("etcd-keyfile"),
        text(
            "request-timeout",
            "SECONDS",
            "Time an answer of the API may take [default: 30]",
        ),
        loose_switch("debug", "Say on standard error what is asked and answered"),
        go::switch("version", "Print the version"),
        Arg::new("h")
            .long("h")
            .action(ArgAction::Help)
            .hide(true)
            .help("Print help"),
        text("driver", "DRIVER", "API, the only one there is")
            .default_value("API")
            .hide(true),
        loose_switch("experimental-api", "Deprecated").hide(true),
        text("etcd-key-prefix", "PREFIX", "Deprecated").hide(true),
    ]
}

/// A command.
fn sub(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about).help_template(SUB_TEMPLATE)
}

/// The units a command is about.
fn units() -> Arg {
    Arg::new("units").value_name("UNIT").num_args(0..).help(
        "A unit by its name, or by the path of its file; NAME and NAME.container stand for NAME.service",
    )
}

/// An option of all commands.
fn text(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .help(help)
        .global(true)
}

/// An option of a command's own.
fn own(name: &'static str, value: &'static str, help: String) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// A switch whose value may also stand in the environment, and is therefore read as text.
fn loose_switch(name: &'static str, help: &'static str) -> Arg {
    text(name, "BOOL", help)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asked(words: &str) -> clap::Error {
        let args = words.split(' ').map(OsString::from).collect();
        command().try_get_matches_from(normalize(args)).unwrap_err()
    }

    #[test]
    fn every_command_explains_its_arguments_with_an_example_and_without_the_global_options() {
        for sub in command().get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let name = sub.get_name();
            let error = asked(&format!("fleetctl {name} --help"));
            let help = error.render().to_string();
            assert!(!is_for_all(&error), "{help}");
            assert!(
                help.contains("EXAMPLES:\n  ") && help.contains("fleetctl --help"),
                "{help}"
            );
            assert!(!help.contains("--ssh-timeout"), "{help}");
            for arg in sub.get_arguments().filter(|arg| !arg.is_hide_set()) {
                assert!(arg.get_help().is_some(), "{name}: {arg}");
            }
        }
    }

    #[test]
    fn commands_may_be_cut_short_as_in_fleet() {
        for (words, name) in [
            ("fleetctl c a", "cat"),
            ("fleetctl d a", "destroy"),
            ("fleetctl u a", "unload"),
            ("fleetctl un a", "unload"),
            ("fleetctl unc a", "uncordon"),
            ("fleetctl list-m", "list-machines"),
        ] {
            let matches = command().try_get_matches_from(words.split(' ')).unwrap();
            assert_eq!(matches.subcommand_name(), Some(name), "{words}");
        }
    }

    #[test]
    fn the_first_help_has_the_global_options() {
        for words in [
            "fleetctl --help",
            "fleetctl help",
            "fleetctl help --help",
            "fleetctl -h",
        ] {
            assert!(is_for_all(&asked(words)), "{words}");
        }
        let help = help();
        assert!(help.contains("--tunnel") && help.contains("--ssh-timeout") && help.contains("list-units"));
        assert!(!help.contains("--driver"), "{help}");
    }
}
