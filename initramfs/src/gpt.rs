//! The GUID partition table: reading it, and planning how it grows with its disk; pure.
//!
//! ```text
//! LBA 0 protective MBR | 1 header | 2.. entries (128 of 128 bytes) | partitions ... | entries again | last: header again
//! header:  0 "EFI PART"  8 revision  12 header bytes  16 crc  24 this LBA  32 other LBA  40 first usable
//!         48 last usable 56 disk guid 72 entries LBA  80 count  84 entry bytes  88 entries crc
//! entry:   0 type guid  16 guid  32 first LBA  40 last LBA  48 attributes  56 name (UTF-16, 36 units)
//! ```
//! (UEFI specification 2.10, chapter 5.) A [`Growth`] is a list of writes in the order in which a power cut between
//! any two of them leaves one whole table: the backup first, then the primary.

use crate::bytes::{crc32, put, u32_at, u64_at};

/// Partitions begin at multiples of this many bytes.
const ALIGN_BYTES: u64 = 1 << 20;
/// Where the fields of an entry stop and the name begins.
const NAME_AT: usize = 56;

/// A GUID in its on-disk byte order.
pub type Guid = [u8; 16];

/// Where a header says its entries are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    raw: Vec<u8>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Number as the kernel counts, from 1.
    pub number: u32,
    /// Type.
    pub kind: Guid,
    /// Identity (PARTUUID).
    pub guid: Guid,
    /// First sector.
    pub first: u64,
    /// Last sector, inclusive.
    pub last: u64,
    /// Label.
    pub name: String,
}

/// A table whose checksums hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    header: Vec<u8>,
    entries: Vec<u8>,
    sector: u64,
}

/// Why bytes are no partition table.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GptError {
    /// No signature, or a checksum that does not hold.
    #[error("no valid GPT header")]
    Header,
    /// The entries' checksum does not hold.
    #[error("the GPT's entries do not match their checksum")]
    Entries,
    /// The disk ends before the table's last partition does.
    #[error(
        "the disk has {have_mib} MiB, but its partitions need {need_mib} MiB; write the image to a disk at least that large"
    )]
    DiskTooSmall {
        /// Size of the disk.
        have_mib: u64,
        /// Size the table needs.
        need_mib: u64,
    },
    /// Nothing free for a partition that is to be made.
    #[error(
        "no room for a `{name}` partition: {free_mib} MiB are free and {need_mib} MiB needed; use a larger disk"
    )]
    NoRoom {
        /// Label of the partition to be made.
        name: String,
        /// Free at the end of the disk.
        free_mib: u64,
        /// Least useful size.
        need_mib: u64,
    },
}

/// What to write where, in order; each entry is flushed before the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// Sector and bytes.
    pub writes: Vec<(u64, Vec<u8>)>,
    /// The table as it is after the writes.
    pub table: Table,
}

impl Header {
    /// Reads one header sector.
    pub fn parse(sector: &[u8]) -> Result<Self, GptError> {
        if sector.len() < 512 || &sector[..8] != b"EFI PART" {
            return Err(GptError::Header);
        }
        let size = u32_at(sector, 12) as usize;
        if !(92..=sector.len()).contains(&size) {
            return Err(GptError::Header);
        }
        let mut raw = sector[..size].to_vec();
        put(&mut raw, 16, &[0; 4]);
        let sane = u32_at(&raw, 80) <= 1024 && u32_at(&raw, 84) >= 128 && u32_at(&raw, 84) <= 4096;
        if crc32(&raw) != u32_at(sector, 16) || !sane {
            return Err(GptError::Header);
        }
        Ok(Self { raw })
    }

    /// First sector of the entries.
    pub fn entries_at(&self) -> u64 {
        u64_at(&self.raw, 72)
    }

    /// Bytes of the entries.
    pub fn entries_bytes(&self) -> usize {
        u32_at(&self.raw, 80) as usize * u32_at(&self.raw, 84) as usize
    }
}

impl Table {
    /// Joins a header and its entries; `sector` is the disk's sector size in bytes.
    pub fn new(header: Header, entries: Vec<u8>, sector: u64) -> Result<Self, GptError> {
        if entries.len() != header.entries_bytes() || crc32(&entries) != u32_at(&header.raw, 88) {
            return Err(GptError::Entries);
        }
        Ok(Self {
            header: header.raw,
            entries,
            sector,
        })
    }

