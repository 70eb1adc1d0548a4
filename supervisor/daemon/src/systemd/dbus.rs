//! systemd over the system bus: org.freedesktop.systemd1(5).
//!
//! The connection is made when first needed and made again after it breaks. A task of its own reads signals, because
//! a signal queue that nobody empties would keep method replies from being read, too.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use nix::sys::signal::Signal;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use zbus::message::Type;
use zbus::{Connection, DynamicType, MatchRule, Message, MessageStream, OwnedObjectPath};

use super::label;
use super::{Changed, Changes, Observed, Systemd, SystemdError};

const SERVICE: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PATH: &str = "/org/freedesktop/systemd1";
const UNITS: &str = "/org/freedesktop/systemd1/unit";
/// systemd is deaf while it reloads; longer than that it is in trouble.
const CALL_TIMEOUT: Duration = Duration::from_secs(25);
/// A reload of ours may take as long as systemctl lets it: one that is taken for lost is asked for again, and systemd would never
/// get to anything else.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(180);

/// One row of ListUnitsByNames: name, description, load, active, sub, following, path, job id, job type, job path.
type Row = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);
/// The signal's body: job id, job path, unit, result.
type JobRemoved = (u32, OwnedObjectPath, String, String);
/// One row of what EnableUnitFiles and its kin answer: change, link, target.
type FileChange = (String, String, String);
/// Where systemd looks for units until the next boot, before it looks below /usr.
const RUNTIME_UNITS: &str = "/run/systemd/system";

/// The system's systemd.
#[derive(Debug, Default)]
pub struct SystemBus {
    connection: Mutex<Option<Connection>>,
    changes: Arc<Changes>,
}

impl SystemBus {
    /// The connection, made if there is none: subscribes before anything is asked, so that no change is missed.
    async fn connection(&self) -> Result<Connection, SystemdError> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = held.as_ref() {
            return Ok(connection.clone());
        }
        let connecting = async {
            let connection = Connection::system().await?;
            let signals = || MatchRule::builder().msg_type(Type::Signal).sender(SERVICE);
            let properties = signals()
                .interface("org.freedesktop.DBus.Properties")
                .member("PropertiesChanged")
                .path_namespace(UNITS);
            let manager = signals().interface(MANAGER).path(PATH);
            let (properties, manager) = (properties.build()?, manager.build()?);
            let properties = MessageStream::for_match_rule(properties, &connection, None).await?;
            let manager = MessageStream::for_match_rule(manager, &connection, None).await?;
            connection
                .call_method(Some(SERVICE), PATH, Some(MANAGER), "Subscribe", &())
                .await?;
            zbus::Result::Ok((connection, properties, manager))
        };
        let unreachable = |error: &dyn std::fmt::Display| SystemdError::Unreachable(error.to_string());
        let (connection, properties, manager) = tokio::time::timeout(CALL_TIMEOUT, connecting)
            .await
            .map_err(|_| unreachable(&"no answer"))?
            .map_err(|error| unreachable(&error))?;
        tokio::spawn(listen(properties, manager, self.changes.clone()));
        self.changes.everything();
        *held = Some(connection.clone());
        Ok(connection)
    }

    async fn list(&self, units: &[String]) -> Result<Vec<Row>, SystemdError> {
        self.call("list", "units", "ListUnitsByNames", &(units,)).await
    }

    /// Leaves out those it refuses to look for.
    async fn list_each(&self, units: &[String]) -> Result<Vec<Row>, SystemdError> {
        let mut rows = Vec::new();
        for unit in units {
            match self.list(std::slice::from_ref(unit)).await {
                Ok(row) => rows.extend(row),
                Err(error @ SystemdError::Refused { .. }) => tracing::error!(%unit, "{error}"),
                Err(error) => return Err(error),
            }
        }
        Ok(rows)
    }

    async fn call<B, R>(
        &self,
        verb: &'static str,
        what: &str,
        method: &'static str,
        body: &B,
    ) -> Result<R, SystemdError>
    where
        B: Serialize + DynamicType + Sync,
        R: DeserializeOwned + zbus::Type,
    {
        self.call_within(CALL_TIMEOUT, verb, what, method, body).await
    }

    async fn call_within<B, R>(
        &self,
        within: Duration,
        verb: &'static str,
        what: &str,
        method: &'static str,
        body: &B,
    ) -> Result<R, SystemdError>
    where
        B: Serialize + DynamicType + Sync,
        R: DeserializeOwned + zbus::Type,
    {
        let connection = self.connection().await?;
        let calling = connection.call_method(Some(SERVICE), PATH, Some(MANAGER), method, body);
        let answer = match tokio::time::timeout(within, calling).await {
            Ok(Ok(reply)) => {
                return reply
                    .body()
                    .deserialize()
                    .map_err(|error| refused(verb, what, &error));
            }
            Ok(Err(error)) => refused(verb, what, &error),
            Err(_) => SystemdError::Unreachable(format!("no answer to {verb} {what} within {within:?}")),
        };
        if matches!(answer, SystemdError::Unreachable(_)) {
            *self.connection.lock().await = None;
        }
        Err(answer)
    }
}

