//! `.container` units, Quadlet's format (podman-systemd.unit(5)), as the services they stand for.
//!
//! `web.container` becomes `web.service`, `web@.container` the template `web@.service`: `[Container]` becomes a
//! `docker run` of our own docker, which runs the container in the unit's own cgroup; every other section is carried over.
//! The same text gives the same service, whoever asks.
//!
//! | of the service | why |
//! |---|---|
//! | `Type=notify` | the launcher hands over: the container's first process becomes the unit's main process |
//! | `ExecStartPre=-docker rm -f -v` | what a loss of power has left would hold the name |
//! | `docker run --rm` | a container that ended is removed; how it ended is the unit's state |
//! | `ExecStop=-docker stop` | its stop signal; the first process of a container does not end by one it does not handle |
//! | `KillMode=mixed` | the first process ends the others; what is left is killed with the unit |
//!
//! Unlike Quadlet: no `--sdnotify`, `--cgroups` or `Delegate=` (there is nothing between unit and container), no
//! `PODMAN_SYSTEMD_UNIT`, no wait for `network-online.target` (fleet starts units when the machine is in the cluster).
//!
//! Refuses to do: drop anything. A key that our docker cannot honour is an error that says where and what to do. Whether
//! a port or a capability is one, docker says when the unit starts. The danger is a key accepted and without effect.

mod check;
mod keys;
mod podman_args;
mod service;
#[cfg(test)]
mod tests;

use crate::unit_file::{UnitFile, UnitOption};
use crate::unit_name::UnitKind;
use crate::unit_parse::{self, UnitFileError};

/// The suffix of these files, without the dot.
pub const SUFFIX: &str = "container";

/// The section that is translated.
const SECTION: &str = "Container";

/// Why a `.container` file becomes no service. `line` counts from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// It is no unit file.
    #[error(transparent)]
    File(#[from] UnitFileError),
    /// Nothing to translate.
    #[error("it has no [Container] section")]
    NoSection,
    /// Nothing to run.
    #[error("[Container] has no Image=")]
    NoImage,
    /// A NUL byte, which no unit may hold.
    #[error("line {line}: a NUL byte")]
    Nul {
        /// Where.
        line: usize,
    },
    /// A key that cannot be honoured, with what to do.
    #[error("line {line}: {key}=: {why}")]
    Key {
        /// Where.
        line: usize,
        /// The key.
        key: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The file's name makes no container's name.
    #[error(
        "no container can be called {0}: letters, digits, '_', '.' and '-' only; say ContainerName= in [Container]"
    )]
    Name(String),
    /// What comes out cannot be stored.
    #[error("the service it stands for: {0}; EnvironmentFile= takes what is too long here")]
    Service(UnitFileError),
}

/// A line of the file, its value on one line.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    number: usize,
    key: &'a str,
    value: &'a str,
}

impl Line<'_> {
    fn refuse(&self, why: impl Into<String>) -> ContainerError {
        ContainerError::Key {
            line: self.number,
            key: self.key.to_owned(),
            why: why.into(),
        }
    }
}

/// The service that a file of this name stands for: `web@1.service` for `web@1.container`; None for another name.
pub fn service_of(file_name: &str) -> Option<String> {
    let stem = file_name.strip_suffix(SUFFIX)?.strip_suffix('.')?;
    Some(format!("{stem}.{}", UnitKind::Service.as_str()))
}

/// The file a service's name stands for: `web@.container` for `web@.service`.
pub fn file_of(service: &str) -> String {
    let stem = service.rsplit_once('.').map_or(service, |(stem, _)| stem);
    format!("{stem}.{SUFFIX}")
}

/// The service called `name` that the text of a `.container` file stands for.
///
/// # Errors
/// The first thing in it that cannot be honoured.
pub fn translate(name: &str, text: &str) -> Result<UnitFile, ContainerError> {
    if let Some(at) = text.find('\0') {
        let line = text[..at].matches('\n').count() + 1;
        return Err(ContainerError::Nul { line });
    }
    let mut options = unit_parse::parse_lines(text)?;
    let is_container = |(_, option): &(usize, UnitOption)| option.section == SECTION;
    let at = options
        .iter()
        .position(is_container)
        .ok_or(ContainerError::NoSection)?;
    let at = options
        .iter()
        .position(|(_, o)| o.section == "Service")
        .map_or(at, |first| first.min(at));
    let values: Vec<String> = options
        .iter()
        .map(|(_, option)| on_one_line(&option.value))
        .collect();
    let lines = options.iter().zip(&values).map(|((number, option), value)| {
        let (number, key) = (*number, option.name.as_str());
        (option.section.as_str(), Line { number, key, value })
    });
    let (container, others): (Vec<_>, Vec<_>) = lines.partition(|(section, _)| *section == SECTION);
    let container: Vec<Line<'_>> = container.into_iter().map(|(_, line)| line).collect();
    let made = service::options(name, &container, &others)?;
    options.splice(at..at, made.into_iter().map(|option| (0, option)));
    options.retain(|option| !is_container(option));
    let options = options
        .into_iter()
        .map(|(_, option)| service::with_services(option))
        .collect();
    let file = UnitFile { options };
    UnitFile::parse(&file.to_string()).map_err(ContainerError::Service)?;
    Ok(file)
}

/// A value as systemd reads it: its lines joined by blanks, without those that are comments.
fn on_one_line(value: &str) -> String {
    let mut lines = value.split("\\\n");
    let first = lines.next().unwrap_or_default();
    lines
        .filter(|line| !line.trim_start().starts_with(['#', ';']))
        .fold(first.to_owned(), |joined, line| joined + " " + line)
        .trim()
        .to_owned()
}
