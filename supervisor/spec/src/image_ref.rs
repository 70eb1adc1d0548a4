//! References to container images, `[registry[:port]/]path[:tag][@digest]`, completed as docker completes them:
//! no registry means `docker.io`, there a path of one part is below `library/`, no tag and no digest means `latest`.
//!
//! Source: distribution's reference grammar and docker's `ParseNormalizedNamed`; contract `containers.md`.

use std::fmt;
use std::str::FromStr;

use crate::quote::go_quote;

/// Docker's own registry, which is left out of the familiar form.
pub const DEFAULT_REGISTRY: &str = "docker.io";

/// Longest registry and repository together, in bytes.
const NAME_MAX: usize = 255;

/// A container image reference, complete.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    /// Host, with port where one was given: `docker.io`, `localhost:5000`.
    pub registry: String,
    /// Path at the registry: `library/busybox`.
    pub repository: String,
    /// The tag; None only where a digest stands in its place.
    pub tag: Option<String>,
    /// `sha256:` and 64 hexadecimal digits (or `sha512:` and 128).
    pub digest: Option<String>,
}

/// Why a text is not an image reference; the texts are docker's where it has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageRefError {
    /// Not of the form.
    #[error("invalid reference format: {}: {what}", go_quote(.reference))]
    Format {
        /// What was given.
        reference: String,
        /// The part at fault.
        what: &'static str,
    },
    /// Upper-case letters in the path.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// A bare image id.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    ImageId(String),
    /// Registry and path too long.
    #[error("repository name must not be more than {NAME_MAX} characters")]
    TooLong,
}

impl ImageRef {
    /// Parses and completes a reference.
    ///
    /// # Errors
    /// The part that breaks the grammar.
    pub fn parse(reference: &str) -> Result<ImageRef, ImageRefError> {
        if reference.len() == 64 && reference.bytes().all(is_lower_hex) {
            return Err(ImageRefError::ImageId(reference.to_owned()));
        }
        let bad = |what| ImageRefError::Format {
            reference: reference.to_owned(),
            what,
        };
        let (named, digest) = match reference.split_once('@') {
            Some((named, digest)) if is_digest(digest) => (named, Some(digest.to_owned())),
            Some(_) => return Err(bad("the digest is not sha256:<64 hexadecimal digits>")),
            None => (reference, None),
        };
        let (registry, path) = split_registry(named);
        let (path, tag) = match path.split_once(':') {
            Some((path, tag)) if is_tag(tag) => (path, Some(tag.to_owned())),
            Some(_) => return Err(bad("the tag is not one to 128 letters, digits, '_', '.' or '-'")),
            None => (path, None),
        };
        if !is_host(&registry) {
            return Err(bad("the registry is not a host name with an optional port"));
        }
        let repository = complete_path(&registry, path);
        if path.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(ImageRefError::Uppercase(repository));
        }
        if !repository.split('/').all(is_path_component) {
            return Err(bad(
                "the name is not lower-case letters and digits, parted by '/', '.', '_' or '-'",
            ));
        }
        if registry.len() + 1 + repository.len() > NAME_MAX {
            return Err(ImageRefError::TooLong);
        }
        let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(ImageRef {
            registry,
            repository,
            tag,
            digest,
        })
    }

    /// The short form docker shows: `busybox:latest` for `docker.io/library/busybox:latest`.
    pub fn familiar(&self) -> String {
        format!("{}{}", self.familiar_name(), self.suffix())
    }

    /// The short form without tag and digest: `busybox`, `localhost:5000/app`.
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return format!("{}/{}", self.registry, self.repository);
        }
        match self.repository.strip_prefix("library/") {
            Some(name) if !name.contains('/') => name.to_owned(),
            _ => self.repository.clone(),
        }
    }

    /// What to ask the registry's manifests for: the digest where there is one, else the tag.
    pub fn wanted(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self
            .digest
            .as_ref()
            .map(|digest| format!("@{digest}"))
            .unwrap_or_default();
        tag + &digest
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.registry, self.repository, self.suffix())
    }
}

impl FromStr for ImageRef {
    type Err = ImageRefError;

    fn from_str(reference: &str) -> Result<ImageRef, ImageRefError> {
        ImageRef::parse(reference)
    }
}

/// The first component is a registry if it looks like a host: a dot, a port, `localhost`, or an upper-case letter.
fn split_registry(named: &str) -> (String, &str) {
    let default = || DEFAULT_REGISTRY.to_owned();
    match named.split_once('/') {
        Some((host, path))
            if host.contains(['.', ':'])
                || host == "localhost"
                || host.chars().any(|c| c.is_ascii_uppercase()) =>
        {
            if host == "index.docker.io" {
                (default(), path)
            } else {
                (host.to_owned(), path)
            }
        }
        _ => (default(), named),
    }
}

