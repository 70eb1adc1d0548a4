//! The connecting side: what this member shows to others, and whom it believes.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use super::{TlsError, files, serve};
use crate::settings::tls::Tls;

/// rustls's settings from files.
///
/// # Errors
/// When a file cannot be used.
pub fn config(tls: &Tls) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(serve::provider(&tls.cipher_suites)?);
    let unusable = |why: rustls::Error| TlsError::Pair {
        path: tls.cert.clone().unwrap_or_default(),
        why: why.to_string(),
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = if tls.auto {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unseen(provider)))
    } else {
        builder.with_root_certificates(files::roots(tls.trusted_ca.as_deref())?)
    };
    match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(files::chain(cert, "certificate")?, files::key(key)?)
            .map_err(unusable),
        _ => Ok(builder.with_no_client_auth()),
    }
}

/// Believes any certificate, as long as the other side has its key: for `--peer-auto-tls`, where each member makes its
/// own. It keeps listeners out, not impostors; etcd does the same.
#[derive(Debug)]
struct Unseen(Arc<CryptoProvider>);

impl ServerCertVerifier for Unseen {
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
