//! /usr: dm-verity over the slot that the root hash names, mounted read-only.
//!
//! Duty: says why on the console when what the start of the system needs does not verify. For that the device first
//! answers a bad block with an error; [`seal`] then makes every later bad block a kernel panic, for a system that
//! lost part of itself should restart (or fall back to the other slot) rather than limp.
//!
//! Refuses: to read all of /usr at every boot. What is read here is what systemd's first second reads anyway.

use crate::cmdline::Settings;
use crate::disk::{self, Disk};
use crate::gpt::Partition;
use crate::kmsg;
use crate::sys;
use crate::verity::{SUPERBLOCK_BYTES, Superblock, SuperblockError};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

/// The device-mapper name of /usr.
const NAME: &str = "usr";
/// Where /usr is mounted until the root is assembled.
pub const MOUNTED_AT: &str = "/usr";
/// What the first second needs, by path below /usr.
const FIRST_FILES: [&str; 5] = [
    "lib/systemd/systemd",
    "lib/systemd/systemd-executor",
    "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    "lib/x86_64-linux-gnu/libc.so.6",
    "share/factory/etc/passwd",
];

/// An opened /usr.
#[derive(Debug)]
pub struct Usr {
    control: File,
    superblock: Superblock,
    data: String,
    hash: String,
    root_hash: [u8; 32],
}

