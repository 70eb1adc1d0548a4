//! Unit names: `prefix[@[instance]].type` (systemd.unit(5)), with fleet's rules for which are valid.
//!
//! Source: contract `fleet.md` section 3; fleet's `ValidateName`, in that order of checks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::container;
use crate::quote::{go_quote, go_quote_char};

/// A valid unit name. Construct with [`UnitName::parse`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName(String);

/// Longest name in bytes fleet takes.
pub const NAME_MAX: usize = 256;

/// Why a name is not a unit name; the texts are fleet's (contract `fleet.md` section 3).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The empty string.
    #[error("unit name cannot be empty")]
    Empty,
    /// More than [`NAME_MAX`] bytes.
    #[error("unit name exceeds maximum length ({NAME_MAX})")]
    TooLong,
    /// No type.
    #[error("unit name must contain \".\"")]
    NoDot,
    /// A dot, but no type after it.
    #[error("unit name cannot end in \".\"")]
    EndsInDot,
    /// A type systemd does not have.
    #[error("invalid unit type: {}", go_quote(.0))]
    UnknownType(String),
    /// A type that has no templates or instances.
    #[error("invalid unit type for template: {}", go_quote(.0))]
    NoTemplateType(String),
    /// A character that is none of `0-9A-Za-z:-_.\@`.
    #[error("invalid character {} in unit name", go_quote_char(*.0))]
    Character(char),
    /// `@` without a prefix.
    #[error("unit name cannot start in \"@\"")]
    StartsInAt,
}

/// The type of a unit: what stands after the last dot of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum UnitKind {
    Service,
    Socket,
    Busname,
    Target,
    Snapshot,
    Device,
    Mount,
    Automount,
    Swap,
    Timer,
    Path,
    Slice,
    Scope,
}

impl UnitKind {
    /// All types, with the ones systemd has dropped (`busname`, `snapshot`) that fleet's name check still knows.
    pub const ALL: [UnitKind; 13] = [
        UnitKind::Service,
        UnitKind::Socket,
        UnitKind::Busname,
        UnitKind::Target,
        UnitKind::Snapshot,
        UnitKind::Device,
        UnitKind::Mount,
        UnitKind::Automount,
        UnitKind::Swap,
        UnitKind::Timer,
        UnitKind::Path,
        UnitKind::Slice,
        UnitKind::Scope,
    ];

    /// The type as it stands in a name.
    pub fn as_str(self) -> &'static str {
        match self {
            UnitKind::Service => "service",
            UnitKind::Socket => "socket",
            UnitKind::Busname => "busname",
            UnitKind::Target => "target",
            UnitKind::Snapshot => "snapshot",
            UnitKind::Device => "device",
            UnitKind::Mount => "mount",
            UnitKind::Automount => "automount",
            UnitKind::Swap => "swap",
            UnitKind::Timer => "timer",
            UnitKind::Path => "path",
            UnitKind::Slice => "slice",
            UnitKind::Scope => "scope",
        }
    }

    /// The type called `text`, if there is one.
    pub fn parse(text: &str) -> Option<UnitKind> {
        UnitKind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// May units of this type be templates and instances?
    pub fn may_template(self) -> bool {
        use UnitKind::{Path, Service, Socket, Target, Timer};
        matches!(self, Path | Service | Socket | Target | Timer)
    }

    /// Does a name ending in this type keep it on the command line (see [`UnitName::complete`])? fleet knew the first
    /// seven; the others are units an operator hands to the cluster as files too.
    fn is_kept_on_command_line(self) -> bool {
        use UnitKind::{Automount, Device, Mount, Path, Service, Slice, Socket, Swap, Target, Timer};
        matches!(
            self,
            Service | Socket | Timer | Path | Device | Mount | Automount | Target | Swap | Slice
        )
    }
}

