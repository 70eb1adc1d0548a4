//! One registry over HTTP(S): requests with authentication, manifests and blobs.
//!
//! Duty: choose the scheme, answer challenges, verify digests of manifests. Refusal: no redirects with credentials to
//! another host (ureq's rule), no HTTP where it is not allowed.

use std::cell::RefCell;
use std::fs;
use std::io::Read;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::http::Response;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::auth::{self, Challenge};
use super::config::{Credentials, RegistryConfig};
use crate::image::hex;
use crate::reference::Reference;

/// Longest manifest or configuration accepted, in bytes (the distribution specification's own limit for manifests).
pub const MANIFEST_LIMIT: u64 = 4 << 20;

const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.docker.distribution.manifest.v2+json";

/// Why a registry did not give what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No connection, or it broke.
    #[error("Get \"{url}\": {source}")]
    Transport {
        /// What was fetched.
        url: String,
        /// Why it failed.
        source: Box<ureq::Error>,
    },
    /// No such name or tag.
    #[error("manifest for {0} not found: manifest unknown: the registry has no such image or tag")]
    NotFound(String),
    /// Not allowed, or no such repository (registries do not tell which).
    #[error(
        "pull access denied for {0}, repository does not exist or needs a login, which this docker has not"
    )]
    Denied(String),
    /// Any other answer.
    #[error("received unexpected HTTP status: {status} for {url}{detail}")]
    Status {
        /// What was fetched.
        url: String,
        /// HTTP status.
        status: u16,
        /// The registry's own words, with a leading separator, or empty.
        detail: String,
    },
    /// Bytes do not match their digest.
    #[error("{what}: content does not match its digest: wanted {wanted}, got {got}")]
    Digest {
        /// Which content.
        what: String,
        /// Digest asked for.
        wanted: String,
        /// Digest of what came.
        got: String,
    },
    /// Reading the body failed.
    #[error("reading {url}: {source}")]
    Read {
        /// What was fetched.
        url: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// An authentication service gave no token.
    #[error("no token from {realm}: {reason}")]
    Token {
        /// The token service.
        realm: String,
        /// Why.
        reason: String,
    },
}

/// A manifest as it came.
#[derive(Debug, Clone)]
pub struct RawManifest {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// `sha256:...` of the bytes.
    pub digest: String,
    /// Content type the registry gave.
    pub media_type: String,
}

/// A connection to one repository. Not shared between threads; `fork` gives another thread its own.
pub struct Client {
    agent: Agent,
    scheme: &'static str,
    host: String,
    reference: Reference,
    credentials: Option<Credentials>,
    authorization: RefCell<Option<String>>,
}

impl Client {
    /// Finds out how the registry of `reference` is spoken to.
    pub fn connect(config: &RegistryConfig, reference: &Reference) -> Result<Self, RegistryError> {
        let host = match reference.registry.as_str() {
            "docker.io" => "registry-1.docker.io".to_owned(),
            other => other.to_owned(),
        };
        let mut client = Self {
            agent: agent(&host),
            scheme: "https",
            host,
            reference: reference.clone(),
            credentials: config.credentials(&reference.registry).cloned(),
            authorization: RefCell::new(None),
        };
        if config.is_insecure(&reference.registry) && client.agent.get(client.url("/v2/")).call().is_err() {
            client.scheme = "http";
        }
        Ok(client)
    }

    /// The same connection settings and token for another thread.
    pub fn fork(&self) -> Self {
        Self {
            agent: self.agent.clone(),
            scheme: self.scheme,
            host: self.host.clone(),
            reference: self.reference.clone(),
            credentials: self.credentials.clone(),
            authorization: RefCell::new(self.authorization.borrow().clone()),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.host)
    }

    /// A manifest by tag or digest; its digest is verified when asked for by digest.
    pub fn manifest(&self, selector: &str) -> Result<RawManifest, RegistryError> {
        let url = self.url(&format!("/v2/{}/manifests/{selector}", self.reference.repository));
        let response = self.get(&url, &[("Accept", ACCEPT)])?;
        let media_type = header(&response, "content-type").unwrap_or_default();
        let bytes = read_limited(response, &url)?;
        let digest = format!("sha256:{}", hex(&Sha256::digest(&bytes)));
        if selector.contains(':') && selector != digest {
            return Err(RegistryError::Digest {
                what: format!("manifest of {}", self.reference.familiar_name()),
                wanted: selector.to_owned(),
                got: digest,
            });
        }
        Ok(RawManifest {
            bytes,
            digest,
            media_type,
        })
    }

    /// A small blob (a configuration), verified.
    pub fn small_blob(&self, digest: &str) -> Result<Vec<u8>, RegistryError> {
        let url = self.blob_url(digest);
        let bytes = read_limited(self.get(&url, &[])?, &url)?;
        let got = format!("sha256:{}", hex(&Sha256::digest(&bytes)));
        if got != digest {
            return Err(RegistryError::Digest {
                what: "image configuration".into(),
                wanted: digest.into(),
                got,
            });
        }
        Ok(bytes)
    }

    /// A blob's bytes from `offset` on, and whether the registry really started there. Not verified: the caller hashes.
    pub fn blob(&self, digest: &str, offset: u64) -> Result<(impl Read + use<>, bool), RegistryError> {
        let url = self.blob_url(digest);
        let range = format!("bytes={offset}-");
        let headers: &[(&str, &str)] = if offset > 0 {
            &[("Range", range.as_str())]
        } else {
            &[]
        };
        let response = self.get(&url, headers)?;
        let resumed = response.status().as_u16() == 206;
        Ok((response.into_body().into_reader(), resumed))
    }

