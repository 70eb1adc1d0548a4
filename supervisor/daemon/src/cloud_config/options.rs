//! Whether the supervisor would understand `coreos.etcd2` and `coreos.fleet`: its own reading of them ([`settings`]),
//! told in the words of the file. So the check and the supervisor cannot disagree.
//!
//! The danger: an address only the machine knows (`$private_ipv4`). Documentation addresses (RFC 5737, RFC 3849) stand
//! in for them, and what is found wrong only because of these is not said.

use corten_spec::cloud_config::report::Report;
use corten_spec::cloud_config::schema::Group;
use corten_spec::cloud_config::substitute::{Addresses, substitute};
use corten_spec::cloud_config::{decode, user_data, yaml};

use crate::settings::fragments::{Fragments, Given};
use crate::settings::{self, Understood};

/// The groups whose variables the supervisor gets, in the order in which later ones win.
const GROUPS: [Group; 3] = [Group::Etcd, Group::Etcd2, Group::Fleet];

/// The report on a whole text.
pub fn report(text: &str) -> Report {
    let (filled, _) = substitute(text, &stand_ins());
    let mut report = user_data::report(&filled);
    report.entries.extend(check(&filled).entries);
    for entry in &mut report.entries {
        for (name, address) in stand_ins().named() {
            entry.message = entry
                .message
                .replace(address.unwrap_or_default(), &format!("${name}"));
        }
    }
    report.sorted()
}

/// Addresses that no machine has.
fn stand_ins() -> Addresses {
    Addresses {
        public_ipv4: Some("203.0.113.251".to_owned()),
        private_ipv4: Some("192.0.2.251".to_owned()),
        public_ipv6: Some("2001:db8::ffb1".to_owned()),
        private_ipv6: Some("2001:db8::ffa1".to_owned()),
    }
}

fn check(text: &str) -> Report {
    let mut report = Report::default();
    let keys = keys(text);
    if keys.is_empty() {
        return report;
    }
    let given: Fragments = keys
        .iter()
        .map(|key| {
            let (value, source) = (key.value.clone(), String::new());
            (key.variable.clone(), Given { value, source })
        })
        .collect();
    match settings::understand(&given) {
        Ok(Understood { warnings, .. }) => {
            for said in warnings {
                report.warning(line_of(&said, &keys), in_the_files_words(&said, &keys));
            }
        }
        Err(wrong) => {
            for said in wrong
                .problems
                .iter()
                .filter(|said| !hangs_on_an_address(said, &keys))
            {
                report.error(line_of(said, &keys), in_the_files_words(said, &keys));
            }
        }
    }
    report
}

/// One key of a group as the file has it.
struct Key {
    written: String,
    line: usize,
    variable: String,
    value: String,
}

fn keys(text: &str) -> Vec<Key> {
    if user_data::form(text) != user_data::Form::CloudConfig {
        return Vec::new();
    }
    let Ok(Some(root)) = yaml::parse(text) else {
        return Vec::new();
    };
    let (config, _) = decode::decode(&root);
    let Some(coreos) = root.get("coreos") else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for group in GROUPS {
        let Some(pair) = coreos.node.get(group.name()) else {
            continue;
        };
        let values = config.groups.iter().filter(|(each, _)| *each == group);
        for (variable, value) in values.flat_map(|(_, values)| &values.value) {
            let key = group.keys().iter().find(|key| group.variable(key) == *variable);
            let Some(entry) = key.and_then(|key| pair.node.get(key.name)) else {
                continue;
            };
            found.push(Key {
                written: entry.written.clone(),
                line: entry.line,
                variable: variable.clone(),
                value: value.clone(),
            });
        }
    }
    found
}

/// The variable a remark begins with.
fn subject(said: &str) -> &str {
    let end = said.find(|c: char| !is_of_a_variable(c)).unwrap_or(said.len());
    &said[..end]
}

fn is_of_a_variable(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'
}

/// The line of the key a remark is about; for one that is missing, that of the first there is.
fn line_of(said: &str, keys: &[Key]) -> usize {
    let own = keys.iter().rev().find(|key| key.variable == subject(said));
    own.or(keys.first()).map_or(0, |key| key.line)
}

