//! The rest: nothing of it asks a cluster.

use std::path::PathBuf;

use clap::{Arg, Command, value_parser};

use super::{SUB_TEMPLATE, sub};
use crate::shell;

/// Of Quadlet's units.
const CONTAINERS: &str = "\
web.container is a unit in Quadlet's format (podman-systemd.unit(5)), with [X-Fleet] where it is to say more. What is
handed in is the service it stands for, web.service, which runs the container with this system's docker; so it is
listed, and every command knows it by either name. A key that docker cannot honour is refused, with its line.";

/// Their commands.
pub(super) fn commands() -> Vec<Command> {
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