/// Why /usr is not there.
#[derive(Debug, thiserror::Error)]
pub enum UsrError {
    /// The table lacks the partition with the hashes.
    #[error("{disk} has the /usr partition of {hash} but not its hash partition; write the image again")]
    NoHashPartition {
        /// Kernel name of the disk.
        disk: String,
        /// The word of the command line.
        hash: String,
    },
    /// The hash partition is not one.
    #[error("{partition}: {source}; write the image again or boot the other slot")]
    Superblock {
        /// Device and label.
        partition: String,
        /// What was wrong.
        source: SuperblockError,
    },
    /// A partition could not be read.
    #[error("cannot read {partition}: {source}")]
    Read {
        /// Device and label.
        partition: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The kernel refused the device.
    #[error("dm-verity over {partition}: {step}: {source}")]
    Mapper {
        /// Device and label.
        partition: String,
        /// Which of its steps.
        step: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// What was read does not match the root hash.
    #[error(
        "/usr on {partition} does not verify against {hash}: reading {what} failed ({source}). It is damaged or was changed; write the image again or boot the other slot"
    )]
    Corrupt {
        /// Device and label.
        partition: String,
        /// The word of the command line.
        hash: String,
        /// A path below /usr, or the file system itself.
        what: String,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// Sets up verification and mounts /usr at [`MOUNTED_AT`].
pub fn open(settings: &Settings, disk: &Disk) -> Result<Usr, UsrError> {
    let hash = settings.usr_hash_text();
    let missing = || UsrError::NoHashPartition {
        disk: disk.name.clone(),
        hash: hash.clone(),
    };
    let data = disk
        .by_guid(disk::usr_guid(&settings.usr_hash))
        .ok_or_else(missing)?;
    let hashes = disk
        .by_guid(disk::verity_guid(&settings.usr_hash))
        .ok_or_else(missing)?;
    let (data_name, hashes_name) = (named(disk, &data), named(disk, &hashes));
    let superblock = read_superblock(disk, &hashes, &hashes_name)?;
    let sectors = superblock
        .sectors()
        .filter(|s| s * 512 <= disk.bytes_of(&data))
        .ok_or(UsrError::Superblock {
            partition: hashes_name.clone(),
            source: SuperblockError::Field("number of data blocks"),
        })?;
    let mapper = |step| {
        let partition = data_name.clone();
        move |source| UsrError::Mapper {
            partition,
            step,
            source,
        }
    };
    let control = File::options()
        .read(true)
        .write(true)
        .open("/dev/mapper/control")
        .map_err(mapper("control device"))?;
    let usr = Usr {
        control,
        superblock,
        data: number_of(disk, data.number).map_err(mapper("device number"))?,
        hash: number_of(disk, hashes.number).map_err(mapper("device number"))?,
        root_hash: settings.usr_hash,
    };
    let device = usr.map(sectors).map_err(|e| mapper("set-up")(e.into()))?;
    check(&device, &data_name, &hash)?;
    Ok(usr)
}

/// From now on a block that does not verify stops the machine.
pub fn seal(usr: &Usr) -> Result<(), UsrError> {
    let failed = |source: Errno| UsrError::Mapper {
        partition: usr.data.clone(),
        step: "seal",
        source: source.into(),
    };
    usr.load(&["panic_on_corruption"]).map_err(failed)?;
    sys::dm_resume(&usr.control, NAME).map_err(failed)
}

impl Usr {
    /// Creates and starts the device; returns its node.
    fn map(&self, sectors: u64) -> Result<String, Errno> {
        kmsg::info(&format!(
            "/usr: verity over {} with hashes on {}, {} KiB",
            self.data,
            self.hash,
            sectors / 2
        ));
        let number = sys::dm_create(&self.control, NAME, "corten-usr")?;
        self.load(&[])?;
        sys::dm_resume(&self.control, NAME)?;
        Ok(format!("/dev/dm-{}", number & 0xff | (number >> 12) & 0xfff00))
    }

    fn load(&self, options: &[&str]) -> Result<(), Errno> {
        let line = self
            .superblock
            .table(&self.data, &self.hash, &self.root_hash, options);
        sys::dm_load(
            &self.control,
            NAME,
            self.superblock.sectors().unwrap_or(0),
            "verity",
            &line,
        )
    }
}

fn read_superblock(disk: &Disk, hashes: &Partition, name: &str) -> Result<Superblock, UsrError> {
    let mut first = [0; SUPERBLOCK_BYTES];
    disk.file
        .read_exact_at(&mut first, hashes.first * disk.sector)
        .map_err(|source| UsrError::Read {
            partition: name.to_owned(),
            source,
        })?;
    Superblock::parse(&first).map_err(|source| UsrError::Superblock {
        partition: name.to_owned(),
        source,
    })
}

/// Mounts, and reads what the first second needs.
fn check(device: &str, partition: &str, hash: &str) -> Result<(), UsrError> {
    let corrupt = |what: &str| {
        let (partition, hash, what) = (partition.to_owned(), hash.to_owned(), what.to_owned());
        move |source| UsrError::Corrupt {
            partition,
            hash,
            what,
            source,
        }
    };
    File::open(device)
        .and_then(|f| f.read_exact_at(&mut [0; 4096], 0))
        .map_err(corrupt("its first block"))?;
    let _ = fs::create_dir(MOUNTED_AT);
    mount(
        Some(device),
        MOUNTED_AT,
        Some("erofs"),
        MsFlags::MS_RDONLY | MsFlags::MS_NODEV,
        None::<&str>,
    )
    .map_err(|e| corrupt("its file system")(e.into()))?;
    for path in FIRST_FILES {
        fs::read(format!("{MOUNTED_AT}/{path}")).map_err(corrupt(&format!("/usr/{path}")))?;
    }
    Ok(())
}

/// `/dev/vda2 (usr-a)`
fn named(disk: &Disk, p: &Partition) -> String {
    let node = disk
        .node(p.number)
        .unwrap_or_else(|| format!("{} partition {}", disk.name, p.number));
    format!("/dev/{node} ({})", p.name)
}

/// `major:minor` of a partition.
fn number_of(disk: &Disk, number: u32) -> io::Result<String> {
    let node = disk.node(number).ok_or(io::ErrorKind::NotFound)?;
    Ok(fs::read_to_string(format!("/sys/class/block/{node}/dev"))?
        .trim()
        .to_owned())
}
