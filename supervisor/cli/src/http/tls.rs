//! TLS for https endpoints: the server's certificate is checked against a CA file or the system's, ours is shown
//! where given.
//!
//! Refuses to do: connections to a server whose certificate does not verify, unless [`TlsSetup::believe_anybody`] was
//! called: for etcdctl's `--insecure-skip-tls-verify` alone.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where distributions keep the CA certificates they trust: Debian, then Fedora.
const SYSTEM_CA_FILES: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

/// The files named on the command line; empty ones are absent.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsFiles {
    pub(crate) ca: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

/// What a connection needs.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsSetup {
    files: TlsFiles,
    /// What we want to speak (ALPN), if that has to be said.
    protocol: Option<&'static str>,
    /// Whether any certificate will do.
    anybody: bool,
}

/// Why TLS did not come about.
#[derive(Debug, Error)]
pub(crate) enum TlsError {
    /// A file cannot be read as what it should be.
    #[error("cannot use {what} file {}: {why}", path.display())]
    File {
        /// `CA`, `certificate`, `key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// One of the pair is missing.
    #[error("a client certificate needs both --cert-file and --key-file")]
    HalfPair,
    /// The key does not belong to the certificate, or neither can be used.
    #[error("cannot use client certificate: {0}")]
    Pair(rustls::Error),
    /// No CA at all.
    #[error("no CA certificates found on this system: name a file with --ca-file")]
    NoCa,
    /// The name cannot stand in a certificate.
    #[error("{0:?} cannot be checked against a certificate")]
    Name(String),
    /// The handshake failed; mostly a certificate that does not verify.
    #[error("tls: {0}")]
    Handshake(io::Error),
}

impl TlsSetup {
    /// Takes the files; they are read when a connection is made.
    pub(crate) fn new(files: TlsFiles) -> Result<TlsSetup, TlsError> {
        if files.cert.is_some() != files.key.is_some() {
            return Err(TlsError::HalfPair);
        }
        Ok(TlsSetup {
            files,
            ..TlsSetup::default()
        })
    }

    /// Takes any certificate: it keeps listeners out, not impostors.
    pub(crate) fn believe_anybody(&mut self) {
        self.anybody = true;
    }

    /// Whether a certificate of ours is shown.
    pub(crate) fn shows_certificate(&self) -> bool {
        self.files.cert.is_some()
    }

    /// Whether the files can be used.
    pub(crate) fn check(&self) -> Result<(), TlsError> {
        self.config().map(|_| ())
    }

    /// Asks the server for a protocol, as `h2`.
    pub(crate) fn speak(&mut self, protocol: &'static str) {
        self.protocol = Some(protocol);
    }

    fn config(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Pair)?;
        let builder = if self.anybody {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        } else {
            builder.with_root_certificates(roots(self.files.ca.as_deref())?)
        };
        let (Some(cert), Some(key)) = (&self.files.cert, &self.files.key) else {
            return Ok(builder.with_no_client_auth());
        };
        let key_error = |error| file_error("key", key, error);
        let key = PrivateKeyDer::from_pem_file(key).map_err(key_error)?;
        builder
            .with_client_auth_cert(certificates("certificate", cert)?, key)
            .map_err(TlsError::Pair)
    }
}

/// Does the handshake with the server `host` over `stream`.
pub(super) async fn wrap(
    stream: TcpStream,
    host: &str,
    setup: &TlsSetup,
) -> Result<TlsStream<TcpStream>, TlsError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name(host.to_owned()))?;
    let mut config = setup.config()?;
    config.alpn_protocols = setup
        .protocol
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.map_err(TlsError::Handshake)
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let system = || SYSTEM_CA_FILES.iter().map(Path::new).find(|path| path.exists());
    let path = ca.or_else(system).ok_or(TlsError::NoCa)?;
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(certificates("CA", path)?);
    if added == 0 {
        return Err(file_error("CA", path, "no certificate in it"));
    }
    Ok(store)
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let error = |error| file_error(what, path, error);
    CertificateDer::pem_file_iter(path)
        .map_err(error)?
        .collect::<Result<_, _>>()
        .map_err(error)
}

fn file_error(what: &'static str, path: &Path, why: impl ToString) -> TlsError {
    TlsError::File {
        what,
        path: path.to_owned(),
        why: why.to_string(),
    }
}

/// Believes any certificate, as long as the server has its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
