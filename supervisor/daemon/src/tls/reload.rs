//! Settings made of files, made anew when one of the files is another one than before.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::TlsError;

/// What tells a file's versions apart: device, inode, length, and change time in s and ns.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// How settings are made.
type Make<T> = dyn Fn() -> Result<T, TlsError> + Send + Sync;

/// The settings, their files and how they are made.
pub struct Reloading<T> {
    files: Vec<PathBuf>,
    make: Box<Make<T>>,
    last: Mutex<(Vec<Stamp>, Arc<T>)>,
}

impl<T> Reloading<T> {
    /// Makes them for the first time.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn new(
        files: Vec<PathBuf>,
        make: impl Fn() -> Result<T, TlsError> + Send + Sync + 'static,
    ) -> Result<Reloading<T>, TlsError> {
        // Stamps first: a file replaced in between is read once more.
        let stamps = files.iter().map(|path| stamp(path)).collect();
        let made = Arc::new(make()?);
        Ok(Reloading {
            files,
            make: Box::new(make),
            last: Mutex::new((stamps, made)),
        })
    }

    /// The settings as the files are now; the last good ones where those cannot be used.
    pub fn current(&self) -> Arc<T> {
        let stamps: Vec<Stamp> = self.files.iter().map(|path| stamp(path)).collect();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != stamps {
            match (self.make)() {
                Ok(made) => {
                    tracing::info!("certificates were read again: {}", names(&self.files));
                    last.1 = Arc::new(made);
                }
                Err(error) => tracing::warn!("the certificates in use stay: {error}"),
            }
            // Also after an error: it is said once, and tried again when something changes.
            last.0 = stamps;
        }
        Arc::clone(&last.1)
    }
}

fn names(files: &[PathBuf]) -> String {
    let names: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}

fn stamp(path: &Path) -> Stamp {
    let found = std::fs::metadata(path).ok()?;
    Some((
        found.dev(),
        found.ino(),
        found.size(),
        found.ctime(),
        found.ctime_nsec(),
    ))
}
