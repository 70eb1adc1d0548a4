//! Certificates of our own making, for `--auto-tls` and `--peer-auto-tls`: made once, then kept.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::TlsError;

/// Certificate and key in `folder` for `hosts`; made if they are not there.
///
/// # Errors
/// When they cannot be made or written.
pub fn in_folder(folder: &Path, hosts: &[String]) -> Result<(PathBuf, PathBuf), TlsError> {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    if cert.exists() && key.exists() {
        return Ok((cert, key));
    }
    let made = rcgen::generate_simple_self_signed(hosts.to_vec())
        .map_err(|why| TlsError::Generate(why.to_string()))?;
    let write = || {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        put(&key, &made.signing_key.serialize_pem())?;
        put(&cert, &made.cert.pem())
    };
    write().map_err(|why: std::io::Error| {
        TlsError::Generate(format!("{} cannot be written: {why}", folder.display()))
    })?;
    tracing::info!("a certificate was generated: {}", cert.display());
    Ok((cert, key))
}

fn put(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
