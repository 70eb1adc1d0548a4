//! etcd's variables: text to value, and the checks that tie several together (etcd's own, with its rules).

use std::net::SocketAddr;
use std::time::Duration;

use super::parse::Reader;
use super::tls::{self, Tls};
use super::url::Url;
use super::{AutoCompaction, Etcd, Limits, Listen, Program, ProxyMode, duration};

/// etcd's upper bound: a longer election timeout is never right, milliseconds.
const MAX_ELECTION_MS: u64 = 50_000;

/// etcd recommends no more, and warns; here the longest log entry is made for it.
const MAX_REQUEST_BYTES: usize = 10 << 20;

/// More events than this are no window any more.
const MAX_V2_HISTORY: u64 = 1_000_000;

/// What is taken where nothing is given.
struct Defaults {
    client_urls: &'static str,
    peer_urls: &'static str,
    snapshot_count: u64,
}

impl Program {
    fn defaults(self) -> Defaults {
        match self {
            // etcd 2's; the second of each is the port of etcd 0.4.
            Program::Supervisor => Defaults {
                client_urls: "http://localhost:2379,http://localhost:4001",
                peer_urls: "http://localhost:2380,http://localhost:7001",
                snapshot_count: 10_000,
            },
            // etcd 3.4's.
            Program::Etcd => Defaults {
                client_urls: "http://localhost:2379",
                peer_urls: "http://localhost:2380",
                snapshot_count: 100_000,
            },
        }
    }
}

