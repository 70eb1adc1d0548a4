//! The variables of TLS, for clients (`ETCD_CERT_FILE`, ...) and for peers (`ETCD_PEER_CERT_FILE`, ...).
//!
//! Refuses what would leave a listener less guarded than it was asked for: one file of a pair, https without a
//! certificate, a check that is not made here.

use std::path::PathBuf;

use super::parse::Reader;

/// How one side of a listener or connection identifies itself and whom it believes. Files are named here and read later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// The certificate chain, PEM. Comes with `key`.
    pub cert: Option<PathBuf>,
    /// Its private key, PEM.
    pub key: Option<PathBuf>,
    /// The CAs that clients' (and, for peers, servers') certificates must come from, PEM.
    pub trusted_ca: Option<PathBuf>,
    /// Whether a client must show a certificate.
    pub client_cert_auth: bool,
    /// Certificates no longer believed, PEM or DER.
    pub crl: Option<PathBuf>,
    /// A client's certificate must be for this host name.
    pub allowed_hostname: Option<String>,
    /// A certificate is generated where none is given.
    pub auto: bool,
    /// Names of the TLS 1.2 cipher suites allowed; all that are sound when empty.
    pub cipher_suites: Vec<String>,
}

impl Tls {
    /// Whether TLS can be served.
    pub fn is_set(&self) -> bool {
        self.cert.is_some() || self.auto
    }

    /// Whether clients must show a certificate: as in etcd, a CA for them means so, too.
    pub fn asks_clients(&self) -> bool {
        self.client_cert_auth || self.trusted_ca.is_some()
    }
}

/// The names one side's variables have.
pub(super) struct Names {
    cert: &'static str,
    key: &'static str,
    ca: &'static str,
    old_ca: &'static str,
    auth: &'static str,
    crl: &'static str,
    hostname: &'static str,
    auto: &'static str,
    urls: &'static str,
}

/// The clients' side.
pub(super) const CLIENTS: Names = Names {
    cert: "ETCD_CERT_FILE",
    key: "ETCD_KEY_FILE",
    ca: "ETCD_TRUSTED_CA_FILE",
    old_ca: "ETCD_CA_FILE",
    auth: "ETCD_CLIENT_CERT_AUTH",
    crl: "ETCD_CLIENT_CRL_FILE",
    hostname: "ETCD_CLIENT_CERT_ALLOWED_HOSTNAME",
    auto: "ETCD_AUTO_TLS",
    urls: "ETCD_LISTEN_CLIENT_URLS",
};

/// The peers' side.
pub(super) const PEERS: Names = Names {
    cert: "ETCD_PEER_CERT_FILE",
    key: "ETCD_PEER_KEY_FILE",
    ca: "ETCD_PEER_TRUSTED_CA_FILE",
    old_ca: "ETCD_PEER_CA_FILE",
    auth: "ETCD_PEER_CLIENT_CERT_AUTH",
    crl: "ETCD_PEER_CRL_FILE",
    hostname: "ETCD_PEER_CERT_ALLOWED_HOSTNAME",
    auto: "ETCD_PEER_AUTO_TLS",
    urls: "ETCD_LISTEN_PEER_URLS",
};

impl Reader<'_> {
    /// One side's TLS; `https` says whether one of its listeners needs it.
    pub(super) fn tls(&mut self, names: &Names, https: bool) -> Tls {
        let old_ca = self.path(names.old_ca);
        let tls = Tls {
            cert: self.path(names.cert),
            key: self.path(names.key),
            client_cert_auth: self.boolean(names.auth) || old_ca.is_some(),
            trusted_ca: self.path(names.ca).or(old_ca),
            crl: self.path(names.crl),
            allowed_hostname: self.text(names.hostname).map(str::to_owned),
            auto: self.boolean(names.auto),
            cipher_suites: self.list("ETCD_CIPHER_SUITES"),
        };
        if tls.cert.is_some() != tls.key.is_some() {
            let (given, missing) = if tls.cert.is_some() {
                (names.cert, names.key)
            } else {
                (names.key, names.cert)
            };
            self.problem(
                given,
                format!("{missing} is missing"),
                "KeyFile and CertFile must both be present",
            );
        }
        if https && !tls.is_set() {
            self.problem(
                names.urls,
                "https needs a certificate",
                &format!("set {} and {}, or write http", names.cert, names.key),
            );
        }
        if !https && (tls.cert.is_some() || tls.asks_clients()) && self.given.contains_key(names.urls) {
            self.warnings.push(format!(
                "{} has no https URL: the certificate files have no effect there, everything goes in the clear",
                names.urls
            ));
        }
        tls
    }

    /// Parts between commas.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let parts = self.text(name).unwrap_or_default().split(',').map(str::trim);
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }
}
