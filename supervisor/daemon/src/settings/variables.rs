//! Every variable of etcd2, fleet and our own, and what becomes of it: taken, refused or ignored with a warning.
//!
//! Refused is what would change what the operator meant if we went on without it (TLS, discovery, a proxy); ignored is
//! what only tunes an engine we do not have. Nothing is dropped silently. Source: contract `os-image.md` section 2.2,
//! `fleet.md` section 4, etcd 2.3's `Documentation/configuration.md`.

use super::fragments::{Fragments, Given};

/// What we do with a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// It becomes part of the settings.
    Taken,
    /// The supervisor does not start with it, unless its value is one of these harmless ones.
    Refused {
        /// Values that ask for nothing.
        harmless: &'static [&'static str],
        /// What to do instead.
        instead: &'static str,
    },
    /// It has no effect here, for this reason.
    Ignored(&'static str),
}

use Treatment::{Ignored, Refused, Taken};

const CLIENT_TLS: Treatment = Refused {
    harmless: &["false"],
    instead: "client URLs are served as plain HTTP only: remove it, and keep client URLs on a private network",
};
const PEER_TLS: Treatment = Refused {
    harmless: &["false"],
    instead: "peers speak plain HTTP only: remove it, and keep peer URLs on a private network",
};
const DISCOVERY: Treatment = Refused {
    harmless: &[],
    instead: "the cluster is formed from ETCD_INITIAL_CLUSTER: list every member there",
};
const PROXY_TIMING: Treatment = Ignored("there is no proxy mode");
const OWN_STORE: Treatment =
    Ignored("the scheduler uses the supervisor's own store, there is no etcd to reach");

/// All known variables, sorted.
pub const KNOWN: &[(&str, Treatment)] = &[
    ("CORTEN_FLEET_SOCKET", Taken),
    ("CORTEN_LOG", Taken),
    ("CORTEN_MACHINE_ID", Taken),
    ("ETCD_ADVERTISE_CLIENT_URLS", Taken),
    ("ETCD_CA_FILE", CLIENT_TLS),
    ("ETCD_CERT_FILE", CLIENT_TLS),
    ("ETCD_CLIENT_CERT_AUTH", CLIENT_TLS),
    (
        "ETCD_CORS",
        Ignored("browsers of any origin are let in, as etcd 3.4 does"),
    ),
    ("ETCD_DATA_DIR", Taken),
    ("ETCD_DEBUG", Taken),
    ("ETCD_DISCOVERY", DISCOVERY),
    ("ETCD_DISCOVERY_FALLBACK", Ignored("there is no discovery")),
    ("ETCD_DISCOVERY_PROXY", Ignored("there is no discovery")),
    ("ETCD_DISCOVERY_SRV", DISCOVERY),
    ("ETCD_ELECTION_TIMEOUT", Taken),
    ("ETCD_ENABLE_PPROF", Ignored("there is no Go runtime to profile")),
    (
        "ETCD_FORCE_NEW_CLUSTER",
        Refused {
            harmless: &["false"],
            instead: "a member cannot yet be cut out of its cluster: remove it",
        },
    ),
    ("ETCD_HEARTBEAT_INTERVAL", Taken),
    ("ETCD_INITIAL_ADVERTISE_PEER_URLS", Taken),
    ("ETCD_INITIAL_CLUSTER", Taken),
    ("ETCD_INITIAL_CLUSTER_STATE", Taken),
    ("ETCD_INITIAL_CLUSTER_TOKEN", Taken),
    ("ETCD_KEY_FILE", CLIENT_TLS),
    ("ETCD_LISTEN_CLIENT_URLS", Taken),
    ("ETCD_LISTEN_PEER_URLS", Taken),
    (
        "ETCD_LOG_PACKAGE_LEVELS",
        Ignored("our modules are other ones: use CORTEN_LOG"),
    ),
    ("ETCD_MAX_SNAPSHOTS", Ignored("one snapshot is kept")),
    (
        "ETCD_MAX_WALS",
        Ignored("the log is shortened after each snapshot"),
    ),
    ("ETCD_NAME", Taken),
    ("ETCD_PEER_CA_FILE", PEER_TLS),
    ("ETCD_PEER_CERT_FILE", PEER_TLS),
    ("ETCD_PEER_CLIENT_CERT_AUTH", PEER_TLS),
    ("ETCD_PEER_KEY_FILE", PEER_TLS),
    ("ETCD_PEER_TRUSTED_CA_FILE", PEER_TLS),
    (
        "ETCD_PROXY",
        Refused {
            harmless: &["off"],
            instead: "every machine is a member: remove it, or set it to \"off\"",
        },
    ),
    ("ETCD_PROXY_DIAL_TIMEOUT", PROXY_TIMING),
    ("ETCD_PROXY_FAILURE_WAIT", PROXY_TIMING),
    ("ETCD_PROXY_READ_TIMEOUT", PROXY_TIMING),
    ("ETCD_PROXY_REFRESH_INTERVAL", PROXY_TIMING),
    ("ETCD_PROXY_WRITE_TIMEOUT", PROXY_TIMING),
    ("ETCD_SNAPSHOT_COUNT", Taken),
    (
        "ETCD_STRICT_RECONFIG_CHECK",
        Ignored("members cannot be changed at run time yet"),
    ),
    ("ETCD_TRUSTED_CA_FILE", CLIENT_TLS),
    ("ETCD_WAL_DIR", Ignored("the log lies in ETCD_DATA_DIR")),
    ("FLEET_AGENT_TTL", Taken),
    (
        "FLEET_AUTHORIZED_KEYS_FILE",
        Ignored("fleet, too, has ignored it since signed units went"),
    ),
    ("FLEET_DISABLE_ENGINE", Taken),
    (
        "FLEET_DISABLE_WATCHES",
        Ignored("changes are events here, there is no load to avoid"),
    ),
    (
        "FLEET_ENABLE_GRPC",
        Ignored("the machines speak their own protocol"),
    ),
    (
        "FLEET_ENGINE_RECONCILE_INTERVAL",
        Ignored("the scheduler acts when something changes, it does not poll"),
    ),
    ("FLEET_ETCD_CAFILE", OWN_STORE),
    ("FLEET_ETCD_CERTFILE", OWN_STORE),
    ("FLEET_ETCD_KEYFILE", OWN_STORE),
    ("FLEET_ETCD_KEY_PREFIX", OWN_STORE),
    ("FLEET_ETCD_PASSWORD", OWN_STORE),
    ("FLEET_ETCD_REQUEST_TIMEOUT", OWN_STORE),
    ("FLEET_ETCD_SERVERS", OWN_STORE),
    ("FLEET_ETCD_USERNAME", OWN_STORE),
    ("FLEET_METADATA", Taken),
    ("FLEET_PUBLIC_IP", Taken),
    (
        "FLEET_SYSTEMD_USER",
        Refused {
            harmless: &["false"],
            instead: "units run under the machine's systemd only: remove it",
        },
    ),
    ("FLEET_TOKEN_LIMIT", Taken),
    ("FLEET_UNITS_DIRECTORY", Taken),
    ("FLEET_VERBOSITY", Taken),
    (
        "FLEET_VERIFY_UNITS",
        Ignored("fleet, too, has ignored it since signed units went"),
    ),
];