    fn blob_url(&self, digest: &str) -> String {
        self.url(&format!("/v2/{}/blobs/{digest}", self.reference.repository))
    }

    fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Response<Body>, RegistryError> {
        let response = self.get_once(url, headers)?;
        let response = match response.status().as_u16() {
            401 => {
                self.authenticate(header(&response, "www-authenticate").as_deref())?;
                self.get_once(url, headers)?
            }
            _ => response,
        };
        match response.status().as_u16() {
            200 | 206 => Ok(response),
            401 | 403 => Err(RegistryError::Denied(self.reference.familiar_name())),
            404 => Err(RegistryError::NotFound(self.reference.familiar())),
            status => {
                let detail = read_limited(response, url)
                    .ok()
                    .and_then(|bytes| String::from_utf8(bytes).ok())
                    .map_or_else(String::new, |text| {
                        format!(": {}", text.trim().chars().take(300).collect::<String>())
                    });
                Err(RegistryError::Status {
                    url: url.to_owned(),
                    status,
                    detail,
                })
            }
        }
    }

    fn get_once(&self, url: &str, headers: &[(&str, &str)]) -> Result<Response<Body>, RegistryError> {
        let mut request = self.agent.get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(authorization) = self.authorization.borrow().as_deref() {
            request = request.header("Authorization", authorization);
        }
        request.call().map_err(|source| RegistryError::Transport {
            url: url.to_owned(),
            source: Box::new(source),
        })
    }

    /// Answers a challenge: a token for pulling this repository, or the password itself.
    fn authenticate(&self, challenge: Option<&str>) -> Result<(), RegistryError> {
        let denied = || RegistryError::Denied(self.reference.familiar_name());
        let basic = self.credentials.as_ref();
        let basic = basic.map(|given| auth::basic(&given.user, &given.password));
        let authorization = match challenge.and_then(auth::parse_challenge).ok_or_else(denied)? {
            Challenge::Basic => basic.ok_or_else(denied)?,
            Challenge::Bearer {
                realm,
                service,
                scope,
            } => {
                let wanted = format!("repository:{}:pull", self.reference.repository);
                let url = auth::token_url(&realm, service.as_deref(), scope.as_deref().unwrap_or(&wanted));
                format!("Bearer {}", self.token(&realm, &url, basic.as_deref())?)
            }
        };
        *self.authorization.borrow_mut() = Some(authorization);
        Ok(())
    }

    fn token(&self, realm: &str, url: &str, basic: Option<&str>) -> Result<String, RegistryError> {
        let failed = |reason: String| RegistryError::Token {
            realm: realm.to_owned(),
            reason,
        };
        let mut request = self.agent.get(url);
        if let Some(basic) = basic {
            request = request.header("Authorization", basic);
        }
        let response = request.call().map_err(|error| failed(error.to_string()))?;
        if !response.status().is_success() {
            return Err(failed(format!("HTTP status {}", response.status().as_u16())));
        }
        let value: serde_json::Value = serde_json::from_slice(&read_limited(response, url)?)
            .map_err(|error| failed(format!("not JSON: {error}")))?;
        ["token", "access_token"]
            .iter()
            .find_map(|key| value.get(key)?.as_str())
            .map(str::to_owned)
            .ok_or_else(|| failed("the answer holds no token".into()))
    }
}

fn header(response: &Response<Body>, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

fn read_limited(response: Response<Body>, url: &str) -> Result<Vec<u8>, RegistryError> {
    let mut bytes = Vec::new();
    let mut reader = response.into_body().into_reader().take(MANIFEST_LIMIT + 1);
    reader
        .read_to_end(&mut bytes)
        .map_err(|source| RegistryError::Read {
            url: url.to_owned(),
            source,
        })?;
    if bytes.len() as u64 > MANIFEST_LIMIT {
        let source = std::io::Error::other(format!("longer than {MANIFEST_LIMIT} bytes"));
        return Err(RegistryError::Read {
            url: url.to_owned(),
            source,
        });
    }
    Ok(bytes)
}

fn agent(host: &str) -> Agent {
    let tls = TlsConfig::builder().root_certs(root_certificates(host)).build();
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(15)))
        .timeout_recv_response(Some(Duration::from_secs(30)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        .user_agent(concat!("corten/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
        .build();
    config.new_agent()
}

/// The machine's authorities and the registry's own (`/etc/docker/certs.d/<host>/*.crt`); Mozilla's list when the
/// machine has none.
fn root_certificates(host: &str) -> RootCerts {
    let mut certificates: Vec<Certificate<'static>> = Vec::new();
    let mut read = |path: &std::path::Path| {
        let Ok(pem) = fs::read(path) else { return };
        certificates.extend(ureq::tls::parse_pem(&pem).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        }));
    };
    for bundle in [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
    ] {
        read(std::path::Path::new(bundle));
    }
    for entry in fs::read_dir(format!("/etc/docker/certs.d/{host}"))
        .into_iter()
        .flatten()
        .flatten()
    {
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "crt")
        {
            read(&entry.path());
        }
    }
    if certificates.is_empty() {
        RootCerts::WebPki
    } else {
        RootCerts::new_with_certs(&certificates)
    }
}
