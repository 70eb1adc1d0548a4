//! Putting the disk image together.
//!
//! ```text
//! 1 esp           FAT, 256 MiB     systemd-boot and the unified kernel image
//! 2 usr-a         512 MiB          erofs
//! 3 usr-a-verity  8 MiB            its hashes
//! 4 usr-b         512 MiB          empty, for an update
//! 5 usr-b-verity  8 MiB            empty
//! 6 state         256 MiB          ext4; grows to the disk's end on the first boot
//! ```
//! usr-a and its hashes carry the halves of the root hash as their PARTUUIDs, so the command line alone finds them.
//! Written sparse and without loop devices: blocks of zeros are left out.

use crate::digest::Digest;
use crate::gpt::{self, Partition};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of a /usr slot.
const USR_BYTES: u64 = 512 << 20;
/// Bytes of a slot's hashes: 1/128 of the slot, levels and superblock, with room.
const VERITY_BYTES: u64 = 8 << 20;
/// Bytes of the state partition before it grows.
pub const STATE_BYTES: u64 = 256 << 20;
/// Copies are made, and zeros left out, in pieces of this size.
const PIECE: usize = 64 << 10;

/// What goes on the disk.
#[derive(Debug, Clone)]
pub struct Contents {
    /// EFI system partition.
    pub esp: PathBuf,
    /// /usr.
    pub usr: PathBuf,
    /// Its hashes.
    pub verity: PathBuf,
    /// Root hash.
    pub root_hash: [u8; 32],
    /// The state's file system.
    pub state: PathBuf,
}

/// Writes the disk image.
pub fn write(contents: &Contents, out: &Path) -> Result<()> {
    let id = |name: &str| {
        Digest::of("partition", 1)
            .text(name)
            .text(&crate::digest::hex(&contents.root_hash))
            .uuid()
    };
    let half = |at: usize| {
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&contents.root_hash[at..at + 16]);
        uuid
    };
    let part = |label, kind, uuid, bytes, attributes| Partition {
        label,
        kind,
        uuid,
        bytes,
        attributes,
    };
    let slot = gpt::READ_ONLY | gpt::NO_AUTO;
    let partitions = [
        part("esp", gpt::ESP, id("esp"), crate::boot::ESP_BYTES, gpt::NO_AUTO),
        part("usr-a", gpt::USR, half(0), USR_BYTES, slot),
        part("usr-a-verity", gpt::USR_VERITY, half(16), VERITY_BYTES, slot),
        part("usr-b", gpt::USR, id("usr-b"), USR_BYTES, slot),
        part(
            "usr-b-verity",
            gpt::USR_VERITY,
            id("usr-b-verity"),
            VERITY_BYTES,
            slot,
        ),
        part("state", gpt::ROOT, id("state"), STATE_BYTES, gpt::NO_AUTO),
    ];
    let layout = gpt::layout(id("disk"), &partitions);
    let disk = File::create(out).with_context(|| format!("creating {}", out.display()))?;
    disk.set_len(layout.disk)?;
    let files = [
        (0, &contents.esp),
        (1, &contents.usr),
        (2, &contents.verity),
        (5, &contents.state),
    ];
    for (number, file) in files {
        let room = partitions[number].bytes;
        let size = fs::metadata(file)?.len();
        if size > room {
            bail!(
                "{} has {} MiB, its partition {} only {} MiB; leave something out (image/lists)",
                file.display(),
                size >> 20,
                partitions[number].label,
                room >> 20
            );
        }
        copy_sparse(file, &disk, layout.offsets[number])
            .with_context(|| format!("writing to {}", out.display()))?;
    }
    for (at, bytes) in &layout.pieces {
        disk.write_all_at(bytes, *at)
            .with_context(|| format!("writing to {}", out.display()))?;
    }
    Ok(())
}

/// Copies a file to an offset of another, leaving holes where it has zeros.
fn copy_sparse(from: &Path, to: &File, offset: u64) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut at = offset;
    let mut piece = vec![0; PIECE];
    loop {
        let mut filled = 0;
        while filled < PIECE {
            match source.read(&mut piece[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        if piece[..filled].iter().any(|b| *b != 0) {
            to.write_all_at(&piece[..filled], at)?;
        }
        at += filled as u64;
        if filled < PIECE {
            return Ok(());
        }
    }
}
