//! The command line: what may be said, and the help that teaches it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, value_parser};

use super::lists;
use crate::{go, shell};

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

  Every option has an environment variable: --ssh-username is FLEETCTL_SSH_USERNAME.
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
        .subcommands(list_commands())
        .subcommands(unit_commands())
        .subcommands(machine_commands())
        .subcommands(look_commands())
        .subcommands(other_commands())
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

fn list_commands() -> Vec<Command> {
    let list = |name, about, fields: &'static [&'static str], default: &'static str| {
        sub(name, about)
            .arg(
                go::switch("full", "Do not ellipsize fields")
                    .short('l')
                    .alias("l"),
            )
            .arg(go::switch("no-legend", "Print no column headers"))
            .arg(
                own(
                    "fields",
                    "FIELD[,FIELD...]",
                    format!("Columns to print; there are {}", fields.join(",")),
                )
                .default_value(default),
            )
            .arg(
                own(
                    "output",
                    "FORMAT",
                    "A table, or a JSON array of one object a row with whole values; without --fields it has all".into(),
                )
                .default_value("table")
                .value_parser(["table", "json"]),
            )
    };
    vec![
        list("list-machines", "Enumerate the machines in the cluster", &lists::MACHINE_FIELDS, "machine,ip,metadata")
            .after_help("EXAMPLES:\n  fleetctl list-machines\n  fleetctl list-machines --full --no-legend --fields machine"),
        list("list-units", "List the state of units on the machines", &lists::STATE_FIELDS, "unit,machine,active,sub")
            .after_help("EXAMPLES:\n  fleetctl list-units\n  fleetctl list-units --fields unit,machine,hash,active"),
        list("list-unit-files", "List the units that exist in the cluster", &lists::UNIT_FIELDS, "unit,hash,dstate,state,target")
            .after_help("EXAMPLES:\n  fleetctl list-unit-files\n\nThe field reason says why a unit is on no machine:\n  fleetctl list-unit-files --fields unit,dstate,state,reason"),
    ]
}

fn unit_commands() -> Vec<Command> {
    let replace = || {
        go::switch(
            "replace",
            "Replace the unit in the cluster with the local file, if they differ",
        )
    };
    let sign = || go::switch("sign", "Deprecated").hide(true);
    let starts = |name, about| blocking(sub(name, about).arg(replace()).arg(sign()).arg(units()));
    let stops = |name, about| blocking(sub(name, about).arg(units()));
    vec![
        sub("submit", "Upload units to the cluster without starting them")
            .arg(replace())
            .arg(sign())
            .arg(units())
            .after_help("A unit that exists is left alone unless --replace is given.\nfoo@.service is a template: start foo@1.service, foo@2.service, ... of it.\nA unit in Quadlet's format, foo.container, becomes foo.service: fleetctl verify foo.container shows it.\n\nEXAMPLES:\n  fleetctl submit units/hello.service units/web@.service\n  fleetctl submit --replace hello.service"),
        starts("load", "Place units on machines, submitting them first if necessary")
            .after_help("EXAMPLES:\n  fleetctl load hello.service\n  fleetctl load --timeout 30s web@1.service web@2.service"),
        starts("start", "Start units, submitting and placing them first if necessary")
            .arg(
                own("max-unavailable", "N", "With --replace: so many units at a time, the next ones once these are active".into())
                    .value_parser(at_least_one)
                    .requires("replace")
                    .conflicts_with("no-block"),
            )
            .after_help(START_HELP),
        stops("stop", "Stop units, but leave them on their machines")
            .after_help("EXAMPLES:\n  fleetctl stop hello.service"),
        stops("restart", "Stop units and start them again where they are")
            .after_help("EXAMPLES:\n  fleetctl restart hello.service"),
        stops("unload", "Stop units and take them off their machines").aliases(["u", "un"])
            .after_help("EXAMPLES:\n  fleetctl unload hello.service"),
        stops("destroy", "Stop units and remove them from the cluster").alias("d")
            .after_help("EXAMPLES:\n  fleetctl destroy hello.service\n  fleetctl destroy web@1.service web@2.service web@.service"),
    ]
}