impl UnitName {
    /// Checks `name` against fleet's rules.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn parse(name: &str) -> Result<UnitName, NameError> {
        check(name)?;
        Ok(UnitName(name.to_owned()))
    }

    /// The name a command line argument stands for: its last path component, with `.service` appended unless it ends
    /// in a type, or in the place of `.container` ([`crate::container`]). Not checked: hand it to [`UnitName::parse`].
    pub fn complete(argument: &str) -> String {
        let base = argument
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or(argument);
        if let Some(service) = container::service_of(base) {
            return service;
        }
        let kept = base
            .rsplit_once('.')
            .and_then(|(_, suffix)| UnitKind::parse(suffix))
            .is_some_and(UnitKind::is_kept_on_command_line);
        if kept {
            base.to_owned()
        } else {
            format!("{base}.service")
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its type: `foo@bar` of `foo@bar.service` (`%N`).
    pub fn stem(&self) -> &str {
        self.split().0
    }

    /// What stands before the first `@`, or the whole stem: `foo` of `foo@bar.service` (`%p`).
    pub fn prefix(&self) -> &str {
        self.stem()
            .split_once('@')
            .map_or(self.stem(), |(prefix, _)| prefix)
    }

    /// The instance, `bar` of `foo@bar.service` (`%i`); None for a plain unit and for a template.
    pub fn instance(&self) -> Option<&str> {
        self.stem()
            .split_once('@')
            .map(|(_, instance)| instance)
            .filter(|instance| !instance.is_empty())
    }

    /// The type of the unit.
    pub fn kind(&self) -> UnitKind {
        UnitKind::parse(self.split().1).expect("parse() admits only names that end in a type")
    }

    /// Is it a template, `foo@.service`?
    pub fn is_template(&self) -> bool {
        self.stem()
            .split_once('@')
            .is_some_and(|(_, instance)| instance.is_empty())
    }

    /// The template an instance is made from: `foo@.service` of `foo@bar.service`; None for anything but an instance.
    pub fn template(&self) -> Option<UnitName> {
        self.instance()
            .map(|_| UnitName(format!("{}@.{}", self.prefix(), self.split().1)))
    }

    fn split(&self) -> (&str, &str) {
        self.0
            .rsplit_once('.')
            .expect("parse() admits only names with a dot")
    }
}

fn check(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > NAME_MAX {
        return Err(NameError::TooLong);
    }
    let (stem, suffix) = name.rsplit_once('.').ok_or(NameError::NoDot)?;
    if suffix.is_empty() {
        return Err(NameError::EndsInDot);
    }
    let kind = UnitKind::parse(suffix).ok_or_else(|| NameError::UnknownType(suffix.to_owned()))?;
    if stem.contains('@') && !kind.may_template() {
        return Err(NameError::NoTemplateType(suffix.to_owned()));
    }
    if let Some(bad) = stem
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || ":-_.\\@".contains(*c)))
    {
        return Err(NameError::Character(bad));
    }
    if stem.starts_with('@') {
        return Err(NameError::StartsInAt);
    }
    Ok(())
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for UnitName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<UnitName, NameError> {
        UnitName::parse(name)
    }
}

impl TryFrom<String> for UnitName {
    type Error = NameError;

    fn try_from(name: String) -> Result<UnitName, NameError> {
        check(&name)?;
        Ok(UnitName(name))
    }
}

impl From<UnitName> for String {
    fn from(name: UnitName) -> String {
        name.0
    }
}

impl AsRef<str> for UnitName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn refuses_with_fleets_words() {
        let long = format!("{}.service", "a".repeat(NAME_MAX));
        let table = [
            ("", "unit name cannot be empty"),
            (long.as_str(), "unit name exceeds maximum length (256)"),
            ("foo", "unit name must contain \".\""),
            ("foo.", "unit name cannot end in \".\""),
            ("foo.foo", "invalid unit type: \"foo\""),
            ("foo@1.mount", "invalid unit type for template: \"mount\""),
            ("a b.service", "invalid character ' ' in unit name"),
            ("a/b.service", "invalid character '/' in unit name"),
            ("ä.service", "invalid character 'ä' in unit name"),
            ("@foo.service", "unit name cannot start in \"@\""),
        ];
        for (name, want) in table {
            assert_eq!(UnitName::parse(name).unwrap_err().to_string(), want, "{name}");
        }
    }

    #[test]
    fn takes_every_type_systemd_has() {
        for kind in UnitKind::ALL {
            let name = UnitName::parse(&format!("foo.{}", kind.as_str())).unwrap();
            assert_eq!(name.kind(), kind);
        }
        assert_eq!(
            UnitName::parse(&format!("{}.service", "a".repeat(248)))
                .unwrap()
                .as_str()
                .len(),
            256
        );
    }

    #[test]
    fn takes_names_apart() {
        // name, stem, prefix, instance, template, is_template
        let table = [
            ("foo.service", "foo", "foo", None, None, false),
            ("foo@.service", "foo@", "foo", None, None, true),
            (
                "foo@bar.service",
                "foo@bar",
                "foo",
                Some("bar"),
                Some("foo@.service"),
                false,
            ),
            (
                "foo@b@c.d.timer",
                "foo@b@c.d",
                "foo",
                Some("b@c.d"),
                Some("foo@.timer"),
                false,
            ),
            ("a.b.socket", "a.b", "a.b", None, None, false),
        ];
        for (name, stem, prefix, instance, template, is_template) in table {
            let unit = UnitName::parse(name).unwrap();
            assert_eq!(unit.stem(), stem);
            assert_eq!(unit.prefix(), prefix);
            assert_eq!(unit.instance(), instance);
            assert_eq!(unit.template().map(|t| t.to_string()).as_deref(), template);
            assert_eq!(unit.is_template(), is_template);
        }
    }

    #[test]
    fn completes_command_line_arguments() {
        let table = [
            ("foo", "foo.service"),
            ("./units/foo.timer", "foo.timer"),
            ("foo@1", "foo@1.service"),
            ("foo.bar", "foo.bar.service"),
            ("foo.target", "foo.target"),
            ("data.swap", "data.swap"),
            ("run.scope", "run.scope.service"),
            ("units/web.container", "web.service"),
            ("web@1.container", "web@1.service"),
            ("webcontainer", "webcontainer.service"),
        ];
        for (argument, want) in table {
            assert_eq!(UnitName::complete(argument), want);
        }
    }
}
