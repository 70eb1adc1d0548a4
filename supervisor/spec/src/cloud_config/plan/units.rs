//! The part of the plan that concerns systemd: groups of options as drop-ins and files, units, and what is to be said
//! to systemd once they are there.
//!
//! Danger: `%` in a value is left to systemd, which expands specifiers in `Environment=`, as under coreos-cloudinit.

use std::collections::BTreeMap;

use super::super::checks::{self, UnitKind};
use super::super::config::{CloudConfig, Located, Unit};
use super::super::merge;
use super::super::schema::Group;
use super::{Command, Facts, Plan, Step};

/// The file name of drop-ins made from groups of options.
const DROP_IN: &str = "20-cloudinit.conf";

/// The supervisor under its names. It is ready only once its cluster is formed, which may need other machines: what
/// comes after it in the text is not held up until then.
const SUPERVISOR: [&str; 4] = ["corten.service", "etcd.service", "etcd2.service", "fleet.service"];

/// Files and drop-ins for the groups of options under `coreos`.
pub(super) fn plan_groups(config: &CloudConfig, facts: &Facts, plan: &mut Plan) {
    for (group, values) in &config.groups {
        let (line, values) = (values.line, &values.value);
        if values.is_empty() {
            continue;
        }
        let (unit, absent) = match group {
            Group::Etcd => ("etcd.service", ""),
            Group::Etcd2 => ("etcd2.service", ""),
            Group::Fleet => ("fleet.service", ""),
            Group::Locksmith => ("locksmithd.service", "there is no locksmithd here to read it"),
            Group::Flannel => ("", "there is no flanneld here to read it"),
            Group::Update => ("", "there is no locksmithd or update-engine here to follow it"),
        };
        match group {
            Group::Flannel => plan.write(
                line,
                "/run/flannel/options.env".to_owned(),
                environment_file(values),
            ),
            Group::Update => {
                let values: BTreeMap<String, String> = values.iter().cloned().collect();
                let text = merge::set_variables(&facts.update_conf, &values);
                plan.write(line, "/etc/coreos/update.conf".to_owned(), text);
            }
            _ => plan.write(
                line,
                format!("/run/systemd/system/{unit}.d/{DROP_IN}"),
                drop_in(values),
            ),
        }
        if !absent.is_empty() {
            plan.report
                .warning(line, format!("coreos.{} is written, but {absent}", group.name()));
        } else if facts.late {
            plan.command(facts, line, "try-restart", unit);
        }
    }
}

/// Contents, drop-ins, masks and enabling of units, and their commands.
pub(super) fn plan_units(config: &CloudConfig, facts: &Facts, plan: &mut Plan) {
    let mut network = facts.late && !facts.network.files.is_empty();
    let mut commands = Vec::new();
    for unit in &config.units {
        let line = unit.line;
        let Some(kind) = kind(unit, plan) else { continue };
        plan_unit(unit, kind, plan);
        match kind {
            UnitKind::Network => network |= facts.late,
            UnitKind::System if unit.value.command.is_empty() => {}
            UnitKind::System => commands.push((line, &unit.value)),
        }
    }
    if network {
        plan.command(facts, 0, "restart", "systemd-networkd.service");
    }
    for (line, unit) in commands {
        plan.command(facts, line, &unit.command, &unit.name);
    }
}

fn kind(unit: &Located<Unit>, plan: &mut Plan) -> Option<UnitKind> {
    let name = &unit.value.name;
    if name.is_empty() {
        plan.report.warning(unit.line, "unit without name is skipped");
        return None;
    }
    let kind = checks::unit_kind(name);
    if kind.is_none() {
        plan.report.error(
            unit.line,
            format!("{name:?} is not a unit name; the unit is left out"),
        );
    }
    kind
}

fn plan_unit(unit: &Located<Unit>, kind: UnitKind, plan: &mut Plan) {
    let (line, unit) = (unit.line, &unit.value);
    let root = if unit.runtime { "/run" } else { "/etc" };
    let folder = match kind {
        UnitKind::System => format!("{root}/systemd/system"),
        UnitKind::Network => format!("{root}/systemd/network"),
    };
    let path = format!("{folder}/{}", unit.name);
    if !unit.content.is_empty() && !unit.mask {
        plan.write(line, path.clone(), unit.content.clone());
    }
    for drop_in in &unit.drop_ins {
        let (line, drop_in) = (drop_in.line, &drop_in.value);
        if drop_in.content.is_empty() {
            plan.report
                .warning(line, format!("drop-in {:?} is empty and skipped", drop_in.name));
        } else if checks::drop_in_name(&drop_in.name) {
            plan.write(
                line,
                format!("{path}.d/{}", drop_in.name),
                drop_in.content.clone(),
            );
        } else {
            plan.report.error(
                line,
                format!("{:?} is not a drop-in's name (NAME.conf)", drop_in.name),
            );
        }
    }
    if unit.mask {
        plan.push(line, Step::Mask(path));
    } else if unit.runtime && unit.content.is_empty() {
        plan.push(line, Step::Unmask(path));
    }
    if unit.enable && kind == UnitKind::System {
        plan.push(
            line,
            Step::Enable {
                unit: unit.name.clone(),
                runtime: unit.runtime,
            },
        );
    }
}

impl Plan {
    /// Adds a unit command.
    pub(super) fn command(&mut self, facts: &Facts, line: usize, verb: &str, unit: &str) {
        let origin = format!("{} line {line}", facts.source);
        let wait = !SUPERVISOR.contains(&unit);
        self.commands.push(Command {
            origin,
            verb: verb.to_owned(),
            unit: unit.to_owned(),
            wait,
        });
    }
}

/// `Environment="NAME=value"` lines for a service.
fn drop_in(values: &[(String, String)]) -> String {
    let line = |(name, value): &(String, String)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        format!("Environment=\"{name}={value}\"\n")
    };
    let lines: String = values.iter().map(line).collect();
    format!("[Service]\n{lines}")
}

/// `NAME=value` lines for `EnvironmentFile=`.
fn environment_file(values: &[(String, String)]) -> String {
    values
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect()
}