fn refused(verb: &'static str, what: &str, error: &zbus::Error) -> SystemdError {
    match error {
        zbus::Error::MethodError(name, message, _) if !is_of_the_bus(name) => SystemdError::Refused {
            verb,
            what: what.to_owned(),
            name: name.to_string(),
            message: message.clone().unwrap_or_default(),
        },
        other => SystemdError::Unreachable(other.to_string()),
    }
}

/// Is this what the bus says when systemd is not on it, or left it before it answered?
fn is_of_the_bus(error: &str) -> bool {
    let error = error.strip_prefix("org.freedesktop.DBus.Error.");
    error.is_some_and(|error| {
        ["NameHasNoOwner", "NoReply", "ServiceUnknown", "TimedOut"].contains(&error)
            || error.starts_with("Spawn.")
    })
}

/// Puts a link to `file` into a folder, in the place of whatever has its name there.
fn link_into(folder: &Path, file: &Path) -> io::Result<()> {
    let name = file.file_name().unwrap_or_default();
    // systemd leaves out hidden files.
    let mut hidden = OsString::from(".");
    hidden.push(name);
    let new = folder.join(hidden);
    std::fs::create_dir_all(folder)?;
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => std::os::unix::fs::symlink(file, &new)?,
    }
    std::fs::rename(&new, folder.join(name))
}

/// Removes the link to `file`; what lies there instead is somebody else's.
fn unlink_from(folder: &Path, file: &Path) -> io::Result<()> {
    let link = folder.join(file.file_name().unwrap_or_default());
    match std::fs::read_link(&link) {
        Ok(to) if to == file => std::fs::remove_file(&link),
        _ => Ok(()),
    }
}

fn in_runtime_units(verb: &'static str, file: &Path, error: &io::Error) -> SystemdError {
    SystemdError::Refused {
        verb,
        what: file.display().to_string(),
        name: RUNTIME_UNITS.to_owned(),
        message: error.to_string(),
    }
}

/// Gathers the names in signals until the connection breaks.
async fn listen(properties: MessageStream, manager: MessageStream, changes: Arc<Changes>) {
    let mut signals = futures_util::stream::select(properties, manager);
    while let Some(Ok(message)) = signals.next().await {
        note(&message, &changes);
    }
    changes.everything();
}

/// Notes the unit a signal is about. UnitNew and UnitRemoved say nothing of a unit's state, and would never end: to ask for a unit
/// that is not running loads it, which makes it new, and systemd then drops it again.
fn note(message: &Message, changes: &Changes) {
    let header = message.header();
    match header.member().map(|member| member.as_str()) {
        Some("PropertiesChanged") => {
            let unit = header.path().and_then(|path| label::unit_of_path(path.as_str()));
            unit.into_iter().for_each(|unit| changes.unit(unit));
        }
        Some("JobRemoved") => {
            if let Ok((_, _, unit, result)) = message.body().deserialize::<JobRemoved>() {
                changes.job_ended(unit, &result);
            }
        }
        _ => {}
    }
}

impl Systemd for SystemBus {
    async fn ready(&self) -> Result<(), SystemdError> {
        self.connection().await.map(drop)
    }

