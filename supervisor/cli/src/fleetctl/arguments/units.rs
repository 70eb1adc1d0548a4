//! What is done to units.

use clap::{Command, value_parser};

use super::{own, sub, units};
use crate::go;

const START_HELP: &str = "\
Returns when systemd calls the unit active (a service without Type= is that as soon as its process is there), or
finished; with 1 when it failed or waits to be restarted. A unit that fits on no machine waits, and standard
error says why; --timeout or --block-attempts end the waiting.

Units are looked for in the cluster, then as local files, then as instances of a template in the cluster or
beside the local file.

With --max-unavailable units are replaced a few at a time; when one does not become active, the rest keep what they run.
A global unit is replaced on so many machines at a time, by the cluster itself: that goes on when fleetctl is ended, and
the same command follows it again. A new file, or stop, ends it; list-unit-files and status say how far it is.

A unit in Quadlet's format, web.container, becomes web.service: fleetctl verify web.container shows it.

EXAMPLES:
  fleetctl start units/hello.service
  fleetctl start web.container
  fleetctl start web@1.service web@2.service
  fleetctl start --replace --max-unavailable 1 web@1.service web@2.service web@3.service
  fleetctl start --replace --max-unavailable 2 agent-on-every-machine.service";

/// Of those that take units away.
const UNKNOWN: &str = "\
A unit that is not in the cluster gets a line on standard error, and is no failure: there is nothing left to do.\n\n";

/// Their commands.
pub(super) fn commands() -> Vec<Command> {
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
                own("max-unavailable", "N", "With --replace: so many units at a time, or machines of a global unit, the next ones once these are active".into())
                    .value_parser(at_least_one)
                    .requires("replace")
                    .conflicts_with("no-block"),
            )
            .after_help(START_HELP),
        stops("stop", "Stop units, but leave them on their machines")
            .after_help(UNKNOWN.to_owned() + "EXAMPLES:\n  fleetctl stop hello.service"),
        stops("restart", "Stop units and start them again where they are")
            .after_help("EXAMPLES:\n  fleetctl restart hello.service"),
        stops("unload", "Stop units and take them off their machines").aliases(["u", "un"])
            .after_help(UNKNOWN.to_owned() + "EXAMPLES:\n  fleetctl unload hello.service"),
        stops("destroy", "Stop units and remove them from the cluster").alias("d")
            .after_help(UNKNOWN.to_owned() + "EXAMPLES:\n  fleetctl destroy hello.service\n  fleetctl destroy web@1.service web@2.service web@.service"),
    ]
}

/// With the options of a command that waits.
pub(super) fn blocking(command: Command) -> Command {
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

fn at_least_one(text: &str) -> Result<usize, String> {
    let number: usize = text.parse().map_err(|e| format!("{e}"))?;
    (number > 0)
        .then_some(number)
        .ok_or_else(|| "it must be at least 1".to_owned())
}
