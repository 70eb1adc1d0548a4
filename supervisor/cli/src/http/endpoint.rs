//! Addresses of servers: text to [`Target`].

use std::path::PathBuf;

use thiserror::Error;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// `unix:///path` or `file:///path`.
    Unix(PathBuf),
    /// `http://host[:port]` or `https://host[:port]`.
    Tcp {
        /// A name or an address; IPv6 without brackets.
        host: String,
        /// The TCP port.
        port: u16,
        /// True for https.
        tls: bool,
    },
}

/// Why a text is no address of a server.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum EndpointError {
    /// No `scheme://`.
    #[error("URL scheme undefined in {0:?}: write unix:///path, http://host:port or https://host:port")]
    NoScheme(String),
    /// A scheme we do not speak.
    #[error("URL scheme {scheme:?} of {url:?} is not supported: use unix, http or https")]
    Scheme {
        /// The scheme found.
        scheme: String,
        /// The whole text.
        url: String,
    },
    /// A host or port that cannot be.
    #[error("{url:?} is not a valid URL: {why}")]
    Invalid {
        /// The whole text.
        url: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Target {
    /// Reads `unix:///path`, `file:///path`, `http://host[:port]`, `https://host[:port]`; a path behind host and port
    /// is ignored.
    pub(crate) fn parse(url: &str) -> Result<Target, EndpointError> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(EndpointError::NoScheme(url.to_owned()));
        };
        match scheme {
            "unix" | "file" if rest.starts_with('/') => Ok(Target::Unix(PathBuf::from(rest))),
            "unix" | "file" => Err(invalid(
                url,
                "the path of a socket must be absolute, as in unix:///run/fleet.sock",
            )),
            "http" => tcp(url, rest, false),
            "https" => tcp(url, rest, true),
            _ => Err(EndpointError::Scheme {
                scheme: scheme.to_owned(),
                url: url.to_owned(),
            }),
        }
    }

    /// What stands in the Host header.
    pub(crate) fn authority(&self) -> String {
        match self {
            // fleet's own client sends this name over its socket.
            Target::Unix(_) => "domain-sock".to_owned(),
            Target::Tcp { host, port, .. } => join_host_port(host, *port),
        }
    }
}

/// `host:port`, with brackets around IPv6.
pub(crate) fn join_host_port(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn tcp(url: &str, rest: &str, tls: bool) -> Result<Target, EndpointError> {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let parsed: hyper::http::uri::Authority = authority
        .parse()
        .map_err(|error| invalid(url, &format!("{error}")))?;
    let host = parsed
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    if host.is_empty() {
        return Err(invalid(url, "no host"));
    }
    // The crate takes a port it cannot read for none at all.
    let written = parsed.as_str().len() > parsed.host().len() + 1;
    let port = match parsed.port_u16() {
        Some(port) => port,
        None if written => return Err(invalid(url, "the port must be 0 to 65535")),
        None if tls => 443,
        None => 80,
    };
    Ok(Target::Tcp { host, port, tls })
}

fn invalid(url: &str, why: &str) -> EndpointError {
    EndpointError::Invalid {
        url: url.to_owned(),
        why: why.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let tcp = |host: &str, port, tls| Target::Tcp {
            host: host.to_owned(),
            port,
            tls,
        };
        let table = [
            (
                "unix:///var/run/fleet.sock",
                Target::Unix("/var/run/fleet.sock".into()),
                "domain-sock",
            ),
            ("file:///x", Target::Unix("/x".into()), "domain-sock"),
            (
                "http://127.0.0.1:2379",
                tcp("127.0.0.1", 2379, false),
                "127.0.0.1:2379",
            ),
            ("http://a/", tcp("a", 80, false), "a:80"),
            ("https://a", tcp("a", 443, true), "a:443"),
            ("http://[::1]:4001/x", tcp("::1", 4001, false), "[::1]:4001"),
        ];
        for (text, target, authority) in table {
            let read = Target::parse(text).unwrap();
            assert_eq!(read, target, "{text}");
            assert_eq!(read.authority(), authority, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "127.0.0.1:2379",
            "ftp://x",
            "unix://x",
            "http://",
            "http://a:99999",
            "http://a b",
        ] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }
}
