//! The `[X-Fleet]` section: what a unit asks of the machine it is placed on.
//!
//! | key | means |
//! |---|---|
//! | `MachineID` | this machine, by full id or its first eight characters |
//! | `MachineOf` | where all of these units are |
//! | `MachineMetadata` | a machine with this `key=value`; same key: or, different keys: and |
//! | `Conflicts` | not where a unit matching this glob is |
//! | `Replaces` | a unit matching this glob moves away from the machine this one is placed on |
//! | `Global` | every machine |
//! | `SpreadOver` | of the values of this metadata key, the one with the fewest instances of its template (not in fleet) |
//! | `Priority` | before units with a smaller number, which give way where room is short; 0 if not said (not in fleet) |
//! | `CPUReserve`, `MemoryReserve` | a machine that has so much not reserved by others ([`crate::resources`]; not in fleet) |
//! | `OnPartition` | `stop`: a machine that is cut off ends it before another one starts it; `keep`, if not said (not in fleet) |
//!
//! Legacy spellings: `X-ConditionMachineID`, `X-ConditionMachineBootID`, `X-ConditionMachineOf`,
//! `X-ConditionMachineMetadata`, `X-Conflicts`. Source: contract `fleet.md` section 3.

use crate::glob::glob_match;
use crate::machine::MetadataRequirements;
use crate::quote::go_quote;
use crate::resources::{Resources, parse_percent, parse_size};
use crate::unit_file::UnitFile;
use crate::unit_name::UnitName;
use crate::unit_parse::UnitFileError;

/// The section's name.
pub const SECTION: &str = "X-Fleet";

const METADATA_KEYS: [&str; 2] = ["X-ConditionMachineMetadata", "MachineMetadata"];

const KNOWN_KEYS: [&str; 16] = [
    "MachineID",
    "MachineOf",
    "MachineMetadata",
    "Conflicts",
    "Replaces",
    "Global",
    "CPUReserve",
    "MemoryReserve",
    "SpreadOver",
    "Priority",
    "OnPartition",
    "X-ConditionMachineID",
    "X-ConditionMachineBootID",
    "X-ConditionMachineOf",
    "X-ConditionMachineMetadata",
    "X-Conflicts",
];

/// What a unit asks of its machine, specifiers resolved. Values of `MachineOf`, `Conflicts` and `Replaces` are split at
/// blanks (fleet did so for `Conflicts` only; no unit name contains one).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    /// The one machine it may run on.
    pub machine_id: Option<String>,
    /// Names of the units it must share a machine with. No globs.
    pub machine_of: Vec<String>,
    /// Metadata its machine must have.
    pub metadata: MetadataRequirements,
    /// Globs of units it must not share a machine with.
    pub conflicts: Vec<String>,
    /// Globs of units it takes the place of.
    pub replaces: Vec<String>,
    /// Runs on every machine that satisfies the rest.
    pub global: bool,
    /// The metadata key over whose values instances of its template are spread.
    pub spread_over: Option<String>,
    /// Its importance; most units have 0.
    pub priority: i32,
    /// What it reserves for itself.
    pub reserves: Resources,
    /// Never twice at once: a machine that the cluster may hold for lost stops it.
    pub fenced: bool,
}

/// Why a unit's options do not go together; the texts are fleet's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The options do not print as a unit file that can be read back.
    #[error(transparent)]
    File(#[from] UnitFileError),
    /// A unit is wanted near and far at once.
    #[error("unresolvable requirements: peer {} matches {key} {}", go_quote(.peer), go_quote(.pattern))]
    Unresolvable {
        /// The `MachineOf` value.
        peer: String,
        /// `conflict` or `replace`.
        key: &'static str,
        /// The glob that matches it.
        pattern: String,
    },
    /// A value that cannot be read, of an option fleet did not have.
    #[error("invalid value for {key}: {}, expected {want}", go_quote(.value))]
    Value {
        /// The option.
        key: &'static str,
        /// What it is set to.
        value: String,
        /// An example.
        want: &'static str,
    },
    /// Two options that exclude each other.
    #[error("{0} cannot be used with {1}")]
    Exclusive(&'static str, &'static str),
}

