//! `docker logs`: a container's lines out of the journal.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use clap::ArgMatches;
use corten_container::containers::Containers;
use corten_container::journal::{Line, Query, Source, journalctl_arguments, parse_line};
use corten_container::record::{Record, Status};

use super::Context;
use super::elapsed;
use super::failure::{Failure, Outcome};
use super::options::{on, text};

/// Shows the lines; also serves `attach`, which follows from now on.
pub(super) fn logs(context: &Context, matches: &ArgMatches) -> Outcome {
    let containers = Containers::new(&context.engine);
    let record = containers
        .find(text(matches, "name").unwrap_or_default())
        .map_err(Failure::engine)?;
    if record.host.log_driver == "none" {
        return Err(Failure::engine(
            "configured logging driver does not support reading",
        ));
    }
    let attach = matches.try_contains_id("tail").is_err();
    let query = if attach {
        attached(&record)?
    } else {
        query(&record, matches)?
    };
    let timestamps = !attach && on(matches, "timestamps");
    let mut child = Command::new("journalctl")
        .args(journalctl_arguments(&query))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::plain(1, format!("running journalctl: {error}")))?;
    let output = child.stdout.take().expect("standard output was piped");
    if query.follow {
        end_with(&containers, &record, child.id());
    }
    for json in BufReader::new(output).lines().map_while(Result::ok) {
        if let Some(line) = parse_line(&json)
            && !show(&line, timestamps)
        {
            break;
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    Ok(0)
}

/// Ends a following journalctl soon after the container has ended.
fn end_with(containers: &Containers, record: &Record, pid: u32) {
    let (containers, record) = (containers.clone(), record.clone());
    std::thread::spawn(move || {
        for process in [&record.state.process, &record.state.launcher]
            .into_iter()
            .flatten()
        {
            let _ = process.wait_gone(None);
        }
        // The journal's own delay: what was written last is shown before journalctl is ended.
        let _ = Command::new("journalctl")
            .arg("--sync")
            .stderr(Stdio::null())
            .status();
        std::thread::sleep(std::time::Duration::from_millis(200));
        drop(containers);
        if let Ok(pid) = i32::try_from(pid) {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
    });
}

fn show(line: &Line, timestamps: bool) -> bool {
    let mut bytes = Vec::new();
    if timestamps {
        bytes.extend_from_slice(stamp(line.time_us).as_bytes());
    }
    bytes.extend_from_slice(&line.text);
    bytes.push(b'\n');
    match line.source {
        Source::Stdout => std::io::stdout().lock().write_all(&bytes).is_ok(),
        Source::Stderr => std::io::stderr().lock().write_all(&bytes).is_ok(),
    }
}

fn stamp(time_us: i64) -> String {
    let time = chrono::DateTime::from_timestamp_micros(time_us).unwrap_or_default();
    format!("{} ", time.to_rfc3339_opts(chrono::SecondsFormat::Nanos, true))
}

/// When the container's first line may have been written.
fn beginning(record: &Record) -> i64 {
    elapsed::micros(&record.created).unwrap_or(0)
}

fn attached(record: &Record) -> Result<Query, Failure> {
    if record.state.status != Status::Running {
        return Err(Failure::plain(
            1,
            "cannot attach to a stopped container, start it first",
        ));
    }
    let since_us = elapsed::now() * 1_000_000;
    Ok(Query {
        tag: record.log_tag.clone(),
        since_us,
        follow: true,
        ..Query::default()
    })
}

fn query(record: &Record, matches: &ArgMatches) -> Result<Query, Failure> {
    let tail = match text(matches, "tail") {
        None | Some("all") => None,
        Some(text) => match text.parse::<i64>() {
            Ok(lines) => u64::try_from(lines).ok(),
            Err(_) => return Err(Failure::plain(1, format!("invalid value for \"tail\": {text}"))),
        },
    };
    let time = |name: &str| text(matches, name).map(|text| moment(name, text)).transpose();
    let since_us = time("since")?.unwrap_or(i64::MIN).max(beginning(record));
    // After its end another container may write under the same name.
    let ended = record
        .state
        .finished_at
        .as_deref()
        .filter(|_| record.state.status == Status::Exited);
    let ended = ended.and_then(elapsed::micros).map(|us| us + 2_000_000);
    let until_us = [time("until")?, ended].into_iter().flatten().min();
    let follow = on(matches, "follow") && record.state.status == Status::Running;
    Ok(Query {
        tag: record.log_tag.clone(),
        since_us,
        until_us,
        follow,
        tail,
    })
}

/// Reads a time: RFC 3339, seconds since the epoch, or how long ago (`10m`).
fn moment(option: &str, text: &str) -> Result<i64, Failure> {
    if let Some(us) = elapsed::micros(text) {
        return Ok(us);
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return Ok((seconds * 1e6) as i64);
    }
    if let Ok(ago) = crate::go::parse_duration(text) {
        return Ok(elapsed::now() * 1_000_000 - i64::try_from(ago.as_micros()).unwrap_or(i64::MAX));
    }
    let local = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"]
        .iter()
        .find_map(|form| chrono::NaiveDateTime::parse_from_str(text, form).ok());
    match local {
        Some(time) => Ok(time.and_utc().timestamp_micros()),
        None => Err(Failure::plain(
            1,
            format!("invalid value for \"{option}\": failed to parse value as time or duration: \"{text}\""),
        )),
    }
}
