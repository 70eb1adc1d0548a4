//! What is done to machines.

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, Command};

use super::sub;
use super::units::blocking;

/// Their commands.
pub(super) fn commands() -> Vec<Command> {
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
