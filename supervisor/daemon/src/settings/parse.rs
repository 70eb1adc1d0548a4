//! Variable by variable: text to value, and the checks that tie several together (etcd's own, with its rules).
//! A problem is noted and a default put in its place, so that one run reports them all; the caller throws the result
//! away if any problem was noted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::fragments::Fragments;
use super::url::Url;
use super::{Etcd, Fleet, duration};

/// etcd's default client URLs; the second is the port of etcd 0.4.
const CLIENT_URLS: &str = "http://localhost:2379,http://localhost:4001";
/// etcd's default peer URLs.
const PEER_URLS: &str = "http://localhost:2380,http://localhost:7001";
/// etcd's upper bound: a longer election timeout is never right, milliseconds.
const MAX_ELECTION_MS: u64 = 50_000;

/// Reads variables and remembers what was wrong.
pub struct Reader<'a> {
    given: &'a Fragments,
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Nothing read yet.
    pub fn new(given: &'a Fragments) -> Reader<'a> {
        Reader {
            given,
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Problems and warnings found.
    pub fn finish(self) -> (Vec<String>, Vec<String>) {
        (self.problems, self.warnings)
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.given.get(name).map(|given| given.value.as_str())
    }

    fn problem(&mut self, name: &str, why: impl std::fmt::Display, todo: &str) {
        let line = match self.given.get(name) {
            Some(given) => format!("{name}={:?} (from {}): {why}: {todo}", given.value, given.source),
            None => format!("{name} is not set: {why}: {todo}"),
        };
        self.problems.push(line);
    }

    fn number<T: FromStr + PartialOrd>(&mut self, name: &str, default: T, least: T, todo: &str) -> T {
        match self.text(name).map(str::parse::<T>) {
            None => default,
            Some(Ok(value)) if value >= least => value,
            Some(_) => {
                self.problem(name, "it is not a number that can be used here", todo);
                default
            }
        }
    }

    fn boolean(&mut self, name: &str) -> bool {
        match self.text(name) {
            None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
            Some(_) => {
                self.problem(name, "it is neither true nor false", "write true or false");
                false
            }
        }
    }

    fn urls(&mut self, name: &str, default: &str) -> Vec<Url> {
        let parsed = Url::parse_list(self.text(name).unwrap_or(default));
        match parsed {
            Ok(urls) if !urls.is_empty() => urls,
            Ok(_) => {
                self.problem(
                    name,
                    "it names no URL",
                    "write http://ADDRESS:PORT, several with commas",
                );
                Vec::new()
            }
            Err(error) => {
                self.problem(name, error, "write http://ADDRESS:PORT, several with commas");
                Vec::new()
            }
        }
    }

    fn listen(&mut self, name: &str, default: &str) -> Vec<SocketAddr> {
        let mut found: Vec<SocketAddr> = Vec::new();
        for url in self.urls(name, default) {
            match url.listen_address() {
                Ok(address) if !found.contains(&address) => found.push(address),
                Ok(_) => {}
                Err(error) => self.problem(name, error, "write the address of an interface, or 0.0.0.0"),
            }
        }
        found
    }

    fn advertised(&mut self, name: &str, default: &str) -> Vec<String> {
        self.urls(name, default).iter().map(Url::to_string).collect()
    }

    /// The ETCD_ variables.
    pub fn etcd(&mut self) -> Etcd {
        let name = self.text("ETCD_NAME").unwrap_or("default").to_owned();
        let advertise_peer_urls = self.advertised("ETCD_INITIAL_ADVERTISE_PEER_URLS", PEER_URLS);
        let initial_cluster = self.initial_cluster(&name, &advertise_peer_urls);
        let (heartbeat_ms, election_ms) = self.timing();
        self.advertising_is_told();
        self.state_is_new();
        Etcd {
            listen_peer: self.listen("ETCD_LISTEN_PEER_URLS", PEER_URLS),
            listen_client: self.listen("ETCD_LISTEN_CLIENT_URLS", CLIENT_URLS),
            advertise_client_urls: self.advertised("ETCD_ADVERTISE_CLIENT_URLS", CLIENT_URLS),
            data_dir: self.text("ETCD_DATA_DIR").unwrap_or("/var/lib/corten").into(),
            initial_cluster_token: self
                .text("ETCD_INITIAL_CLUSTER_TOKEN")
                .unwrap_or("etcd-cluster")
                .to_owned(),
            snapshot_count: self.number(
                "ETCD_SNAPSHOT_COUNT",
                10_000,
                1,
                "write the number of entries, at least 1",
            ),
            name,
            advertise_peer_urls,
            initial_cluster,
            heartbeat_ms,
            election_ms,
        }
    }

    /// Heartbeat and election timeout with etcd's rules between them.
    fn timing(&mut self) -> (u64, u64) {
        let heartbeat = self.number(
            "ETCD_HEARTBEAT_INTERVAL",
            100,
            1,
            "write milliseconds, at least 1",
        );
        let election = self.number(
            "ETCD_ELECTION_TIMEOUT",
            1_000,
            1,
            "write milliseconds, at least 1",
        );
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

    fn state_is_new(&mut self) {
        let name = "ETCD_INITIAL_CLUSTER_STATE";
        match self.text(name) {
            None | Some("new") => {}
            Some("existing") => self.problem(
                name,
                "joining a running cluster is not possible yet",
                "list this member in every machine's ETCD_INITIAL_CLUSTER and write \"new\"",
            ),
            Some(_) => self.problem(name, "it is neither new nor existing", "write \"new\""),
        }
    }

    /// `name=url,name=url`: must name us, under the URLs we advertise; the first URL of each member is used.
    fn initial_cluster(&mut self, name: &str, advertised: &[String]) -> Vec<(String, String)> {
        const VARIABLE: &str = "ETCD_INITIAL_CLUSTER";
        let Some(text) = self.text(VARIABLE) else {
            return advertised
                .first()
                .map(|url| (name.to_owned(), url.clone()))
                .into_iter()
                .collect();
        };
        let mut members: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let parsed = pair
                .split_once('=')
                .map(|(member, url)| (member.trim(), Url::parse(url.trim())));
            match parsed {
                Some((member, Ok(url))) if !member.is_empty() => {
                    members.entry(member).or_default().push(url.to_string());
                }
                Some((_, Err(error))) => {
                    self.problem(VARIABLE, error, "write NAME=http://ADDRESS:PORT with commas")
                }
                _ => self.problem(
                    VARIABLE,
                    format!("{pair:?} is no NAME=URL"),
                    "write NAME=http://ADDRESS:PORT",
                ),
            }
        }
        match members.get(name) {
            None => self.problem(
                VARIABLE,
                format!("this member's name {name:?} is not in it"),
                "add it, or set ETCD_NAME to the name this machine has there",
            ),
            Some(own) if !own.iter().any(|url| advertised.contains(url)) => self.problem(
                VARIABLE,
                format!(
                    "{name} stands there with {}, but advertises {}",
                    own.join(" and "),
                    advertised.join(" and ")
                ),
                "make ETCD_INITIAL_ADVERTISE_PEER_URLS and ETCD_INITIAL_CLUSTER agree",
            ),
            Some(_) => {}
        }
        self.no_url_twice(VARIABLE, &members);
        members
            .into_iter()
            .filter_map(|(member, urls)| Some((member.to_owned(), urls.into_iter().next()?)))
            .collect()
    }

    fn no_url_twice(&mut self, variable: &str, members: &BTreeMap<&str, Vec<String>>) {
        let mut owner: BTreeMap<&str, &str> = BTreeMap::new();
        for (member, urls) in members {
            for url in urls {
                match owner.insert(url, member) {
                    Some(other) if other != *member => {
                        let why = format!("{url} belongs to both {other} and {member}");
                        self.problem(variable, why, "give each member its own URL");
                    }
                    _ => {}
                }
            }
        }
    }

    /// The FLEET_ variables.
    pub fn fleet(&mut self) -> Fleet {
        Fleet {
            metadata: self.metadata(),
            public_ip: self.public_ip(),
            agent_ttl: self.agent_ttl(),
            token_limit: self.number("FLEET_TOKEN_LIMIT", 100, 1, "write entries per page, 1 to 65535"),
            units_directory: self
                .text("FLEET_UNITS_DIRECTORY")
                .unwrap_or("/run/fleet/units")
                .into(),
            disable_engine: self.boolean("FLEET_DISABLE_ENGINE"),
            socket: PathBuf::from(self.text("CORTEN_FLEET_SOCKET").unwrap_or("/run/fleet.sock")),
            machine_id: self.machine_id(),
        }
    }

    fn metadata(&mut self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for pair in self
            .text("FLEET_METADATA")
            .unwrap_or("")
            .split(',')
            .map(str::trim)
        {
            match pair
                .split_once('=')
                .map(|(key, value)| (key.trim(), value.trim()))
            {
                Some((key, value)) if !key.is_empty() && !value.is_empty() => {
                    found.insert(key.to_owned(), value.to_owned());
                }
                _ if pair.is_empty() => {}
                _ => self.warnings.push(format!(
                    "FLEET_METADATA: {pair:?} has no effect: it is no KEY=VALUE"
                )),
            }
        }
        found
    }

    fn public_ip(&mut self) -> Option<String> {
        let name = "FLEET_PUBLIC_IP";
        let text = self.text(name)?;
        if text.parse::<std::net::IpAddr>().is_err() {
            self.problem(
                name,
                "it is no IP address",
                "write this machine's address, or remove it",
            );
        }
        Some(text.to_owned())
    }

    fn agent_ttl(&mut self) -> Duration {
        const VARIABLE: &str = "FLEET_AGENT_TTL";
        let default = Duration::from_secs(30);
        match self.text(VARIABLE).map(duration::parse) {
            None => default,
            Some(Ok(ttl)) if !ttl.is_zero() => ttl,
            Some(Ok(_)) => {
                self.problem(
                    VARIABLE,
                    "no machine can be heard of that often",
                    "write a duration like 30s",
                );
                default
            }
            Some(Err(error)) => {
                self.problem(VARIABLE, error, "write a duration like 30s or 1m30s");
                default
            }
        }
    }

    fn machine_id(&mut self) -> Option<String> {
        let name = "CORTEN_MACHINE_ID";
        let text = self.text(name)?;
        if text.len() != 32
            || !text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        {
            self.problem(
                name,
                "a machine id is 32 lower-case hexadecimal digits",
                "remove it to use /etc/machine-id",
            );
        }
        Some(text.to_owned())
    }

    /// CORTEN_LOG, else a level from ETCD_DEBUG and FLEET_VERBOSITY.
    pub fn log(&mut self) -> String {
        let verbosity: u32 = self.number("FLEET_VERBOSITY", 0, 0, "write 0, 1 or 2");
        let debug = self.boolean("ETCD_DEBUG") || verbosity > 0;
        let level = if debug {
            "info,corten=debug,corten_daemon=debug,corten_raft=debug"
        } else {
            "info,openraft=warn"
        };
        self.text("CORTEN_LOG").unwrap_or(level).to_owned()
    }
}
