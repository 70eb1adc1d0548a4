//! Which registries may be spoken to in plain HTTP, and with which credentials.
//!
//! Duty: `/etc/docker/daemon.json` (`insecure-registries`) and `~/.docker/config.json` (`auths`). Refusal: no credential
//! helpers. Loopback registries are insecure by default, as Docker has it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use serde::Deserialize;

use crate::durable;

/// A user and a password (or token).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
}

/// How registries are reached.
#[derive(Debug, Clone, Default)]
pub struct RegistryConfig {
    insecure: Vec<String>,
    auths: BTreeMap<String, Credentials>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DaemonJson {
    #[serde(rename = "insecure-registries")]
    insecure_registries: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConfigJson {
    auths: BTreeMap<String, AuthEntry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AuthEntry {
    auth: String,
    username: String,
    password: String,
}

impl RegistryConfig {
    /// Reads both files; one that is missing or broken counts as empty (the broken one with a warning).
    pub fn load() -> Self {
        let daemon: DaemonJson = read_or_default(Path::new("/etc/docker/daemon.json"));
        let home = std::env::var_os("HOME").unwrap_or_else(|| "/root".into());
        let dir =
            std::env::var_os("DOCKER_CONFIG").map_or_else(|| Path::new(&home).join(".docker"), Into::into);
        let config: ConfigJson = read_or_default(&dir.join("config.json"));
        Self::from_parts(daemon, config)
    }

    fn from_parts(daemon: DaemonJson, config: ConfigJson) -> Self {
        let auths = config
            .auths
            .into_iter()
            .filter_map(|(host, entry)| Some((host, entry.credentials()?)))
            .collect();
        Self {
            insecure: daemon.insecure_registries,
            auths,
        }
    }

    /// Whether plain HTTP may be used when TLS fails: loopback, or listed by name, by name and port, or by network.
    pub fn is_insecure(&self, registry: &str) -> bool {
        let host = registry
            .rsplit_once(':')
            .map_or(registry, |(host, _)| host)
            .trim_matches(['[', ']']);
        let address: Option<IpAddr> = host.parse().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        self.insecure.iter().any(|entry| {
            let entry = entry.trim_start_matches("http://").trim_end_matches('/');
            entry == registry || entry == host || address.is_some_and(|address| in_network(address, entry))
        })
    }

    /// Credentials for a registry.
    pub fn credentials(&self, registry: &str) -> Option<&Credentials> {
        let hub = ["https://index.docker.io/v1/", "index.docker.io", "docker.io"];
        let names: &[&str] = if registry == "docker.io" { &hub } else { &[] };
        self.auths
            .iter()
            .find(|(host, _)| {
                let bare = host
                    .trim_start_matches("https://")
                    .trim_start_matches("http://")
                    .trim_end_matches('/');
                bare == registry || names.contains(&host.as_str())
            })
            .map(|(_, credentials)| credentials)
    }
}

impl AuthEntry {
    fn credentials(self) -> Option<Credentials> {
        if !self.username.is_empty() {
            return Some(Credentials {
                user: self.username,
                password: self.password,
            });
        }
        let (user, password) = super::auth::parse_credentials(&self.auth)?;
        Some(Credentials {
            user,
            password: password.trim_end_matches('\0').to_owned(),
        })
    }
}

fn read_or_default<T: Default + for<'a> Deserialize<'a>>(path: &Path) -> T {
    match durable::read_json(path) {
        Ok(value) => value.unwrap_or_default(),
        Err(error) => {
            tracing::warn!("{}: {error}; going on without it", path.display());
            T::default()
        }
    }
}

fn in_network(address: IpAddr, network: &str) -> bool {
    let Some((base, prefix)) = network.split_once('/') else {
        return false;
    };
    let (Ok(base), Ok(prefix)) = (base.parse::<IpAddr>(), prefix.parse::<u32>()) else {
        return false;
    };
    match (address, base) {
        (IpAddr::V4(address), IpAddr::V4(base)) if prefix <= 32 => {
            let shift = 32 - prefix;
            shift == 32 || u32::from(address) >> shift == u32::from(base) >> shift
        }
        (IpAddr::V6(address), IpAddr::V6(base)) if prefix <= 128 => {
            let shift = 128 - prefix;
            shift == 128 || u128::from(address) >> shift == u128::from(base) >> shift
        }
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn config() -> RegistryConfig {
        RegistryConfig::from_parts(
            serde_json::from_str(r#"{"insecure-registries":["10.1.0.0/16","reg.lan","b:5000"],"log-level":"x"}"#).unwrap(),
            serde_json::from_str(
                r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},"reg.lan":{"username":"a","password":"b"}}}"#,
            )
            .unwrap(),
        )
    }

    #[test]
    fn insecure_are_loopback_and_what_is_listed() {
        for (registry, insecure) in [
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("localhost:5000", true),
            ("[::1]:5000", true),
            ("10.1.2.3:5000", true),
            ("10.2.2.3:5000", false),
            ("reg.lan", true),
            ("reg.lan:5000", true),
            ("b:5000", true),
            ("b:5001", false),
            ("docker.io", false),
        ] {
            assert_eq!(config().is_insecure(registry), insecure, "{registry}");
        }
    }

    #[test]
    fn credentials_are_found_by_registry() {
        let hub = Credentials {
            user: "u".into(),
            password: "p".into(),
        };
        assert_eq!(config().credentials("docker.io"), Some(&hub));
        assert_eq!(config().credentials("reg.lan").unwrap().user, "a");
        assert_eq!(config().credentials("other"), None);
    }
}