impl Reader<'_> {
    /// The ETCD_ variables.
    pub fn etcd(&mut self, program: Program) -> Etcd {
        let defaults = program.defaults();
        let name = self.text("ETCD_NAME").unwrap_or("default").to_owned();
        let advertise_peer_urls = self.advertised("ETCD_INITIAL_ADVERTISE_PEER_URLS", defaults.peer_urls);
        let discovery = self.discovery();
        let existing = self.existing();
        // A proxy is no member: the others are all it has to know, and nobody has to know it.
        let is_proxy = program == Program::Etcd && self.proxy_mode() != ProxyMode::Off;
        let initial_cluster = match discovery {
            Some(_) => Vec::new(),
            None if is_proxy => self.cluster_of_others(&name, &advertise_peer_urls),
            None => self.initial_cluster(&name, &advertise_peer_urls, existing),
        };
        let (heartbeat_ms, election_ms) = self.timing();
        if !is_proxy {
            self.advertising_is_told();
        }
        let listen_peer = self.listen("ETCD_LISTEN_PEER_URLS", defaults.peer_urls);
        let listen_metrics = match self.text("ETCD_LISTEN_METRICS_URLS") {
            Some(_) => self.listen("ETCD_LISTEN_METRICS_URLS", ""),
            None => Vec::new(),
        };
        let listen_client = self.listen("ETCD_LISTEN_CLIENT_URLS", defaults.client_urls);
        let data_dir = self.path("ETCD_DATA_DIR").unwrap_or_else(|| match program {
            Program::Supervisor => "/var/lib/corten".into(),
            Program::Etcd => format!("{name}.etcd").into(),
        });
        Etcd {
            client_tls: {
                let mut all = listen_client.iter().chain(&listen_metrics);
                self.tls(&tls::CLIENTS, all.any(|listen| listen.tls))
            },
            listen_metrics,
            slow_request: self.slow_request(),
            peer_tls: self.peer_tls(&listen_peer, &advertise_peer_urls),
            listen_peer,
            listen_client,
            advertise_client_urls: self.advertised("ETCD_ADVERTISE_CLIENT_URLS", defaults.client_urls),
            data_dir,
            initial_cluster_token: self
                .text("ETCD_INITIAL_CLUSTER_TOKEN")
                .unwrap_or("etcd-cluster")
                .to_owned(),
            snapshot_count: self.number(
                "ETCD_SNAPSHOT_COUNT",
                defaults.snapshot_count,
                1,
                "write the number of entries, at least 1",
            ),
            existing,
            stands_by_when_full: program == Program::Supervisor,
            active_size: self.active_size(),
            remove_delay: self.remove_delay(),
            force_new_cluster: self.boolean("ETCD_FORCE_NEW_CLUSTER"),
            v2_history: self.v2_history(),
            limits: self.limits(),
            name,
            advertise_peer_urls,
            initial_cluster,
            discovery,
            heartbeat_ms,
            election_ms,
        }
    }

    fn peer_tls(&mut self, listen: &[Listen], advertised: &[String]) -> Tls {
        let https = listen.iter().any(|listen| listen.tls);
        let tls = self.tls(&tls::PEERS, https);
        if advertised.iter().any(|url| url.starts_with("https://")) && !https && listen.len() == 1 {
            self.warnings.push(
                "ETCD_INITIAL_ADVERTISE_PEER_URLS is https, ETCD_LISTEN_PEER_URLS is http: peers reach this member \
                 only if something between them ends TLS"
                    .to_owned(),
            );
        }
        tls
    }

    fn urls(&mut self, name: &str, default: &str) -> Vec<Url> {
        const TODO: &str = "write http://ADDRESS:PORT, several with commas";
        match Url::parse_list(self.text(name).unwrap_or(default)) {
            Ok(urls) if !urls.is_empty() => urls,
            Ok(_) => {
                self.problem(name, "it names no URL", TODO);
                Vec::new()
            }
            Err(error) => {
                self.problem(name, error, TODO);
                Vec::new()
            }
        }
    }

    fn listen(&mut self, name: &str, default: &str) -> Vec<Listen> {
        let mut found: Vec<Listen> = Vec::new();
        for url in self.urls(name, default) {
            match url.listen_address() {
                Ok(address) if !found.iter().any(|listen| listen.address == address) => {
                    found.push(Listen {
                        address,
                        tls: url.tls,
                    });
                }
                Ok(_) => {}
                Err(error) => self.problem(name, error, "write the address of an interface, or 0.0.0.0"),
            }
        }
        found
    }

    fn advertised(&mut self, name: &str, default: &str) -> Vec<String> {
        self.urls(name, default).iter().map(Url::to_string).collect()
    }

    /// Heartbeat and election timeout with etcd's rules between them.
    fn timing(&mut self) -> (u64, u64) {
        const TODO: &str = "write milliseconds, at least 1";
        let heartbeat = self.number("ETCD_HEARTBEAT_INTERVAL", 100, 1, TODO);
        let election = self.number("ETCD_ELECTION_TIMEOUT", 1_000, 1, TODO);
        if election < 5 * heartbeat {
            let why = format!("it is less than five heartbeats of {heartbeat} ms");
            self.problem(
                "ETCD_ELECTION_TIMEOUT",
                why,
                "raise it, or lower ETCD_HEARTBEAT_INTERVAL",
            );
        }
        if election > MAX_ELECTION_MS {
            self.problem("ETCD_ELECTION_TIMEOUT", "it is more than 50000 ms", "lower it");
        }
        (heartbeat, election)
    }

    /// Like etcd 2: who says where to listen must say what clients shall use, or they would be sent to localhost.
    fn advertising_is_told(&mut self) {
        let told = |name| self.given.contains_key(name);
        if told("ETCD_LISTEN_CLIENT_URLS") && !told("ETCD_ADVERTISE_CLIENT_URLS") {
            self.problem(
                "ETCD_ADVERTISE_CLIENT_URLS",
                "it is required when ETCD_LISTEN_CLIENT_URLS is set",
                "write the URLs under which clients reach this machine",
            );
        }
    }

    /// etcd 0.4's setting of the same name; here 0 is no wish.
    fn active_size(&mut self) -> Option<usize> {
        const NAME: &str = "ETCD_CLUSTER_ACTIVE_SIZE";
        const TODO: &str = "write 1, 3, 5 or 7, or 0 for as many as founded the cluster";
        match self.number(NAME, 0, 0, TODO) {
            0 => None,
            size @ (1 | 3 | 5 | 7) => Some(size),
            size => {
                let why =
                    format!("{size} voters bear no more losses than fewer do, or cost each write too much");
                self.problem(NAME, why, TODO);
                None
            }
        }
    }

    /// etcd 0.4's setting of the same name, in seconds, or as a duration.
    fn remove_delay(&mut self) -> Option<Duration> {
        const NAME: &str = "ETCD_CLUSTER_REMOVE_DELAY";
        let Some(text) = self.text(NAME) else {
            return Some(Duration::from_millis(corten_raft::REMOVE_DELAY_MS));
        };
        let parsed = match text.parse::<u32>() {
            Ok(seconds) => Ok(Duration::from_secs(seconds.into())),
            Err(_) => duration::parse(text),
        };
        match parsed {
            Ok(delay) => Some(delay).filter(|delay| !delay.is_zero()),
            Err(error) => {
                self.problem(NAME, error, "write seconds, or a duration like 5m; 0 for never");
                None
            }
        }
    }

    /// etcd's flag for what it calls a slow apply; here it is the whole request.
    fn slow_request(&mut self) -> Duration {
        const NAME: &str = "ETCD_EXPERIMENTAL_WARNING_APPLY_DURATION";
        const DEFAULT: Duration = Duration::from_millis(100);
        match self.text(NAME).map(duration::parse) {
            None => DEFAULT,
            Some(Ok(limit)) => limit,
            Some(Err(error)) => {
                self.problem(NAME, error, "write a duration, for example 100ms");
                DEFAULT
            }
        }
    }

    /// Ours: how many events v2 watchers can come back to.
    fn v2_history(&mut self) -> Option<u64> {
        const NAME: &str = "ETCD_EXPERIMENTAL_V2_HISTORY";
        self.text(NAME)?;
        let events = self.number(NAME, 0, 1, "write a number of events from 1 to 1000000");
        if events > MAX_V2_HISTORY {
            self.problem(NAME, "it is more than 1000000", "lower it");
        }
        Some(events)
    }

    fn limits(&mut self) -> Limits {
        let default = Limits::default();
        Limits {
            quota_backend_bytes: self.number(
                "ETCD_QUOTA_BACKEND_BYTES",
                0,
                i64::MIN,
                "write bytes, 0 for the default, -1 for none",
            ),
            max_txn_ops: self.number(
                "ETCD_MAX_TXN_OPS",
                default.max_txn_ops,
                1,
                "write a number, at least 1",
            ),
            max_request_bytes: self.max_request_bytes(default.max_request_bytes),
            auth_token_ttl_s: self.number(
                "ETCD_AUTH_TOKEN_TTL",
                default.auth_token_ttl_s,
                1,
                "write seconds, at least 1",
            ),
            auto_compaction: self.auto_compaction(),
        }
    }

    fn max_request_bytes(&mut self, default: usize) -> usize {
        const NAME: &str = "ETCD_MAX_REQUEST_BYTES";
        const TODO: &str = "write bytes, from 1 to 10485760";
        let bytes = self.number(NAME, default, 1, TODO);
        if bytes > MAX_REQUEST_BYTES {
            self.problem(NAME, "no request can be larger than 10485760 bytes", TODO);
        }
        bytes
    }

    /// etcd's form: `revision` wants a number, `periodic` a duration or a number of hours; 0 is off.
    fn auto_compaction(&mut self) -> AutoCompaction {
        const MODE: &str = "ETCD_AUTO_COMPACTION_MODE";
        const RETENTION: &str = "ETCD_AUTO_COMPACTION_RETENTION";
        let text = self.text(RETENTION).unwrap_or("0");
        let parsed = match self.text(MODE).unwrap_or("periodic") {
            "revision" => text.parse().ok().map(AutoCompaction::Revision),
            "periodic" => match text.parse::<u32>() {
                Ok(hours) => Some(Duration::from_secs(3600 * u64::from(hours))),
                Err(_) => duration::parse(text).ok(),
            }
            .map(AutoCompaction::Periodic),
            _ => {
                self.problem(MODE, "unknown auto-compaction-mode", "write periodic or revision");
                return AutoCompaction::Off;
            }
        };
        match parsed {
            Some(AutoCompaction::Revision(0) | AutoCompaction::Periodic(Duration::ZERO)) => {
                AutoCompaction::Off
            }
            Some(compaction) => compaction,
            None => {
                self.problem(
                    RETENTION,
                    "it cannot be understood in this mode",
                    "write hours, a duration, or revisions",
                );
                AutoCompaction::Off
            }
        }
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Listen {
        Listen { address, tls: false }
    }
}