/// A remark with every variable named by its key, and without the place, which the line says.
fn in_the_files_words(said: &str, keys: &[Key]) -> String {
    let mut out = String::new();
    let mut rest = said;
    while !rest.is_empty() {
        let word = subject(rest);
        if word.is_empty() {
            let next = rest.find(is_of_a_variable).unwrap_or(rest.len());
            out.push_str(&rest[..next]);
            rest = &rest[next..];
        } else {
            out.push_str(&key_of(word, keys).unwrap_or_else(|| word.to_owned()));
            rest = &rest[word.len()..];
        }
    }
    out.replace(" (from )", "")
}

/// How a variable's key is written: as in the file, else with the dashes of the README.
fn key_of(variable: &str, keys: &[Key]) -> Option<String> {
    if let Some(key) = keys.iter().rev().find(|key| key.variable == variable) {
        return Some(key.written.clone());
    }
    [Group::Etcd2, Group::Fleet].into_iter().find_map(|group| {
        let key = group.keys().iter().find(|key| group.variable(key) == variable)?;
        Some(key.name.replace('_', "-"))
    })
}

/// Is it wrong only because an address of the machine is not known here: named in the remark, but not in the value
/// that it is about.
fn hangs_on_an_address(said: &str, keys: &[Key]) -> bool {
    let value = keys
        .iter()
        .rev()
        .find(|key| key.variable == subject(said))
        .map_or("", |key| key.value.as_str());
    stand_ins()
        .named()
        .into_iter()
        .filter_map(|(_, address)| address)
        .any(|address| said.contains(address) && !value.contains(address))
}

#[cfg(test)]
mod tests {
    use super::report;

    fn lines(coreos: &str) -> Vec<String> {
        let entries = report(&format!("#cloud-config\ncoreos:\n{coreos}")).entries;
        entries.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn addresses_of_the_machine_are_taken_on_trust() {
        let good = "  etcd2:\n    name: n1\n    initial-cluster: n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380\n    \
                    initial-advertise-peer-urls: http://$private_ipv4:2380\n    \
                    listen-peer-urls: http://$private_ipv4:2380\n    advertise-client-urls: http://$private_ipv4:2379\n    \
                    listen-client-urls: http://0.0.0.0:2379\n  fleet:\n    public-ip: $private_ipv4\n    \
                    metadata: role=worker,zone=a\n    agent-ttl: 30s\n";
        assert_eq!(lines(good), Vec::<String>::new());
    }

    #[test]
    fn what_the_supervisor_does_not_understand_is_said_in_the_words_of_the_file() {
        let table = [
            (
                "  etcd2:\n    name: n1\n    initial-cluster: junk\n",
                "line 5: error: initial-cluster=\"junk\": \"junk\" is no NAME=URL",
            ),
            (
                "  etcd2:\n    initial_cluster: n2=http://10.0.0.1:2380\n",
                "line 4: error: initial_cluster=",
            ),
            (
                "  etcd2:\n    listen-peer-urls: ftp://$private_ipv4:2380\n",
                "line 4: error: listen-peer-urls=\"ftp://$private_ipv4:2380\"",
            ),
            (
                "  etcd2:\n    listen-client-urls: http://10.0.0.1:2379\n",
                "line 4: error: advertise-client-urls is not set: it is required when listen-client-urls is set",
            ),
            (
                "  fleet:\n    agent-ttl: banana\n",
                "line 4: error: agent-ttl=\"banana\": \"banana\" is not a number with one of the units",
            ),
            (
                "  fleet:\n    metadata: role\n",
                "line 4: warning: metadata: \"role\" has no effect: it is no KEY=VALUE",
            ),
            (
                "  etcd2:\n    max-wals: 5\n",
                "line 4: warning: max-wals=\"5\" has no effect",
            ),
        ];
        for (bad, wanted) in table {
            let lines = lines(bad);
            assert!(
                lines.iter().any(|line| line.starts_with(wanted)),
                "{bad}: {lines:#?}, want {wanted}"
            );
        }
    }
}