/// What is to be said of one variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// Worth a line in the journal.
    Warning(String),
    /// The supervisor must not start.
    Refusal(String),
}

/// What is to be said of everything given that is not simply taken.
pub fn remarks(given: &Fragments) -> Vec<Remark> {
    given
        .iter()
        .filter_map(|(name, given)| remark(name, given))
        .collect()
}

fn remark(name: &str, given: &Given) -> Option<Remark> {
    let what = format!("{name}={:?} (from {})", given.value, given.source);
    match KNOWN
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, treatment)| treatment)
    {
        Some(Taken) => None,
        Some(Refused { harmless, .. }) if harmless.contains(&given.value.as_str()) => None,
        Some(Refused { instead, .. }) => {
            Some(Remark::Refusal(format!("{what} cannot be honoured: {instead}")))
        }
        Some(Ignored(why)) => Some(Remark::Warning(format!("{what} has no effect: {why}"))),
        None => Some(Remark::Warning(format!(
            "{what} has no effect: no such variable is known; is it misspelt?"
        ))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_without_doubles() {
        for pair in KNOWN.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{} stands before {}", pair[0].0, pair[1].0);
        }
    }

    #[test]
    fn what_is_said() {
        let say = |name: &str, value: &str| {
            remark(
                name,
                &Given {
                    value: value.into(),
                    source: "the environment".into(),
                },
            )
        };
        assert_eq!(say("ETCD_NAME", "n1"), None);
        assert_eq!(say("ETCD_PROXY", "off"), None);
        assert_eq!(
            say("ETCD_PROXY", "on"),
            Some(Remark::Refusal(
                "ETCD_PROXY=\"on\" (from the environment) cannot be honoured: every machine is a member: remove it, \
                 or set it to \"off\""
                    .into()
            ))
        );
        assert!(matches!(say("ETCD_MAX_WALS", "5"), Some(Remark::Warning(w)) if w.contains("has no effect")));
        assert!(matches!(say("ETCD_NAEM", "n1"), Some(Remark::Warning(w)) if w.contains("misspelt")));
    }
}
