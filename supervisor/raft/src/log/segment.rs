//! One segment file being written: its head, its allocated space, where it ends.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::{self, Record, Standing};
use crate::disk::{self, Disk, File};

/// Bytes of a segment's head.
pub(super) const HEADER: usize = 32;
const MAGIC: &[u8; 8] = b"CORTLOG1";
/// How much is allocated ahead at once. A sync that need not lengthen the file is a third faster.
const AHEAD: u64 = 1 << 20;

/// The segment at the log's end.
pub(super) struct Segment {
    pub file: Arc<dyn File>,
    pub path: PathBuf,
    pub number: u64,
    /// Where the next record goes.
    pub end: u64,
    /// Bytes before this are on disk.
    pub synced: u64,
    /// Bytes before this exist in the file, as zeros from `end` on.
    pub allocated: u64,
}

/// The file name of segment `number`.
pub(super) fn file_name(number: u64) -> String {
    format!("{number:020}.log")
}

/// A segment's head.
pub(super) fn header(number: u64, cluster: u64) -> [u8; HEADER] {
    let mut head = [0; HEADER];
    head[..8].copy_from_slice(MAGIC);
    head[8..16].copy_from_slice(&number.to_le_bytes());
    head[16..24].copy_from_slice(&cluster.to_le_bytes());
    let sum = crc32c::crc32c(&head[..24]);
    head[24..28].copy_from_slice(&sum.to_le_bytes());
    head
}

/// Checks a segment's head; says what is wrong with it.
pub(super) fn check_header(bytes: &[u8], number: u64, cluster: u64) -> Result<(), String> {
    let Some(head) = bytes.get(..HEADER) else {
        return Err(format!("{} bytes are too few for a segment", bytes.len()));
    };
    if head[..8] != *MAGIC {
        return Err("it does not begin as a segment does".to_owned());
    }
    if head == header(number, cluster) {
        return Ok(());
    }
    if head
        == header(
            number,
            u64::from_le_bytes(head[16..24].try_into().unwrap_or_default()),
        )
    {
        return Err(format!("it belongs to another cluster than {cluster:x}"));
    }
    Err("its head does not match its checksum or its name".to_owned())
}

impl Segment {
    /// Makes segment `number` with `standing` as its first record, durably: it appears under its name only when it is
    /// whole.
    pub fn create(
        disk: &dyn Disk,
        dir: &Path,
        number: u64,
        cluster: u64,
        standing: &Standing,
    ) -> io::Result<Segment> {
        let path = dir.join(file_name(number));
        let mut bytes = header(number, cluster).to_vec();
        record::encode(
            &mut bytes,
            number,
            HEADER as u64,
            &Record::State(standing.clone()),
        )
        .map_err(io::Error::other)?;
        let end = bytes.len() as u64;
        bytes.resize(AHEAD as usize, 0);
        let file = disk::write_whole(disk, &path, &bytes)?;
        Ok(Segment {
            file,
            path,
            number,
            end,
            synced: end,
            allocated: AHEAD,
        })
    }

    /// Sees to it that `bytes` more have room; only this can run out of space.
    pub fn reserve(&mut self, bytes: usize) -> io::Result<()> {
        let needed = self.end + bytes as u64;
        while self.allocated < needed {
            let zeros = vec![0; AHEAD as usize];
            self.file.write_all_at(&zeros, self.allocated)?;
            self.allocated += AHEAD;
        }
        Ok(())
    }

    /// Writes records at the end, not yet durably.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.end)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Makes everything written durable.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.synced < self.end {
            self.file.sync_data()?;
            self.synced = self.end;
        }
        Ok(())
    }
}
