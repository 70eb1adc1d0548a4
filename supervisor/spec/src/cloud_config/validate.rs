//! The validation report over a parsed document: the rules and messages of coreos-cloudinit's `-validate` (contract
//! `os-image.md` section 2.5), and one more, for a key given twice, of which only the last counts.
//!
//! Decides nothing about what is applied; see `decode`.

use super::encoding;
use super::report::Report;
use super::schema::{CLOUD_CONFIG, Key, Type};
use super::yaml::{Node, Value};

/// The message for a file below /usr.
pub(super) const READ_ONLY: &str = "file cannot be written to a read-only filesystem";

/// Everything there is to say about `root`.
pub fn validate(root: &Node) -> Report {
    let mut report = Report::default();
    check_discovery(root, &mut report);
    check_encoding(root, &mut report);
    check_structure(root, "", root.line, CLOUD_CONFIG, None, &mut report);
    check_write_files(root, &mut report);
    check_write_files_place(root, &mut report);
    report.sorted()
}

/// Does the value have the type? Null has every type: it means nothing was given.
pub(super) fn fits(node: &Node, wanted: Type) -> bool {
    let scalar = node.scalar();
    if scalar.is_some_and(|s| s.is_null()) {
        return true;
    }
    match wanted {
        Type::Str => scalar.is_some(),
        Type::Int => scalar.is_some_and(|s| s.as_int().is_some()),
        Type::Float => scalar.is_some_and(|s| s.as_float().is_some()),
        Type::Bool => scalar.is_some_and(|s| s.as_bool().is_some()),
        Type::List(_) => matches!(node.value, Value::List(_)),
        Type::Struct(_) => matches!(node.value, Value::Map(_)),
    }
}

/// The message for a value of the wrong type, as the contract words it.
pub(super) fn wrong_type(name: &str, wanted: Type) -> String {
    format!("incorrect type for {name:?} (want {})", wanted.human())
}

/// The message for a value its pattern refuses: the contract's, and which key it stands at.
pub(super) fn invalid(text: &str, name: &str) -> String {
    format!("invalid value {text} for {name:?}")
}

fn check_structure(node: &Node, name: &str, line: usize, of: Type, key: Option<&Key>, report: &mut Report) {
    if !fits(node, of) {
        report.warning(line, wrong_type(name, of));
        return;
    }
    match of {
        Type::Struct(keys) => check_keys(node, keys, report),
        Type::List(item) => {
            for (index, child) in node.items().iter().enumerate() {
                check_structure(
                    child,
                    &format!("{name}[{index}]"),
                    child.line,
                    *item,
                    None,
                    report,
                );
            }
        }
        Type::Str | Type::Int | Type::Float | Type::Bool => {
            let text = node
                .scalar()
                .filter(|s| !s.is_null())
                .map_or("", |s| s.text.as_str());
            let valid = key.and_then(|key| key.valid);
            if !text.is_empty() && valid.is_some_and(|valid| !valid(text)) {
                report.error(line, invalid(text, name));
            }
        }
    }
}

fn check_keys(node: &Node, keys: &[Key], report: &mut Report) {
    for (index, pair) in node.pairs().iter().enumerate() {
        if node.pairs()[..index]
            .iter()
            .any(|earlier| earlier.key == pair.key)
        {
            report.warning(
                pair.line,
                format!("duplicate key {:?}: only the last one counts", pair.written),
            );
        }
        let Some(key) = keys.iter().find(|key| key.name == pair.key) else {
            report.warning(pair.line, format!("unrecognized key {:?}", pair.written));
            continue;
        };
        if let Some(why) = key.deprecated {
            report.warning(pair.line, format!("deprecated key {:?} ({why})", pair.written));
        }
        check_structure(&pair.node, &pair.written, pair.line, key.of, Some(key), report);
    }
}

fn check_discovery(root: &Node, report: &mut Report) {
    let etcd = root.get("coreos").and_then(|c| c.node.get("etcd"));
    let Some(discovery) = etcd.and_then(|e| e.node.get("discovery")) else {
        return;
    };
    let Some(url) = discovery.node.scalar().filter(|s| !s.is_null()) else {
        return;
    };
    if !is_request_uri(&url.text) {
        report.warning(discovery.line, "discovery URL is not valid");
    }
}

/// What Go's `url.ParseRequestURI` takes: an absolute URL, or an absolute path.
fn is_request_uri(text: &str) -> bool {
    if text.chars().any(|c| c.is_control() || c == ' ') {
        return false;
    }
    let scheme = |s: &str| {
        s.starts_with(|c: char| c.is_ascii_alphabetic())
            && s.chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    };
    text.starts_with('/') || text.split_once(":/").is_some_and(|(before, _)| scheme(before))
}

fn check_encoding(root: &Node, report: &mut Report) {
    for file in root
        .get("write_files")
        .iter()
        .flat_map(|files| files.node.items())
    {
        let Some(name) = file
            .get("encoding")
            .and_then(|e| e.node.scalar())
            .filter(|s| !s.is_null())
        else {
            continue;
        };
        let content = file.get("content");
        let scalar = content.and_then(|c| c.node.scalar());
        let bytes = scalar.map_or(&[][..], |s| s.binary.as_deref().unwrap_or(s.text.as_bytes()));
        if encoding::decode(bytes, &name.text).is_err() {
            let line = content.map_or(file.line, |c| c.line);
            report.error(line, format!("content cannot be decoded as {:?}", name.text));
        }
    }
}

fn check_write_files(root: &Node, report: &mut Report) {
    for file in root
        .get("write_files")
        .iter()
        .flat_map(|files| files.node.items())
    {
        let Some(path) = file.get("path") else { continue };
        if path.node.scalar().is_some_and(|s| is_under_usr(&s.text)) {
            report.error(path.line, READ_ONLY);
        }
    }
}

/// Is the file's folder /usr or below it, `.` and `..` resolved by the letter?
pub(super) fn is_under_usr(path: &str) -> bool {
    clean(path).first() == Some(&"usr")
}

/// The parts of a path, `.` and `..` resolved by the letter.
pub(super) fn clean(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts
}

fn check_write_files_place(root: &Node, report: &mut Report) {
    if let Some(files) = root
        .get("coreos")
        .and_then(|coreos| coreos.node.get("write_files"))
    {
        report.info(files.line, "write_files doesn't belong under coreos");
    }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
