//! Finding the disk that holds our /usr, and its partition table.
//!
//! Duty: of all whole disks in sysfs, the one whose GPT has a partition with the PARTUUID that the root hash names
//! (Discoverable Partitions Specification: its first 128 bits for /usr, its last for the hashes). Polls sysfs, because
//! controllers appear when they like, up to the deadline `corten.timeout=` names.
//!
//! Refuses: to guess by name or order; a second disk with another image is not taken for ours.

use crate::bytes;
use crate::cmdline::Settings;
use crate::gpt::{self, GptError, Guid, Header, Partition, Table};
use crate::modules::Modules;
use crate::sys;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// How often sysfs is looked at while the disk is not there.
const POLL: Duration = Duration::from_millis(20);

/// The disk we boot from.
#[derive(Debug)]
pub struct Disk {
    /// Kernel name, e.g. `vda`.
    pub name: String,
    /// The whole disk, open for reading and writing.
    pub file: File,
    /// Bytes per sector.
    pub sector: u64,
    /// Sectors of the disk.
    pub sectors: u64,
    /// Its partition table.
    pub table: Table,
}

/// Why there is no disk to boot from.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// None has the partition the root hash names.
    #[error(
        "no disk with the /usr partition {wanted} of {hash} within {seconds} s; disks seen: {seen}. Attach the disk of this image, or boot the kernel that belongs to it"
    )]
    NotFound {
        /// PARTUUID.
        wanted: String,
        /// The word of the command line.
        hash: String,
        /// Deadline that passed.
        seconds: u64,
        /// Names and what was wrong with each.
        seen: String,
    },
    /// The image was written to a disk that is too small for it.
    #[error("{disk}: {source}")]
    TooSmall {
        /// Kernel name of the disk.
        disk: String,
        /// Both sizes.
        source: GptError,
    },
    /// The kernel does not show a partition that the table has.
    #[error(
        "the kernel shows no partition {number} of {disk} within {seconds} s; is its partition table damaged?"
    )]
    NoPartition {
        /// Kernel name of the disk.
        disk: String,
        /// Partition's number.
        number: u32,
        /// Deadline that passed.
        seconds: u64,
    },
}

/// PARTUUID of the /usr partition: the first 128 bits of its root hash.
pub fn usr_guid(hash: &[u8; 32]) -> Guid {
    gpt::guid(u128_of(&hash[..16]))
}

/// PARTUUID of the hash partition: the last 128 bits.
pub fn verity_guid(hash: &[u8; 32]) -> Guid {
    gpt::guid(u128_of(&hash[16..]))
}

fn u128_of(half: &[u8]) -> u128 {
    half.iter().fold(0, |n, b| (n << 8) | u128::from(*b))
}

/// Waits for the disk and for the device nodes of its partitions.
pub fn wait_for(settings: &Settings, modules: &mut Modules) -> Result<Disk, DiskError> {
    let wanted = usr_guid(&settings.usr_hash);
    let deadline = Instant::now() + settings.disk_timeout;
    let seconds = settings.disk_timeout.as_secs();
    let disk = loop {
        let (found, seen) = look(wanted);
        match found {
            Some(disk) => break disk,
            None if Instant::now() >= deadline => {
                let (wanted, hash) = (bytes::hex(&settings.usr_hash[..16]), settings.usr_hash_text());
                return Err(DiskError::NotFound {
                    wanted,
                    hash,
                    seconds,
                    seen,
                });
            }
            None => modules.load_for_hardware(),
        }
        thread::sleep(POLL);
    };
    disk.table
        .fits_on(disk.sectors)
        .map_err(|source| DiskError::TooSmall {
            disk: disk.name.clone(),
            source,
        })?;
    for p in disk.table.partitions() {
        while disk.node(p.number).is_none() {
            if Instant::now() >= deadline {
                return Err(DiskError::NoPartition {
                    disk: disk.name,
                    number: p.number,
                    seconds,
                });
            }
            thread::sleep(POLL);
        }
    }
    Ok(disk)
}

/// One look at every disk; also says what was seen.
fn look(wanted: Guid) -> (Option<Disk>, String) {
    let mut names: Vec<String> = fs::read_dir("/sys/block")
        .map(|d| {
            d.flatten()
                .filter_map(|e| e.file_name().into_string().ok())
                .collect()
        })
        .unwrap_or_default();
    names.sort();
    let mut seen = Vec::new();
    for name in names {
        match open(&name) {
            Ok(disk) if disk.table.partitions().any(|p| p.guid == wanted) => {
                return (Some(disk), String::new());
            }
            Ok(_) => seen.push(format!("{name} (another system's)")),
            Err(error) => seen.push(format!("{name} ({error})")),
        }
    }
    (
        None,
        if seen.is_empty() {
            "none".to_owned()
        } else {
            seen.join(", ")
        },
    )
}

fn open(name: &str) -> io::Result<Disk> {
    let sector = read_number(&format!("/sys/block/{name}/queue/logical_block_size")).unwrap_or(512);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(format!("/dev/{name}"))?;
    let sectors = sys::size_of_device(&file)? / sector;
    let table = read_table(&file, sector, 1)
        .or_else(|first| read_table(&file, sector, sectors.saturating_sub(1)).map_err(|_| first))
        .map_err(io::Error::other)?;
    Ok(Disk {
        name: name.to_owned(),
        file,
        sector,
        sectors,
        table,
    })
}

fn read_table(file: &File, sector: u64, at: u64) -> Result<Table, GptError> {
    let mut first = vec![0; sector as usize];
    file.read_exact_at(&mut first, at * sector)
        .map_err(|_| GptError::Header)?;
    let header = Header::parse(&first)?;
    let mut entries = vec![0; header.entries_bytes()];
    file.read_exact_at(&mut entries, header.entries_at() * sector)
        .map_err(|_| GptError::Entries)?;
    Table::new(header, entries, sector)
}

fn read_number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

impl Disk {
    /// The partition with this PARTUUID.
    pub fn by_guid(&self, guid: Guid) -> Option<Partition> {
        self.table.partitions().find(|p| p.guid == guid)
    }

    /// Kernel name of a partition, e.g. `vda2`, once the kernel shows it.
    pub fn node(&self, number: u32) -> Option<String> {
        let folder = fs::read_dir(format!("/sys/block/{}", self.name)).ok()?;
        folder
            .flatten()
            .filter(|e| read_number(&e.path().join("partition").to_string_lossy()) == Some(number.into()))
            .filter_map(|e| e.file_name().into_string().ok())
            .find(|name| PathBuf::from(format!("/dev/{name}")).exists())
    }

    /// Bytes of a partition.
    pub fn bytes_of(&self, p: &Partition) -> u64 {
        (p.last + 1 - p.first) * self.sector
    }
}
