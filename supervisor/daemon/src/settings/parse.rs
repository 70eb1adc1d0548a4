//! Variable by variable: text to value. What is etcd's stands in [`super::etcd`], TLS in [`super::tls`].
//! A problem is noted and a default put in its place, so that one run reports them all; the caller throws the result
//! away if any problem was noted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::fragments::Fragments;
use super::{Fleet, duration};

/// Reads variables and remembers what was wrong.
pub struct Reader<'a> {
    pub(super) given: &'a Fragments,
    problems: Vec<String>,
    pub(super) warnings: Vec<String>,
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

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.given.get(name).map(|given| given.value.as_str())
    }

    pub(super) fn problem(&mut self, name: &str, why: impl std::fmt::Display, todo: &str) {
        let line = match self.given.get(name) {
            Some(given) => format!("{name}={:?} (from {}): {why}: {todo}", given.value, given.source),
            None => format!("{name} is not set: {why}: {todo}"),
        };
        self.problems.push(line);
    }

    /// A path; absent when not given.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    pub(super) fn number<T: FromStr + PartialOrd>(
        &mut self,
        name: &str,
        default: T,
        least: T,
        todo: &str,
    ) -> T {
        match self.text(name).map(str::parse::<T>) {
            None => default,
            Some(Ok(value)) if value >= least => value,
            Some(_) => {
                self.problem(name, "it is not a number that can be used here", todo);
                default
            }
        }
    }

    pub(super) fn boolean(&mut self, name: &str) -> bool {
        match self.text(name) {
            None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
            Some(_) => {
                self.problem(name, "it is neither true nor false", "write true or false");
                false
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

    /// Raft's modules that report every lost message by themselves are silent: `corten-raft` says once when a member
    /// stops answering, and once when it answers again.
    ///
    /// CORTEN_LOG, else a level from ETCD_DEBUG and FLEET_VERBOSITY.
    pub fn log(&mut self) -> String {
        let verbosity: u32 = self.number("FLEET_VERBOSITY", 0, 0, "write 0, 1 or 2");
        let debug = self.boolean("ETCD_DEBUG") || verbosity > 0;
        let level = if debug {
            "info,corten=debug,corten_daemon=debug,corten_raft=debug"
        } else {
            "info,openraft=error,openraft::replication=off,openraft::core=off"
        };
        self.text("CORTEN_LOG").unwrap_or(level).to_owned()
    }
}
