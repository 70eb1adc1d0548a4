//! Looking at units and machines.

use clap::{Arg, Command, value_parser};

use super::{own, sub, units};
use crate::go;

/// Said where a machine other than this one may be visited.
const KEYS: &str = "\
A unit on another machine is reached over SSH, as the user core, with a key of yours: from an agent (between the
machines of the cluster: log in to the first with ssh -A), --ssh-identity or ~/.ssh/config. Its host key must be
known: --known-hosts-file names where from, --strict-host-key-checking=false takes any.";

const STATUS_HELP: &str = "\
Shows all the units named, and ends as systemctl does for the first that is not well (3 where it is not active), or with 1
where one of them is nowhere.

With --output json nobody is visited: it prints one array with an object for each unit, the fields of list-unit-files
(unit, desc, dstate, state, global, hash, target, reason) and machines, one object for each machine that says something of
it (machine, ip, load, active, sub, hash, reason). Values are whole, null where nothing is known; a hash there that is not
the unit's is that of an older file. It ends with 0 in whatever state the units are, with 1 for one that nobody knows.

EXAMPLES:
  fleetctl status hello.service
  fleetctl status --output json hello.service
  fleetctl --tunnel 10.0.0.1 status hello.service

";

/// Their commands.
pub(super) fn commands() -> Vec<Command> {
    vec![
        sub("cat", "Print a unit file as the cluster has it").alias("c").arg(units())
            .override_usage("fleetctl cat <UNIT>")
            .after_help("EXAMPLES:\n  fleetctl cat hello.service"),
        sub("status", "Show the status of units, from systemd on their machines")
            .arg(
                own("output", "FORMAT", "systemctl's text, or all the cluster knows as JSON".into())
                    .default_value("text")
                    .value_parser(["text", "json"]),
            )
            .arg(port())
            .arg(units())
            .after_help(STATUS_HELP.to_owned() + KEYS),
        sub("journal", "Print the journal of a unit, from its machine").args([
            own("lines", "N", "Number of recent lines".into()).short('n').default_value("10").value_parser(value_parser!(u64)),
            go::switch("follow", "Go on with new lines as they come").short('f').alias("f"),
            go::switch("sudo", "Run journalctl with sudo"),
            own("output", "MODE", "journalctl's output mode".into()).default_value("short"),
            port(),
            units(),
        ])
        .override_usage("fleetctl journal [OPTIONS] <UNIT>")
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

fn port() -> Arg {
    own(
        "ssh-port",
        "PORT",
        "The machines' SSH port [default: 22, or what ~/.ssh/config says]".into(),
    )
    .value_parser(value_parser!(u16))
}
