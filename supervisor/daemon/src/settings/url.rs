//! The URLs of etcd's configuration: lists of `http://host:port` or `https://host:port`, no path, no user.
//! The scheme decides whether TLS is spoken there. Refuses what we cannot serve (unix sockets) with a reason.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// One `http://host:port` or `https://host:port`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Url {
    /// Whether it is https.
    pub tls: bool,
    /// Host name or address, an IPv6 address without its brackets.
    pub host: String,
    /// Port; always written out in etcd's configuration.
    pub port: u16,
}

/// Why a text is no URL of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// No scheme, or one other than http and https.
    #[error("the scheme must be http or https: {0}")]
    Scheme(String),
    /// A path, query, fragment or user after or before host and port.
    #[error("a URL here is scheme, host and port and nothing more: {0}")]
    More(String),
    /// No port.
    #[error("the port is missing or not a number: {0}")]
    Port(String),
    /// Nothing where the host should be.
    #[error("the host is missing: {0}")]
    Host(String),
    /// A name where only an address can be listened on.
    #[error("one can only listen on an address or localhost: {0}")]
    Name(String),
}

impl Url {
    /// Parses one URL; a trailing `/` is taken as none.
    ///
    /// # Errors
    /// What is wrong, with the URL.
    pub fn parse(text: &str) -> Result<Url, UrlError> {
        let (tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(UrlError::Scheme(text.to_owned())),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err(UrlError::More(text.to_owned()));
        }
        let (host, port) = rest
            .rsplit_once(':')
            .ok_or_else(|| UrlError::Port(text.to_owned()))?;
        let port = port.parse().map_err(|_| UrlError::Port(text.to_owned()))?;
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        if host.is_empty() {
            return Err(UrlError::Host(text.to_owned()));
        }
        Ok(Url {
            tls,
            host: host.to_owned(),
            port,
        })
    }

    /// Parses a comma-separated list, in its order.
    ///
    /// # Errors
    /// The first URL that is none.
    pub fn parse_list(text: &str) -> Result<Vec<Url>, UrlError> {
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(Url::parse)
            .collect()
    }

    /// The address to listen on; `localhost` is 127.0.0.1, as for etcd.
    ///
    /// # Errors
    /// [`UrlError::Name`] for any other name.
    pub fn listen_address(&self) -> Result<SocketAddr, UrlError> {
        let address = match self.host.as_str() {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            host => host.parse().map_err(|_| UrlError::Name(self.to_string()))?,
        };
        Ok(SocketAddr::new(address, self.port))
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parse_table() {
        let cases: &[(&str, Result<&str, UrlError>)] = &[
            ("http://localhost:2379", Ok("http://localhost:2379")),
            ("http://10.0.0.1:2380/", Ok("http://10.0.0.1:2380")),
            ("http://[::1]:4001", Ok("http://[::1]:4001")),
            ("https://10.0.0.1:2380", Ok("https://10.0.0.1:2380")),
            ("https://[::1]:1/", Ok("https://[::1]:1")),
            ("unix://a:1", Err(UrlError::Scheme("unix://a:1".into()))),
            ("10.0.0.1:2380", Err(UrlError::Scheme("10.0.0.1:2380".into()))),
            ("http://10.0.0.1", Err(UrlError::Port("http://10.0.0.1".into()))),
            (
                "http://10.0.0.1:x",
                Err(UrlError::Port("http://10.0.0.1:x".into())),
            ),
            ("http://:2380", Err(UrlError::Host("http://:2380".into()))),
            ("http://a:1/b", Err(UrlError::More("http://a:1/b".into()))),
        ];
        for (text, expected) in cases {
            let found = Url::parse(text).map(|url| url.to_string());
            assert_eq!(found, expected.clone().map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn listening_needs_an_address() {
        assert_eq!(
            Url::parse("http://localhost:1")
                .unwrap()
                .listen_address()
                .unwrap()
                .to_string(),
            "127.0.0.1:1"
        );
        assert_eq!(
            Url::parse("http://[::]:1")
                .unwrap()
                .listen_address()
                .unwrap()
                .to_string(),
            "[::]:1"
        );
        assert!(matches!(
            Url::parse("http://web:1").unwrap().listen_address(),
            Err(UrlError::Name(_))
        ));
    }
}
