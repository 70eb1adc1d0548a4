//! What the global options and the environment say.

use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;

use super::fault::{BAD_CONNECTION, BAD_FEATURE, Failure};
use super::print::Format;
use crate::etcdctl::settings::Endpoint;
use crate::etcdctl::{discovery, password};
use crate::http::{TlsFiles, TlsSetup};

/// The global options, checked.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) tls: TlsSetup,
    pub(super) format: Format,
    /// Name and password.
    pub(super) user: Option<(String, String)>,
    pub(super) dial_timeout: Duration,
    pub(super) command_timeout: Duration,
}

impl Settings {
    /// Reads them; may ask for a password, and the DNS.
    pub(super) async fn read(matches: &ArgMatches) -> Result<Settings, Failure> {
        let text = |name: &str| matches.get_one::<String>(name).filter(|value| !value.is_empty());
        let bad = |error: &dyn std::fmt::Display| Failure::new(BAD_CONNECTION, error.to_string());
        let file = |name| text(name).map(PathBuf::from);
        let files = TlsFiles {
            ca: file("cacert"),
            cert: file("cert"),
            key: file("key"),
        };
        let mut tls = TlsSetup::new(files).map_err(|error| bad(&error))?;
        tls.speak("h2");
        let mut endpoints = Vec::new();
        if let Some(domain) = text("discovery-srv") {
            let found = discovery::endpoints(domain).await;
            endpoints = found.map_err(|failure| Failure::new(BAD_CONNECTION, failure.text))?;
        }
        if endpoints.is_empty() {
            let named = text("endpoints").map_or("127.0.0.1:2379", String::as_str);
            // Files of TLS without a scheme mean TLS, as for etcdctl.
            let scheme = if text("cacert").or(text("cert")).is_some() {
                "https"
            } else {
                "http"
            };
            for endpoint in named.split(',') {
                let url = match endpoint.contains("://") {
                    true => endpoint.to_owned(),
                    false => format!("{scheme}://{endpoint}"),
                };
                let mut endpoint_read = Endpoint::parse(&url).map_err(|error| bad(&error))?;
                endpoint_read.url = endpoint.to_owned();
                endpoints.push(endpoint_read);
            }
        }
        let user = match (text("user"), text("password")) {
            (None, _) => None,
            (Some(user), Some(password)) => Some((user.clone(), password.clone())),
            (Some(user), None) => Some(
                password::of("Password: ", user)
                    .await
                    .map_err(|failure| bad(&failure.text))?,
            ),
        };
        let format = Format::read(
            text("write-out").map_or("simple", String::as_str),
            crate::go::switch_on(matches, "hex"),
        )
        .ok_or_else(|| Failure::new(BAD_FEATURE, "unsupported output format"))?;
        let time = |name| matches.get_one::<Duration>(name).copied().unwrap_or_default();
        Ok(Settings {
            endpoints,
            tls,
            format,
            user,
            dial_timeout: time("dial-timeout"),
            command_timeout: time("command-timeout"),
        })
    }
}
