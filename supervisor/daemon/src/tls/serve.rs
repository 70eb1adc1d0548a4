//! The accepting side: rustls's settings, and the handshake with who connects.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use corten_raft::tls::Stream;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ServerConfig, ServerConnection};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::reload::Reloading;
use super::{Protocols, TlsError, files};
use crate::settings::tls::Tls;

/// A client that has not finished its handshake by then is let go.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The first byte of every TLS connection: a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;
/// What Go's server tells a client that forgot the s.
const NOT_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\n\
                         Client sent an HTTP request to an HTTPS server.\n";

/// Does handshakes for one kind of listener; clones share the settings.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<Reloading<ServerConfig>>,
    /// A client's certificate must be for it.
    hostname: Option<ServerName<'static>>,
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

impl Acceptor {
    pub(super) fn new(config: Reloading<ServerConfig>, hostname: Option<&str>) -> Result<Acceptor, TlsError> {
        let hostname = hostname.map(|name| {
            ServerName::try_from(name.to_owned()).map_err(|why| TlsError::File {
                path: name.into(),
                what: "allowed host name",
                why: why.to_string(),
            })
        });
        Ok(Acceptor {
            config: Arc::new(config),
            hostname: hostname.transpose()?,
        })
    }

    /// Does the handshake.
    ///
    /// # Errors
    /// When it fails, with who tried left out: the caller knows.
    pub async fn accept(self, stream: TcpStream) -> io::Result<Stream> {
        match tokio::time::timeout(HANDSHAKE, self.shake(stream)).await {
            Ok(done) => done,
            Err(_) => Err(io::Error::other(format!("no TLS handshake within {HANDSHAKE:?}"))),
        }
    }

    async fn shake(self, mut stream: TcpStream) -> io::Result<Stream> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first[0] != TLS_HANDSHAKE {
            stream.write_all(NOT_TLS).await?;
            stream.shutdown().await?;
            return Err(io::Error::other("client sent a plain request to a TLS listener"));
        }
        let done = TlsAcceptor::from(self.config.current()).accept(stream).await?;
        self.check_name(done.get_ref().1)?;
        Ok(Stream::Tls(Box::new(TlsStream::Server(done))))
    }

    fn check_name(&self, connection: &ServerConnection) -> io::Result<()> {
        let Some(hostname) = &self.hostname else {
            return Ok(());
        };
        let shown = connection.peer_certificates().and_then(<[_]>::first);
        let shown = shown.ok_or_else(|| io::Error::other("the client showed no certificate"))?;
        let parsed = ParsedCertificate::try_from(shown).map_err(io::Error::other)?;
        verify_server_name(&parsed, hostname).map_err(io::Error::other)
    }
}

/// rustls's settings from files.
///
/// # Errors
/// When a file cannot be used.
pub fn config(tls: &Tls, protocols: Protocols) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(provider(&tls.cipher_suites)?);
    let unusable = |why: &dyn std::fmt::Display| TlsError::Pair {
        path: tls.cert.clone().unwrap_or_default(),
        why: why.to_string(),
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|why| unusable(&why))?;
    let builder = if tls.asks_clients() {
        let roots = Arc::new(files::roots(tls.trusted_ca.as_deref())?);
        let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
        if let Some(path) = &tls.crl {
            // As etcd's: a certificate is refused if it is listed, and only then.
            verifier = verifier
                .with_crls(files::revoked(path)?)
                .only_check_end_entity_revocation()
                .allow_unknown_revocation_status();
        }
        builder.with_client_cert_verifier(verifier.build().map_err(|why| unusable(&why))?)
    } else {
        builder.with_no_client_auth()
    };
    let (Some(cert), Some(key)) = (&tls.cert, &tls.key) else {
        return Err(unusable(&"there is none"));
    };
    let mut config = builder
        .with_single_cert(files::chain(cert, "certificate")?, files::key(key)?)
        .map_err(|why| unusable(&why))?;
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// The cryptography, with the TLS 1.2 suites that are named; those of TLS 1.3 cannot be chosen, as in Go.
///
/// # Errors
/// When a name is unknown.
pub fn provider(names: &[String]) -> Result<CryptoProvider, TlsError> {
    let mut provider = rustls::crypto::ring::default_provider();
    if names.is_empty() {
        return Ok(provider);
    }
    let name_of = |suite: &rustls::SupportedCipherSuite| format!("{:?}", suite.suite());
    let is_old =
        |suite: &rustls::SupportedCipherSuite| suite.version().version == rustls::ProtocolVersion::TLSv1_2;
    let known: Vec<String> = provider
        .cipher_suites
        .iter()
        .filter(|suite| is_old(suite))
        .map(name_of)
        .collect();
    // Go's older names of two of them.
    let full = |name: &String| match name.strip_suffix("_CHACHA20_POLY1305") {
        Some(_) => format!("{name}_SHA256"),
        None => name.clone(),
    };
    let wanted: Vec<String> = names.iter().map(full).collect();
    if let Some(name) = wanted.iter().find(|name| !known.contains(name)) {
        return Err(TlsError::Suite {
            name: name.clone(),
            known: known.join(", "),
        });
    }
    provider
        .cipher_suites
        .retain(|suite| !is_old(suite) || wanted.contains(&name_of(suite)));
    Ok(provider)
}
