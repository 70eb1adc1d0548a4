//! The state partition: found by its label on our disk, made when missing, grown with its disk, mounted as the root.
//!
//! ```text
//! no entry in the table -> added in the free room        entry smaller than the room behind it -> stretched
//! blank first MiB       -> mke2fs (from the verified /usr)
//! ext4 with an error    -> e2fsck -p                     ext4 smaller than its partition -> grown while mounted
//! anything else         -> refused: we format nothing that may be somebody's data
//! ```

use crate::bytes::{u16_at, u32_at};
use crate::disk::Disk;
use crate::gpt::{GptError, Guid, Partition, guid};
use crate::kmsg;
use crate::sys;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, symlink};
use std::process::Command;

/// Where the root is put together.
pub const ROOT: &str = "/sysroot";
/// Label of the state partition.
pub const LABEL: &str = "state";
/// Its type: Linux root, x86-64 (Discoverable Partitions Specification).
const KIND: Guid = guid(0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709);
/// Less is not worth starting with: journal, /etc, one container image.
const LEAST_BYTES: u64 = 64 << 20;
/// A file system this much smaller than its partition is not worth growing.
const SLACK_BYTES: u64 = 1 << 20;

/// A mounted state partition.
#[derive(Debug)]
pub struct State {
    /// Device and label, for messages.
    pub name: String,
}

/// Why there is no state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The disk or its table has no room.
    #[error("{disk}: {source}")]
    Table {
        /// Kernel name of the disk.
        disk: String,
        /// What was wrong.
        source: GptError,
    },
    /// The device could not be read or written.
    #[error("{device}: {step}: {source}")]
    Device {
        /// Device and label.
        device: String,
        /// What was tried.
        step: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// Something that is neither empty nor ext4.
    #[error(
        "{0} is neither empty nor ext4, so it is left alone; to start afresh, overwrite its first MiB with zeros"
    )]
    Foreign(String),
    /// mke2fs or e2fsck failed.
    #[error("{tool} on {device} failed: {reason}")]
    Tool {
        /// The program.
        tool: &'static str,
        /// Device.
        device: String,
        /// Exit code or error.
        reason: String,
    },
}

/// Bytes at the start of a partition that tell an ext4 file system.
const SUPERBLOCK_BYTES: usize = 4096;
/// Bytes that must be zero in a partition that may be formatted: other systems leave their first KiB empty too.
const BLANK_BYTES: usize = 1 << 20;

/// What the start of a partition says.
#[derive(Debug, PartialEq, Eq)]
enum Content {
    Blank,
    Ext4 { bytes: u64, block: u64, damaged: bool },
    Foreign,
}

/// Makes, grows and mounts the state at [`ROOT`].
pub fn prepare(disk: &mut Disk) -> Result<State, StateError> {
    let partition = fit_table(disk)?;
    let node = disk.node(partition.number).unwrap_or_default();
    let device = format!("/dev/{node}");
    let fail = |step| {
        let device = format!("{device} ({LABEL})");
        move |source: io::Error| StateError::Device { device, step, source }
    };
    match look(disk, &partition).map_err(fail("reading"))? {
        Content::Foreign => return Err(StateError::Foreign(format!("{device} ({LABEL})"))),
        Content::Blank => run(
            "/usr/sbin/mke2fs",
            &["-q", "-t", "ext4", "-m", "1", "-L", LABEL, &device],
            &device,
            0,
        )?,
        Content::Ext4 { damaged: true, .. } => run("/usr/sbin/e2fsck", &["-p", "-f", &device], &device, 3)?,
        Content::Ext4 { .. } => {}
    }
    let _ = fs::create_dir(ROOT);
    mount(
        Some(device.as_str()),
        ROOT,
        Some("ext4"),
        MsFlags::MS_NOATIME,
        None::<&str>,
    )
    .map_err(|e| fail("mounting")(e.into()))?;
    grow_file_system(disk, &partition, &device);
    Ok(State { name: device })
}

/// Brings the table to the disk's size and the kernel to the table; returns the state partition.
fn fit_table(disk: &mut Disk) -> Result<Partition, StateError> {
    let fail = |disk: &Disk| {
        let disk = disk.name.clone();
        move |source| StateError::Table { disk, source }
    };
    let found = disk.table.partitions().find(|p| p.name == LABEL);
    let growth = match &found {
        Some(p) => disk.table.grow(disk.sectors, p.number).map_err(fail(disk))?,
        None => Some(
            disk.table
                .add(disk.sectors, &new_partition(), LEAST_BYTES)
                .map_err(fail(disk))?,
        ),
    };
    if let Some(growth) = growth {
        for (sector, bytes) in &growth.writes {
            disk.file
                .write_all_at(bytes, sector * disk.sector)
                .and_then(|()| disk.file.sync_data())
                .map_err(|source| StateError::Device {
                    device: disk.name.clone(),
                    step: "writing the partition table",
                    source,
                })?;
        }
        disk.table = growth.table;
    }
    let now = disk
        .table
        .partitions()
        .find(|p| p.name == LABEL)
        .ok_or_else(|| StateError::Foreign(disk.name.clone()))?;
    tell_kernel(disk, found.as_ref(), &now);
    Ok(now)
}

