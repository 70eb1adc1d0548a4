//! What the global options and FLEETCTL_* say: where the API is, how it is reached, how SSH is done.
//!
//! An option on the command line beats the environment, the environment beats the default, and an empty variable is
//! none, as in fleet.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::api::Api;
use super::fault::Failure;
use super::ssh::{Host, SshSettings};
use crate::http::{Dial, Link, Target, TlsFiles, TlsSetup};
use crate::terminal::tell;

/// Time a connection to a socket or a TCP port may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Time an answer may take. A cluster without a majority answers with an error before that.
const REQUEST_TIMEOUT_S: f64 = 30.0;

/// The global options, checked.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    endpoint: String,
    target: Target,
    tls: TlsSetup,
    request_timeout: Duration,
    pub(super) ssh: SshSettings,
    debug: bool,
}

impl Settings {
    /// Reads them.
    pub(super) fn read(matches: &ArgMatches) -> Result<Settings, Failure> {
        let said = Said(matches);
        check_driver(&said)?;
        let endpoints = said.text("endpoint").unwrap_or_default();
        let endpoint = endpoints.split(',').next().unwrap_or_default().to_owned();
        if endpoint != endpoints {
            tell(format!(
                "WARNING: multiple endpoints provided but only the first ({endpoint}) is used"
            ));
        }
        let target = Target::parse(&endpoint).map_err(|error| unable(&error))?;
        let file = |name| said.text(name).map(PathBuf::from);
        let files = TlsFiles {
            ca: file("ca-file"),
            cert: file("cert-file"),
            key: file("key-file"),
        };
        Ok(Settings {
            endpoint,
            target,
            tls: TlsSetup::new(files).map_err(|error| unable(&error))?,
            request_timeout: Duration::from_secs_f64(said.seconds("request-timeout", REQUEST_TIMEOUT_S)?),
            ssh: ssh(&said)?,
            debug: said.switch("debug", false)?,
        })
    }

    /// The API, not yet connected.
    pub(super) fn api(&self) -> Api {
        let url = format!("{}{}", self.scheme(), self.target.authority());
        let dial = match (&self.ssh.tunnel, &self.target) {
            (None, target) => Dial::To(target.clone(), Some(self.tls.clone())),
            (Some(tunnel), Target::Unix(path)) => Dial::Through {
                argv: self.ssh.to_socket(tunnel, &path.to_string_lossy()),
                host: self.target.authority(),
            },
            (Some(tunnel), Target::Tcp { host, port, .. }) => Dial::Through {
                argv: self.ssh.to_address(tunnel, host, *port),
                host: self.target.authority(),
            },
        };
        Api::new(
            Link::new(dial, DIAL_TIMEOUT),
            url,
            self.request_timeout,
            self.debug,
        )
    }

    /// TLS inside an SSH tunnel would need a second layer over the child's pipes.
    pub(super) fn check_reachable(&self) -> Result<(), Failure> {
        let tls = matches!(self.target, Target::Tcp { tls: true, .. });
        if tls && self.ssh.tunnel.is_some() {
            let text = format!(
                "{} through --tunnel is not supported: use the unix socket or http there",
                self.endpoint
            );
            return Err(unable(&text));
        }
        Ok(())
    }

    fn scheme(&self) -> &'static str {
        if matches!(self.target, Target::Tcp { tls: true, .. }) {
            "https://"
        } else {
            "http://"
        }
    }
}

fn unable(why: &impl ToString) -> Failure {
    Failure::new(format!("Unable to initialize client: {}", why.to_string()))
}

fn check_driver(said: &Said<'_>) -> Result<(), Failure> {
    let driver = said.text("driver").unwrap_or_default();
    let etcd = driver == "etcd" || !said.switch("experimental-api", true)?;
    if etcd {
        return Err(unable(
            &"the etcd driver is gone: units live behind the API, so leave --driver out",
        ));
    }
    if driver == "API" {
        Ok(())
    } else {
        Err(unable(&format!("unrecognized driver {driver:?}")))
    }
}

fn ssh(said: &Said<'_>) -> Result<SshSettings, Failure> {
    let home = std::env::home_dir().unwrap_or_else(|| PathBuf::from("/"));
    let known_hosts = match said.given("known-hosts-file") {
        Some(path) => vec![expand_home(&path, &home)],
        None => vec![home.join(".fleetctl/known_hosts"), home.join(".ssh/known_hosts")],
    };
    let path = |name| said.text(name).map(|path| expand_home(&path, &home));
    Ok(SshSettings {
        user: said.text("ssh-username").unwrap_or_default(),
        timeout_s: said.seconds("ssh-timeout", 10.0)?.ceil() as u64,
        strict: said.switch("strict-host-key-checking", true)?,
        known_hosts,
        identity: path("ssh-identity"),
        config: path("ssh-config"),
        batch: !std::io::stdin().is_terminal(),
        debug: said.switch("debug", false)?,
        tunnel: said
            .text("tunnel")
            .map(|text| Host::parse(&text))
            .transpose()
            .map_err(|why| unable(&why))?,
    })
}

fn expand_home(path: &str, home: &std::path::Path) -> PathBuf {
    path.strip_prefix("~/")
        .map_or_else(|| PathBuf::from(path), |rest| home.join(rest))
}

/// Command line, environment and defaults as one.
struct Said<'m>(&'m ArgMatches);

impl Said<'_> {
    /// What the user said, be it on the command line or in the environment.
    fn given(&self, name: &str) -> Option<String> {
        if self.0.value_source(name) == Some(ValueSource::CommandLine) {
            return self.0.get_one::<String>(name).cloned();
        }
        let variable = format!("FLEETCTL_{}", name.to_uppercase().replace('-', "_"));
        std::env::var(variable).ok().filter(|value| !value.is_empty())
    }

    /// What the user said, or the default, where that is not empty.
    fn text(&self, name: &str) -> Option<String> {
        let default = || self.0.get_one::<String>(name).cloned();
        self.given(name)
            .or_else(default)
            .filter(|value| !value.is_empty())
    }

    fn seconds(&self, name: &str, default: f64) -> Result<f64, Failure> {
        let Some(text) = self.given(name) else {
            return Ok(default);
        };
        let seconds = text
            .parse()
            .ok()
            .filter(|seconds: &f64| seconds.is_finite() && *seconds > 0.0 && *seconds < 1e9);
        seconds.ok_or_else(|| Failure {
            text: format!("--{name}: {text:?} is no number of seconds"),
            code: 2,
        })
    }

    fn switch(&self, name: &str, default: bool) -> Result<bool, Failure> {
        match self.given(name).as_deref() {
            None => Ok(default),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(other) => Err(Failure {
                text: format!("--{name}: {other:?} is neither true nor false"),
                code: 2,
            }),
        }
    }
}
