//! `--config-file`: etcd's YAML, to variables. Keys are the flags' names; those of TLS stand below
//! `client-transport-security` and `peer-transport-security`.

use corten_spec::cloud_config::yaml::{self, Node, Pair, Value};

use super::table::{FLAGS, Flag};
use crate::settings::fragments::{Fragments, Given};

/// Why the file is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It is no YAML.
    #[error("{path}: {error}")]
    Syntax {
        /// The file.
        path: String,
        /// Where and why.
        error: yaml::SyntaxError,
    },
    /// It is YAML of another shape.
    #[error("{path}:{line}: {what}")]
    Shape {
        /// The file.
        path: String,
        /// From 1.
        line: usize,
        /// What should stand there.
        what: String,
    },
}

/// What the file says, and lines about what it says in vain.
#[derive(Debug, PartialEq, Eq)]
pub struct Config {
    /// By variable.
    pub given: Fragments,
    /// Keys nobody knows.
    pub warnings: Vec<String>,
}

/// Understands the text of the file `path`.
///
/// # Errors
/// See [`ConfigError`].
pub fn read(path: &str, text: &str) -> Result<Config, ConfigError> {
    let parsed = yaml::parse(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        error,
    })?;
    let mut config = Config {
        given: Fragments::new(),
        warnings: Vec::new(),
    };
    if let Some(root) = parsed {
        section(path, &root, "", &mut config)?;
    }
    Ok(config)
}

fn section(path: &str, node: &Node, prefix: &str, config: &mut Config) -> Result<(), ConfigError> {
    if !matches!(node.value, Value::Map(_)) && !node.is_null() {
        return Err(ConfigError::Shape {
            path: path.to_owned(),
            line: node.line,
            what: "keys and values are expected here".to_owned(),
        });
    }
    for pair in node.pairs() {
        // The parser writes dashes as underscores.
        match (prefix, pair.key.as_str()) {
            ("", "client_transport_security") => section(path, &pair.node, "client ", config)?,
            ("", "peer_transport_security") => section(path, &pair.node, "peer ", config)?,
            _ => entry(path, prefix, pair, config)?,
        }
    }
    Ok(())
}

fn entry(path: &str, prefix: &str, pair: &Pair, config: &mut Config) -> Result<(), ConfigError> {
    let name = pair.key.replace('_', "-");
    let name = match (prefix, name.as_str()) {
        ("peer ", "allowed-hostname") => "peer-cert-allowed-hostname".to_owned(),
        ("peer ", name) => format!("peer-{name}"),
        ("client ", "allowed-hostname") => "client-cert-allowed-hostname".to_owned(),
        (_, name) => name.to_owned(),
    };
    let Some(flag) = FLAGS.iter().find(|flag| flag.name == name) else {
        config.warnings.push(format!(
            "{path}:{}: {} has no effect: no such key is known",
            pair.line, pair.key
        ));
        return Ok(());
    };
    let value = value(&pair.node).ok_or_else(|| ConfigError::Shape {
        path: path.to_owned(),
        line: pair.line,
        what: format!("{name} wants one value"),
    })?;
    if !value.is_empty() {
        let source = format!("{path}:{}", pair.line);
        config.given.insert(Flag::variable(flag), Given { value, source });
    }
    Ok(())
}

/// A scalar's text, or a list's with commas.
fn value(node: &Node) -> Option<String> {
    if node.is_null() {
        return Some(String::new());
    }
    if let Some(scalar) = node.scalar() {
        return Some(scalar.text.clone());
    }
    let items: Vec<&str> = node
        .items()
        .iter()
        .map(|item| item.scalar().map(|scalar| scalar.text.as_str()))
        .collect::<Option<_>>()?;
    (!items.is_empty()).then(|| items.join(","))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_flags() {
        let text = "name: n1\ndata-dir: /d\nlog-outputs: [stderr]\nheartbeat-interval: 250\ninitial-cluster:\nnosuch: 1\n\
                    client-transport-security:\n  cert-file: /c\n  client-cert-auth: true\n\
                    peer-transport-security:\n  trusted-ca-file: /ca\n  auto-tls: true\n";
        let Config { given, warnings } = read("/e.yml", text).unwrap();
        let found: Vec<(&str, &str)> = given
            .iter()
            .map(|(n, g)| (n.as_str(), g.value.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("ETCD_CERT_FILE", "/c"),
                ("ETCD_CLIENT_CERT_AUTH", "true"),
                ("ETCD_DATA_DIR", "/d"),
                ("ETCD_HEARTBEAT_INTERVAL", "250"),
                ("ETCD_LOG_OUTPUTS", "stderr"),
                ("ETCD_NAME", "n1"),
                ("ETCD_PEER_AUTO_TLS", "true"),
                ("ETCD_PEER_TRUSTED_CA_FILE", "/ca"),
            ]
        );
        assert_eq!(warnings, ["/e.yml:6: nosuch has no effect: no such key is known"]);
        assert_eq!(given["ETCD_DATA_DIR"].source, "/e.yml:2");
        assert!(matches!(
            read("/e", "- a"),
            Err(ConfigError::Shape { line: 1, .. })
        ));
        assert!(matches!(read("/e", "a: [b"), Err(ConfigError::Syntax { .. })));
    }
}
