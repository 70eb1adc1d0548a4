//! What to do about one argument of submit, load or start: pure, from what was found to a [`Plan`].
//!
//! Looked for, in this order: the unit in the cluster, the local file, and for an instance its template, first in the
//! cluster, then beside the local file. `--replace` is for what the user has just edited, so there a local template
//! goes before the cluster's (fleet took the cluster's old one; its issue 1691).

use corten_spec::unit_file::UnitFile;

use super::wire::Unit;

/// The command that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Submit,
    Load,
    Start,
}

/// A unit file and the path it was read from.
pub(super) type Local = (String, UnitFile);

/// What was found for one name.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The unit in the cluster.
    pub(super) unit: Option<Unit>,
    /// The local file of that name.
    pub(super) local: Option<Local>,
    /// The template's name, if the unit is an instance.
    pub(super) template_name: Option<String>,
    /// The template in the cluster.
    pub(super) template: Option<UnitFile>,
    /// The template beside the local file.
    pub(super) local_template: Option<Local>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// The unit is there; maybe something is to be said.
    Keep {
        /// A line for standard error.
        warning: Option<String>,
    },
    /// `--replace`, and nothing to replace.
    Same,
    /// The unit is new.
    Create {
        /// Its content.
        file: UnitFile,
        /// A line for standard error.
        warning: Option<String>,
    },
    /// The unit gets a new content.
    Replace {
        /// The content.
        file: UnitFile,
    },
    /// Nothing of that name anywhere.
    Missing(String),
}

impl Verb {
    /// The state the command asks for.
    pub(super) fn desired(self) -> &'static str {
        match self {
            Verb::Submit => "inactive",
            Verb::Load => "loaded",
            Verb::Start => "launched",
        }
    }

    /// submit must not stop what runs, nor load what is started.
    fn may_replace(self, state: &str) -> bool {
        match self {
            Verb::Submit => state == "inactive",
            Verb::Load => state != "launched",
            Verb::Start => true,
        }
    }
}

/// Decides what to do about the unit `name`.
pub(super) fn plan(verb: Verb, name: &str, replace: bool, found: Found) -> Plan {
    match &found.unit {
        Some(_) => plan_known(verb, replace, found),
        None => plan_unknown(name, replace, found),
    }
}

fn plan_known(verb: Verb, replace: bool, found: Found) -> Plan {
    let Some(unit) = found.unit else {
        return Plan::Keep { warning: None };
    };
    let held = unit.file().hash();
    let (kind, newer) = match (found.local, found.local_template) {
        (Some(local), _) => ("unit", Some(local)),
        (None, Some(template)) => ("template unit", Some(template)),
        (None, None) => (
            "unit",
            found
                .template
                .filter(|_| replace)
                .map(|file| (String::new(), file)),
        ),
    };
    let newer = newer.filter(|(_, file)| file.hash() != held);
    match newer {
        None if replace => Plan::Same,
        None => Plan::Keep { warning: None },
        Some((path, _)) if !replace => Plan::Keep {
            warning: Some(differs(&unit.name, kind, &path)),
        },
        Some((_, file)) => {
            let state = running_state(&unit);
            if verb.may_replace(state) {
                return Plan::Replace { file };
            }
            let name = &unit.name;
            let warning = format!(
                "Warning: can not replace Unit({name}) in state '{state}', use the appropriate command"
            );
            Plan::Keep {
                warning: Some(warning),
            }
        }
    }
}

/// A global unit has no current state.
fn running_state(unit: &Unit) -> &str {
    if unit.current_state.is_empty() {
        &unit.desired_state
    } else {
        &unit.current_state
    }
}

fn plan_unknown(name: &str, replace: bool, found: Found) -> Plan {
    if let Some((_, file)) = found.local {
        return Plan::Create { file, warning: None };
    }
    let Some(template_name) = found.template_name else {
        return Plan::Missing(format!(
            "unable to find Unit({name}) in Registry or on filesystem"
        ));
    };
    match (found.template, found.local_template) {
        (Some(file), Some((path, local))) if !replace => {
            let warning =
                (file.hash() != local.hash()).then(|| differs(&template_name, "template unit", &path));
            Plan::Create { file, warning }
        }
        (_, Some((_, file))) | (Some(file), None) => Plan::Create { file, warning: None },
        (None, None) => Plan::Missing(format!(
            "failed getting Unit({name}) from template: \
             unable to find template Unit({template_name}) in Registry or on filesystem"
        )),
    }
}

fn differs(name: &str, kind: &str, path: &str) -> String {
    format!(
        "WARNING: Unit {name} in registry differs from local {kind} file {path}. Add --replace to override."
    )
}

#[cfg(test)]
mod tests;
