//! What a machine would refuse or pass over when it applies a cloud-config, said beforehand: the remarks of the plan
//! itself, and what only systemd and sshd would find, long after the boot.
//!
//! Knows nothing of the machine: every group that is asked for counts as there. What `coreos.etcd2` and `coreos.fleet`
//! mean is the supervisor's to say (the daemon's `cloud_config`).

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::accounts::Accounts;
use super::config::CloudConfig;
use super::decode::decode;
use super::plan::{self, Facts};
use super::report::Report;
use super::validate::READ_ONLY;
use super::yaml::Node;
use crate::unit_parse::{self, UnitFileError};

/// The algorithms of a public key's line (sshd(8), AUTHORIZED_KEYS FILE FORMAT), certificates among them.
const KEY_TYPES: [&str; 8] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ssh-dss",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// Everything a machine would say or should have said about `root`.
pub(super) fn foresee(root: &Node) -> Report {
    let (config, _) = decode(root);
    let facts = Facts {
        accounts: with_groups(&config),
        ..Facts::default()
    };
    let mut report = plan::plan(&config, &facts).report;
    // Said already, at the line of the path.
    report.entries.retain(|entry| !entry.message.ends_with(READ_ONLY));
    check_keys(root, &mut report);
    for user in items(root, "users") {
        check_keys(user, &mut report);
    }
    let coreos = root.get("coreos").map(|pair| &pair.node);
    for unit in coreos.into_iter().flat_map(|coreos| items(coreos, "units")) {
        let name = text(unit, "name").unwrap_or_default();
        check_content(unit, name, &mut report);
        for drop_in in items(unit, "drop_ins") {
            let file = text(drop_in, "name").unwrap_or_default();
            check_content(drop_in, &format!("{name}.d/{file}"), &mut report);
        }
    }
    report
}

/// The groups that users of the text ask for.
fn with_groups(config: &CloudConfig) -> Accounts {
    let asked = config.users.iter().flat_map(|user| {
        let primary = std::iter::once(&user.value.primary_group);
        primary.chain(&user.value.groups)
    });
    let names: BTreeSet<&String> = asked.filter(|name| !name.is_empty()).collect();
    Accounts {
        group: names.iter().map(|name| format!("{name}:x:1:\n")).collect(),
        ..Accounts::default()
    }
}

fn items<'a>(node: &'a Node, key: &str) -> &'a [Node] {
    node.get(key).map_or(&[], |pair| pair.node.items())
}

fn text<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    Some(node.get(key)?.node.scalar()?.text.as_str())
}

fn check_keys(node: &Node, report: &mut Report) {
    let Some(keys) = node.get("ssh_authorized_keys") else {
        return;
    };
    for item in keys.node.items() {
        let Some(key) = item.scalar().filter(|s| !s.is_null()) else {
            continue;
        };
        if !key.text.lines().any(is_public_key) {
            let shown: String = key.text.chars().take(40).collect();
            let what = format!("{:?}: {shown:?} is not an SSH public key", keys.written);
            report.warning(item.line, what);
        }
    }
}

/// `[options] TYPE BASE64 [comment]`, the type repeated inside the blob (RFC 4253 section 6.6).
fn is_public_key(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.windows(2).any(|pair| {
        let kind = pair[0].replace("-cert-v01", "");
        let kind = if pair[0].starts_with("sk-") {
            kind.as_str()
        } else {
            kind.trim_end_matches("@openssh.com")
        };
        KEY_TYPES.contains(&kind) && names_itself(pair[0], pair[1])
    })
}

fn names_itself(kind: &str, blob: &str) -> bool {
    let Ok(bytes) = STANDARD.decode(blob) else {
        return false;
    };
    let length = u32::try_from(kind.len()).unwrap_or_default().to_be_bytes();
    let after = bytes
        .strip_prefix(&length)
        .and_then(|rest| rest.strip_prefix(kind.as_bytes()));
    after.is_some_and(|key| !key.is_empty())
}

/// What systemd would pass over in a unit's text; a long line is fleet's trouble alone.
fn check_content(node: &Node, file: &str, report: &mut Report) {
    let Some(pair) = node.get("content") else { return };
    let Some(content) = pair.node.scalar().filter(|s| !s.is_null()) else {
        return;
    };
    let content = content.text.as_str();
    let why = match unit_parse::parse(content) {
        Err(UnitFileError::LineTooLong { .. }) => return,
        Err(UnitFileError::SectionEnd { line }) => {
            let header = content.lines().nth(line - 1).unwrap_or_default().trim();
            format!("its line {line} opens a section and does not close it: {header:?} lacks a ]")
        }
        Err(error) => format!("its {error}"),
        Ok(_) if content.trim().is_empty() => "it is empty".to_owned(),
        Ok(found) if found.options.is_empty() => "it holds no [Section] with an option in it".to_owned(),
        Ok(_) => return,
    };
    report.warning(pair.line, format!("{:?} of {file}: {why}", pair.written));
}

#[cfg(test)]
#[path = "foresee_tests.rs"]
mod tests;
