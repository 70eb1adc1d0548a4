//! Image references: `[registry[:port]/]repository[:tag][@digest]`, as Docker reads and shows them.
//!
//! Duty: parse, complete (`docker.io`, `library/`, `latest`) and print in the familiar short form.
//! Source: distribution's reference grammar. Pure.

use std::fmt;

/// Registry that a name without a registry means.
pub const DEFAULT_REGISTRY: &str = "docker.io";

/// What is wrong with a reference.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReferenceError {
    /// Not of the grammar.
    #[error("invalid reference format")]
    Format,
    /// Repository names are lower case.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
}

/// A complete reference. At least one of tag and digest is set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// `docker.io`, `127.0.0.1:5000`.
    pub registry: String,
    /// `library/busybox`, `team/app`.
    pub repository: String,
    /// `latest`.
    pub tag: Option<String>,
    /// `sha256:<64 hex digits>`.
    pub digest: Option<String>,
}

impl Reference {
    /// Parses and completes a reference; without tag and digest the tag is `latest`.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(check_digest(digest)?)),
            None => (text, None),
        };
        // A colon behind the last slash parts the tag; one before it is the registry's port.
        let name_start = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[name_start..].find(':') {
            Some(colon) => (
                &rest[..name_start + colon],
                Some(check_tag(&rest[name_start + colon + 1..])?),
            ),
            None => (rest, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((first, path)) if is_registry(first) => (first, path.to_owned()),
            _ => (DEFAULT_REGISTRY, name.to_owned()),
        };
        let registry = if registry == "index.docker.io" {
            DEFAULT_REGISTRY
        } else {
            registry
        };
        let repository = if registry == DEFAULT_REGISTRY && !path.contains('/') && !path.is_empty() {
            format!("library/{path}")
        } else {
            path
        };
        check_registry(registry)?;
        check_repository(&repository)?;
        let tag = if tag.is_none() && digest.is_none() {
            Some("latest".to_owned())
        } else {
            tag
        };
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag,
            digest,
        })
    }

    /// The name without tag and digest, short as Docker prints it: `busybox`, `127.0.0.1:5000/test/bb`.
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return format!("{}/{}", self.registry, self.repository);
        }
        self.repository
            .strip_prefix("library/")
            .unwrap_or(&self.repository)
            .to_owned()
    }

    /// The short form with tag and digest.
    pub fn familiar(&self) -> String {
        let mut text = self.familiar_name();
        if let Some(tag) = &self.tag {
            text.push_str(&format!(":{tag}"));
        }
        if let Some(digest) = &self.digest {
            text.push_str(&format!("@{digest}"));
        }
        text
    }

    /// What the registry is asked for: the digest, else the tag.
    pub fn selector(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }
}

impl fmt::Display for Reference {
    /// The complete form: `docker.io/library/busybox:latest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

fn is_registry(first: &str) -> bool {
    first == "localhost"
        || first.contains('.')
        || first.contains(':')
        || first.chars().any(|c| c.is_ascii_uppercase())
}

/// A host name or address with an optional port; it becomes part of URLs and of a path.
fn check_registry(registry: &str) -> Result<(), ReferenceError> {
    let sound = registry
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'[')
        && registry
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']'))
        && !registry.contains("..");
    if sound {
        Ok(())
    } else {
        Err(ReferenceError::Format)
    }
}

fn check_digest(text: &str) -> Result<String, ReferenceError> {
    match text.strip_prefix("sha256:") {
        Some(hex) if is_sha256_hex(hex) => Ok(text.to_owned()),
        _ => Err(ReferenceError::Format),
    }
}

/// Whether `text` is 64 lower-case hexadecimal digits.
pub fn is_sha256_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn check_tag(tag: &str) -> Result<String, ReferenceError> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = tag.as_bytes();
    let sound = (1..=128).contains(&bytes.len())
        && word(bytes[0])
        && bytes.iter().all(|&b| word(b) || matches!(b, b'.' | b'-'));
    if sound {
        Ok(tag.to_owned())
    } else {
        Err(ReferenceError::Format)
    }
}

fn check_repository(path: &str) -> Result<(), ReferenceError> {
    if path.chars().any(|c| c.is_ascii_uppercase()) {
        return Err(ReferenceError::Uppercase(path.to_owned()));
    }
    let component = |part: &str| {
        let bytes = part.as_bytes();
        let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        edge(bytes.first())
            && edge(bytes.last())
            && bytes
                .iter()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
            && !part.contains("..")
            && !part.contains("___")
    };
    if path.len() <= 255 && path.split('/').all(component) {
        Ok(())
    } else {
        Err(ReferenceError::Format)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn references_are_completed_and_shown_short() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, full, short) in [
            ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("team/app:1.2", "docker.io/team/app:1.2", "team/app:1.2"),
            (
                "docker.io/busybox",
                "docker.io/library/busybox:latest",
                "busybox:latest",
            ),
            (
                "127.0.0.1:5000/a/b",
                "127.0.0.1:5000/a/b:latest",
                "127.0.0.1:5000/a/b:latest",
            ),
            ("localhost/x:y", "localhost/x:y", "localhost/x:y"),
            (
                "10.0.0.1:5000/paas-monitor",
                "10.0.0.1:5000/paas-monitor:latest",
                "10.0.0.1:5000/paas-monitor:latest",
            ),
            (
                &format!("quay.io/a/b@{digest}"),
                &format!("quay.io/a/b@{digest}"),
                &format!("quay.io/a/b@{digest}"),
            ),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(reference.to_string(), full);
            assert_eq!(reference.familiar(), short);
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in ["", ":", "a:", "a//b", "-a", "a@sha256:12", "a:b c", "../x", "a b"] {
            assert_eq!(Reference::parse(text), Err(ReferenceError::Format), "{text:?}");
        }
        assert!(matches!(
            Reference::parse("Busybox"),
            Err(ReferenceError::Uppercase(_))
        ));
    }
}
