//! The URLs of etcd's configuration and of its members: lists of `http://host:port` or `https://host:port`, no path, no user.
//! The scheme decides whether TLS is spoken there. Refuses what we cannot serve (unix sockets) with a reason, the rest in
//! etcd's words (its `pkg/types`, and Go's `net/url` below that).

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
    #[error("URL scheme must be http, https, unix, or unixs: {0}")]
    Scheme(String),
    /// A unix socket, which etcd would take.
    #[error("unix sockets are not served, URL scheme must be http or https: {0}")]
    Unix(String),
    /// A path.
    #[error("URL must not contain a path: {0}")]
    Path(String),
    /// A query, fragment or user, which etcd would take and not use.
    #[error("a URL here is scheme, host and port and nothing more: {0}")]
    More(String),
    /// No host, or no port.
    #[error("URL address does not have the form \"host:port\": {0}")]
    Address(String),
    /// A port that is no number up to 65535.
    #[error("parse {0:?}: invalid port {1:?} after host")]
    Port(String, String),
    /// A host with something in it that no name and no address has.
    #[error("parse {0:?}: invalid character {1:?} in host name")]
    Host(String, String),
    /// A list of none.
    #[error("no valid URLs given")]
    None,
    /// A name where only an address can be listened on.
    #[error("one can only listen on an address or localhost: {0}")]
    Name(String),
}

impl Url {
    /// Parses one URL, and what is around it.
    ///
    /// # Errors
    /// What is wrong, with the URL.
    pub fn parse(text: &str) -> Result<Url, UrlError> {
        let text = text.trim();
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(("unix" | "unixs", _)) => return Err(UrlError::Unix(text.to_owned())),
            _ => return Err(UrlError::Scheme(text.to_owned())),
        };
        if rest.contains(['?', '#', '@']) {
            return Err(UrlError::More(text.to_owned()));
        }
        let (address, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = host_and_port(address, text)?;
        if !path.is_empty() {
            return Err(UrlError::Path(text.to_owned()));
        }
        let host = host.to_owned();
        Ok(Url { tls, host, port })
    }

    /// The URLs of a member: those that are given, each written as we write it, sorted.
    ///
    /// # Errors
    /// The first that is none, or that there is none at all.
    pub fn of_member(texts: &[String]) -> Result<Vec<String>, UrlError> {
        let urls = texts.iter().map(|text| Ok(Url::parse(text)?.to_string()));
        let mut urls = urls.collect::<Result<Vec<String>, UrlError>>()?;
        if urls.is_empty() {
            return Err(UrlError::None);
        }
        urls.sort_unstable();
        Ok(urls)
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

/// The two halves of `host:port`, the host without the brackets of an IPv6 address; `text` is what they stand in.
fn host_and_port<'t>(address: &'t str, text: &str) -> Result<(&'t str, u16), UrlError> {
    let odd = || UrlError::Address(text.to_owned());
    let (host, port) = address.rsplit_once(':').ok_or_else(odd)?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = bracketed.unwrap_or(host);
    let belongs = |c: char| match c {
        ':' | '%' => bracketed.is_some(),
        _ => c.is_ascii_alphanumeric() || "-._".contains(c),
    };
    if host.is_empty() || (bracketed.is_none() && host.contains(':')) {
        return Err(odd());
    }
    if let Some(wrong) = host.chars().find(|c| !belongs(*c)) {
        return Err(UrlError::Host(text.to_owned(), wrong.to_string()));
    }
    match port.parse() {
        Ok(port) => Ok((host, port)),
        Err(_) => Err(UrlError::Port(text.to_owned(), format!(":{port}"))),
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
        const ADDRESS: &str = "URL address does not have the form \"host:port\"";
        let cases: &[(&str, Result<&str, &str>)] = &[
            ("http://localhost:2379", Ok("http://localhost:2379")),
            (" http://a.b-c_d:1", Ok("http://a.b-c_d:1")),
            ("http://[::1]:4001", Ok("http://[::1]:4001")),
            ("https://10.0.0.1:2380", Ok("https://10.0.0.1:2380")),
            ("https://[fe80::1%25eth0]:1", Ok("https://[fe80::1%25eth0]:1")),
            (
                "unix://a:1",
                Err("unix sockets are not served, URL scheme must be http or https: unix://a:1"),
            ),
            (
                "http://u@a:1",
                Err("a URL here is scheme, host and port and nothing more: http://u@a:1"),
            ),
            (
                "http://a,b:1",
                Err("parse \"http://a,b:1\": invalid character \",\" in host name"),
            ),
            ("http://:2380", Err(ADDRESS)),
            // From here on, what a real etcd 3.4.23 says.
            (
                "ftp://a:1",
                Err("URL scheme must be http, https, unix, or unixs: ftp://a:1"),
            ),
            ("a", Err("URL scheme must be http, https, unix, or unixs: a")),
            ("http://", Err(ADDRESS)),
            ("http://a", Err(ADDRESS)),
            ("http://::1:5", Err(ADDRESS)),
            ("http://a:1,http://b:1", Err(ADDRESS)),
            ("http://a:1,b:2", Err(ADDRESS)),
            ("http://a:1/", Err("URL must not contain a path: http://a:1/")),
            ("http://a:1/b", Err("URL must not contain a path: http://a:1/b")),
            (
                "http://a:x",
                Err("parse \"http://a:x\": invalid port \":x\" after host"),
            ),
            (
                "http://a b:1",
                Err("parse \"http://a b:1\": invalid character \" \" in host name"),
            ),
        ];
        for (text, expected) in cases {
            let found = Url::parse(text).map(|url| url.to_string());
            let expected = match *expected {
                Ok(url) => Ok(url.to_owned()),
                Err(ADDRESS) => Err(format!("{ADDRESS}: {text}")),
                Err(refusal) => Err(refusal.to_owned()),
            };
            assert_eq!(found.map_err(|error| error.to_string()), expected, "{text}");
        }
    }

    #[test]
    fn a_member_has_urls_in_order_and_at_least_one() {
        let of = |texts: &[&str]| Url::of_member(&texts.iter().map(|&t| t.to_owned()).collect::<Vec<_>>());
        assert_eq!(
            of(&["http://b:1", "http://a:1"]).unwrap(),
            ["http://a:1", "http://b:1"]
        );
        assert_eq!(of(&[]), Err(UrlError::None));
        assert!(of(&["http://a:1", "http://"]).is_err());
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
