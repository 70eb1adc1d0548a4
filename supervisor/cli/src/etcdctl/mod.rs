//! etcdctl for the v2 API, as etcd 2.3 and 3.x with ETCDCTL_API=2 had it; its output and exit codes are a contract
//! (`etcd.md` section 2). With ETCDCTL_API=3 it is another program, [`v3`].
//!
//! Exit codes: 0 ok, 1 wrong arguments, 2 no connection, 4 an error of the server, 5 the cluster is not healthy.
//! Refuses to do, and says so: backup and import.

mod arguments;
mod auth;
mod cluster;
mod dashes;
mod discovery;
mod fault;
mod health;
mod key_commands;
mod keys;
mod members;
mod password;
mod print;
mod roles;
mod settings;
mod users;
mod v3;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::ArgMatches;

use crate::terminal::{answer, print, say, tell};
use fault::Failure;
use settings::Settings;

/// Runs etcdctl; `args[0]` is the name it was called under.
pub fn main(args: Vec<OsString>) -> ExitCode {
    if std::env::var("ETCDCTL_API").is_ok_and(|api| api == "3") {
        return v3::main(args);
    }
    let command = arguments::command();
    let args = dashes::doubled(&command, args);
    let matches = match command.try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => return usage(&error),
    };
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::arguments(format!("cannot start: {error}")))
        .and_then(|runtime| runtime.block_on(run(&matches)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.text.is_empty() {
                tell(&failure.text);
            }
            ExitCode::from(failure.code)
        }
    }
}

async fn run(matches: &ArgMatches) -> Result<(), Failure> {
    if switch(matches, "version") {
        say(format!(
            "etcdctl version: {}\nAPI version: 2",
            env!("CARGO_PKG_VERSION")
        ));
        return Ok(());
    }
    let mut settings = Settings::read(matches)?;
    let Some((name, command)) = matches.subcommand() else {
        print(arguments::command().render_help().to_string());
        return Ok(());
    };
    if !arguments::LATER.contains(&name) {
        settings.complete(matches).await?;
    }
    match name {
        "user" => users::run(&settings, command).await,
        "role" => roles::run(&settings, command).await,
        "auth" => auth::run(&settings, command).await,
        "watch" => watch::watch(&settings, command).await,
        "exec-watch" => watch::exec_watch(&settings, command).await,
        "cluster-health" => health::check(&settings, command).await,
        "member" => members::run(&settings, command).await,
        _ if arguments::LATER.contains(&name) => Err(not_ours(name)),
        _ => key_commands::run(&settings, name, command).await,
    }
}

fn switch(matches: &ArgMatches, name: &str) -> bool {
    crate::go::switch_on(matches, name)
}

/// What to do instead of a command that works on etcd's own files.
fn not_ours(name: &str) -> Failure {
    let instead = match name {
        "backup" => {
            "it copies the files of an etcd. Of ours: ETCDCTL_API=3 etcdctl snapshot save FILE asks a running member; or copy the \
             data directory of a stopped one, and start the copy with --force-new-cluster"
        }
        _ => "it reads the files of etcd 0.4. Write the keys with etcdctl set, mk and mkdir",
    };
    Failure::arguments(format!("Error:  etcdctl {name} is not here: {instead}"))
}

/// Help goes to standard output; a mistake costs exit code 1, not clap's 2, which means "no connection" here.
fn usage(error: &clap::Error) -> ExitCode {
    answer(error);
    ExitCode::from(u8::from(error.use_stderr()))
}
