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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(content: &str) -> UnitFile {
        UnitFile::parse(&format!("[Unit]\nDescription={content}\n")).unwrap()
    }

    fn local(content: &str) -> Option<Local> {
        Some((format!("dir/{content}.service"), file(content)))
    }

    fn unit(content: &str, current: &str) -> Option<Unit> {
        Some(Unit {
            current_state: current.into(),
            ..Unit::of_file("a@1.service", &file(content), "launched")
        })
    }

    fn found() -> Found {
        Found {
            template_name: Some("a@.service".into()),
            ..Found::default()
        }
    }

    fn create(content: &str) -> Plan {
        Plan::Create {
            file: file(content),
            warning: None,
        }
    }

    #[test]
    fn unknown_units_come_from_file_or_template() {
        let go = |replace, found| plan(Verb::Start, "a@1.service", replace, found);
        assert_eq!(
            go(
                false,
                Found {
                    local: local("l"),
                    template: Some(file("t")),
                    ..found()
                }
            ),
            create("l")
        );
        assert_eq!(
            go(
                false,
                Found {
                    template: Some(file("t")),
                    ..found()
                }
            ),
            create("t")
        );
        assert_eq!(
            go(
                false,
                Found {
                    local_template: local("lt"),
                    ..found()
                }
            ),
            create("lt")
        );
        let both = || Found {
            template: Some(file("t")),
            local_template: local("lt"),
            ..found()
        };
        let warning = "WARNING: Unit a@.service in registry differs from local template unit file dir/lt.service. \
                       Add --replace to override.";
        assert_eq!(
            go(false, both()),
            Plan::Create {
                file: file("t"),
                warning: Some(warning.into())
            }
        );
        assert_eq!(go(true, both()), create("lt"));
        let missing = "failed getting Unit(a@1.service) from template: \
                       unable to find template Unit(a@.service) in Registry or on filesystem";
        assert_eq!(go(false, found()), Plan::Missing(missing.into()));
        let missing = Plan::Missing("unable to find Unit(a.service) in Registry or on filesystem".into());
        assert_eq!(plan(Verb::Submit, "a.service", false, Found::default()), missing);
    }

    #[test]
    fn known_units_are_kept_unless_told_otherwise() {
        let go = |replace, found| plan(Verb::Start, "a@1.service", replace, found);
        let keep = Plan::Keep { warning: None };
        assert_eq!(
            go(
                false,
                Found {
                    unit: unit("u", "launched"),
                    ..found()
                }
            ),
            keep
        );
        assert_eq!(
            go(
                false,
                Found {
                    unit: unit("u", "launched"),
                    local: local("u"),
                    ..found()
                }
            ),
            keep
        );
        assert_eq!(
            go(
                true,
                Found {
                    unit: unit("u", "launched"),
                    local: local("u"),
                    ..found()
                }
            ),
            Plan::Same
        );
        let warning = "WARNING: Unit a@1.service in registry differs from local unit file dir/l.service. \
                       Add --replace to override.";
        let warned = Plan::Keep {
            warning: Some(warning.into()),
        };
        assert_eq!(
            go(
                false,
                Found {
                    unit: unit("u", "launched"),
                    local: local("l"),
                    ..found()
                }
            ),
            warned
        );
        let replaced = |content| Plan::Replace { file: file(content) };
        assert_eq!(
            go(
                true,
                Found {
                    unit: unit("u", "launched"),
                    local: local("l"),
                    ..found()
                }
            ),
            replaced("l")
        );
        assert_eq!(
            go(
                true,
                Found {
                    unit: unit("u", "launched"),
                    local_template: local("lt"),
                    ..found()
                }
            ),
            replaced("lt")
        );
        assert_eq!(
            go(
                true,
                Found {
                    unit: unit("u", "launched"),
                    template: Some(file("t")),
                    ..found()
                }
            ),
            replaced("t")
        );
        assert_eq!(
            go(
                false,
                Found {
                    unit: unit("u", "launched"),
                    template: Some(file("t")),
                    ..found()
                }
            ),
            keep
        );
    }

    #[test]
    fn only_start_replaces_what_runs() {
        let table = [
            (Verb::Submit, "inactive", true),
            (Verb::Submit, "loaded", false),
            (Verb::Load, "loaded", true),
            (Verb::Load, "launched", false),
            (Verb::Start, "launched", true),
        ];
        for (verb, state, replaces) in table {
            let plan = plan(
                verb,
                "a@1.service",
                true,
                Found {
                    unit: unit("u", state),
                    local: local("l"),
                    ..found()
                },
            );
            let refused = format!(
                "Warning: can not replace Unit(a@1.service) in state '{state}', use the appropriate command"
            );
            let expected = if replaces {
                Plan::Replace { file: file("l") }
            } else {
                Plan::Keep {
                    warning: Some(refused),
                }
            };
            assert_eq!(plan, expected, "{verb:?} {state}");
        }
    }
}
