//! The dm-verity hash partition, byte for byte as `veritysetup format` writes it.
//!
//! ```text
//! block 0: superblock | the root's block | next level .. | level 0: one SHA-256(salt, data block) per data block
//! ```
//! Blocks of 4096 bytes, 128 hashes in each, short levels filled with zeros; the root hash is SHA-256 over salt and
//! the root's block. (cryptsetup, lib/verity; kernel, admin-guide/device-mapper/verity.) A test holds it against
//! veritysetup itself.

use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread;

/// Bytes of data blocks and hash blocks.
pub const BLOCK: usize = 4096;
const HASH: usize = 32;

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verity {
    /// The root hash.
    pub root: [u8; 32],
    /// The bytes of the hash partition.
    pub partition: Vec<u8>,
}

/// Hashes a file whose size is a multiple of [`BLOCK`].
pub fn format(data: &Path, salt: &[u8; 32], uuid: [u8; 16]) -> io::Result<Verity> {
    let mut bytes = Vec::new();
    File::open(data)?.read_to_end(&mut bytes)?;
    if bytes.is_empty() || !bytes.len().is_multiple_of(BLOCK) {
        return Err(io::Error::other(format!(
            "{}: {} bytes are no whole blocks",
            data.display(),
            bytes.len()
        )));
    }
    let mut levels = vec![level(&bytes, salt)];
    while let Some(below) = levels.last().filter(|l| l.len() > BLOCK) {
        levels.push(level(below, salt));
    }
    let root = levels.last().map(|top| hash(top, salt)).unwrap_or_default();
    let mut partition = superblock((bytes.len() / BLOCK) as u64, salt, uuid);
    for level in levels.iter().rev() {
        partition.write_all(level)?;
    }
    Ok(Verity { root, partition })
}

fn hash(block: &[u8], salt: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(salt)
        .chain_update(block)
        .finalize()
        .into()
}

/// The hashes of all blocks of `data`, filled up to whole blocks; spread over the cores.
fn level(data: &[u8], salt: &[u8; 32]) -> Vec<u8> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let blocks = data.len() / BLOCK;
    let mut out = vec![0; (blocks * HASH).next_multiple_of(BLOCK)];
    let share = blocks.div_ceil(cores).max(1);
    thread::scope(|scope| {
        for (input, output) in data.chunks(share * BLOCK).zip(out.chunks_mut(share * HASH)) {
            scope.spawn(move || {
                for (block, slot) in input.chunks_exact(BLOCK).zip(output.chunks_exact_mut(HASH)) {
                    slot.copy_from_slice(&hash(block, salt));
                }
            });
        }
    });
    out
}

fn superblock(data_blocks: u64, salt: &[u8; 32], uuid: [u8; 16]) -> Vec<u8> {
    let mut b = vec![0; BLOCK];
    let mut put = |at: usize, value: &[u8]| b[at..at + value.len()].copy_from_slice(value);
    put(0, b"verity\0\0");
    put(8, &1u32.to_le_bytes());
    put(12, &1u32.to_le_bytes());
    put(16, &uuid);
    put(32, b"sha256");
    put(64, &(BLOCK as u32).to_le_bytes());
    put(68, &(BLOCK as u32).to_le_bytes());
    put(72, &data_blocks.to_le_bytes());
    put(80, &(salt.len() as u16).to_le_bytes());
    put(88, salt);
    b
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(blocks: usize) -> Verity {
        let file = tempfile::NamedTempFile::new().unwrap();
        let data: Vec<u8> = (0..blocks).flat_map(|n| [n as u8; BLOCK]).collect();
        std::fs::write(file.path(), data).unwrap();
        format(file.path(), &[7; 32], [1; 16]).unwrap()
    }

    #[test]
    fn one_block_has_one_level() {
        let v = of(1);
        assert_eq!(v.partition.len(), 2 * BLOCK);
        assert_eq!(v.partition[BLOCK..BLOCK + HASH], hash(&[0; BLOCK], &[7; 32]));
        assert_eq!(v.root, hash(&v.partition[BLOCK..], &[7; 32]));
    }

    #[test]
    fn the_root_lies_first() {
        let v = of(129);
        assert_eq!(v.partition.len(), 4 * BLOCK);
        assert_eq!(v.root, hash(&v.partition[BLOCK..2 * BLOCK], &[7; 32]));
        assert_eq!(
            v.partition[BLOCK..BLOCK + HASH],
            hash(&v.partition[2 * BLOCK..3 * BLOCK], &[7; 32])
        );
        assert_eq!(
            v.partition[3 * BLOCK..3 * BLOCK + HASH],
            hash(&[128; BLOCK], &[7; 32])
        );
    }

    #[test]
    fn half_a_block_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [0; 100]).unwrap();
        assert!(format(file.path(), &[0; 32], [0; 16]).is_err());
    }
}
