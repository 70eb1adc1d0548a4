//! The lists.

use clap::Command;

use super::super::lists;
use super::{own, sub};
use crate::go;

/// Their commands.
pub(super) fn commands() -> Vec<Command> {
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
            .after_help("EXAMPLES:\n  fleetctl list-unit-files\n\nThe field reason says why a unit is on no machine, or why its machine does nothing about it:\n  fleetctl list-unit-files --fields unit,dstate,state,reason"),
    ]
}