impl Requirements {
    /// Reads the requirements of the unit `name` with content `file`. Never fails: values fleet would ignore are
    /// ignored. Check a unit with [`validate`] before it is accepted.
    pub fn of(name: &UnitName, file: &UnitFile) -> Requirements {
        read(file, &|value| expand(value, name))
    }
}

/// Replaces `%n` (full name), `%N` (name without type), `%p` (prefix) and `%i` (instance); any other `%` stays.
pub fn expand(text: &str, name: &UnitName) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let value = match rest[at + 1..].chars().next() {
            Some('n') => name.as_str(),
            Some('N') => name.stem(),
            Some('p') => name.prefix(),
            Some('i') => name.instance().unwrap_or(""),
            _ => {
                out.push('%');
                rest = &rest[at + 1..];
                continue;
            }
        };
        out.push_str(value);
        rest = &rest[at + 2..];
    }
    out.push_str(rest);
    out
}

/// Is the unit global? Asked on its own because the API answers differently for global units.
pub fn is_global(file: &UnitFile) -> bool {
    values(file, "Global")
        .last()
        .is_some_and(|value| is_truthy(value))
}

/// Keys in `[X-Fleet]` that mean nothing to us: worth a warning, never an error.
pub fn unknown_keys(file: &UnitFile) -> Vec<&str> {
    let ours = file.options.iter().filter(|o| o.section == SECTION);
    ours.map(|o| o.name.as_str())
        .filter(|name| !KNOWN_KEYS.contains(name))
        .collect()
}

/// What asks for metadata and is passed over, as `key=value` lines, because its value is no `k=v`. fleet did so without a word;
/// the unit then runs on machines that were not meant: worth a warning, never an error.
pub fn ignored_metadata(file: &UnitFile) -> Vec<String> {
    let written = METADATA_KEYS
        .iter()
        .flat_map(|key| values(file, key).into_iter().map(move |value| (key, value)));
    written
        .filter(|(_, value)| pair(value).is_none())
        .map(|(key, value)| format!("{key}={value}"))
        .collect()
}

/// Checks that a unit's options can be stored and its requirements go together.
///
/// # Errors
/// The first fault, in fleet's order and words. As in fleet, specifiers are not resolved here.
pub fn validate(file: &UnitFile) -> Result<(), OptionsError> {
    UnitFile::parse(&file.to_string())?;
    let unit = read(file, &str::to_owned);
    for peer in &unit.machine_of {
        for (key, patterns) in [("conflict", &unit.conflicts), ("replace", &unit.replaces)] {
            if let Some(pattern) = patterns.iter().find(|pattern| glob_match(pattern, peer)) {
                let (peer, pattern) = (peer.clone(), pattern.clone());
                return Err(OptionsError::Unresolvable { peer, key, pattern });
            }
        }
    }
    exclusive(&unit)?;
    readable(file, "Priority", "a whole number such as 10", parse_priority)?;
    readable(
        file,
        "CPUReserve",
        "a percentage of one processor such as 50%",
        parse_percent,
    )?;
    readable(file, "MemoryReserve", "a size such as 512M", parse_size)?;
    readable(file, "OnPartition", "stop or keep", parse_on_partition)
}

fn parse_priority(text: &str) -> Option<i32> {
    text.trim().parse().ok()
}

fn parse_on_partition(text: &str) -> Option<bool> {
    match text.trim() {
        "stop" => Some(true),
        "keep" => Some(false),
        _ => None,
    }
}

fn readable<T>(
    file: &UnitFile,
    key: &'static str,
    want: &'static str,
    parse: fn(&str) -> Option<T>,
) -> Result<(), OptionsError> {
    match values(file, key).into_iter().find(|value| parse(value).is_none()) {
        Some(value) => Err(OptionsError::Value { key, value, want }),
        None => Ok(()),
    }
}