    /// What LinkUnitFiles does; but after that systemd calls every unit outdated, in `systemctl status` too, until it reads all
    /// files again.
    async fn link(&self, file: &Path) -> Result<(), SystemdError> {
        link_into(Path::new(RUNTIME_UNITS), file).map_err(|error| in_runtime_units("link", file, &error))
    }

    async fn unlink(&self, file: &Path) -> Result<(), SystemdError> {
        unlink_from(Path::new(RUNTIME_UNITS), file).map_err(|error| in_runtime_units("unlink", file, &error))
    }

    async fn enable(&self, unit: &str) -> Result<(), SystemdError> {
        let _: (bool, Vec<FileChange>) = self
            .call("enable", unit, "EnableUnitFiles", &(vec![unit], true, true))
            .await?;
        Ok(())
    }

    async fn disable(&self, unit: &str) -> Result<(), SystemdError> {
        let _: Vec<FileChange> = self
            .call("disable", unit, "DisableUnitFiles", &(vec![unit], true))
            .await?;
        Ok(())
    }

    async fn reload(&self) -> Result<(), SystemdError> {
        self.call_within(RELOAD_TIMEOUT, "reload", "its unit files", "Reload", &())
            .await
    }

    async fn start(&self, unit: &str) -> Result<(), SystemdError> {
        let _: OwnedObjectPath = self.call("start", unit, "StartUnit", &(unit, "replace")).await?;
        Ok(())
    }

    async fn stop(&self, unit: &str) -> Result<(), SystemdError> {
        let _: OwnedObjectPath = self.call("stop", unit, "StopUnit", &(unit, "replace")).await?;
        Ok(())
    }

    async fn kill(&self, unit: &str) -> Result<(), SystemdError> {
        self.call("kill", unit, "KillUnit", &(unit, "all", Signal::SIGKILL as i32))
            .await
    }

    async fn reset_failed(&self, unit: &str) -> Result<(), SystemdError> {
        self.call("reset", unit, "ResetFailedUnit", &(unit,)).await
    }

    async fn observe(&self, units: &[String]) -> Result<Vec<Observed>, SystemdError> {
        if units.is_empty() {
            return Ok(Vec::new());
        }
        let rows = match self.list(units).await {
            // It answers for all or for none.
            Err(SystemdError::Refused { .. }) => self.list_each(units).await?,
            rows => rows?,
        };
        let observed = |(name, _, load, active, sub, ..): Row| Observed {
            name,
            load,
            active,
            sub,
        };
        Ok(rows.into_iter().map(observed).collect())
    }

    async fn changed(&self) -> Changed {
        self.changes.next().await
    }

    fn ended_badly(&self) -> BTreeMap<String, String> {
        self.changes.ended_badly()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_bus_says_is_no_refusal() {
        for (error, of_the_bus) in [
            ("org.freedesktop.DBus.Error.NoReply", true),
            ("org.freedesktop.DBus.Error.Spawn.ChildExited", true),
            ("org.freedesktop.DBus.Error.InvalidArgs", false),
            ("org.freedesktop.systemd1.NoSuchUnit", false),
        ] {
            assert_eq!(is_of_the_bus(error), of_the_bus, "{error}");
        }
    }

    #[test]
    fn a_link_takes_the_place_of_what_is_there() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("system");
        let link = folder.join("a.service");
        link_into(&folder, Path::new("/run/one/a.service")).unwrap();
        std::fs::write(folder.join(".a.service"), "left by who was killed").unwrap();
        link_into(&folder, Path::new("/run/two/a.service")).unwrap();
        assert_eq!(
            std::fs::read_link(&link).unwrap(),
            Path::new("/run/two/a.service")
        );
        std::fs::remove_file(&link).unwrap();
        std::fs::write(&link, "a file").unwrap();
        link_into(&folder, Path::new("/run/one/a.service")).unwrap();
        assert_eq!(
            std::fs::read_link(&link).unwrap(),
            Path::new("/run/one/a.service")
        );
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        unlink_from(&folder, Path::new("/run/two/a.service")).unwrap();
        assert!(link.is_symlink(), "it leads elsewhere");
        for _ in 0..2 {
            unlink_from(&folder, Path::new("/run/one/a.service")).unwrap();
            assert!(!link.is_symlink());
        }
    }
}
