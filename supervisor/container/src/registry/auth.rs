//! The registry's challenges: `WWW-Authenticate: Bearer realm=...,service=...,scope=...` and `Basic`.
//!
//! Pure: parsing, the token's URL, names and passwords in base64.

use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};

/// What a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// A token from `realm`.
    Bearer {
        /// URL of the token service.
        realm: String,
        /// Name of the service.
        service: Option<String>,
        /// Scope wanted.
        scope: Option<String>,
    },
    /// User and password.
    Basic,
}

/// Reads a `WWW-Authenticate` header.
pub fn parse_challenge(header: &str) -> Option<Challenge> {
    let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service, mut scope) = (None, None, None);
    for (key, value) in parameters(rest) {
        match key.as_str() {
            "realm" => realm = Some(value),
            "service" => service = Some(value),
            "scope" => scope = Some(value),
            _ => {}
        }
    }
    Some(Challenge::Bearer {
        realm: realm?,
        service,
        scope,
    })
}

/// `a="b,c",d=e` into pairs; commas inside quotes belong to the value.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = text.trim();
    while let Some((key, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        pairs.push((key.trim().to_ascii_lowercase(), value.to_owned()));
        rest = next.trim_start().trim_start_matches(',').trim_start();
    }
    pairs
}

/// The URL that gives a token for `challenge`'s realm.
pub fn token_url(realm: &str, service: Option<&str>, scope: &str) -> String {
    let mut url = realm.to_owned();
    let mut separator = if realm.contains('?') { '&' } else { '?' };
    for (key, value) in [("service", service), ("scope", Some(scope))] {
        if let Some(value) = value {
            url.push(separator);
            url.push_str(&format!("{key}={}", percent_encode(value)));
            separator = '&';
        }
    }
    url
}

fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' => {
                (b as char).to_string()
            }
            _ => format!("%{b:02X}"),
        })
        .collect()
}

/// As configuration files have it: with padding, or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The value of `Authorization` for a user.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}")))
}

/// User and password as a configuration file keeps them: `user:password` in base64.
pub fn parse_credentials(coded: &str) -> Option<(String, String)> {
    let text = String::from_utf8(BASE64.decode(coded.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        assert_eq!(
            parse_challenge(
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#
            ),
            Some(Challenge::Bearer {
                realm: "https://auth.docker.io/token".into(),
                service: Some("registry.docker.io".into()),
                scope: Some("repository:a/b:pull,push".into()),
            })
        );
        assert_eq!(parse_challenge("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(parse_challenge("Negotiate"), None);
    }

    #[test]
    fn token_urls_are_encoded() {
        assert_eq!(
            token_url("https://a/t", Some("reg x"), "repository:a/b:pull"),
            "https://a/t?service=reg%20x&scope=repository:a/b:pull"
        );
    }

    #[test]
    fn credentials_both_ways() {
        for (user, password, coded) in [
            ("u", "", "dTo="),
            ("u", "p", "dTpw"),
            ("user", "päss", "dXNlcjpww6Rzcw=="),
        ] {
            assert_eq!(basic(user, password), format!("Basic {coded}"));
            for coded in [coded, coded.trim_end_matches('='), &format!(" {coded}\n")] {
                let read = parse_credentials(coded).unwrap();
                assert_eq!((read.0.as_str(), read.1.as_str()), (user, password), "{coded}");
            }
        }
        for none in ["*", "", "dQ=="] {
            assert_eq!(parse_credentials(none), None, "{none}");
        }
    }
}
