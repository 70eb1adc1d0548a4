//! From a compressed layer to a directory in overlay form, whole or not at all.
//!
//! Duty: decompress, hash, unpack into `<chain id>.tmp`, make durable, rename to `<chain id>`. Two processes that want
//! the same layer wait for each other on `<chain id>.lock`. Danger: a directory named by a chain id is trusted as whole.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::hex;
use super::unpack::{Ownership, UnpackError, unpack};
use crate::durable::{self, Lock};

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The archive is unsound or could not be written.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The disk said no.
    #[error("{path}: {source}")]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The content is not what the configuration promised.
    #[error("layer content does not match its digest: wanted {wanted}, got {got}")]
    DiffId {
        /// The configuration's diff id.
        wanted: String,
        /// The content's.
        got: String,
    },
}

/// Where layers lie.
#[derive(Debug, Clone)]
pub struct Layers {
    dir: PathBuf,
}

impl Layers {
    /// Layers in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Directory of a layer.
    pub fn path(&self, chain_id: &str) -> PathBuf {
        self.dir.join(chain_id)
    }

    /// Whether the layer is there.
    pub fn has(&self, chain_id: &str) -> bool {
        self.path(chain_id).is_dir()
    }

    /// Unpacks `archive` (plain, gzip or zstd) as the layer `chain_id`; does nothing when it is there already.
    pub fn add(&self, chain_id: &str, diff_id: &str, archive: &Path) -> Result<(), LayerError> {
        let disk = |path: &Path| {
            let path = path.to_owned();
            move |source| LayerError::Disk { path, source }
        };
        let lock_path = self.dir.join(format!("{chain_id}.lock"));
        let _lock = Lock::wait(&lock_path).map_err(disk(&lock_path))?;
        if self.has(chain_id) {
            return Ok(());
        }
        let temp = self.dir.join(format!("{chain_id}.tmp"));
        remove_tree(&temp).map_err(disk(&temp))?;
        fs::create_dir(&temp).map_err(disk(&temp))?;
        let got = unpack_file(archive, &temp)?;
        if got != diff_id {
            remove_tree(&temp).map_err(disk(&temp))?;
            return Err(LayerError::DiffId {
                wanted: diff_id.to_owned(),
                got,
            });
        }
        let sync = || -> io::Result<()> {
            rustix::fs::syncfs(File::open(&temp)?)?;
            fs::rename(&temp, self.path(chain_id))?;
            durable::sync_dir(&self.dir)
        };
        sync().map_err(disk(&temp))?;
        let _ = fs::remove_file(&lock_path);
        Ok(())
    }

    /// Removes layers that `keep` does not name, and what interrupted pulls left. Nothing may be adding meanwhile.
    pub fn retain(&self, keep: &std::collections::BTreeSet<String>) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if keep.contains(name) {
                continue;
            }
            if path.is_file() {
                fs::remove_file(&path)?;
            } else if name.ends_with(".tmp") {
                remove_tree(&path)?;
            } else {
                // The rename first: what is named by a chain id must be whole at every moment.
                let doomed = self.dir.join(format!("{name}.tmp"));
                remove_tree(&doomed)?;
                fs::rename(&path, &doomed)?;
                remove_tree(&doomed)?;
            }
        }
        Ok(())
    }
}

/// Removes a directory tree; a missing one is fine.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Unpacks into `target` and returns the diff id of what was unpacked.
fn unpack_file(archive: &Path, target: &Path) -> Result<String, LayerError> {
    let disk = |source| LayerError::Disk {
        path: archive.to_owned(),
        source,
    };
    let file = File::open(archive).map_err(disk)?;
    let plain = decompress(io::BufReader::with_capacity(1 << 20, file)).map_err(disk)?;
    let mut hashing = Hashing {
        inner: plain,
        hash: Sha256::new(),
    };
    unpack(&mut hashing, target, Ownership::of_this_process())?;
    // Padding behind the archive's end belongs to the digest too.
    io::copy(&mut hashing, &mut io::sink()).map_err(disk)?;
    Ok(format!("sha256:{}", hex(&hashing.hash.finalize())))
}

/// Chooses the decompressor by the content's first bytes, never by its declared type.
pub fn decompress<R: io::BufRead + 'static>(mut reader: R) -> io::Result<Box<dyn Read>> {
    let start = reader.fill_buf()?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(MultiGzDecoder::new(reader)));
    }
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let decoder = ruzstd::decoding::StreamingDecoder::new(reader).map_err(io::Error::other)?;
        return Ok(Box::new(decoder));
    }
    Ok(Box::new(reader))
}

struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}
