//! Switches as Go's flag packages take them: `--full`, `--full=true`, `--full=false`.

use clap::builder::BoolishValueParser;
use clap::{Arg, ArgAction, ArgMatches};

/// A switch that is off unless given.
pub(crate) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .default_value("false")
        .value_parser(BoolishValueParser::new())
        .hide_default_value(true)
        .hide_possible_values(true)
        .value_name("BOOL")
}

/// Whether the switch `name` is on.
pub(crate) fn switch_on(matches: &ArgMatches, name: &str) -> bool {
    matches.get_one::<bool>(name).copied().unwrap_or(false)
}
