//! Doing what the agent decided: each action is one thing asked of the disk or of systemd. When one fails, the rest of
//! that unit's actions are dropped, said so, and tried again later; other units go on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use corten_agent::{Action, OnDisk};
use corten_spec::unit_name::UnitName;

use super::folder::{Folder, FolderError};
use crate::systemd::{Systemd, SystemdError};

/// The first pause after a failure; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why an action failed.
#[derive(Debug, thiserror::Error)]
enum ActionError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Systemd(#[from] SystemdError),
}

/// Units that failed, and when to try them again.
#[derive(Debug, Default)]
pub struct Failures {
    units: BTreeMap<UnitName, (Duration, Instant)>,
}

impl Failures {
    /// Leaves out the actions of units that are not to be tried again yet.
    pub fn without(&self, actions: Vec<Action>, now: Instant) -> Vec<Action> {
        let waits = |unit: &UnitName| self.units.get(unit).is_some_and(|(_, until)| *until > now);
        let mut left: Vec<Action> = actions
            .into_iter()
            .filter(|action| !action.unit().is_some_and(waits))
            .collect();
        if left.iter().all(|action| *action == Action::DaemonReload) {
            left.clear();
        }
        left
    }

    /// When the next one is to be tried again.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        self.units
            .values()
            .map(|(_, until)| *until)
            .filter(|until| *until > now)
            .min()
    }

    fn failed(&mut self, unit: &UnitName, now: Instant) {
        let pause = self
            .units
            .get(unit)
            .map_or(FIRST_PAUSE, |(pause, _)| (*pause * 2).min(LONGEST_PAUSE));
        self.units.insert(unit.clone(), (pause, now + pause));
    }

    fn worked(&mut self, unit: &UnitName) {
        self.units.remove(unit);
    }
}

/// Performs a list in its order; `disk` is kept as the folder is.
pub async fn perform<S: Systemd>(
    systemd: &S,
    folder: &Folder,
    disk: &mut BTreeMap<UnitName, OnDisk>,
    failures: &mut Failures,
    actions: &[Action],
) {
    let mut dropped: BTreeSet<UnitName> = BTreeSet::new();
    for action in actions {
        if action.unit().is_some_and(|unit| dropped.contains(unit)) {
            continue;
        }
        match one(systemd, folder, disk, action).await {
            Ok(()) => {}
            Err(error) => match action.unit() {
                Some(unit) => {
                    tracing::error!(%unit, "{error}: trying again later");
                    failures.failed(unit, Instant::now());
                    dropped.insert(unit.clone());
                }
                None => {
                    tracing::error!("{error}: nothing is started from files systemd has not read");
                    let now = Instant::now();
                    let all: BTreeSet<&UnitName> = actions.iter().filter_map(Action::unit).collect();
                    all.into_iter().for_each(|unit| failures.failed(unit, now));
                    return;
                }
            },
        }
    }
    let all: BTreeSet<&UnitName> = actions.iter().filter_map(Action::unit).collect();
    all.into_iter()
        .filter(|unit| !dropped.contains(*unit))
        .for_each(|unit| failures.worked(unit));
}

async fn one<S: Systemd>(
    systemd: &S,
    folder: &Folder,
    disk: &mut BTreeMap<UnitName, OnDisk>,
    action: &Action,
) -> Result<(), ActionError> {
    tracing::info!(
        action = describe(action),
        unit = action.unit().map(UnitName::as_str),
        "systemd is asked"
    );
    match action {
        Action::Stop(unit) => {
            unless_unknown(systemd.stop(unit.as_str()).await)?;
            folder.mark_launched(unit, false)?;
            disk.entry(unit.clone())
                .and_modify(|on_disk| on_disk.launched = false);
        }
        Action::Disable(unit) => unless_unknown(systemd.disable(unit.as_str()).await)?,
        Action::ResetFailed(unit) => unless_unknown(systemd.reset_failed(unit.as_str()).await)?,
        Action::Remove(unit) => {
            folder.remove(unit)?;
            disk.remove(unit);
        }
        Action::Write { unit, text } => {
            let on_disk = folder.write(unit, text)?;
            disk.insert(unit.clone(), on_disk);
        }
        Action::Link(unit) => linked(systemd, folder, disk, unit).await?,
        Action::Enable(unit) => systemd.enable(unit.as_str()).await?,
        Action::DaemonReload => systemd.reload().await?,
        Action::Start(unit) => start(systemd, folder, disk, unit).await?,
    }
    Ok(())
}

/// A file systemd would not take is none of ours: were it left, it would count as loaded.
async fn linked<S: Systemd>(
    systemd: &S,
    folder: &Folder,
    disk: &mut BTreeMap<UnitName, OnDisk>,
    unit: &UnitName,
) -> Result<(), ActionError> {
    if let Err(error) = systemd.link(&folder.path(unit)).await {
        folder.remove(unit)?;
        disk.remove(unit);
        return Err(error.into());
    }
    Ok(())
}

/// The unit counts as launched whatever systemd answers, unless it never heard the question.
async fn start<S: Systemd>(
    systemd: &S,
    folder: &Folder,
    disk: &mut BTreeMap<UnitName, OnDisk>,
    unit: &UnitName,
) -> Result<(), ActionError> {
    let answer = systemd.start(unit.as_str()).await;
    if let Err(error @ SystemdError::Unreachable(_)) = answer {
        return Err(error.into());
    }
    folder.mark_launched(unit, true)?;
    disk.entry(unit.clone())
        .and_modify(|on_disk| on_disk.launched = true);
    if let Err(error) = answer {
        tracing::error!(%unit, "{error}");
    }
    Ok(())
}

/// What systemd does not know is stopped, disabled and not failed.
fn unless_unknown(answer: Result<(), SystemdError>) -> Result<(), SystemdError> {
    match answer {
        Err(SystemdError::Refused { name, .. })
            if name == "org.freedesktop.systemd1.NoSuchUnit"
                || name == "org.freedesktop.systemd1.NoSuchUnitFile"
                || name == "org.freedesktop.DBus.Error.FileNotFound" =>
        {
            Ok(())
        }
        other => other,
    }
}

fn describe(action: &Action) -> &'static str {
    match action {
        Action::Stop(_) => "stop",
        Action::Disable(_) => "disable",
        Action::ResetFailed(_) => "reset-failed",
        Action::Remove(_) => "remove",
        Action::Write { .. } => "write",
        Action::Link(_) => "link",
        Action::Enable(_) => "enable",
        Action::DaemonReload => "daemon-reload",
        Action::Start(_) => "start",
    }
}
