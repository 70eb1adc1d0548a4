//! Doing what the agent decided: each action is one thing asked of the disk or of systemd. When one fails, the rest of
//! that unit's actions are dropped, said so, and tried again later; other units go on. What ends a fenced unit is done
//! whatever failed.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::{Duration, Instant};

use corten_agent::{Action, OnDisk};
use corten_spec::unit_name::UnitName;

use super::folder::{Folder, FolderError};
use crate::pulse::{BEAT, Pulse};
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

impl ActionError {
    fn is_of_a_systemd_away(&self) -> bool {
        matches!(self, ActionError::Systemd(SystemdError::Unreachable(_)))
    }
}

/// Units that failed, and when to try them again.
#[derive(Debug, Default)]
pub struct Failures {
    units: BTreeMap<UnitName, Failure>,
}

/// One unit's.
#[derive(Debug)]
struct Failure {
    pause: Duration,
    until: Instant,
    /// Empty where it is no matter of the unit.
    why: String,
    /// The hash of the content that was to be here, as seen in the next turn.
    content: Option<String>,
}

impl Failures {
    /// Is this unit not to be tried again yet?
    pub fn waits(&self, unit: &UnitName, now: Instant) -> bool {
        self.units.get(unit).is_some_and(|failure| failure.until > now)
    }

    /// Leaves out the actions of units that are not to be tried again yet.
    pub fn without(&self, actions: Vec<Action>, now: Instant) -> Vec<Action> {
        let mut left: Vec<Action> = actions
            .into_iter()
            .filter(|action| !action.unit().is_some_and(|unit| self.waits(unit, now)))
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
            .map(|failure| failure.until)
            .filter(|until| *until > now)
            .min()
    }

    /// Why a unit failed last, by unit.
    pub fn reasons(&self) -> impl Iterator<Item = (&UnitName, &str)> {
        let reasons = self
            .units
            .iter()
            .map(|(unit, failure)| (unit, failure.why.as_str()));
        reasons.filter(|(_, why)| !why.is_empty())
    }

    /// Forgets those that are no concern any more, and those that are to have another content, by its hash: it may be the one
    /// that mends them.
    pub fn keep<'h>(&mut self, content: impl Fn(&UnitName) -> Option<&'h str>) {
        self.units.retain(|unit, failure| match content(unit) {
            Some(hash) => *failure.content.get_or_insert_with(|| hash.to_owned()) == hash,
            None => false,
        });
    }

    fn failed(&mut self, unit: &UnitName, why: String, now: Instant) {
        let before = self.units.remove(unit);
        let pause = before
            .as_ref()
            .map_or(FIRST_PAUSE, |before| (before.pause * 2).min(LONGEST_PAUSE));
        let failure = Failure {
            pause,
            until: now + pause,
            why,
            content: before.and_then(|before| before.content),
        };
        self.units.insert(unit.clone(), failure);
    }

    fn worked(&mut self, unit: &UnitName) {
        self.units.remove(unit);
    }
}

/// What is asked, and what is known of it.
pub struct Performer<'a, S> {
    /// Who is asked.
    pub systemd: &'a S,
    /// Where unit files lie.
    pub folder: &'a Folder,
    /// What the folder holds and systemd has read.
    pub disk: &'a mut BTreeMap<UnitName, OnDisk>,
    /// What failed before, and now.
    pub failures: &'a mut Failures,
    /// Beats between what takes long.
    pub pulse: &'a Pulse,
}

