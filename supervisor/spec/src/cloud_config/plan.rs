//! What is to be done about a cloud-config, decided: from its values and the facts of the machine to steps in their
//! order and unit commands. The daemon's `cloud_config` carries the steps out one by one and decides nothing.
//!
//! Order (contract section 2.2): hostname, users and their keys, core's keys, files, /etc/environment, network files,
//! units with drop-ins, mask and enable; then one reload; the commands run later, in the order of the text.
//!
//! Refuses paths below /usr, relative paths, and names that would become options or other files.

use super::accounts::{Accounts, NewUser};
use super::checks;
use super::config::{CloudConfig, Located};
use super::metadata::Metadata;
use super::network::Network;
use super::report::Report;
use super::substitute::Addresses;

mod files;
mod units;
mod users;

/// What the plan must know about the machine.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The datasource's name, which is also the name of its section in `authorized_keys`.
    pub source: String,
    /// What the datasource says beside the user-data.
    pub metadata: Metadata,
    /// The datasource's network configuration.
    pub network: Network,
    /// The addresses that were filled in, for /etc/environment.
    pub addresses: Addresses,
    /// Users and groups there are.
    pub accounts: Accounts,
    /// The machine's name so far.
    pub hostname: String,
    /// `/etc/coreos/update.conf`, else `/usr/share/coreos/update.conf`, else nothing.
    pub update_conf: String,
    /// `/etc/environment`, if there is one.
    pub environment: Option<String>,
    /// The units this configures may be running already: they and systemd-networkd must be told.
    pub late: bool,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Name the machine, now and for the next boot.
    Hostname(String),
    /// Make a user, and the home folder where that is wanted.
    CreateUser(NewUser),
    /// Set the hash of a user's password.
    Password {
        /// Whose.
        user: String,
        /// As in shadow(5).
        hash: String,
    },
    /// Replace the section `set` of a user's `authorized_keys`.
    AuthorizeKeys {
        /// Whose.
        user: String,
        /// The section.
        set: String,
        /// One key each.
        keys: Vec<String>,
    },
    /// Write a file whole.
    File {
        /// Absolute, without `..`.
        path: String,
        /// All of it.
        content: Vec<u8>,
        /// Permission bits.
        mode: u32,
        /// `user[:group]`, by name or number; empty for root.
        owner: String,
    },
    /// Replace whatever is at the path by a link to /dev/null.
    Mask(String),
    /// Remove the path if it is a link to /dev/null.
    Unmask(String),
    /// systemctl(1) enable.
    Enable {
        /// The unit.
        unit: String,
        /// Only until the next boot.
        runtime: bool,
    },
}

/// A step and the line that asks for it (0: the datasource itself).
pub type Planned = Located<Step>;

/// A systemctl verb for a unit.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Command {
    /// The datasource and line that ask for it, for messages.
    pub origin: String,
    /// `start`, `restart`, …
    pub verb: String,
    /// The unit.
    pub unit: String,
    /// The next command waits until this one is done.
    pub wait: bool,
}

/// Everything to do, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Planned>,
    /// What to tell systemd about units once the machine is up.
    pub commands: Vec<Command>,
    /// What is asked for and not done, and why.
    pub report: Report,
}

impl Step {
    /// Must systemd read its units again once this changed something?
    pub fn touches_units(&self) -> bool {
        match self {
            Step::Mask(path) | Step::Unmask(path) | Step::File { path, .. } => {
                path.contains("/systemd/system/")
            }
            Step::Enable { .. } => true,
            _ => false,
        }
    }

    /// Does it change a file systemd-networkd reads?
    pub fn touches_network(&self) -> bool {
        matches!(self, Step::File { path, .. } if path.contains("/systemd/network/"))
    }
}

/// Decides what to do.
pub fn plan(config: &CloudConfig, facts: &Facts) -> Plan {
    let mut plan = Plan::default();
    let hostname = plan_hostname(config, facts, &mut plan);
    let mut named: Vec<&str> = Vec::new();
    for user in &config.users {
        users::plan_user(user, &named, facts, &mut plan);
        named.push(&user.value.name);
    }
    users::plan_core_keys(config, facts, &mut plan);
    for file in &config.write_files {
        files::plan_file(file, &mut plan);
    }
    files::plan_hosts(config, &hostname, &mut plan);
    units::plan_groups(config, facts, &mut plan);
    files::plan_oem(config, &mut plan);
    files::plan_environment(facts, &mut plan);
    for (name, content) in &facts.network.files {
        plan.write(0, format!("/run/systemd/network/{name}"), content.clone());
    }
    units::plan_units(config, facts, &mut plan);
    plan.report = plan.report.sorted();
    plan
}

/// The plan for a script (`#!`): it is kept on disk and started as a unit of its own.
pub fn plan_script(script: &[u8], facts: &Facts) -> Plan {
    let mut plan = plan(&CloudConfig::default(), facts);
    let path = format!("/var/lib/corten/cloud-init/{}-script", facts.source);
    let unit = format!("corten-cloudinit-{}-script.service", facts.source);
    let content = format!(
        "[Unit]\nDescription=User-data script of {}\n[Service]\nType=exec\nExecStart={path}\n",
        facts.source
    );
    plan.push(
        1,
        Step::File {
            path,
            content: script.to_vec(),
            mode: 0o700,
            owner: String::new(),
        },
    );
    plan.write(1, format!("/run/systemd/system/{unit}"), content);
    plan.command(facts, 1, "start", &unit);
    plan
}

impl Plan {
    fn push(&mut self, line: usize, step: Step) {
        self.steps.push(Located { line, value: step });
    }

    fn write(&mut self, line: usize, path: String, content: String) {
        let content = content.into_bytes();
        self.push(
            line,
            Step::File {
                path,
                content,
                mode: 0o644,
                owner: String::new(),
            },
        );
    }

    fn writes(&self, wanted: &str) -> bool {
        self.steps
            .iter()
            .any(|s| matches!(&s.value, Step::File { path, .. } if path == wanted))
    }
}

fn plan_hostname(config: &CloudConfig, facts: &Facts, plan: &mut Plan) -> String {
    let given = facts.metadata.hostname.clone();
    let given = given.map(|value| Located { line: 0, value });
    let candidates = [config.hostname.clone(), given];
    for name in candidates.into_iter().flatten() {
        if checks::hostname(&name.value) {
            plan.push(name.line, Step::Hostname(name.value.clone()));
            return name.value;
        }
        plan.report.error(
            name.line,
            format!(
                "\"hostname\": {:?} is not a host name (letters, digits, - and dots, at most 64 in all)",
                name.value
            ),
        );
    }
    facts.hostname.clone()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
