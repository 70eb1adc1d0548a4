//! manifest.json: what an image is made of, to be compared, audited and checked.

use crate::digest::{hex, sha256_of};
use crate::packages::Package;
use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The manifest's form; paths are those in the running system.
#[derive(Debug, Serialize)]
pub struct Manifest<'a> {
    /// Version of the image.
    pub version: &'a str,
    /// Time of every file in it, seconds since 1970.
    pub source_date_epoch: u64,
    /// Kernel, as `uname -r` prints it.
    pub kernel: &'a str,
    /// dm-verity root hash of /usr.
    pub usr_root_hash: String,
    /// Bytes to download for an update: kernel, initramfs and /usr.
    pub download_bytes: u64,
    /// Debian packages in the image.
    pub packages: &'a [Package],
    /// Files of ours by path: SHA-256, or `-> target` of a link.
    pub files: BTreeMap<String, String>,
    /// Files of the build by name.
    pub artifacts: BTreeMap<String, Artifact>,
}

/// One file that the build leaves.
#[derive(Debug, Serialize)]
pub struct Artifact {
    /// SHA-256.
    pub sha256: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// Digests of our files in a staged tree.
pub fn our_files(stage: &Path) -> Result<BTreeMap<String, String>> {
    let list = fs::read_to_string(stage.join("ours"))?;
    let digest = |file: &str| -> Result<(String, String)> {
        let path = stage.join(file);
        let sum = match fs::read_link(&path) {
            Ok(target) => format!("-> {}", target.display()),
            Err(_) => sha256_of(&path).with_context(|| format!("reading {}", path.display()))?,
        };
        Ok((format!("/{file}"), sum))
    };
    list.lines().map(digest).collect()
}

/// Digest and size of a file.
pub fn artifact(path: &Path) -> Result<Artifact> {
    Ok(Artifact {
        sha256: sha256_of(path)?,
        bytes: fs::metadata(path)?.len(),
    })
}

/// A root hash as text.
pub fn root_hash(root: &[u8; 32]) -> String {
    hex(root)
}
