//! `stop`, `kill`, `rm`, `start`, `restart`, `wait`, `rename`.
//!
//! Duty: ask a container's first process to end, and wait for it and then for its launcher, so that the record says how it
//! ended when the command returns.

use std::process::{Command, Stdio};
use std::time::Duration;

use clap::ArgMatches;
use corten_container::containers::{ContainerError, Containers};
use corten_container::launch::{signal_number, stop_signal};
use corten_container::record::{Record, RestartPolicy, Status};
use corten_container::{network, systemd};

use super::Context;
use super::failure::{Failure, Outcome, for_each};
use super::options::{all, on, text};

/// The signal nothing survives.
const SIGKILL: i32 = nix::sys::signal::Signal::SIGKILL as i32;
/// The signal a launcher takes for "end".
const SIGTERM: i32 = nix::sys::signal::Signal::SIGTERM as i32;
/// How long the kernel and then the launcher may take after SIGKILL.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether a container runs or is about to.
fn lives(record: &Record) -> bool {
    matches!(record.state.status, Status::Running | Status::Starting)
}

/// Notes that the end was asked for, so that no restart policy applies.
fn note_request(containers: &Containers, record: &Record) -> Result<(), Failure> {
    containers
        .change(&record.id, |record| record.state.stop_requested = true)
        .map_err(Failure::engine)
}