impl<S: Systemd> Performer<'_, S> {
    /// Does each, whatever became of the others: a stop that failed is no reason not to kill.
    pub async fn end(&mut self, ends: &[Action]) {
        for action in ends {
            self.pulse.beat();
            if let (Err(error), Some(unit)) = (self.one(action, &mut BTreeMap::new()).await, action.unit()) {
                tracing::error!(%unit, "{error}: trying again at once");
            }
        }
    }

    /// Performs a list in its order. Leaves the rest of it undone once it may not go on: what is to be done then is decided
    /// anew.
    pub async fn perform(&mut self, actions: &[Action], may_go_on: impl Fn() -> bool) {
        if self.folder.owes_reload() && !actions.contains(&Action::DaemonReload) {
            self.make_good().await;
        }
        // Written, and no unit of ours before systemd has read it: whatever fails until then is begun anew with the file.
        let mut unread: BTreeMap<UnitName, OnDisk> = BTreeMap::new();
        let all: BTreeSet<&UnitName> = actions.iter().filter_map(Action::unit).collect();
        let mut dropped: BTreeMap<&UnitName, String> = BTreeMap::new();
        let mut done = true;
        for action in actions {
            self.pulse.beat();
            if action.unit().is_some_and(|unit| dropped.contains_key(unit)) {
                continue;
            }
            done = may_go_on();
            if !done {
                break;
            }
            let Err(error) = self.one(action, &mut unread).await else {
                continue;
            };
            let mut drop_all = |why: &str| {
                for unit in &all {
                    dropped.entry(unit).or_insert_with(|| why.to_owned());
                }
            };
            match action.unit() {
                _ if error.is_of_a_systemd_away() => {
                    // Everything else would wait for it, too.
                    tracing::error!("{error}: trying all again later");
                    drop_all("");
                    break;
                }
                Some(unit) => {
                    tracing::error!(%unit, "{error}: trying again later");
                    dropped.insert(unit, error.to_string());
                    if unread.remove(unit).is_some() {
                        self.take_back(unit).await;
                    }
                }
                None => {
                    tracing::error!("{error}: nothing is started from files systemd has not read");
                    drop_all(&error.to_string());
                    for unit in std::mem::take(&mut unread).into_keys() {
                        self.take_back(&unit).await;
                    }
                }
            }
            unread.retain(|unit, _| !dropped.contains_key(unit));
        }
        let now = Instant::now();
        for unit in all {
            match dropped.remove(unit) {
                Some(why) => self.failures.failed(unit, why, now),
                None if done => self.failures.worked(unit),
                None => {}
            }
        }
    }

    /// Takes away what systemd has not read: it may be wanted no more when it would be tried again. So nothing is to be read.
    pub async fn take_back(&mut self, unit: &UnitName) {
        for action in [Action::Disable(unit.clone()), Action::Unlink(unit.clone())] {
            self.pulse.beat();
            if let Err(error) = self.one(&action, &mut BTreeMap::new()).await {
                tracing::debug!(%unit, "{error}");
            }
        }
        if let Err(error) = self.folder.remove(unit) {
            tracing::error!(%unit, "{error}");
        }
    }

    async fn one(
        &mut self,
        action: &Action,
        unread: &mut BTreeMap<UnitName, OnDisk>,
    ) -> Result<(), ActionError> {
        let Performer { systemd, folder, .. } = self;
        tracing::info!(
            "{} {}",
            describe(action),
            action.unit().map_or("", UnitName::as_str)
        );
        match action {
            Action::Stop(unit) => {
                unless_unknown(systemd.stop(unit.as_str()).await)?;
                self.mark_stopped(unit)?;
            }
            Action::Kill(unit) => {
                unless_unknown(systemd.kill(unit.as_str()).await)?;
                self.mark_stopped(unit)?;
            }
            Action::Disable(unit) => unless_unknown(systemd.disable(unit.as_str()).await)?,
            Action::Unlink(unit) => systemd.unlink(&folder.path(unit)).await?,
            Action::ResetFailed(unit) => unless_unknown(systemd.reset_failed(unit.as_str()).await)?,
            Action::Remove(unit) => {
                folder.owe_reload()?;
                folder.remove(unit)?;
                self.disk.remove(unit);
            }
            Action::Write { unit, text } => {
                unread.insert(unit.clone(), folder.write(unit, text)?);
            }
            Action::Link(unit) => systemd.link(&folder.path(unit)).await?,
            Action::Enable(unit) => systemd.enable(unit.as_str()).await?,
            Action::Find(unit) => {
                self.find(unit).await?;
                self.mark_read(unread.remove_entry(unit))?;
            }
            Action::DaemonReload if unread.is_empty() && !folder.owes_reload() => {}
            Action::DaemonReload => {
                self.reload().await?;
                self.mark_read(std::mem::take(unread))?;
            }
            Action::Start(unit) => self.start(unit).await?,
        }
        Ok(())
    }

    /// systemd looks into its folders only if their times have changed, which the kernel counts in milliseconds: a link that
    /// was made right after it looked can be missed.
    async fn find(&self, unit: &UnitName) -> Result<(), ActionError> {
        let seen = self.systemd.observe(&[unit.to_string()]).await?;
        if seen.iter().all(|seen| seen.load == "not-found") {
            tracing::info!("systemd has missed {unit}: daemon-reload");
            self.pulse.beat();
            self.reload().await?;
        }
        Ok(())
    }

    /// The reload that a removal was to be followed by, and was not: another unit may have systemd keep what was removed.
    async fn make_good(&self) {
        tracing::info!("daemon-reload, owed since a removal");
        if let Err(error) = self.reload().await {
            tracing::error!("{error}: trying again later");
        }
    }

    /// Beats meanwhile: systemd takes its time where it has many files to read.
    async fn reload(&self) -> Result<(), ActionError> {
        let mut reload = pin!(self.systemd.reload());
        loop {
            tokio::select! {
                answer = &mut reload => break answer?,
                () = tokio::time::sleep(BEAT) => self.pulse.beat(),
            }
        }
        Ok(self.folder.reloaded()?)
    }

    fn mark_read(&mut self, read: impl IntoIterator<Item = (UnitName, OnDisk)>) -> Result<(), FolderError> {
        for (unit, on_disk) in read {
            self.folder.mark_read(&unit)?;
            self.disk.insert(unit, on_disk);
        }
        Ok(())
    }

    fn mark_stopped(&mut self, unit: &UnitName) -> Result<(), FolderError> {
        self.folder.mark_stopped(unit)?;
        if let Some(on_disk) = self.disk.get_mut(unit) {
            on_disk.launched = false;
            on_disk.start_error.clear();
        }
        Ok(())
    }

    /// The unit counts as launched whatever systemd answers, unless it never heard the question. What it refused is kept:
    /// the user who asked for the start must hear of it.
    async fn start(&mut self, unit: &UnitName) -> Result<(), ActionError> {
        let answer = self.systemd.start(unit.as_str()).await;
        if let Err(error @ SystemdError::Unreachable(_)) = answer {
            return Err(error.into());
        }
        let error = answer.err().map(|error| error.to_string()).unwrap_or_default();
        if !error.is_empty() {
            tracing::error!(%unit, "{error}");
        }
        Ok(mark_launched(self.folder, self.disk, unit, error)?)
    }
}

/// Remembers that a unit was started, and why that came to nothing, if it did.
pub fn mark_launched(
    folder: &Folder,
    disk: &mut BTreeMap<UnitName, OnDisk>,
    unit: &UnitName,
    error: String,
) -> Result<(), FolderError> {
    folder.mark_launched(unit, &error)?;
    if let Some(on_disk) = disk.get_mut(unit) {
        on_disk.launched = true;
        on_disk.start_error = error;
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
        Action::Kill(_) => "kill",
        Action::Disable(_) => "disable",
        Action::Unlink(_) => "unlink",
        Action::ResetFailed(_) => "reset-failed",
        Action::Remove(_) => "remove",
        Action::Write { .. } => "write",
        Action::Link(_) => "link",
        Action::Enable(_) => "enable",
        Action::Find(_) => "find",
        Action::DaemonReload => "daemon-reload",
        Action::Start(_) => "start",
    }
}

#[cfg(test)]
#[path = "perform_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