fn machine_commands() -> Vec<Command> {
    let machines = || {
        Arg::new("machines")
            .value_name("MACHINE")
            .num_args(1..)
            .required(true)
            .value_parser(NonEmptyStringValueParser::new())
            .help("A machine by the start of its id")
    };
    vec![
        sub("cordon", "Place no new units on machines; those there stay")
            .arg(machines())
            .after_help("EXAMPLES:\n  fleetctl cordon 1f2e3d4c"),
        blocking(sub("drain", "Move the units of machines elsewhere, and place no new ones there").arg(machines()))
            .after_help("Returns when none but global units are left there. A unit that fits nowhere else waits for a machine.\nThe end of it: fleetctl uncordon.\n\nEXAMPLES:\n  fleetctl drain 1f2e3d4c\n  fleetctl drain --timeout 2m 1f2e3d4c 5a6b7c8d"),
        sub("uncordon", "Place units on machines again that were cordoned or drained")
            .arg(machines())
            .after_help("Nothing moves back by itself.\n\nEXAMPLES:\n  fleetctl uncordon 1f2e3d4c"),
    ]
}

/// Of Quadlet's units.
const CONTAINERS: &str = "\
web.container is a unit in Quadlet's format (podman-systemd.unit(5)), with [X-Fleet] where it is to say more. What is
handed in is the service it stands for, web.service, which runs the container with this system's docker; so it is
listed, and every command knows it by either name. A key that docker cannot honour is refused, with its line.";

const START_HELP: &str = "\
Returns when systemd calls the unit active (a service without Type= is that as soon as its process is there), or
finished; with 1 when it failed or waits to be restarted. A unit that fits on no machine waits, and standard
error says why; --timeout or --block-attempts end the waiting.

Units are looked for in the cluster, then as local files, then as instances of a template in the cluster or
beside the local file.

With --max-unavailable units are replaced a few at a time; when one does not become active, the rest keep what they run.

A unit in Quadlet's format, web.container, becomes web.service: fleetctl verify web.container shows it.

EXAMPLES:
  fleetctl start units/hello.service
  fleetctl start web.container
  fleetctl start web@1.service web@2.service
  fleetctl start --replace --max-unavailable 1 web@1.service web@2.service web@3.service";

/// Said where a machine other than this one may be visited.
const KEYS: &str = "\
A unit on another machine is reached over SSH, as the user core, with a key of yours: from an agent (between the
machines of the cluster: log in to the first with ssh -A), --ssh-identity or ~/.ssh/config. Its host key must be
known: --known-hosts-file names where from, --strict-host-key-checking=false takes any.";

