//! PEM files to what rustls takes; every error names the file.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::TlsError;

/// Where distributions keep the CA certificates they trust: Debian, then Fedora.
const SYSTEM_CA_FILES: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

/// A chain of certificates, the first being the one shown.
///
/// # Errors
/// When there is none in the file.
pub fn chain(path: &Path, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |why: PemError| file(path, what, why);
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    if found.is_empty() {
        return Err(file(path, what, "no certificate in it"));
    }
    Ok(found)
}

/// The first private key.
///
/// # Errors
/// When there is none in the file.
pub fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|why| file(path, "key", why))
}

/// The CAs in a file, or those the system trusts.
///
/// # Errors
/// When there is none.
pub fn roots(path: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let system = || SYSTEM_CA_FILES.iter().map(Path::new).find(|path| path.exists());
    let path = path.or_else(system).ok_or(TlsError::NoCa)?;
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(chain(path, "CA certificates")?);
    if added == 0 {
        return Err(file(path, "CA certificates", "none of them can be parsed"));
    }
    Ok(store)
}

/// The revocation lists in a file, in PEM, or the one it is, in DER.
///
/// # Errors
/// When it cannot be read.
pub fn revoked(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    const WHAT: &str = "certificate revocation list";
    let bytes = std::fs::read(path).map_err(|why| file(path, WHAT, why))?;
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(lists) if !lists.is_empty() => Ok(lists),
        Ok(_) => Ok(vec![CertificateRevocationListDer::from(bytes)]),
        Err(why) => Err(file(path, WHAT, why)),
    }
}

fn file(path: &Path, what: &'static str, why: impl ToString) -> TlsError {
    TlsError::File {
        path: path.to_owned(),
        what,
        why: why.to_string(),
    }
}