fn tell_kernel(disk: &Disk, before: Option<&Partition>, now: &Partition) {
    if before == Some(now) {
        return;
    }
    let (start, length) = (now.first * disk.sector, disk.bytes_of(now));
    let result = match before {
        Some(_) => sys::resize_partition(&disk.file, now.number, start, length),
        None => sys::add_partition(&disk.file, now.number, start, length),
    };
    match result {
        Ok(()) => kmsg::info(&format!(
            "{} partition {} ({LABEL}) now has {} MiB",
            disk.name,
            now.number,
            length >> 20
        )),
        Err(error) => kmsg::warning(&format!(
            "{}: the kernel did not take the new size: {error}",
            disk.name
        )),
    }
}

fn new_partition() -> Partition {
    let mut own = [0; 16];
    let _ = File::open("/dev/random").and_then(|mut f| io::Read::read_exact(&mut f, &mut own));
    Partition {
        number: 0,
        kind: KIND,
        guid: own,
        first: 0,
        last: 0,
        name: LABEL.to_owned(),
    }
}

fn look(disk: &Disk, p: &Partition) -> io::Result<Content> {
    let read = |bytes: usize| {
        let mut start = vec![0; bytes];
        disk.file.read_exact_at(&mut start, p.first * disk.sector)?;
        Ok(content(&start))
    };
    match read(SUPERBLOCK_BYTES)? {
        // So far; the rest is read on the first boot only.
        Content::Blank => read(BLANK_BYTES),
        other => Ok(other),
    }
}

/// Reads the ext4 superblock (kernel, filesystems/ext4/super.rst), which lies 1024 bytes in.
fn content(start: &[u8]) -> Content {
    let sb = &start[1024..];
    if u16_at(sb, 56) != 0xEF53 {
        return if start.iter().all(|b| *b == 0) {
            Content::Blank
        } else {
            Content::Foreign
        };
    }
    let block = 1024u64 << u32_at(sb, 24).min(6);
    let blocks = u64::from(u32_at(sb, 4)) | (u64::from(u32_at(sb, 0x150)) << 32);
    Content::Ext4 {
        bytes: blocks.saturating_mul(block),
        block,
        damaged: u16_at(sb, 58) & 2 != 0,
    }
}

/// Grows the mounted file system; a failure leaves a smaller but whole one, so it is only told.
fn grow_file_system(disk: &Disk, p: &Partition, device: &str) {
    let Ok(Content::Ext4 { bytes, block, .. }) = look(disk, p) else {
        return;
    };
    let room = disk.bytes_of(p);
    if bytes + SLACK_BYTES > room {
        return;
    }
    let result = File::open(ROOT)
        .map_err(|_| Errno::EIO)
        .and_then(|root| sys::ext4_resize(&root, room / block));
    match result {
        Ok(()) => kmsg::info(&format!(
            "{device} ({LABEL}): file system grown from {} to {} MiB",
            bytes >> 20,
            room >> 20
        )),
        Err(error) => kmsg::error(&format!(
            "{device} ({LABEL}): the file system stays at {} of {} MiB: {error}",
            bytes >> 20,
            room >> 20
        )),
    }
}

/// Runs a program of the verified /usr; exit codes up to `fine` are success.
fn run(tool: &'static str, arguments: &[&str], device: &str, fine: i32) -> Result<(), StateError> {
    for (target, link) in [("usr/lib", "/lib"), ("usr/lib64", "/lib64")] {
        let _ = symlink(target, link);
    }
    kmsg::info(&format!("{tool} {}", arguments.join(" ")));
    let reason = match Command::new(tool).args(arguments).output() {
        Ok(out) if out.status.code().is_some_and(|c| c <= fine) => return Ok(()),
        Ok(out) => format!("{}: {}", out.status, String::from_utf8_lossy(&out.stderr).trim()),
        Err(error) => error.to_string(),
    };
    Err(StateError::Tool {
        tool,
        device: device.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::put;

    #[test]
    fn what_a_partition_holds() {
        let mut start = vec![0; BLANK_BYTES];
        assert_eq!(content(&start), Content::Blank);
        start[BLANK_BYTES - 1] = 1;
        assert_eq!(content(&start), Content::Foreign);
        start[BLANK_BYTES - 1] = 0;
        start[0] = 1;
        assert_eq!(content(&start), Content::Foreign);
        put(&mut start, 1024 + 56, &[0x53, 0xEF]);
        put(&mut start, 1024 + 24, &2u32.to_le_bytes());
        put(&mut start, 1024 + 4, &65536u32.to_le_bytes());
        assert_eq!(
            content(&start),
            Content::Ext4 {
                bytes: 256 << 20,
                block: 4096,
                damaged: false
            }
        );
        put(&mut start, 1024 + 58, &[3]);
        assert!(matches!(content(&start), Content::Ext4 { damaged: true, .. }));
    }
}
