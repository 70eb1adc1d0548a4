//! ISO 9660, read as far as a config drive needs it: the label, and files by path.
//!
//! ```text
//! sector 16…   volume descriptors, 2048 bytes each: kind, "CD001"; 1 primary, 2 supplementary (Joliet), 255 the end
//!              label at 40 (32 bytes), root directory record at 156
//! a record     length, …, first sector at 2 (u32), bytes at 10 (u32), flags at 25 (2: folder), name length at 32, name
//! ```
//! Names come from Joliet where there is one, else from the primary tree (upper case, `;1` at the end, a level-1 name
//! cut to eight letters), compared without case. Refuses Rock Ridge, which every tool that writes it can join by Joliet.

use std::io::{self, Read, Seek, SeekFrom};

const SECTOR: u64 = 2048;
/// Where volume descriptors begin, and how many a sane volume has at most.
const FIRST: u64 = 16;
const DESCRIPTORS_MAX: u64 = 32;
/// A folder of a config drive is a sector or two; more is not one.
const FOLDER_MAX: u64 = 1 << 20;

/// A volume.
#[derive(Debug)]
pub struct Iso9660<T> {
    device: T,
    label: String,
    root: Record,
    joliet: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    sector: u64,
    bytes: u64,
    folder: bool,
    name: String,
}

impl<T: Read + Seek> Iso9660<T> {
    /// The volume on `device`; `None` where there is none.
    pub fn open(mut device: T) -> io::Result<Option<Iso9660<T>>> {
        let mut found: Option<(String, Record, bool)> = None;
        for number in FIRST..FIRST + DESCRIPTORS_MAX {
            let Ok(sector) = read_at(&mut device, number * SECTOR, SECTOR) else {
                break;
            };
            if &sector[1..6] != b"CD001" {
                break;
            }
            let joliet =
                sector[0] == 2 && sector[88..90] == *b"%/" && matches!(sector[90], b'@' | b'C' | b'E');
            let label = name(&sector[40..72], joliet).trim_end().to_owned();
            match (sector[0], record(&sector[156..190], joliet)) {
                (1, Some(root)) if found.is_none() => found = Some((label, root, false)),
                (2, Some(root)) if joliet => found = Some((label, root, true)),
                (255, _) => break,
                _ => {}
            }
        }
        Ok(found.map(|(label, root, joliet)| Iso9660 {
            device,
            label,
            root,
            joliet,
        }))
    }

    /// The volume's label.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// A file's bytes by its path; `None` where there is no such file.
    pub fn read(&mut self, path: &[&str], limit: u64) -> io::Result<Option<Vec<u8>>> {
        let mut at = self.root.clone();
        for part in path {
            if !at.folder {
                return Ok(None);
            }
            let entries = self.entries(&at)?;
            let Some(next) = entries
                .into_iter()
                .find(|entry| is_named(&entry.name, part, self.joliet))
            else {
                return Ok(None);
            };
            at = next;
        }
        if at.bytes > limit {
            return Err(io::Error::other(format!("{} is too large", path.join("/"))));
        }
        read_at(&mut self.device, at.sector * SECTOR, at.bytes).map(Some)
    }

    fn entries(&mut self, folder: &Record) -> io::Result<Vec<Record>> {
        let bytes = read_at(
            &mut self.device,
            folder.sector * SECTOR,
            folder.bytes.min(FOLDER_MAX),
        )?;
        let mut out = Vec::new();
        for sector in bytes.chunks(SECTOR as usize) {
            let mut rest = sector;
            // A record never crosses into the next sector; a length of 0 ends the sector.
            while let Some(length @ 1..) = rest.first().map(|length| usize::from(*length)) {
                let Some((bytes, after)) = rest.split_at_checked(length) else {
                    break;
                };
                out.extend(record(bytes, self.joliet));
                rest = after;
            }
        }
        Ok(out)
    }
}

/// Is `found`, as the volume has it, the file we call `wanted`?
fn is_named(found: &str, wanted: &str, joliet: bool) -> bool {
    let found = found.split(';').next().unwrap_or_default().trim_end_matches('.');
    if found.eq_ignore_ascii_case(wanted) {
        return true;
    }
    // Level 1: eight letters, three for the ending, `_` for what is not allowed.
    let (stem, ending) = wanted.split_once('.').unwrap_or((wanted, ""));
    let cut = |part: &str, length: usize| part.chars().take(length).collect::<String>();
    let short = match ending {
        "" => cut(stem, 8),
        ending => format!("{}.{}", cut(stem, 8), cut(ending, 3)),
    };
    !joliet && found.eq_ignore_ascii_case(&short)
}

fn record(bytes: &[u8], joliet: bool) -> Option<Record> {
    let length = usize::from(*bytes.get(32)?);
    Some(Record {
        sector: u64::from(u32_at(bytes, 2)?),
        bytes: u64::from(u32_at(bytes, 10)?),
        folder: bytes.get(25)? & 2 != 0,
        name: name(bytes.get(33..33 + length)?, joliet),
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn name(bytes: &[u8], joliet: bool) -> String {
    match joliet {
        true => {
            let units: Vec<u16> = bytes
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                .collect();
            String::from_utf16_lossy(&units)
        }
        false => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn read_at(device: &mut (impl Read + Seek), at: u64, bytes: u64) -> io::Result<Vec<u8>> {
    device.seek(SeekFrom::Start(at))?;
    let mut out = Vec::new();
    device.take(bytes).read_to_end(&mut out)?;
    match out.len() as u64 == bytes {
        true => Ok(out),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
#[path = "iso9660_tests.rs"]
mod tests;