fn complete_path(registry: &str, path: &str) -> String {
    if registry == DEFAULT_REGISTRY && !path.contains('/') {
        format!("library/{path}")
    } else {
        path.to_owned()
    }
}

fn is_lower_hex(b: u8) -> bool {
    b.is_ascii_digit() || (b'a'..=b'f').contains(&b)
}

fn is_digest(digest: &str) -> bool {
    match digest.split_once(':') {
        Some(("sha256", hex)) => hex.len() == 64 && hex.bytes().all(is_lower_hex),
        Some(("sha512", hex)) => hex.len() == 128 && hex.bytes().all(is_lower_hex),
        _ => false,
    }
}

fn is_tag(tag: &str) -> bool {
    let mut chars = tag.chars();
    tag.len() <= 128
        && chars
            .next()
            .is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// Host name, IPv4 address or bracketed IPv6 address, with an optional port.
fn is_host(registry: &str) -> bool {
    if let Some((address, port)) = registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let hex = address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
        return hex
            && !address.is_empty()
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = registry
        .split_once(':')
        .map_or((registry, None), |(h, p)| (h, Some(p)));
    let label = |l: &str| {
        !l.is_empty()
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    host.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

/// `[a-z0-9]+` parts joined by one dot, one or two underscores, or dashes.
fn is_path_component(component: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends = bytes.first().is_some_and(|b| alnum(*b)) && bytes.last().is_some_and(|b| alnum(*b));
    ends && component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .filter(|joint| !joint.is_empty())
        .all(|joint| matches!(joint, "." | "_" | "__") || joint.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn completes_as_docker_does() {
        let pinned = format!("busybox@{DIGEST}");
        let both = format!("localhost:5000/a/b:1@{DIGEST}");
        let full_pinned = format!("docker.io/library/{pinned}");
        let table = [
            ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
            (
                "mvanholsteijn/paas-monitor",
                "docker.io/mvanholsteijn/paas-monitor:latest",
                "mvanholsteijn/paas-monitor:latest",
            ),
            (
                "index.docker.io/library/busybox",
                "docker.io/library/busybox:latest",
                "busybox:latest",
            ),
            (
                "docker.io/busybox",
                "docker.io/library/busybox:latest",
                "busybox:latest",
            ),
            (
                "10.0.2.2:5000/paas-monitor",
                "10.0.2.2:5000/paas-monitor:latest",
                "10.0.2.2:5000/paas-monitor:latest",
            ),
            ("localhost/a:b", "localhost/a:b", "localhost/a:b"),
            (
                "localhost:5000/a/b",
                "localhost:5000/a/b:latest",
                "localhost:5000/a/b:latest",
            ),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
            (
                "gcr.io/x/y_z__q---r.s:T-1",
                "gcr.io/x/y_z__q---r.s:T-1",
                "gcr.io/x/y_z__q---r.s:T-1",
            ),
            (pinned.as_str(), full_pinned.as_str(), pinned.as_str()),
            (both.as_str(), both.as_str(), both.as_str()),
        ];
        for (given, full, familiar) in table {
            let image = ImageRef::parse(given).unwrap();
            assert_eq!(image.to_string(), full);
            assert_eq!(image.familiar(), familiar);
            assert_eq!(
                ImageRef::parse(full).unwrap(),
                image,
                "the full form stands for itself"
            );
            assert_eq!(
                ImageRef::parse(familiar).unwrap(),
                image,
                "the familiar form stands for itself"
            );
        }
        assert_eq!(ImageRef::parse(&both).unwrap().wanted(), DIGEST);
    }

    #[test]
    fn refuses_what_docker_refuses() {
        let long = format!("a/{}", "b".repeat(256));
        let bad = [
            "",
            ":tag",
            "a:",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "Upper",
            "a/Upper",
            "a:b:c",
            "a@sha256:12",
            "a@md5:00",
            "a b",
            "a:-x",
            "foo.com:port/a",
            &DIGEST[7..],
            long.as_str(),
        ];
        for reference in bad {
            assert!(ImageRef::parse(reference).is_err(), "{reference}");
        }
        assert_eq!(
            ImageRef::parse("Upper").unwrap_err().to_string(),
            "invalid reference format: repository name (library/Upper) must be lowercase"
        );
    }
}
