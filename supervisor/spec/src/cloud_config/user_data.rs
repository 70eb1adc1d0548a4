//! User-data as text to what it asks for: which of the known forms it has, and for a cloud-config its values and
//! everything there is to say about it.
//!
//! A text that is no YAML is not lost whole: its top-level blocks `hostname`, `ssh_authorized_keys` and `users` are
//! read one by one, so that a machine with a typing error in its last unit can still be reached and mended.

use super::config::CloudConfig;
use super::decode::decode;
use super::foresee;
use super::report::{Entry, Report};
use super::validate;
use super::yaml::{self, Node, Pair, Scalar, Value};

/// The forms user-data may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Nothing at all.
    Empty,
    /// Starts with `#!`.
    Script,
    /// Starts with the line `#cloud-config`.
    CloudConfig,
    /// JSON for Ignition, which is somebody else's.
    Ignition,
    /// Anything else.
    Unrecognized,
}

/// A cloud-config, as far as it could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The values.
    pub config: CloudConfig,
    /// What to say about the text. Errors name what is not used.
    pub report: Report,
}

/// The message for text of no known form (contract section 2.5).
pub const UNRECOGNIZED: &str = "must be \"#cloud-config\" or begin with \"#!\"";

/// Blocks worth saving from a text that is not YAML: what it takes to reach the machine.
const SAVED: [&str; 3] = ["hostname", "ssh_authorized_keys", "users"];

/// Which form `text` has.
pub fn form(text: &str) -> Form {
    let first = text.split('\n').next().unwrap_or_default();
    if text.is_empty() {
        Form::Empty
    } else if first.starts_with("#!") {
        Form::Script
    } else if first.trim_end() == "#cloud-config" {
        Form::CloudConfig
    } else if is_ignition(text) {
        Form::Ignition
    } else {
        Form::Unrecognized
    }
}

fn is_ignition(text: &str) -> bool {
    let json: Option<serde_json::Value> = serde_json::from_str(text).ok();
    json.is_some_and(|json| json.get("ignition").is_some() || json.get("ignitionVersion").is_some())
}

/// The validation report of `corten cloud-init validate`: the contract's rules, and what a machine would refuse or pass
/// over when it applies the text ([`foresee`]).
pub fn report(text: &str) -> Report {
    let mut report = Report::default();
    match form(text) {
        Form::Script => {}
        Form::Empty => report.warning(1, "the file is empty"),
        Form::Ignition | Form::Unrecognized => report.error(1, UNRECOGNIZED),
        Form::CloudConfig => match yaml::parse(text) {
            Ok(None) => {}
            Ok(Some(root)) => {
                report = validate::validate(&root);
                report.entries.extend(foresee::foresee(&root).entries);
                report = report.sorted();
            }
            Err(e) => report.error(e.line, e.message),
        },
    }
    report
}

/// Reads a cloud-config (addresses already filled in).
pub fn parse(text: &str) -> Parsed {
    match yaml::parse(text) {
        Ok(None) => Parsed::default(),
        Ok(Some(root)) => from_tree(&root),
        Err(error) => {
            let saved = salvage(text);
            let mut parsed = from_tree(&saved);
            let names: Vec<&str> = saved.pairs().iter().map(|pair| pair.key.as_str()).collect();
            let what = match names.is_empty() {
                true => "nothing of it is used".to_owned(),
                false => format!("only {} of it is used", names.join(", ")),
            };
            parsed
                .report
                .error(error.line, format!("not YAML: {}; {what}", error.message));
            parsed.report = parsed.report.sorted();
            parsed
        }
    }
}

/// The values of a tree; where decoding gave up on a value, its error replaces the validation's milder word.
fn from_tree(root: &Node) -> Parsed {
    let (config, errors) = decode(root);
    let said = |e: &Entry| {
        errors
            .entries
            .iter()
            .any(|x| x.line == e.line && x.message.starts_with(&e.message))
    };
    let mut entries: Vec<Entry> = validate::validate(root).entries;
    entries.retain(|e| !said(e));
    entries.extend(errors.entries);
    Parsed {
        config,
        report: Report { entries }.sorted(),
    }
}

/// The blocks of [`SAVED`] that are YAML by themselves, under their own line numbers.
fn salvage(text: &str) -> Node {
    let mut pairs: Vec<Pair> = Vec::new();
    for (start, block) in blocks(text) {
        let key = block
            .split(':')
            .next()
            .unwrap_or_default()
            .trim()
            .replace('-', "_");
        if !SAVED.contains(&key.as_str()) {
            continue;
        }
        let moved = format!("{}{block}", "\n".repeat(start - 1));
        match yaml::parse(&moved) {
            Ok(tree) => pairs.extend(tree.iter().flat_map(|t| t.pairs()).cloned()),
            Err(_) if key == "ssh_authorized_keys" => pairs.push(single_keys(start, &block)),
            Err(_) => {}
        }
    }
    Node {
        line: 1,
        value: Value::Map(pairs),
    }
}

/// The text cut at every line that begins a top-level key: first line (from 1) and text of each block.
fn blocks(text: &str) -> Vec<(usize, String)> {
    let mut out: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let begins = line.starts_with(|c: char| c.is_ascii_alphabetic()) && line.contains(':');
        match out.last_mut() {
            _ if begins => out.push((index + 1, format!("{line}\n"))),
            Some((_, block)) => {
                block.push_str(line);
                block.push('\n');
            }
            None => {}
        }
    }
    out
}

/// The items of a list of keys that is broken somewhere, line by line.
fn single_keys(start: usize, block: &str) -> Pair {
    let mut items = Vec::new();
    for (index, line) in block.lines().enumerate() {
        let Some(item) = line.trim_start().strip_prefix("- ") else {
            continue;
        };
        let Ok(Some(node)) = yaml::parse(item) else {
            continue;
        };
        let looks_like_key = |s: &Scalar| s.text.contains("ssh-") || s.text.contains("ecdsa-");
        if node.scalar().is_some_and(looks_like_key) {
            items.push(Node {
                line: start + index,
                ..node
            });
        }
    }
    let node = Node {
        line: start,
        value: Value::List(items),
    };
    Pair {
        key: "ssh_authorized_keys".to_owned(),
        written: "ssh_authorized_keys".to_owned(),
        line: start,
        node,
    }
}

#[cfg(test)]
#[path = "user_data_tests.rs"]
mod tests;
