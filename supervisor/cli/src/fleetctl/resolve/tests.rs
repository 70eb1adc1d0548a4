//! What is done about an argument, for what was found.
#![allow(clippy::unwrap_used)]

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
