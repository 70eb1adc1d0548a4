//! etcdctl for the v3 API (`ETCDCTL_API=3`), over gRPC; its output and exit codes are etcd 3.4's.
//!
//! Refuses to do, and says so: snapshot files (`etcdutl`), interactive watches, the output formats fields and protobuf,
//! check, make-mirror, migrate.

mod arguments;
mod auth;
mod cluster;
mod connection;
mod dial;
mod fault;
mod key_value;
mod lease;
mod lock;
mod number;
mod print;
mod settings;
mod snapshot;
mod trace;
mod txn;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::ArgMatches;

use crate::terminal::{answer, print as put, say};
use connection::Etcd;
use fault::{BAD_FEATURE, ERROR, Failure};
use print::Format;
use settings::Settings;

/// Runs etcdctl; `args[0]` is the name it was called under.
pub(super) fn main(args: Vec<OsString>) -> ExitCode {
    let matches = match arguments::command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            answer(&error);
            return ExitCode::from(u8::from(error.use_stderr()) * ERROR);
        }
    };
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(ERROR, format!("cannot start: {error}")))
        .and_then(|runtime| runtime.block_on(run(&matches)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.told(),
    }
}

async fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let Some((name, command)) = matches.subcommand() else {
        put(arguments::command().render_help().to_string());
        return Ok(());
    };
    if name == "version" {
        say(format!(
            "etcdctl version: {}\nAPI version: 3.4",
            env!("CARGO_PKG_VERSION")
        ));
        return Ok(());
    }
    let settings = Settings::read(matches).await?;
    let (verb, below) = command.subcommand().unwrap_or(("", command));
    if settings.format == Format::Table
        && !matches!(name, "endpoint")
        && !(name == "member" && verb == "list")
    {
        return Err(Failure::new(BAD_FEATURE, "table not supported as output format"));
    }
    match name {
        "endpoint" => return cluster::endpoint(&settings, verb, below).await,
        "defrag" => return cluster::defragment(&settings, command).await,
        "move-leader" => return cluster::move_leader(&settings, command).await,
        "snapshot" => return snapshot::run(&settings, verb, below).await,
        "watch" => return watch::run(&settings, command).await,
        _ => {}
    }
    let format = settings.format;
    let etcd = Etcd::connect(&settings).await?;
    match name {
        "put" => key_value::put(&etcd, format, command).await,
        "get" => key_value::get(&etcd, format, command).await,
        "del" => key_value::delete(&etcd, format, command).await,
        "compaction" => key_value::compact(&etcd, command).await,
        "txn" => txn::run(&etcd, format, command).await,
        "lease" => lease::run(&etcd, format, verb, below).await,
        "member" => cluster::member(&etcd, format, verb, below).await,
        "alarm" => cluster::alarm(&etcd, format, verb).await,
        "lock" => lock::lock(&etcd, format, command).await,
        "elect" => lock::elect(&etcd, format, command).await,
        "auth" => auth::auth(&etcd, verb).await,
        "user" => auth::user(&etcd, format, verb, below).await,
        "role" => auth::role(&etcd, format, verb, below).await,
        _ => Err(Failure::args(format!("unknown command {name:?} for \"etcdctl\""))),
    }
}

fn words(matches: &ArgMatches) -> Vec<&str> {
    let words = matches.get_many::<String>("rest").unwrap_or_default();
    words.map(String::as_str).collect()
}

fn text<'m>(matches: &'m ArgMatches, name: &str) -> Option<&'m str> {
    matches.get_one::<String>(name).map(String::as_str)
}

/// Whether a switch is there and on.
fn switch(matches: &ArgMatches, name: &str) -> bool {
    matches
        .try_get_one::<bool>(name)
        .ok()
        .flatten()
        .copied()
        .unwrap_or_default()
}

fn integer(matches: &ArgMatches, name: &str) -> i64 {
    matches.get_one::<i64>(name).copied().unwrap_or_default()
}
