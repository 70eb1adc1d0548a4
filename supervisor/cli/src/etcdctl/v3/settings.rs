//! What the global options and the environment say.

use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;

use super::fault::{BAD_CONNECTION, BAD_FEATURE, Failure};
use super::print::Format;
use crate::etcdctl::settings::Endpoint;
use crate::etcdctl::{discovery, password};
use crate::http::{TlsFiles, TlsSetup, go_words};

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
    /// Silence after which a server is asked for a sign of life, and the time it has for one.
    pub(super) keepalive_time: Duration,
    pub(super) keepalive_timeout: Duration,
}

impl Settings {
    /// Reads them; may ask for a password, and the DNS.
    pub(super) async fn read(matches: &ArgMatches) -> Result<Settings, Failure> {
        let text = |name: &str| matches.get_one::<String>(name).filter(|value| !value.is_empty());
        let bad = |error: &dyn std::fmt::Display| Failure::new(BAD_CONNECTION, error.to_string());
        let switch = |name| crate::go::switch_on(matches, name);
        let (tls, has_files) = read_tls(matches)?;
        let mut endpoints = Vec::new();
        if let Some(domain) = text("discovery-srv") {
            let found = discovery::endpoints(domain).await;
            endpoints = found.map_err(|failure| Failure::new(BAD_CONNECTION, failure.text))?;
        }
        if endpoints.is_empty() {
            // Files of TLS without a scheme mean TLS, as for etcdctl.
            let scheme = match has_files || !switch("insecure-transport") {
                true => "https",
                false => "http",
            };
            for endpoint in named(matches).split(',') {
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
        let format = Format::read(text("write-out").map_or("simple", String::as_str), switch("hex"))
            .ok_or_else(|| Failure::new(BAD_FEATURE, "unsupported output format"))?;
        let time = |name| matches.get_one::<Duration>(name).copied().unwrap_or_default();
        Ok(Settings {
            endpoints,
            tls,
            format,
            user,
            dial_timeout: time("dial-timeout"),
            command_timeout: time("command-timeout"),
            keepalive_time: time("keepalive-time"),
            keepalive_timeout: time("keepalive-timeout"),
        })
    }
}

/// The endpoints as they were written; the option may be there several times.
fn named(matches: &ArgMatches) -> String {
    let words = matches.get_many::<String>("endpoints").unwrap_or_default();
    let words: Vec<&str> = words
        .map(String::as_str)
        .filter(|word| !word.is_empty())
        .collect();
    match words[..] {
        [] => "127.0.0.1:2379".to_owned(),
        _ => words.join(","),
    }
}

/// What TLS needs, and whether files for it were named, which are looked at here: a mistake in them is no fault of a server.
fn read_tls(matches: &ArgMatches) -> Result<(TlsSetup, bool), Failure> {
    let file = |name: &str| {
        let text = matches.get_one::<String>(name).filter(|value| !value.is_empty());
        text.map(PathBuf::from)
    };
    let files = TlsFiles {
        ca: file("cacert"),
        cert: file("cert"),
        key: file("key"),
    };
    let named = [&files.ca, &files.cert, &files.key].map(|file| file.clone().unwrap_or_default());
    let [ca, cert, key] = named.each_ref().map(|file| file.display());
    let has_files = files.ca.is_some() || files.cert.is_some();
    if files.cert.is_some() != files.key.is_some() {
        return Err(Failure::args(format!(
            "KeyFile and CertFile must both be present[key: {key}, cert: {cert}]"
        )));
    }
    for (path, shown) in named.iter().zip([ca, cert, key]) {
        if !path.as_os_str().is_empty()
            && let Err(error) = std::fs::File::open(path)
        {
            return Err(Failure::args(format!("open {shown}: {}", go_words(&error))));
        }
    }
    let mut tls = TlsSetup::new(files).map_err(|error| Failure::args(error.to_string()))?;
    tls.speak("h2");
    if crate::go::switch_on(matches, "insecure-skip-tls-verify") {
        tls.believe_anybody();
    }
    if has_files {
        tls.check().map_err(|error| Failure::args(error.to_string()))?;
    }
    Ok((tls, has_files))
}
