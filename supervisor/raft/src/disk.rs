//! The files this room writes itself, behind a seam: the machine's disk, or a simulated one that loses power.
//!
//! A call costs one indirection, which is nothing beside the system call behind it. The state (heed) is not here: what a
//! power cut leaves of it is never read ([`mod@crate::state`]).

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A disk. What is not synced may be lost, in any part, when the power goes.
pub trait Disk: Debug + Send + Sync {
    /// Makes a file, or empties the one that is there, open for reading and writing.
    ///
    /// # Errors
    /// As the system says.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// As the system says.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// A file's bytes.
    ///
    /// # Errors
    /// As the system says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Whether there is something under this name.
    fn exists(&self, path: &Path) -> bool;

    /// Makes a directory and those above it, where they are missing.
    ///
    /// # Errors
    /// As the system says.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;

    /// What lies in a directory, in any order.
    ///
    /// # Errors
    /// As the system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;

    /// Gives a file another name; what had that name is gone.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory's names durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file.
pub trait File: Debug + Send + Sync {
    /// Reads at `offset`; 0 at the end.
    ///
    /// # Errors
    /// As the system says.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Fills `bytes` from `offset`.
    ///
    /// # Errors
    /// As the system says; when the file ends before.
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, not yet durably.
    ///
    /// # Errors
    /// As the system says; a part may then be written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// The file's length.
    ///
    /// # Errors
    /// As the system says.
    fn length(&self) -> io::Result<u64>;

    /// Cuts the file, or lengthens it with zeros.
    ///
    /// # Errors
    /// As the system says.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Makes the file's bytes durable, and its length where that is needed to read them.
    ///
    /// # Errors
    /// As the system says; what is durable is then not known.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes everything about the file but its name durable.
    ///
    /// # Errors
    /// As the system says; what is durable is then not known.
    fn sync_all(&self) -> io::Result<()>;
}

/// Writes a file that appears under its name only when it is whole and on disk, and stays open.
///
/// # Errors
/// As the disk says; what had the name before is then still there.
pub(crate) fn write_whole(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<Arc<dyn File>> {
    let unfinished = path.with_extension("tmp");
    let write = || {
        let file = disk.create(&unfinished)?;
        file.write_all_at(bytes, 0)?;
        file.sync_all()?;
        disk.rename(&unfinished, path)?;
        path.parent().map_or(Ok(()), |dir| disk.sync_dir(dir))?;
        Ok(file)
    };
    write().inspect_err(|_| {
        // On a full disk its room is needed; where it stays, the next try writes over it.
        let _ = disk.remove(&unfinished);
    })
}

/// A file read or written from its begin to its end.
pub(crate) struct FromBegin {
    pub file: Arc<dyn File>,
    at: u64,
}

impl FromBegin {
    pub fn new(file: Arc<dyn File>) -> FromBegin {
        FromBegin { file, at: 0 }
    }
}

impl Read for FromBegin {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(bytes, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Write for FromBegin {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The disk of the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut options = std::fs::File::options();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        Ok(Arc::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(
            std::fs::File::options().read(true).write(true).open(path)?,
        ))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(dir)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::File::open(dir)?.sync_all()
    }
}

impl File for std::fs::File {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, bytes, offset)
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, bytes, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        std::fs::File::set_len(self, length)
    }

    fn sync_data(&self) -> io::Result<()> {
        std::fs::File::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        std::fs::File::sync_all(self)
    }
}
