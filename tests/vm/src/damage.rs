//! Damage on purpose: a disk whose /usr was changed behind its hashes.
//!
//! ```text
//! GPT (UEFI 2.10, 5.3): header in sector 1: 72 u64 first sector of the entries, 80 u32 their number, 84 u32 their size;
//! an entry: 32 u64 first sector, 40 u64 last sector, 56 name in UTF-16LE
//! ```

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use corten_qemu::tool;

const SECTOR: u64 = 512;

/// Copies a disk and changes the first MiB of its first partition whose name speaks of /usr; the hashes stay.
pub fn copy_with_damaged_usr(from: &Path, to: &Path) -> Result<()> {
    let args = [
        "--sparse=always".as_ref(),
        "--".as_ref(),
        from.as_os_str(),
        to.as_os_str(),
    ];
    tool::run("cp", args)?;
    let disk = OpenOptions::new()
        .read(true)
        .write(true)
        .open(to)
        .with_context(|| format!("opening {}", to.display()))?;
    let (start, name) =
        usr_partition(&disk)?.with_context(|| format!("{}: no partition for /usr", from.display()))?;
    let mut bytes = vec![0; 1 << 20];
    disk.read_exact_at(&mut bytes, start)
        .with_context(|| format!("reading {name}"))?;
    bytes.iter_mut().for_each(|byte| *byte ^= 0x5a);
    disk.write_all_at(&bytes, start)
        .with_context(|| format!("writing {name}"))
}

/// Where the data partition of /usr begins, in bytes, and its name.
fn usr_partition(disk: &File) -> Result<Option<(u64, String)>> {
    let mut header = [0; 92];
    disk.read_exact_at(&mut header, SECTOR)?;
    ensure!(&header[..8] == b"EFI PART", "no GPT");
    let (entries, count, size) = (
        number(&header, 72, 8),
        number(&header, 80, 4),
        number(&header, 84, 4),
    );
    for index in 0..count {
        let mut entry = vec![0; size as usize];
        disk.read_exact_at(&mut entry, entries * SECTOR + index * size)?;
        let units: Vec<u16> = entry[56..128]
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        let name = String::from_utf16_lossy(&units).trim_end_matches('\0').to_owned();
        let lower = name.to_lowercase();
        if lower.contains("usr") && !lower.contains("verity") && !lower.contains("hash") {
            return Ok(Some((number(&entry, 32, 8) * SECTOR, name)));
        }
    }
    Ok(None)
}

fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    bytes[at..at + size]
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}
