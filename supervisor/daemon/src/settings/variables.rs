//! Every variable of etcd 2 and 3.4, fleet and our own, and what becomes of it: taken, refused or ignored with a warning.
//!
//! Refused is what would change what the operator meant if we went on without it (a proxy, a check of certificates we do not make); ignored is
//! what only tunes an engine we do not have. Nothing is dropped silently. Source: contract `os-image.md` section 2.2,
//! `fleet.md` section 4, etcd 2.3's `Documentation/configuration.md`, `etcd --help` of 3.4.

use super::Program;
use super::fragments::{Fragments, Given};

/// What we do with a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// It becomes part of the settings.
    Taken,
    /// It becomes part of the settings of the store run alone; the supervisor treats it so.
    TakenAlone(&'static Treatment),
    /// The program does not start with it, unless its value is one of these harmless ones.
    Refused {
        /// Values that ask for nothing.
        harmless: &'static [&'static str],
        /// What to do instead.
        instead: &'static str,
    },
    /// It has no effect here, for this reason.
    Ignored(&'static str),
}

use Treatment::{Ignored, Refused, Taken, TakenAlone};

const OWN_STORE: Treatment =
    Ignored("the scheduler uses the supervisor's own store, there is no etcd to reach");

/// All known variables, sorted.
pub const KNOWN: &[(&str, Treatment)] = &[
    ("CORTEN_FLEET_SOCKET", Taken),
    ("CORTEN_LOG", Taken),
    ("CORTEN_MACHINE_ID", Taken),
    ("ETCD_ADVERTISE_CLIENT_URLS", Taken),
    ("ETCD_AUTH_TOKEN", Ignored("tokens are simple ones")),
    ("ETCD_AUTH_TOKEN_TTL", Taken),
    ("ETCD_AUTO_COMPACTION_MODE", Taken),
    ("ETCD_AUTO_COMPACTION_RETENTION", Taken),
    ("ETCD_AUTO_TLS", Taken),
    (
        "ETCD_BACKEND_BATCH_INTERVAL",
        Ignored("the state commits with each batch of the log"),
    ),
    (
        "ETCD_BACKEND_BATCH_LIMIT",
        Ignored("the state commits with each batch of the log"),
    ),
    ("ETCD_BCRYPT_COST", Ignored("the cost is the default, 10")),
    ("ETCD_CA_FILE", Taken),
    ("ETCD_CERT_FILE", Taken),
    ("ETCD_CIPHER_SUITES", Taken),
    ("ETCD_CLIENT_CERT_ALLOWED_HOSTNAME", Taken),
    ("ETCD_CLIENT_CERT_AUTH", Taken),
    ("ETCD_CLIENT_CRL_FILE", Taken),
    ("ETCD_CLUSTER_ACTIVE_SIZE", Taken),
    ("ETCD_CLUSTER_REMOVE_DELAY", Taken),
    (
        "ETCD_CONFIG_FILE",
        TakenAlone(&Ignored("the supervisor is configured by variables only")),
    ),
    (
        "ETCD_CORS",
        TakenAlone(&Ignored("browsers of any origin are let in, as etcd 3.4 does")),
    ),
    ("ETCD_DATA_DIR", Taken),
    ("ETCD_DEBUG", Taken),
    ("ETCD_DISCOVERY", Taken),
    (
        "ETCD_DISCOVERY_FALLBACK",
        TakenAlone(&Ignored(
            "there is no proxy mode here: a machine that finds the cluster full stands by in it",
        )),
    ),
    ("ETCD_DISCOVERY_PROXY", Taken),
    ("ETCD_DISCOVERY_SRV", Taken),
    ("ETCD_DISCOVERY_SRV_NAME", Taken),
    ("ETCD_ELECTION_TIMEOUT", Taken),
    ("ETCD_ENABLE_PPROF", Ignored("there is no Go runtime to profile")),
    ("ETCD_ENABLE_V2", Ignored("v2 is always served")),
    (
        "ETCD_EXPERIMENTAL_BACKEND_BBOLT_FREELIST_TYPE",
        Ignored("there is no bbolt here"),
    ),
    (
        "ETCD_EXPERIMENTAL_COMPACTION_BATCH_LIMIT",
        Ignored("compaction is bounded by itself"),
    ),
    (
        "ETCD_EXPERIMENTAL_CORRUPT_CHECK_TIME",
        Ignored("log and snapshots are always checked by their checksums"),
    ),
    (
        "ETCD_EXPERIMENTAL_ENABLE_LEASE_CHECKPOINT",
        Ignored("leases restart in full on a new leader"),
    ),
    (
        "ETCD_EXPERIMENTAL_ENABLE_V2V3",
        Ignored("v2 has its own place in the one state machine"),
    ),
    (
        "ETCD_EXPERIMENTAL_INITIAL_CORRUPT_CHECK",
        Ignored("log and snapshots are always checked by their checksums"),
    ),
    (
        "ETCD_EXPERIMENTAL_PEER_SKIP_CLIENT_SAN_VERIFICATION",
        Ignored("addresses in clients' certificates are not looked at"),
    ),
    ("ETCD_EXPERIMENTAL_V2_HISTORY", Taken),
    ("ETCD_EXPERIMENTAL_WARNING_APPLY_DURATION", Taken),
    (
        "ETCD_EXPERIMENTAL_WATCH_PROGRESS_NOTIFY_INTERVAL",
        Ignored("the interval is fixed"),
    ),
    ("ETCD_FORCE_NEW_CLUSTER", Taken),
    (
        "ETCD_GRPC_KEEPALIVE_INTERVAL",
        Ignored("idle connections are kept"),
    ),
    (
        "ETCD_GRPC_KEEPALIVE_MIN_TIME",
        Ignored("clients' pings are always answered"),
    ),
    (
        "ETCD_GRPC_KEEPALIVE_TIMEOUT",
        Ignored("idle connections are kept"),
    ),
    ("ETCD_HEARTBEAT_INTERVAL", Taken),
    (
        "ETCD_HOST_WHITELIST",
        TakenAlone(&Ignored(
            "requests for any host name are answered, as etcd 3.4 does",
        )),
    ),
    ("ETCD_INITIAL_ADVERTISE_PEER_URLS", Taken),
    ("ETCD_INITIAL_CLUSTER", Taken),
    ("ETCD_INITIAL_CLUSTER_STATE", Taken),
    ("ETCD_INITIAL_CLUSTER_TOKEN", Taken),
    (
        "ETCD_INITIAL_ELECTION_TICK_ADVANCE",
        Ignored("a single member leads at once"),
    ),
    ("ETCD_KEY_FILE", Taken),
    ("ETCD_LISTEN_CLIENT_URLS", Taken),
    ("ETCD_LISTEN_METRICS_URLS", Taken),
    ("ETCD_LISTEN_PEER_URLS", Taken),
    ("ETCD_LOGGER", Ignored("the log has one form")),
    (
        "ETCD_LOG_LEVEL",
        TakenAlone(&Ignored(
            "the log level is set by CORTEN_LOG, ETCD_DEBUG and FLEET_VERBOSITY",
        )),
    ),
    (
        "ETCD_LOG_OUTPUTS",
        TakenAlone(&Ignored("the log goes to the journal")),
    ),
    (
        "ETCD_LOG_PACKAGE_LEVELS",
        Ignored("our modules are other ones: use CORTEN_LOG"),
    ),
    (
        "ETCD_MAX_CONCURRENT_STREAMS",
        Ignored("streams are bounded by the server"),
    ),
    ("ETCD_MAX_REQUEST_BYTES", Taken),
    ("ETCD_MAX_SNAPSHOTS", Ignored("one snapshot is kept")),
    ("ETCD_MAX_TXN_OPS", Taken),
    (
        "ETCD_MAX_WALS",
        Ignored("the log is shortened after each snapshot"),
    ),
    ("ETCD_METRICS", Ignored("all metrics are always served")),
    ("ETCD_NAME", Taken),
    ("ETCD_PEER_AUTO_TLS", Taken),
    ("ETCD_PEER_CA_FILE", Taken),
    (
        "ETCD_PEER_CERT_ALLOWED_CN",
        Refused {
            harmless: &[],
            instead: "the common name of certificates is not looked at: use ETCD_PEER_CERT_ALLOWED_HOSTNAME",
        },
    ),
    ("ETCD_PEER_CERT_ALLOWED_HOSTNAME", Taken),
    ("ETCD_PEER_CERT_FILE", Taken),
    ("ETCD_PEER_CLIENT_CERT_AUTH", Taken),
    ("ETCD_PEER_CRL_FILE", Taken),
    ("ETCD_PEER_KEY_FILE", Taken),
    ("ETCD_PEER_TRUSTED_CA_FILE", Taken),
    ("ETCD_PRE_VOTE", Ignored("elections have no extra phase")),
    (
        "ETCD_PROXY",
        TakenAlone(&Refused {
            harmless: &["off"],
            instead: "every machine is a member: remove it, or set it to \"off\"",
        }),
    ),
    (
        "ETCD_PROXY_DIAL_TIMEOUT",
        TakenAlone(&Ignored("there is no proxy mode")),
    ),
    (
        "ETCD_PROXY_FAILURE_WAIT",
        TakenAlone(&Ignored("there is no proxy mode")),
    ),
    (
        "ETCD_PROXY_READ_TIMEOUT",
        Ignored("answers are waited for as long as the client does"),
    ),
    (
        "ETCD_PROXY_REFRESH_INTERVAL",
        TakenAlone(&Ignored("there is no proxy mode")),
    ),
    (
        "ETCD_PROXY_WRITE_TIMEOUT",
        Ignored("answers are waited for as long as the client does"),
    ),
    ("ETCD_QUOTA_BACKEND_BYTES", Taken),
    ("ETCD_SNAPSHOT_COUNT", Taken),
    (
        "ETCD_STRICT_RECONFIG_CHECK",
        Ignored("changes of members that would lose the quorum are always refused"),
    ),
    ("ETCD_TRUSTED_CA_FILE", Taken),
    ("ETCD_WAL_DIR", Ignored("the log lies in the data directory")),
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
pub fn remarks(given: &Fragments, program: Program) -> Vec<Remark> {
    given
        .iter()
        .filter_map(|(name, given)| remark(name, given, program))
        .collect()
}

fn remark(name: &str, given: &Given, program: Program) -> Option<Remark> {
    if program == Program::Etcd && !name.starts_with("ETCD_") && name != "CORTEN_LOG" {
        return None; // Another program's.
    }
    let what = format!("{name}={:?} (from {})", given.value, given.source);
    let Some((_, treatment)) = KNOWN.iter().find(|(known, _)| *known == name) else {
        return Some(Remark::Warning(format!(
            "{what} has no effect: no such variable is known; is it misspelt?"
        )));
    };
    let treatment = match (treatment, program) {
        (TakenAlone(_), Program::Etcd) => &Taken,
        (TakenAlone(elsewhere), Program::Supervisor) => *elsewhere,
        (treatment, _) => treatment,
    };
    match treatment {
        Taken | TakenAlone(_) => None,
        Refused { harmless, .. } if harmless.contains(&given.value.as_str()) => None,
        Refused { instead, .. } => Some(Remark::Refusal(format!("{what} cannot be honoured: {instead}"))),
        Ignored(why) => Some(Remark::Warning(format!("{what} has no effect: {why}"))),
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
                Program::Supervisor,
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
