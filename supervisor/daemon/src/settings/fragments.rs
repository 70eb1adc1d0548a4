//! Where configuration comes from: `/etc/fleet/fleet.conf` and the environment, later ones over earlier ones.
//! Pure: the texts are arguments, reading them is the caller's one line each.

use std::collections::BTreeMap;

/// One variable as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Its text.
    pub value: String,
    /// Where it stands, for messages: `the environment` or `/etc/fleet/fleet.conf:3`.
    pub source: String,
}

/// Everything given, by variable name.
pub type Fragments = BTreeMap<String, Given>;

/// A line of fleet.conf that is no `key = value`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}:{line}: expected key=value, found {text:?}: correct or remove the line")]
pub struct ConfError {
    /// The file.
    pub path: String,
    /// From 1.
    pub line: usize,
    /// The line.
    pub text: String,
}

/// Our variables of an environment. Like etcd's and fleet's own flag packages, an empty value counts as none.
pub fn from_environment(variables: impl IntoIterator<Item = (String, String)>) -> Fragments {
    let ours = |name: &str| {
        ["ETCD_", "FLEET_", "CORTEN_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    };
    variables
        .into_iter()
        .filter(|(name, value)| ours(name) && !value.is_empty())
        .map(|(name, value)| {
            (
                name,
                Given {
                    value,
                    source: "the environment".to_owned(),
                },
            )
        })
        .collect()
}

/// The text of a fleet.conf: `key = value` lines, values optionally quoted, `#` and `;` comments.
///
/// # Errors
/// The first line that is neither.
pub fn from_fleet_conf(path: &str, text: &str) -> Result<Fragments, ConfError> {
    let mut found = Fragments::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';', '[']) {
            continue;
        }
        let (key, value) = line.split_once('=').ok_or_else(|| ConfError {
            path: path.to_owned(),
            line: number + 1,
            text: line.to_owned(),
        })?;
        let value = unquote(value.trim());
        if !value.is_empty() {
            let given = Given {
                value: value.to_owned(),
                source: format!("{path}:{}", number + 1),
            };
            found.insert(format!("FLEET_{}", key.trim().to_ascii_uppercase()), given);
        }
    }
    Ok(found)
}

fn unquote(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|v| v.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}

/// `base` with everything of `over` laid over it.
pub fn merge(mut base: Fragments, over: Fragments) -> Fragments {
    base.extend(over);
    base
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn environment_wins_over_the_file() {
        let file = from_fleet_conf(
            "/f",
            "# c\n[x]\nagent_ttl = \"5s\"\npublic_ip='1.2.3.4'\nmetadata=\n",
        )
        .unwrap();
        assert_eq!(
            file["FLEET_AGENT_TTL"],
            Given {
                value: "5s".into(),
                source: "/f:3".into()
            }
        );
        assert!(
            !file.contains_key("FLEET_METADATA"),
            "an empty value counts as none"
        );
        let environment = from_environment([
            ("FLEET_AGENT_TTL".to_owned(), "9s".to_owned()),
            ("ETCD_NAME".to_owned(), String::new()),
            ("ETCDCTL_PEERS".to_owned(), "x".to_owned()),
            ("PATH".to_owned(), "/bin".to_owned()),
        ]);
        let merged = merge(file, environment);
        assert_eq!(merged["FLEET_AGENT_TTL"].value, "9s");
        assert_eq!(
            merged.keys().collect::<Vec<_>>(),
            ["FLEET_AGENT_TTL", "FLEET_PUBLIC_IP"]
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = from_fleet_conf("/etc/fleet/fleet.conf", "a=1\nnonsense\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "/etc/fleet/fleet.conf:2: expected key=value, found \"nonsense\": correct or remove the line"
        );
    }
}
