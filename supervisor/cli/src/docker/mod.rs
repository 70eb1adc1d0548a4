//! `docker`: Docker's command line over the container engine, without a daemon.
//!
//! Duty: arguments, messages and exit statuses as Docker has them; each command is a short-lived process over the
//! engine's state on disk. Refusal: no `build`, no swarm, no API socket.
//! Danger: `run`, `start -a` and `exec` clone through libcontainer and must have one thread when they do.

mod arguments;
mod bring;
mod elapsed;
mod exec;
mod failure;
mod images;
mod inspect;
mod launch;
mod lifecycle;
mod listing;
mod logs;
mod options;
mod progress;
mod run;
mod shown;
mod system;
mod table;
mod template;

use std::ffi::OsString;
use std::process::ExitCode;

use corten_container::Engine;

use crate::shell;
use crate::terminal::print;
use failure::{Failure, Outcome};

/// Runs `docker` with `args` (the first is the name it was called under).
pub fn main(args: Vec<OsString>) -> ExitCode {
    let args = arguments::normalize(args);
    let matches = match arguments::command().try_get_matches_from(&args) {
        Ok(matches) => matches,
        Err(error) => return arguments::explain(&error, &args),
    };
    let root = matches
        .get_one::<String>("root")
        .map_or(corten_container::engine::DATA_ROOT, String::as_str);
    let run_root = matches
        .get_one::<String>("run-root")
        .map_or(corten_container::engine::RUN_ROOT, String::as_str);
    let context = Context {
        engine: Engine::new(root, run_root),
        roots: (root.to_owned(), run_root.to_owned()),
    };
    let Some((name, matches)) = matches.subcommand() else {
        return ExitCode::SUCCESS;
    };
    match dispatch(&context, name, matches, &args) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(name),
    }
}

/// What every command needs.
struct Context {
    engine: Engine,
    roots: (String, String),
}

impl Context {
    /// Arguments that lead a further call of `docker` to the same engine.
    fn root_arguments(&self) -> Vec<OsString> {
        let default = (
            corten_container::engine::DATA_ROOT,
            corten_container::engine::RUN_ROOT,
        );
        if (self.roots.0.as_str(), self.roots.1.as_str()) == default {
            return Vec::new();
        }
        vec![
            "--root".into(),
            self.roots.0.clone().into(),
            "--run-root".into(),
            self.roots.1.clone().into(),
        ]
    }
}

/// Commands that only look, and so leave no folders behind where there never was a container.
const LOOKING: [&str; 9] = [
    "attach", "images", "info", "inspect", "logs", "port", "ps", "top", "wait",
];

/// Makes the engine's folders for a command that is going to put something there.
fn prepare(context: &Context, name: &str) -> Result<(), Failure> {
    if LOOKING.contains(&name) {
        return Ok(());
    }
    context.engine.prepare().map_err(|error| {
        let what = format!("preparing {}: {error}", context.engine.data().display());
        Failure::plain(1, what)
    })
}

fn dispatch(context: &Context, name: &str, matches: &clap::ArgMatches, args: &[OsString]) -> Outcome {
    match name {
        "version" => return system::version(matches),
        "completion" => {
            print(shell::completion(arguments::command(), matches));
            return Ok(0);
        }
        "build" => {
            return Err(Failure::plain(
                1,
                "docker build is not part of Corten: build elsewhere, and docker load the image or pull it from a registry",
            ));
        }
        _ => {}
    }
    system::need_root(args)?;
    prepare(context, name)?;
    match name {
        "attach" | "logs" => logs::logs(context, matches),
        "cp" => Err(Failure::plain(
            1,
            "docker cp is not there yet: use docker exec with tar, or a volume",
        )),
        "create" => run::create(context, matches),
        "exec" => exec::exec(context, matches),
        "images" => images::images(context, matches),
        "info" => system::info(context, matches),
        "inspect" => inspect::inspect(context, matches),
        "kill" => lifecycle::kill(context, matches),
        "launch" => launch::launch(context, matches),
        "load" => images::load(context, matches),
        "port" => listing::port(context, matches),
        "ps" => listing::ps(context, matches),
        "pull" => images::pull(context, matches),
        "rename" => lifecycle::rename(context, matches),
        "restart" => lifecycle::restart(context, matches),
        "rm" => lifecycle::remove(context, matches),
        "rmi" => images::remove(context, matches),
        "run" => run::run(context, matches),
        "start" => lifecycle::start(context, matches),
        "stop" => lifecycle::stop(context, matches),
        "tag" => images::tag(context, matches),
        "top" => listing::top(context, matches),
        "wait" => lifecycle::wait(context, matches),
        other => unreachable!("clap knows no command {other}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use corten_container::containers::Containers;
    use corten_container::image::ImageStore;

    use super::*;

    #[test]
    fn looking_makes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let (data, run) = (root.path().join("data"), root.path().join("run"));
        let context = Context {
            engine: Engine::new(&data, &run),
            roots: (data.display().to_string(), run.display().to_string()),
        };
        for name in LOOKING {
            prepare(&context, name).unwrap();
        }
        lifecycle::sweep(&context);
        assert!(Containers::new(&context.engine).list().unwrap().is_empty());
        assert!(ImageStore::new(&context.engine).list().unwrap().is_empty());
        assert!(!data.exists() && !run.exists());
        prepare(&context, "run").unwrap();
        assert!(data.exists() && run.exists());
    }
}