fn exclusive(unit: &Requirements) -> Result<(), OptionsError> {
    let id = (unit.machine_id.is_some(), "MachineID");
    let peers = (!unit.machine_of.is_empty(), "Peers");
    let conflicts = (!unit.conflicts.is_empty(), "Conflicts");
    let replaces = (!unit.replaces.is_empty(), "Replaces");
    let global = (unit.global, "Global");
    let spread = (unit.spread_over.is_some(), "SpreadOver");
    let priority = (unit.priority != 0, "Priority");
    let pairs = [
        (id, peers),
        (id, conflicts),
        (id, global),
        (id, replaces),
        (global, peers),
        (global, replaces),
        (conflicts, replaces),
        (id, spread),
        (global, spread),
        (global, priority),
    ];
    match pairs.into_iter().find(|(a, b)| a.0 && b.0) {
        Some((a, b)) => Err(OptionsError::Exclusive(a.1, b.1)),
        None => Ok(()),
    }
}

fn read(file: &UnitFile, expand: &dyn Fn(&str) -> String) -> Requirements {
    let all = |keys: &[&str]| -> Vec<String> {
        keys.iter()
            .flat_map(|key| values(file, key))
            .map(|value| expand(&value))
            .collect()
    };
    let words = |keys: &[&str]| -> Vec<String> {
        all(keys)
            .iter()
            .flat_map(|v| v.split_whitespace())
            .map(str::to_owned)
            .collect()
    };
    Requirements {
        machine_id: ["MachineID", "X-ConditionMachineID", "X-ConditionMachineBootID"]
            .into_iter()
            .find_map(|key| values(file, key).first().map(|value| expand(value))),
        machine_of: words(&["X-ConditionMachineOf", "MachineOf"]),
        metadata: metadata(&all(&METADATA_KEYS)),
        conflicts: words(&["X-Conflicts", "Conflicts"]),
        replaces: words(&["Replaces"]),
        global: is_global(file),
        spread_over: all(&["SpreadOver"]).pop().filter(|key| !key.is_empty()),
        priority: last(file, "Priority", parse_priority),
        reserves: Resources {
            cpu_percent: last(file, "CPUReserve", parse_percent),
            memory_bytes: last(file, "MemoryReserve", parse_size),
        },
        fenced: last(file, "OnPartition", parse_on_partition),
    }
}

/// The last value of a key; the default if there is none or it cannot be read.
fn last<T: Default>(file: &UnitFile, key: &str, parse: fn(&str) -> Option<T>) -> T {
    let values = values(file, key);
    values.last().and_then(|value| parse(value)).unwrap_or_default()
}

/// Metadata that is asked for; what is no pair is passed over.
fn metadata(asked: &[String]) -> MetadataRequirements {
    let mut required = MetadataRequirements::new();
    for (key, value) in asked.iter().filter_map(|text| pair(text)) {
        required
            .entry(key.to_owned())
            .or_default()
            .insert(value.to_owned());
    }
    required
}

/// `k=v` with exactly one `=` and both sides non-empty; fleet ignores what is anything else.
fn pair(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once('=')?;
    let good = !key.is_empty() && !value.is_empty() && !value.contains('=');
    good.then_some((key, value))
}

/// All values of a key: repeated lines accumulate, and a line in double quotes may hold several.
fn values(file: &UnitFile, key: &str) -> Vec<String> {
    file.values(SECTION, key).flat_map(multi_value).collect()
}

/// `"a" "b"` is two values; a line that does not begin and end with a quote is one.
fn multi_value(line: &str) -> Vec<String> {
    if !(line.starts_with('"') && line.ends_with('"')) {
        return vec![line.to_owned()];
    }
    let mut values = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => values.push(String::new()),
            c => values.last_mut().expect("begins with one value").push(c),
        }
    }
    values
}

fn is_truthy(value: &str) -> bool {
    ["true", "yes", "1", "on", "t"].contains(&value.to_lowercase().as_str())
}

#[cfg(test)]
mod tests;
