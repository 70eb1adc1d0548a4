//! The part of the plan that concerns users: new ones, passwords and keys.
//!
//! Of a user there is already, only the password and the keys are set. A group there is not costs the membership, not
//! the user: whoever can log in can mend the rest.

use super::super::accounts::NewUser;
use super::super::checks;
use super::super::config::{CloudConfig, Located, User};
use super::{Facts, Plan, Step};

/// What a user gets who asks for nothing.
const SHELL: &str = "/bin/bash";

/// The steps for one entry of `users`; `named` are the users before it, each of whom brings a group.
pub(super) fn plan_user(user: &Located<User>, named: &[&str], facts: &Facts, plan: &mut Plan) {
    let (line, user) = (user.line, &user.value);
    if user.name.is_empty() {
        plan.report.warning(line, "user without name is skipped");
        return;
    }
    if !checks::user_name(&user.name) {
        let what = format!(
            "\"name\": {:?} is not a user name (a letter or _, then letters, digits, _, - or .); the user is left out",
            user.name
        );
        plan.report.error(line, what);
        return;
    }
    if user.imports_keys {
        plan.report.warning(
            line,
            format!("keys of {} are not fetched from the network", user.name),
        );
    }
    if facts.accounts.user(&user.name).is_none() {
        let new = new_user(line, user, named, facts, plan);
        plan.push(line, Step::CreateUser(new));
    }
    if !user.passwd.is_empty() {
        plan.push(
            line,
            Step::Password {
                user: user.name.clone(),
                hash: user.passwd.clone(),
            },
        );
    }
    if !user.ssh_authorized_keys.is_empty() {
        let set = format!("{} user", facts.source);
        let keys = user.ssh_authorized_keys.clone();
        plan.push(
            line,
            Step::AuthorizeKeys {
                user: user.name.clone(),
                set,
                keys,
            },
        );
    }
}

fn new_user(line: usize, user: &User, named: &[&str], facts: &Facts, plan: &mut Plan) -> NewUser {
    let mut there_is = |group: &String| {
        let found = facts.accounts.group_number(group).is_some() || named.contains(&group.as_str());
        if !found {
            let why = format!("user {}: there is no group {group:?}; left out", user.name);
            plan.report.error(line, why);
        }
        found
    };
    let primary = Some(&user.primary_group).filter(|group| !group.is_empty());
    let number = primary.is_some_and(|group| group.parse::<u32>().is_ok());
    let primary_group = primary.filter(|group| number || there_is(group)).cloned();
    let groups = user
        .groups
        .iter()
        .filter(|group| there_is(group))
        .cloned()
        .collect();
    let or = |given: &str, default: String| {
        if given.is_empty() {
            default
        } else {
            given.to_owned()
        }
    };
    NewUser {
        name: user.name.clone(),
        gecos: user.gecos.clone(),
        home: or(&user.homedir, format!("/home/{}", user.name)),
        shell: or(&user.shell, SHELL.to_owned()),
        primary_group: primary_group.unwrap_or_default(),
        groups,
        no_user_group: user.no_user_group,
        system: user.system,
        create_home: !user.no_create_home && !user.system,
    }
}

/// The keys of the user `core`: the text's own and the datasource's.
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
