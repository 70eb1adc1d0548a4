//! What the global options and the environment say: the members, the time, the output.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::ArgMatches;
use hyper::header::HeaderValue;

use super::fault::Failure;
use super::{discovery, password, switch};
use crate::http::{EndpointError, Target, TlsFiles, TlsSetup};

/// etcd's ports of today and of its first years.
const DEFAULT_ENDPOINTS: &str = "http://127.0.0.1:2379,http://127.0.0.1:4001";

/// The global options, checked.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) tls: TlsSetup,
    /// What stands in the header Authorization.
    pub(super) credentials: Option<HeaderValue>,
    pub(super) output: String,
    pub(super) debug: bool,
    pub(super) sync: bool,
    /// One request to one member.
    pub(super) timeout: Duration,
    /// The whole command.
    pub(super) total_timeout: Duration,
}

/// A member's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// As it was written, without a slash at the end.
    pub(super) url: String,
    pub(super) target: Target,
}

impl Endpoint {
    /// Reads a URL; without a scheme it is http.
    pub(super) fn parse(text: &str) -> Result<Endpoint, EndpointError> {
        let text = text.trim().trim_end_matches('/');
        let url = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        Ok(Endpoint {
            target: Target::parse(&url)?,
            url,
        })
    }
}

impl Settings {
    /// Reads them.
    pub(super) fn read(matches: &ArgMatches) -> Result<Settings, Failure> {
        refuse_what_is_not_there()?;
        let text = |name: &str| matches.get_one::<String>(name).filter(|value| !value.is_empty());
        let endpoints = text("endpoints").or(text("endpoint")).or(text("peers"));
        let endpoints = endpoints.map_or(DEFAULT_ENDPOINTS, String::as_str);
        let endpoints = endpoints
            .split(',')
            .map(Endpoint::parse)
            .collect::<Result<_, _>>();
        let file = |name| text(name).map(PathBuf::from);
        let files = TlsFiles {
            ca: file("ca-file"),
            cert: file("cert-file"),
            key: file("key-file"),
        };
        let time = |name| matches.get_one::<Duration>(name).copied().unwrap_or_default();
        Ok(Settings {
            endpoints: endpoints.map_err(|error| Failure::arguments(error.to_string()))?,
            tls: TlsSetup::new(files).map_err(|error| Failure::arguments(error.to_string()))?,
            credentials: None,
            output: text("output").cloned().unwrap_or_default(),
            debug: switch(matches, "debug"),
            sync: !switch(matches, "no-sync"),
            timeout: time("timeout"),
            total_timeout: time("total-timeout"),
        })
    }

    /// Adds what has to be asked for: a password at the terminal, the members in the DNS.
    pub(super) async fn complete(&mut self, matches: &ArgMatches) -> Result<(), Failure> {
        let text = |name: &str| matches.get_one::<String>(name).filter(|value| !value.is_empty());
        if let Some(user) = text("username") {
            let (name, password) = password::of("Password: ", user).await?;
            let mut value =
                HeaderValue::try_from(format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))))
                    .expect("base64 is text");
            value.set_sensitive(true);
            self.credentials = Some(value);
        }
        if let Some(domain) = text("discovery-srv") {
            let found = discovery::endpoints(domain).await?;
            if !found.is_empty() {
                self.endpoints = found;
            }
        }
        Ok(())
    }
}

fn refuse_what_is_not_there() -> Result<(), Failure> {
    let api = std::env::var("ETCDCTL_API").unwrap_or_default();
    if !matches!(api.as_str(), "" | "2") {
        let text = format!("Error:  ETCDCTL_API={api}: there are 2, which is the default, and 3");
        return Err(Failure::arguments(text));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_may_lack_a_scheme_and_end_in_a_slash() {
        assert_eq!(
            Endpoint::parse("127.0.0.1:2379/").unwrap().url,
            "http://127.0.0.1:2379"
        );
        assert_eq!(Endpoint::parse(" http://a:1").unwrap().url, "http://a:1");
        assert!(Endpoint::parse("gopher://a").is_err());
    }
}
