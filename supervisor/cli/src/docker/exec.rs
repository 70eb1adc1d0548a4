//! `docker exec`.

use clap::ArgMatches;
use corten_container::containers::Containers;
use corten_container::launch::exec::{self, Exec};

use super::Context;
use super::failure::{Failure, Outcome};
use super::options::{all, check_terminal, environment, on, text};

/// Runs a command in a running container; its status is ours.
pub(super) fn exec(context: &Context, matches: &ArgMatches) -> Outcome {
    check_terminal(matches)?;
    let mut args = all(matches, "args").into_iter();
    let name = args.next().unwrap_or_default();
    let exec = Exec {
        args: args.collect(),
        env: environment(matches)?,
        working_dir: text(matches, "workdir").map(str::to_owned),
        user: text(matches, "user").map(str::to_owned),
        tty: on(matches, "tty"),
        stdin: on(matches, "interactive"),
        privileged: on(matches, "privileged"),
        detach: on(matches, "detach"),
    };
    if exec.args.is_empty() {
        return Err(Failure::plain(
            1,
            "\"docker exec\" requires at least 2 arguments.\nSee 'docker exec --help'.",
        ));
    }
    let record = Containers::new(&context.engine)
        .find(&name)
        .map_err(Failure::engine)?;
    match exec::run(&context.engine, &record, &exec) {
        Ok(status) => Ok(u8::try_from(status).unwrap_or(u8::MAX)),
        Err(error) => {
            let code = match error.exit_code() {
                125 => 1,
                other => other,
            };
            Err(Failure::engine(error).with_code(code))
        }
    }
}
