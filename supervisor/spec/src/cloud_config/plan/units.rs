//! The part of the plan that concerns systemd: groups of options as drop-ins and files, units, and what is to be said
//! to systemd once they are there.
//!
//! Danger: etcd.service, etcd2.service and fleet.service are links to corten.service, and systemd takes only one of
//! several drop-ins of one name, whichever alias's folder they lie in. So drop-ins for these have distinct names. `%` in
//! a value is left to systemd, which expands specifiers in `Environment=`, as under coreos-cloudinit.

use std::collections::{BTreeMap, BTreeSet};

use super::super::checks::{self, UnitKind};
use super::super::config::{CloudConfig, Located, Unit};
use super::super::merge;
use super::super::schema::Group;
use super::{Command, Facts, Plan, Step};

/// The supervisor under its names. It is ready only once its cluster is formed, which may need other machines: what
/// comes after it in the text is not held up until then.
const SUPERVISOR: [&str; 4] = ["corten.service", "etcd.service", "etcd2.service", "fleet.service"];

/// Files and drop-ins for the groups of options under `coreos`.
pub(super) fn plan_groups(config: &CloudConfig, facts: &Facts, plan: &mut Plan) {
    let mut restart = None;
    for (group, values) in &config.groups {
        let (line, values) = (values.line, &values.value);
        if values.is_empty() {
            continue;
        }
        let (path, absent) = match group {
            Group::Etcd => ("/run/systemd/system/etcd.service.d/20-cloudinit-etcd.conf", ""),
            Group::Etcd2 => ("/run/systemd/system/etcd2.service.d/20-cloudinit.conf", ""),
            Group::Fleet => ("/run/systemd/system/fleet.service.d/20-cloudinit-fleet.conf", ""),
            Group::Locksmith => (
                "/run/systemd/system/locksmithd.service.d/20-cloudinit.conf",
                "there is no locksmithd here to read it",
            ),
            Group::Flannel => ("/run/flannel/options.env", "there is no flanneld here to read it"),
            Group::Update => ("/etc/coreos/update.conf", "nothing here follows it yet"),
        };
        let text = match group {
            Group::Flannel => environment_file(values),
            Group::Update => {
                let values: BTreeMap<String, String> = values.iter().cloned().collect();
                merge::set_variables(&facts.update_conf, &values)
            }
            _ => drop_in(values),
        };
        plan.write(line, path.to_owned(), text);
        if absent.is_empty() {
            restart = Some(line);
        } else {
            let what = format!("coreos.{} is written, but {absent}", group.name());
            plan.report.warning(line, what);
        }
    }
    if let Some(line) = restart.filter(|_| facts.late) {
        plan.command(facts, line, "try-restart", SUPERVISOR[0]);
    }
}

/// Contents, drop-ins, masks and enabling of units, and their commands.
pub(super) fn plan_units(config: &CloudConfig, facts: &Facts, plan: &mut Plan) {
    let mut network = facts.late && !facts.network.files.is_empty();
    let mut commands = Vec::new();
    let mut taken = BTreeSet::new();
    for unit in &config.units {
        let line = unit.line;
        let Some(kind) = kind(unit, plan) else { continue };
        plan_unit(unit, kind, plan);
        plan_drop_ins(unit, &folder(unit, kind), &mut taken, plan);
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
        let what = format!(
            "\"name\": {name:?} is not a unit name (NAME.service and its like, NAME.network, .netdev or .link); \
             the unit is left out"
        );
        plan.report.error(unit.line, what);
    }
    kind
}

fn folder(unit: &Located<Unit>, kind: UnitKind) -> String {
    let root = if unit.value.runtime { "/run" } else { "/etc" };
    match kind {
        UnitKind::System => format!("{root}/systemd/system"),
        UnitKind::Network => format!("{root}/systemd/network"),
    }
}

fn plan_unit(unit: &Located<Unit>, kind: UnitKind, plan: &mut Plan) {
    let path = format!("{}/{}", folder(unit, kind), unit.value.name);
    let (line, unit) = (unit.line, &unit.value);
    let ours = SUPERVISOR.contains(&unit.name.as_str());
    if ours && (unit.mask || !unit.content.is_empty()) {
        let what = format!(
            "\"mask\" and \"content\" have no effect here: {} is a name of the supervisor; use a drop-in or \"command\"",
            unit.name
        );
        plan.report.warning(line, what);
    } else if unit.mask {
        plan.push(line, Step::Mask(path));
    } else if !unit.content.is_empty() {
        plan.write(line, path, unit.content.clone());
    } else if unit.runtime {
        plan.push(line, Step::Unmask(path));
    }
    // The supervisor is enabled, and systemctl does not enable by an alias.
    if unit.enable && kind == UnitKind::System && !ours {
        let (unit, runtime) = (unit.name.clone(), unit.runtime);
        plan.push(line, Step::Enable { unit, runtime });
    }
}

/// The drop-ins of a unit; `taken` are the names of those of the supervisor so far.
fn plan_drop_ins(unit: &Located<Unit>, folder: &str, taken: &mut BTreeSet<String>, plan: &mut Plan) {
    let name = &unit.value.name;
    for drop_in in &unit.value.drop_ins {
        let (line, drop_in) = (drop_in.line, &drop_in.value);
        let mut file = drop_in.name.clone();
        if SUPERVISOR.contains(&name.as_str()) && !taken.insert(file.clone()) {
            let (stem, alias) = (file.trim_end_matches(".conf"), name.trim_end_matches(".service"));
            file = format!("{stem}-{alias}.conf");
        }
        if drop_in.content.is_empty() {
            let what = format!("drop-in {:?} is empty and skipped", drop_in.name);
            plan.report.warning(line, what);
        } else if checks::drop_in_name(&drop_in.name) {
            plan.write(line, format!("{folder}/{name}.d/{file}"), drop_in.content.clone());
        } else {
            let what = format!("{:?} is not a drop-in's name (NAME.conf)", drop_in.name);
            plan.report.error(line, what);
        }
    }
}

impl Plan {
    /// Adds a unit command.
    pub(super) fn command(&mut self, facts: &Facts, line: usize, verb: &str, unit: &str) {
        let origin = match line {
            0 => facts.source.clone(),
            line => format!("{} line {line}", facts.source),
        };
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