fn look_commands() -> Vec<Command> {
    vec![
        sub("cat", "Print a unit file as the cluster has it").alias("c").arg(units())
            .after_help("EXAMPLES:\n  fleetctl cat hello.service"),
        sub("status", "Show the status of units, from systemd on their machines").arg(port()).arg(units())
            .after_help("EXAMPLES:\n  fleetctl status hello.service\n  fleetctl --tunnel 10.0.0.1 status hello.service\n\n".to_owned() + KEYS),
        sub("journal", "Print the journal of a unit, from its machine").args([
            own("lines", "N", "Number of recent lines".into()).short('n').default_value("10").value_parser(value_parser!(u64)),
            go::switch("follow", "Go on with new lines as they come").short('f').alias("f"),
            go::switch("sudo", "Run journalctl with sudo"),
            own("output", "MODE", "journalctl's output mode".into()).default_value("short"),
            port(),
            units(),
        ])
        .after_help("EXAMPLES:\n  fleetctl journal hello.service\n  fleetctl journal -f -n 100 hello.service\n\n".to_owned() + KEYS),
        sub("ssh", "Open a shell or run a command on a machine, by id or by a unit that is there")
            .override_usage("fleetctl ssh [OPTIONS] <MACHINE|UNIT> [--] [COMMAND]...")
            .after_help("EXAMPLES:\n  fleetctl ssh 1f2e3d4c                      a prefix of the machine's id will do\n  fleetctl ssh hello.service uptime          the machine hello.service runs on\n  fleetctl ssh --unit hello.service -- ls -l /run\n\n".to_owned() + KEYS)
            .args([
                own("machine", "MACHINE", "The machine, by (a prefix of) its id".into()),
                own("unit", "UNIT", "The machine a unit runs on".into()),
                go::switch("forward-agent", "Let the machine use our SSH agent").short('A').alias("A"),
                port(),
                Arg::new("words")
                    .value_name("MACHINE|UNIT and COMMAND")
                    .help("A machine by the start of its id, or a unit's machine; then what its shell shall run")
                    .num_args(0..)
                    .trailing_var_arg(true)
                    .allow_hyphen_values(true),
            ]),
    ]
}

fn other_commands() -> Vec<Command> {
    vec![
        sub("version", "Print the version").after_help("EXAMPLES:\n  fleetctl version"),
        shell::completion_command()
            .help_template(SUB_TEMPLATE)
            .after_help("EXAMPLES:\n  fleetctl completion bash >/etc/bash_completion.d/fleetctl\n  fleetctl completion zsh >/usr/local/share/zsh/site-functions/_fleetctl"),
        sub("man", "Write the manual pages into a folder")
            .arg(
                Arg::new("folder")
                    .value_name("DIR")
                    .required(true)
                    .value_parser(value_parser!(PathBuf))
                    .help("It must exist"),
            )
            .after_help("EXAMPLES:\n  fleetctl man /usr/local/share/man/man1"),
        sub(
            "fd-forward",
            "Connect standard input and output to a unix socket (the far end of --tunnel)",
        )
        .arg(
            Arg::new("socket")
                .value_name("SOCKET")
                .required(true)
                .help("Its path; unix:// before it does no harm"),
        )
        .after_help("EXAMPLES:\n  ssh core@10.0.0.1 fleetctl fd-forward /run/fleet.sock"),
        sub("verify", "Print the services that .container files stand for, without asking a cluster")
            .arg(
                Arg::new("units")
                    .value_name("FILE")
                    .num_args(0..)
                    .help("A .container file; for other units the command is fleet's old one, which is no more"),
            )
            .after_help(format!("{CONTAINERS}\n\nEXAMPLES:\n  fleetctl verify web.container")),
    ]
}

fn sub(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about).help_template(SUB_TEMPLATE)
}

fn blocking(command: Command) -> Command {
    command
        .arg(go::switch("no-block", "Do not wait for the units"))
        .arg(
            own(
                "block-attempts",
                "N",
                "Wait for N times two seconds at most; 0 is for ever".into(),
            )
            .default_value("0")
            .allow_negative_numbers(true)
            .value_parser(value_parser!(i64)),
        )
        .arg(
            own("timeout", "DURATION", "Wait this long at most: 30s, 5m".into())
                .value_parser(go::parse_duration),
        )
}

fn units() -> Arg {
    Arg::new("units").value_name("UNIT").num_args(0..).help(
        "A unit by its name, or by the path of its file; NAME and NAME.container stand for NAME.service",
    )
}

fn port() -> Arg {
    own(
        "ssh-port",
        "PORT",
        "The machines' SSH port [default: 22, or what ~/.ssh/config says]".into(),
    )
    .value_parser(value_parser!(u16))
}

fn text(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .help(help)
        .global(true)
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number: usize = text.parse().map_err(|e| format!("{e}"))?;
    (number > 0)
        .then_some(number)
        .ok_or_else(|| "it must be at least 1".to_owned())
}

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
