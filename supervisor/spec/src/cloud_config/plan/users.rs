//! The part of the plan that concerns users: new ones with useradd(8)'s arguments, passwords and keys.
//!
//! Of a user there is already, only the password and the keys are set. Danger: names and values become arguments of a
//! program that runs as root, so a name that could be an option is refused.

use super::super::checks;
use super::super::config::{CloudConfig, Located, User};
use super::{Facts, Plan, Step};

pub(super) fn plan_user(user: &Located<User>, facts: &Facts, plan: &mut Plan) {
    let (line, user) = (user.line, &user.value);
    if user.name.is_empty() {
        plan.report.warning(line, "user without name is skipped");
        return;
    }
    if !checks::user_name(&user.name) {
        plan.report
            .error(line, format!("{:?} is not a user name", user.name));
        return;
    }
    if user.imports_keys {
        plan.report.warning(
            line,
            format!("keys of {} are not fetched from the network", user.name),
        );
    }
    if !facts.users.contains(&user.name) {
        let arguments = useradd(line, user, facts, plan);
        plan.push(
            line,
            Step::CreateUser {
                name: user.name.clone(),
                arguments,
            },
        );
    }
    if !user.passwd.is_empty() {
        match user.passwd.contains([':', '\n']) {
            true => plan
                .report
                .error(line, format!("passwd of {} is not a hash", user.name)),
            false => plan.push(
                line,
                Step::Password {
                    user: user.name.clone(),
                    hash: user.passwd.clone(),
                },
            ),
        }
    }
    if !user.ssh_authorized_keys.is_empty() {
        let (user, set, keys) = (
            user.name.clone(),
            facts.source.clone() + " user",
            user.ssh_authorized_keys.clone(),
        );
        plan.push(line, Step::AuthorizeKeys { user, set, keys });
    }
}

/// The arguments for useradd(8): a locked password, because hashes do not belong on a command line.
fn useradd(line: usize, user: &User, facts: &Facts, plan: &mut Plan) -> Vec<String> {
    let mut out = vec!["--password".to_owned(), "*".to_owned()];
    let mut option = |name: &str, value: &str| out.extend([name.to_owned(), value.to_owned()]);
    if !user.gecos.is_empty() {
        option("--comment", &user.gecos);
    }
    if !user.homedir.is_empty() {
        option("--home-dir", &user.homedir);
    }
    if !user.primary_group.is_empty() {
        option("--gid", &user.primary_group);
    }
    let (known, unknown): (Vec<&String>, Vec<&String>) = user
        .groups
        .iter()
        .partition(|group| facts.groups.contains(*group));
    for group in unknown {
        plan.report.error(
            line,
            format!("user {}: there is no group {group:?}; left out", user.name),
        );
    }
    if !known.is_empty() {
        option(
            "--groups",
            &known.into_iter().cloned().collect::<Vec<_>>().join(","),
        );
    }
    let shell = if user.shell.is_empty() {
        "/bin/bash"
    } else {
        &user.shell
    };
    option("--shell", shell);
    let home = !user.no_create_home && !user.system;
    let flags = [
        (home, "--create-home"),
        (!home, "--no-create-home"),
        (user.no_user_group, "--no-user-group"),
        (user.system, "--system"),
        (user.no_log_init, "--no-log-init"),
    ];
    out.extend(
        flags
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, flag)| (*flag).to_owned()),
    );
    out.push(user.name.clone());
    out
}

pub(super) fn plan_core_keys(config: &CloudConfig, facts: &Facts, plan: &mut Plan) {
    let own = config.ssh_authorized_keys.iter().map(|key| key.value.clone());
    let keys: Vec<String> = own.chain(facts.metadata.public_keys.iter().cloned()).collect();
    if !keys.is_empty() {
        let line = config.ssh_authorized_keys.first().map_or(0, |key| key.line);
        plan.push(
            line,
            Step::AuthorizeKeys {
                user: "core".to_owned(),
                set: facts.source.clone(),
                keys,
            },
        );
    }
}
