//! The commands that make one request: set, mk, update, get, rm, rmdir, mkdir, setdir, updatedir, ls.

use std::io::Read;

use clap::ArgMatches;

use super::cluster::Cluster;
use super::fault::{Failure, SERVER_ERROR};
use super::keys::{self, Answer, Write};
use super::settings::Settings;
use super::{print, switch};
use crate::http::Request;
use crate::terminal::{say, tell};

/// Runs the command `name`.
pub(super) async fn run(settings: &Settings, name: &str, matches: &ArgMatches) -> Result<(), Failure> {
    let request = request(name, matches)?;
    let mut cluster = Cluster::synced(settings).await?;
    let answer = keys::call(&mut cluster, &request)
        .await
        .map_err(|fault| Failure::of(&fault, SERVER_ERROR))?;
    show(settings, name, matches, &answer)
}

/// What the command asks the server for.
fn request(name: &str, matches: &ArgMatches) -> Result<Request, Failure> {
    let key = match text(matches, "key") {
        Some(key) => key,
        None if name == "ls" => "/".to_owned(),
        None => return Err(Failure::arguments("Error:  key required")),
    };
    let ttl = || number(matches, "ttl");
    let dir = |prev_exist| {
        keys::put(
            &key,
            "",
            &Write {
                dir: true,
                prev_exist,
                ttl: ttl(),
                ..Write::default()
            },
        )
    };
    Ok(match name {
        "set" => {
            let prev_value = text(matches, "swap-with-value").unwrap_or_default();
            let prev_index = index(matches, "swap-with-index");
            keys::put(
                &key,
                &value(matches)?,
                &Write {
                    prev_value,
                    prev_index,
                    ttl: ttl(),
                    ..Write::default()
                },
            )
        }
        "mk" if switch(matches, "in-order") => keys::post(&key, &value(matches)?, ttl()),
        "mk" | "update" => {
            let prev_exist = Some(name == "update");
            keys::put(
                &key,
                &value(matches)?,
                &Write {
                    prev_exist,
                    ttl: ttl(),
                    ..Write::default()
                },
            )
        }
        "mkdir" => dir(Some(false)),
        "setdir" => dir(None),
        "updatedir" => dir(Some(true)),
        "get" => keys::get(&key, switch(matches, "quorum"), false, switch(matches, "sort")),
        "ls" => keys::get(
            &key,
            switch(matches, "quorum"),
            switch(matches, "recursive"),
            switch(matches, "sort"),
        ),
        "rmdir" => keys::delete(&key, true, false, "", 0),
        "rm" => {
            let prev_value = text(matches, "with-value").unwrap_or_default();
            let (dir, recursive) = (switch(matches, "dir"), switch(matches, "recursive"));
            keys::delete(&key, dir, recursive, &prev_value, index(matches, "with-index"))
        }
        other => return Err(Failure::arguments(format!("Error:  no command {other}"))),
    })
}

/// Prints the answer the way the command does.
fn show(settings: &Settings, name: &str, matches: &ArgMatches, answer: &Answer) -> Result<(), Failure> {
    let plain = settings.output == "simple";
    match name {
        "get" if answer.node.dir => {
            return Err(Failure::arguments(format!("{}: is a directory", answer.node.key)));
        }
        "ls" if plain => {
            let lines = print::listing(&answer.node, switch(matches, "p"));
            lines.iter().for_each(say);
        }
        "mkdir" | "setdir" | "updatedir" if plain => {}
        "rm" | "rmdir" if plain && answer.node.dir => {}
        _ => match print::answer(answer, &settings.output) {
            Ok(text) => say(text),
            Err(complaint) => tell(complaint),
        },
    }
    Ok(())
}

fn text(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.get_one::<String>(name).cloned()
}

fn number(matches: &ArgMatches, name: &str) -> i64 {
    matches.get_one::<i64>(name).copied().unwrap_or_default()
}

/// An index; a negative one is read as etcdctl does, as the huge number of the same bits.
fn index(matches: &ArgMatches, name: &str) -> u64 {
    number(matches, name).cast_unsigned()
}

/// The value on the command line, or all of standard input.
fn value(matches: &ArgMatches) -> Result<String, Failure> {
    if let Some(value) = text(matches, "value") {
        return Ok(value);
    }
    let required = || Failure::arguments("Error:  value required");
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .read_to_end(&mut bytes)
        .map_err(|_| required())?;
    if bytes.is_empty() {
        return Err(required());
    }
    String::from_utf8(bytes)
        .map_err(|_| Failure::arguments("Error:  the value on standard input is not UTF-8 text"))
}
