//! TLS for clients and peers: files to rustls's settings, for the accepting and the connecting side.
//!
//! Files are looked at again for every new connection and read again when one of them has changed, so certificates are
//! renewed without a restart. What cannot be read then is told, with the file's name, and the last good settings stay in
//! use. At the start it is an error.
//!
//! Refuses: TLS below 1.2, and any switch that would skip a check; only generated certificates (`--auto-tls`) are
//! believed unseen, because nobody could know them before, as with etcd.

mod connect;
mod files;
mod generate;
mod reload;
mod serve;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use corten_raft::tls::ClientTls;

use crate::settings::tls::Tls;
use reload::Reloading;
pub use serve::Acceptor;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read as what it should be.
    #[error("{}: cannot use the {what}: {why}", path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// `certificate`, `key`, `CA certificates`, ...
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Certificate and key do not belong together, or cannot be used.
    #[error("{}: cannot use the certificate with its key: {why}", path.display())]
    Pair {
        /// The certificate's file.
        path: std::path::PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Clients shall show certificates, and nothing says which to believe.
    #[error("client certificates are asked for, but no CA is known: name a file with --trusted-ca-file")]
    NoCa,
    /// A cipher suite nobody here knows.
    #[error("unexpected TLS cipher suite {name:?}: known are {known}")]
    Suite {
        /// The name given.
        name: String,
        /// Those there are.
        known: String,
    },
    /// A certificate could not be generated.
    #[error("no certificate can be generated: {0}")]
    Generate(String),
}

/// Protocols a listener offers, in order of preference (ALPN).
pub type Protocols = &'static [&'static [u8]];
/// On clients' listeners.
pub const CLIENT_PROTOCOLS: Protocols = &[b"h2", b"http/1.1"];
/// On peers' listeners.
pub const PEER_PROTOCOLS: Protocols = &[b"http/1.1"];

/// The accepting side of a listener with these settings.
///
/// # Errors
/// When a file cannot be used.
pub fn acceptor(tls: &Tls, protocols: Protocols) -> Result<Acceptor, TlsError> {
    let wanted = tls.clone();
    let config = Reloading::new(watched(tls), move || serve::config(&wanted, protocols))?;
    Acceptor::new(config, tls.allowed_hostname.as_deref())
}

/// What connections to other members are made with; `None` where nothing is set up for that.
///
/// # Errors
/// When a file cannot be used.
pub fn client(tls: &Tls) -> Result<Option<ClientTls>, TlsError> {
    if !tls.is_set() && tls.trusted_ca.is_none() {
        return Ok(None);
    }
    let wanted = tls.clone();
    let config = Arc::new(Reloading::new(watched(tls), move || connect::config(&wanted))?);
    Ok(Some(ClientTls::new(move || Ok(config.current()))))
}

/// Settings with the generated certificate filled in where one is asked for and none given; it lies in
/// `DATA_DIR/fixtures/SIDE`, as with etcd.
///
/// # Errors
/// When it cannot be generated or written.
pub fn with_generated(tls: &Tls, data_dir: &Path, side: &str, hosts: &[String]) -> Result<Tls, TlsError> {
    if !tls.auto || tls.cert.is_some() {
        return Ok(Tls {
            auto: false,
            ..tls.clone()
        });
    }
    let (cert, key) = generate::in_folder(&data_dir.join("fixtures").join(side), hosts)?;
    Ok(Tls {
        cert: Some(cert),
        key: Some(key),
        ..tls.clone()
    })
}

/// The files whose change asks for new settings.
fn watched(tls: &Tls) -> Vec<std::path::PathBuf> {
    let all = [&tls.cert, &tls.key, &tls.trusted_ca, &tls.crl];
    all.into_iter().flatten().cloned().collect()
}
