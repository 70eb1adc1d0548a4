//! A snapshot's file as openraft passes it around: it remembers where it lies, and its position.
//!
//! Reads and writes are done at once: they are short, and go to the page cache.

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

use crate::disk::{Disk, File};

/// An open snapshot file. One that is being received is removed when it is dropped: on a full disk its room is needed.
#[derive(Debug)]
pub struct SnapshotFile {
    file: Arc<dyn File>,
    at: u64,
    path: PathBuf,
    /// Where it is to be removed.
    unfinished: Option<Arc<dyn Disk>>,
}

impl SnapshotFile {
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> io::Result<SnapshotFile> {
        Ok(SnapshotFile::new(disk.open(path)?, path))
    }

    pub(super) fn create(disk: &Arc<dyn Disk>, path: &Path) -> io::Result<SnapshotFile> {
        let mut file = SnapshotFile::new(disk.create(path)?, path);
        file.unfinished = Some(Arc::clone(disk));
        Ok(file)
    }

    fn new(file: Arc<dyn File>, path: &Path) -> SnapshotFile {
        SnapshotFile {
            file,
            at: 0,
            path: path.to_path_buf(),
            unfinished: None,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        // One that was received whole has another name by now. What stays goes at the next start.
        if let Some(disk) = self.unfinished.take() {
            let _ = disk.remove(&self.path);
        }
    }
}

impl AsyncRead for SnapshotFile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = self.file.read_at(buf.initialize_unfilled(), self.at)?;
        buf.advance(count);
        self.at += count as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SnapshotFile {
    fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for SnapshotFile {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        self.at = match position {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.at.saturating_add_signed(by),
            SeekFrom::End(by) => self.file.length()?.saturating_add_signed(by),
        };
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.at))
    }
}