/// Waits until the process is gone and its launcher has written down how it ended. False when `limit` passed first.
fn wait_end(record: &Record, limit: Option<Duration>) -> Result<bool, Failure> {
    for process in [&record.state.process, &record.state.launcher]
        .into_iter()
        .flatten()
    {
        if !process.wait_gone(limit).map_err(Failure::engine)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Sends a signal to the first process, or to a launcher that has none yet (which knows only SIGTERM then).
fn send(record: &Record, signal: i32) -> Result<(), Failure> {
    let signal = if record.state.process.is_none() && signal != SIGKILL {
        SIGTERM
    } else {
        signal
    };
    if let Some(target) = record.state.process.as_ref().or(record.state.launcher.as_ref()) {
        target.signal_number(signal).map_err(Failure::engine)?;
    }
    Ok(())
}

/// Asks a container to end, and kills it when `limit` (none: never) has passed.
fn end(
    containers: &Containers,
    record: &Record,
    signal: i32,
    limit: Option<Duration>,
) -> Result<(), Failure> {
    note_request(containers, record)?;
    send(record, signal)?;
    let asked = record.state.process.as_ref().or(record.state.launcher.as_ref());
    let gone = match asked {
        Some(process) => process.wait_gone(limit).map_err(Failure::engine)?,
        None => true,
    };
    let mut record = record.clone();
    if !gone {
        // One that was being started has a process by now, and killing its launcher would leave that behind.
        record = match containers.find(&record.id) {
            Ok(record) => record,
            Err(ContainerError::Unknown(_)) => return Ok(()),
            Err(error) => return Err(Failure::engine(error)),
        };
        send(&record, SIGKILL)?;
    }
    if wait_end(&record, Some(PATIENCE))? {
        return Ok(());
    }
    Err(Failure::engine(ContainerError::Undead(
        record.name.clone(),
        PATIENCE.as_secs(),
    )))
}

/// Ends the unit of a container that does not live but that systemd may be about to start again.
fn end_restarts(record: &Record) -> Result<(), Failure> {
    if record.host.restart == RestartPolicy::No || !systemd::running() {
        return Ok(());
    }
    // It fails when there is no such unit any more, which is just as well.
    Command::new("systemctl")
        .args(["stop", "--quiet", "--", &record.unit_name()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map(drop)
        .map_err(|error| Failure::engine(format!("running systemctl: {error}")))
}

/// `docker stop`.
pub(super) fn stop(context: &Context, matches: &ArgMatches) -> Outcome {
    let containers = Containers::new(&context.engine);
    for_each(all(matches, "names").iter(), |name| {
        stop_one(&containers, name, matches)?;
        println!("{name}");
        Ok(())
    })
}

fn stop_one(containers: &Containers, name: &str, matches: &ArgMatches) -> Result<Record, Failure> {
    let record = containers.find(name).map_err(Failure::engine)?;
    if lives(&record) {
        let signal = match text(matches, "signal") {
            Some(text) => {
                signal_number(text).ok_or_else(|| Failure::engine(format!("Invalid signal: {text}")))?
            }
            None => stop_signal(&record),
        };
        let seconds = matches.get_one::<i64>("time").copied();
        let limit = match seconds {
            Some(seconds) if seconds < 0 => None,
            Some(seconds) => Some(Duration::from_secs(seconds.unsigned_abs())),
            None => Some(Duration::from_secs(record.config.stop_timeout.unwrap_or(10))),
        };
        end(containers, &record, signal, limit)?;
    } else {
        end_restarts(&record)?;
    }
    Ok(record)
}

/// `docker kill`.
pub(super) fn kill(context: &Context, matches: &ArgMatches) -> Outcome {
    let containers = Containers::new(&context.engine);
    let wanted = text(matches, "signal").unwrap_or("KILL");
    let signal = signal_number(wanted).ok_or_else(|| Failure::engine(format!("Invalid signal: {wanted}")))?;
    for_each(all(matches, "names").iter(), |name| {
        let record = containers.find(name).map_err(Failure::engine)?;
        if !lives(&record) {
            let why = ContainerError::NotRunning(record.id);
            return Err(Failure::engine(format!("cannot kill container: {name}: {why}")));
        }
        if signal == SIGKILL {
            // A launcher without a process yet would leave behind what it is making.
            let first = if record.state.process.is_some() {
                SIGKILL
            } else {
                SIGTERM
            };
            end(&containers, &record, first, Some(PATIENCE))?;
        } else {
            send(&record, signal)?;
        }
        println!("{name}");
        Ok(())
    })
}

/// `docker rm`.
pub(super) fn remove(context: &Context, matches: &ArgMatches) -> Outcome {
    let containers = Containers::new(&context.engine);
    let (force, volumes) = (on(matches, "force"), on(matches, "volumes"));
    let code = for_each(all(matches, "names").iter(), |name| {
        let record = match containers.find(name) {
            Err(ContainerError::Unknown(_)) if force => {
                eprintln!("Error response from daemon: No such container: {name}");
                return Ok(());
            }
            other => other.map_err(Failure::engine)?,
        };
        if force && lives(&record) {
            end(&containers, &record, SIGKILL, Some(PATIENCE))?;
        } else if force {
            end_restarts(&record)?;
        }
        match containers.remove(&record, volumes) {
            // One started with --rm may have gone by itself.
            Ok(()) | Err(ContainerError::Unknown(_)) => {}
            Err(error) => return Err(Failure::engine(error)),
        }
        println!("{name}");
        Ok(())
    })?;
    sweep(context);
    Ok(code)
}

/// Frees addresses and ports of containers that died without a word.
pub(super) fn sweep(context: &Context) {
    if let Err(error) = network::sweep(&context.engine) {
        eprintln!("WARNING: freeing addresses and ports of dead containers: {error}");
    }
}

/// `docker start`.
pub(super) fn start(context: &Context, matches: &ArgMatches) -> Outcome {
    let containers = Containers::new(&context.engine);
    let names = all(matches, "names");
    if on(matches, "attach") || on(matches, "interactive") {
        let [name] = names.as_slice() else {
            return Err(Failure::plain(
                1,
                "you cannot start and attach multiple containers at once",
            ));
        };
        let record = containers.find(name).map_err(Failure::engine)?;
        return super::run::foreground(context, &record, false, false);
    }
    for_each(names.iter(), |name| {
        let record = containers.find(name).map_err(Failure::engine)?;
        if !lives(&record) {
            super::launch::as_service(context, &record)?;
        }
        println!("{name}");
        Ok(())
    })
}

/// `docker restart`.
pub(super) fn restart(context: &Context, matches: &ArgMatches) -> Outcome {
    let containers = Containers::new(&context.engine);
    for_each(all(matches, "names").iter(), |name| {
        let record = stop_one(&containers, name, matches)?;
        super::launch::as_service(context, &record)?;
        println!("{name}");
        Ok(())
    })
}

/// `docker wait`.
pub(super) fn wait(context: &Context, matches: &ArgMatches) -> Outcome {
    let containers = Containers::new(&context.engine);
    for_each(all(matches, "names").iter(), |name| {
        let record = containers.find(name).map_err(Failure::engine)?;
        wait_end(&record, None)?;
        match containers.find(&record.id) {
            Ok(record) => println!("{}", record.state.exit_code),
            Err(ContainerError::Unknown(_)) => println!("0"),
            Err(error) => return Err(Failure::engine(error)),
        }
        Ok(())
    })
}

/// `docker rename`.
pub(super) fn rename(context: &Context, matches: &ArgMatches) -> Outcome {
    let containers = Containers::new(&context.engine);
    let (old, new) = (
        text(matches, "name").unwrap_or_default(),
        text(matches, "new").unwrap_or_default(),
    );
    let record = containers.find(old).map_err(Failure::engine)?;
    containers.rename(&record.id, new).map_err(Failure::engine)?;
    Ok(0)
}
