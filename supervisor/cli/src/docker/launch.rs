//! The places a launcher runs in: here, in a scope around us, in a service of the container's own.
//!
//! Duty: the command lines that call `docker launch` again, and that command itself.

use std::ffi::OsString;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::ArgMatches;
use corten_container::containers::{ContainerError, Containers};
use corten_container::launch::{self, Mode};
use corten_container::record::{Record, Status};
use corten_container::systemd;

use super::Context;
use super::failure::{Failure, Outcome};
use super::options::{on, text};

/// `docker launch`: what services, scopes and `docker run` itself call.
pub(super) fn launch(context: &Context, matches: &ArgMatches) -> Outcome {
    let id = text(matches, "name").unwrap_or_default();
    if on(matches, "tidy") {
        launch::tidy(&context.engine, id).map_err(Failure::engine)?;
        return Ok(0);
    }
    let mode = if on(matches, "hand-over") {
        Mode::HandOver
    } else {
        Mode::Foreground
    };
    let result = here(context, id, mode);
    let failed = !matches!(result, Ok(0));
    if on(matches, "unit") && failed && is_unwanted(context, id) {
        return Ok(systemd::STOPPED_ON_REQUEST);
    }
    result
}

/// Whether a container was asked to end or is no more: its unit is not to start it again then.
fn is_unwanted(context: &Context, id: &str) -> bool {
    match Containers::new(&context.engine).find(id) {
        Ok(record) => record.state.stop_requested,
        Err(error) => matches!(error, ContainerError::Unknown(_)),
    }
}

/// Launches a container with this process as its launcher.
pub(super) fn here(context: &Context, id: &str, mode: Mode) -> Outcome {
    match launch::run(&context.engine, id, mode) {
        Ok(status) => {
            if mode == Mode::HandOver {
                tidy_later(context, id);
            }
            Ok(u8::try_from(status).unwrap_or(u8::MAX))
        }
        Err(error) => Err(Failure::engine(&error).with_code(error.exit_code())),
    }
}

/// After a hand-over nobody waits for the container; a unit bound to its unit cleans up. Without it, the next command of
/// ours does.
fn tidy_later(context: &Context, id: &str) {
    let Ok(record) = Containers::new(&context.engine).find(id) else {
        return;
    };
    let unit = record.state.cgroup.rsplit('/').next().unwrap_or_default();
    let Ok(line) = command_line(context, &record, &["--tidy"]) else {
        return;
    };
    let _ = Command::new("systemd-run")
        .args(systemd::tidy_command(&record, unit, &line))
        .stdin(Stdio::null())
        .status();
}

/// `docker launch CONTAINER` as a program and its arguments.
fn command_line(context: &Context, record: &Record, options: &[&str]) -> Result<Vec<OsString>, Failure> {
    let (program, before) = systemd::docker_command().map_err(Failure::engine)?;
    let mut line = vec![program.into_os_string()];
    line.extend(before);
    line.extend(context.root_arguments());
    line.push("launch".into());
    line.extend(options.iter().map(OsString::from));
    line.push(record.id.clone().into());
    Ok(line)
}

fn become_program(program: &str, arguments: &[OsString]) -> Failure {
    let error = Command::new(program).args(arguments).exec();
    Failure::engine(format!("running {program}: {error}")).with_code(125)
}

/// Starts this program afresh in this process, to launch with little memory and one thread. Returns only a failure.
pub(super) fn again(context: &Context, record: &Record, hand_over: bool) -> Failure {
    let options: &[&str] = if hand_over { &["--hand-over"] } else { &[] };
    match command_line(context, record, options) {
        Ok(line) => become_program(&line[0].to_string_lossy(), &line[1..]),
        Err(failure) => failure.with_code(125),
    }
}

/// Replaces this process by the same launch in a scope of the container's own. Returns only a failure.
pub(super) fn in_scope(context: &Context, record: &Record) -> Failure {
    match command_line(context, record, &[]) {
        Ok(line) => become_program("systemd-run", &systemd::scope_command(record, &line)),
        Err(failure) => failure.with_code(125),
    }
}

/// Starts a container as a service of its own and waits until it runs.
pub(super) fn as_service(context: &Context, record: &Record) -> Result<(), Failure> {
    let line = command_line(context, record, &["--unit"])?;
    if !systemd::running() {
        return detached(context, record, &line);
    }
    let output = Command::new("systemd-run")
        .args(systemd::service_command(record, &line))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::engine(format!("running systemd-run: {error}")).with_code(125))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(refusal(context, record).unwrap_or_else(|| Failure::engine(words).with_code(125)))
}

/// What the launcher wrote into the record when it failed.
fn refusal(context: &Context, record: &Record) -> Option<Failure> {
    let record = Containers::new(&context.engine).find(&record.id).ok()?;
    let failed = record.state.status != Status::Running && !record.state.error.is_empty();
    let code = u8::try_from(record.state.exit_code).unwrap_or(125);
    failed.then(|| Failure::engine(&record.state.error).with_code(code))
}

/// Where systemd does not run: a launcher left behind, without anybody to restart or limit it.
fn detached(context: &Context, record: &Record, line: &[OsString]) -> Result<(), Failure> {
    let failed =
        |error: std::io::Error| Failure::engine(format!("starting the launcher: {error}")).with_code(125);
    let path = context.engine.run_container(&record.id).join("ready");
    std::fs::create_dir_all(context.engine.run_container(&record.id)).map_err(failed)?;
    let _ = std::fs::remove_file(&path);
    let socket = UnixDatagram::bind(&path).map_err(failed)?;
    socket
        .set_read_timeout(Some(Duration::from_millis(50)))
        .map_err(failed)?;
    let mut child = Command::new(&line[0])
        .args(&line[1..])
        .env("NOTIFY_SOCKET", &path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    // Until it says it is ready, or ends.
    loop {
        let mut message = [0; 256];
        if socket
            .recv(&mut message)
            .is_ok_and(|n| message[..n].starts_with(b"READY=1"))
        {
            return Ok(());
        }
        if let Some(status) = child.try_wait().map_err(failed)? {
            if status.success() {
                return Ok(());
            }
            let unknown = || Failure::engine(format!("the launcher ended with {status}")).with_code(125);
            return match refusal(context, record) {
                Some(failure) => Err(failure),
                // It ran and ended already, before we looked.
                None if Containers::new(&context.engine)
                    .find(&record.id)
                    .is_ok_and(|r| r.state.started_at.is_some()) =>
                {
                    Ok(())
                }
                None => Err(unknown()),
            };
        }
    }
}
