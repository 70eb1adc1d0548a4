//! `docker run` and `docker create`.
//!
//! Duty: image, record, then the launch where it belongs:
//! - in a service's cgroup the container becomes part of that service, and this process its launcher;
//! - in a notifying service started by systemd itself it becomes the service's main process;
//! - elsewhere (a login session) it gets a scope of its own around this same process;
//! - with `-d` it becomes a transient service.

use std::ffi::OsString;
use std::process::Command;

use clap::ArgMatches;
use corten_container::containers::Containers;
use corten_container::record::{HostConfig, NetworkMode, Record};
use corten_container::{create as build, launch, systemd};

use super::failure::{Failure, Outcome};
use super::options::{check_terminal, on, request, text};
use super::{Context, bring};

/// `docker create`.
pub(super) fn create(context: &Context, matches: &ArgMatches) -> Outcome {
    let (record, _) = make(context, matches)?;
    println!("{}", record.id);
    Ok(0)
}

/// `docker run`.
pub(super) fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let detach = on(matches, "detach");
    check_terminal(matches)?;
    let (record, pulled) = make(context, matches)?;
    if detach {
        super::launch::as_service(context, &record).map_err(|failure| give_up(context, &record, failure))?;
        println!("{}", record.id);
        return Ok(0);
    }
    let notify = text(matches, "sdnotify") != Some("ignore");
    foreground(context, &record, notify, pulled).map_err(|failure| give_up(context, &record, failure))
}

/// A container made by `run --rm` that never started goes again.
fn give_up(context: &Context, record: &Record, failure: Failure) -> Failure {
    if record.host.auto_remove {
        let _ = Containers::new(&context.engine).remove(record, true);
    }
    failure
}

fn make(context: &Context, matches: &ArgMatches) -> Result<(Record, bool), Failure> {
    let mut request = request(matches)?;
    let containers = Containers::new(&context.engine);
    let refused = |error: &dyn std::fmt::Display| Failure::engine(error).with_code(125);
    // Before a long pull: a name in use ends it anyway.
    if !request.name.is_empty() {
        containers
            .check_free(&request.name)
            .map_err(|error| refused(&error))?;
    }
    if let NetworkMode::Container(name) = &request.host.network {
        request.host.network =
            NetworkMode::Container(containers.find(name).map_err(|error| refused(&error))?.id);
    }
    let policy = bring::Policy::parse(text(matches, "pull"))?;
    let platform = bring::platform(text(matches, "platform"))?;
    let (image, pulled) = bring::image(context, &request.image, policy, &platform, on(matches, "quiet"))?;
    let mut record = build::record(request, &image).map_err(|error| refused(&error))?;
    let cidfile = text(matches, "cidfile");
    if let Some(path) = cidfile.filter(|path| std::path::Path::new(path).exists()) {
        return Err(Failure::plain(
            125,
            format!("container ID file found, make sure the other container isn't running or delete {path}"),
        ));
    }
    containers
        .create(&mut record, build::invented_name)
        .map_err(|error| refused(&error))?;
    if let Some(path) = cidfile {
        std::fs::write(path, &record.id).map_err(|error| Failure::plain(125, format!("{path}: {error}")))?;
    }
    Ok((record, pulled))
}

/// Launches `record` with this process as its launcher, in the right cgroup.
pub(super) fn foreground(context: &Context, record: &Record, notify: bool, pulled: bool) -> Outcome {
    let cgroup = systemd::own_cgroup().map_err(|error| Failure::engine(error).with_code(125))?;
    let service = systemd::is_service(&cgroup);
    let mode = if service && notify && may_hand_over(record) {
        launch::Mode::HandOver
    } else {
        launch::Mode::Foreground
    };
    if service {
        limit(&cgroup, &record.host)?;
    } else if systemd::running() {
        return Err(super::launch::in_scope(context, record));
    } else if systemd::has_limits(&record.host) {
        eprintln!(
            "WARNING: limits are systemd's to set, and systemd does not run here: they are without effect"
        );
    }
    // A pull leaves a large memory behind, which every clone would copy, and perhaps a thread that resolves a name.
    if pulled || launch::threads() > 1 {
        let hand_over = mode == launch::Mode::HandOver;
        return Err(super::launch::again(context, record, hand_over));
    }
    super::launch::here(context, &record.id, mode)
}

/// systemd started us itself and listens, and nobody at a terminal waits for us.
fn may_hand_over(record: &Record) -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
        && nix::unistd::getppid().as_raw() == 1
        && !record.config.tty
        && !record.config.open_stdin
}

/// Limits asked for on the command line become the unit's.
fn limit(cgroup: &str, host: &HostConfig) -> Result<(), Failure> {
    let unit = cgroup.rsplit('/').next().unwrap_or_default();
    let Some(arguments) = systemd::limit_command(unit, host) else {
        return Ok(());
    };
    let status = Command::new("systemctl").args::<_, OsString>(arguments).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(
            Failure::engine(format!("systemctl could not set the limits of {unit}: {status}")).with_code(125),
        ),
        Err(error) => Err(Failure::engine(format!("running systemctl: {error}")).with_code(125)),
    }
}