    /// The used entries, in the order of their numbers.
    pub fn partitions(&self) -> impl Iterator<Item = Partition> + '_ {
        let size = u32_at(&self.header, 84) as usize;
        self.entries
            .chunks_exact(size)
            .zip(1u32..)
            .filter(|(e, _)| e[..16] != [0; 16])
            .map(|(e, number)| Partition {
                number,
                kind: guid_at(e, 0),
                guid: guid_at(e, 16),
                first: u64_at(e, 32),
                last: u64_at(e, 40),
                name: name_of(&e[NAME_AT..128]),
            })
    }

    /// Whether this is the primary, with its backup where the disk ends. A table read from the backup names the primary
    /// there, and is written again: the primary did not hold.
    fn is_laid_out_for(&self, disk_sectors: u64) -> bool {
        u64_at(&self.header, 32) == disk_sectors - 1
    }

    /// Sectors the entries take.
    fn entries_sectors(&self) -> u64 {
        (self.entries.len() as u64).div_ceil(self.sector)
    }

    fn mib(&self, sectors: u64) -> u64 {
        (sectors * self.sector).div_ceil(1 << 20)
    }

    /// Fits the table to a disk of `disk_sectors`: the backup at its end, partition `number` (when it is the last on
    /// the disk) up to there. Nothing when all is so already.
    pub fn grow(&self, disk_sectors: u64, number: u32) -> Result<Option<Growth>, GptError> {
        let last_usable = self.last_usable(disk_sectors)?;
        let end = self.partitions().map(|p| p.last).max().unwrap_or(0);
        let mut table = self.clone();
        for p in self.partitions().filter(|p| p.number == number && p.last == end) {
            let last = align_down(last_usable + 1, ALIGN_BYTES / self.sector)
                .saturating_sub(1)
                .max(p.last);
            put(table.entry_mut(number), 40, &last.to_le_bytes());
        }
        if table.entries == self.entries && self.is_laid_out_for(disk_sectors) {
            return Ok(None);
        }
        Ok(Some(table.laid_out(disk_sectors, last_usable)))
    }

    /// Adds a partition in the free room at the end of the disk; refuses less than `least_bytes`.
    pub fn add(&self, disk_sectors: u64, new: &Partition, least_bytes: u64) -> Result<Growth, GptError> {
        let last_usable = self.last_usable(disk_sectors)?;
        let align = ALIGN_BYTES / self.sector;
        let end = self
            .partitions()
            .map(|p| p.last)
            .max()
            .unwrap_or_else(|| u64_at(&self.header, 40));
        let first = (end + 1).next_multiple_of(align);
        let last = align_down(last_usable + 1, align).saturating_sub(1);
        let free = (last + 1).saturating_sub(first);
        let used: Vec<u32> = self.partitions().map(|p| p.number).collect();
        let number = (1..=u32_at(&self.header, 80)).find(|n| !used.contains(n));
        let (Some(number), true) = (number, free * self.sector >= least_bytes) else {
            let (free_mib, need_mib) = (self.mib(free), least_bytes >> 20);
            return Err(GptError::NoRoom {
                name: new.name.clone(),
                free_mib,
                need_mib,
            });
        };
        let mut table = self.clone();
        let entry = table.entry_mut(number);
        put(entry, 0, &new.kind);
        put(entry, 16, &new.guid);
        put(entry, 32, &first.to_le_bytes());
        put(entry, 40, &last.to_le_bytes());
        for (i, unit) in new.name.encode_utf16().take(35).enumerate() {
            put(entry, NAME_AT + 2 * i, &unit.to_le_bytes());
        }
        Ok(table.laid_out(disk_sectors, last_usable))
    }

    fn entry_mut(&mut self, number: u32) -> &mut [u8] {
        let size = u32_at(&self.header, 84) as usize;
        let at = (number as usize - 1) * size;
        &mut self.entries[at..at + size]
    }

    /// Whether a disk of that size has room for all partitions and the table behind them.
    pub fn fits_on(&self, disk_sectors: u64) -> Result<(), GptError> {
        self.last_usable(disk_sectors).map(drop)
    }

    /// The last sector a partition may use on a disk of that size.
    fn last_usable(&self, disk_sectors: u64) -> Result<u64, GptError> {
        let tail = self.entries_sectors() + 1;
        let end = self.partitions().map(|p| p.last).max().unwrap_or(0);
        if end + tail >= disk_sectors {
            let (have_mib, need_mib) = (self.mib(disk_sectors), self.mib(end + 1 + tail));
            return Err(GptError::DiskTooSmall { have_mib, need_mib });
        }
        Ok(disk_sectors - tail - 1)
    }

    /// Both copies of this table on a disk of that size.
    fn laid_out(mut self, disk_sectors: u64, last_usable: u64) -> Growth {
        let backup = self.copy(
            disk_sectors - 1,
            1,
            disk_sectors - 1 - self.entries_sectors(),
            last_usable,
        );
        let primary = self.copy(1, disk_sectors - 1, 2, last_usable);
        let header = primary[..u32_at(&primary, 12) as usize].to_vec();
        self.header = header;
        put(&mut self.header, 16, &[0; 4]);
        let entries = self.entries.clone();
        let writes = vec![
            (disk_sectors - 1 - self.entries_sectors(), entries.clone()),
            (disk_sectors - 1, backup),
            (2, entries),
            (1, primary),
        ];
        Growth { writes, table: self }
    }

    /// One header sector with its checksums.
    fn copy(&self, here: u64, there: u64, entries_at: u64, last_usable: u64) -> Vec<u8> {
        let mut h = self.header.clone();
        put(&mut h, 16, &[0; 4]);
        put(&mut h, 24, &here.to_le_bytes());
        put(&mut h, 32, &there.to_le_bytes());
        put(&mut h, 48, &last_usable.to_le_bytes());
        put(&mut h, 72, &entries_at.to_le_bytes());
        put(&mut h, 88, &crc32(&self.entries).to_le_bytes());
        let crc = crc32(&h);
        put(&mut h, 16, &crc.to_le_bytes());
        h.resize(self.sector as usize, 0);
        h
    }
}

fn align_down(value: u64, to: u64) -> u64 {
    value - value % to
}

fn guid_at(data: &[u8], at: usize) -> Guid {
    let mut guid = [0; 16];
    guid.copy_from_slice(&data[at..at + 16]);
    guid
}

fn name_of(units: &[u8]) -> String {
    let text: Vec<u16> = units
        .chunks_exact(2)
        .map(|u| u16::from_le_bytes([u[0], u[1]]))
        .take_while(|u| *u != 0)
        .collect();
    String::from_utf16_lossy(&text)
}

/// The on-disk form of a GUID given as its sixteen bytes in reading order: the first three fields are little-endian.
pub const fn guid(text: u128) -> Guid {
    let b = text.to_be_bytes();
    [
        b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15],
    ]
}

#[cfg(test)]
#[path = "gpt_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
