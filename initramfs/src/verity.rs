//! The dm-verity superblock as veritysetup writes it, and the device-mapper table line made from it; pure.
//!
//! ```text
//!   0 "verity\0\0"     8 u32 version = 1     12 u32 hash type = 1 (salt before the block)
//!  16 uuid [16]       32 algorithm [32]      64 u32 data block size   68 u32 hash block size
//!  72 u64 data blocks 80 u16 salt size       88 salt [256]            512 end
//! ```
//! (cryptsetup, docs/on-disk-format and lib/verity/verity.c.) Trust comes from the root hash on the command line alone:
//! a forged superblock can only lead to hashes that do not match.

use crate::bytes::{hex, u16_at, u32_at, u64_at};

/// Bytes of the superblock on disk.
pub const SUPERBLOCK_BYTES: usize = 512;

/// What the superblock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Hash algorithm as the kernel names it, e.g. `sha256`.
    pub algorithm: String,
    /// Bytes per data block.
    pub data_block_size: u32,
    /// Bytes per hash block.
    pub hash_block_size: u32,
    /// Data blocks covered.
    pub data_blocks: u64,
    /// Salt, hashed before each block.
    pub salt: Vec<u8>,
}

/// Why a superblock is not one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SuperblockError {
    /// Another signature, or an empty partition.
    #[error("no verity superblock (is the slot empty?)")]
    Signature,
    /// A version or hash type newer than ours.
    #[error("verity superblock of version {0}, hash type {1}; only version 1, type 1 is known")]
    Version(u32, u32),
    /// A field out of its range.
    #[error("verity superblock with an impossible {0}")]
    Field(&'static str),
}

impl Superblock {
    /// Reads the first [`SUPERBLOCK_BYTES`] of the hash partition.
    pub fn parse(data: &[u8]) -> Result<Self, SuperblockError> {
        if data.len() < SUPERBLOCK_BYTES || &data[..8] != b"verity\0\0" {
            return Err(SuperblockError::Signature);
        }
        let (version, kind) = (u32_at(data, 8), u32_at(data, 12));
        if (version, kind) != (1, 1) {
            return Err(SuperblockError::Version(version, kind));
        }
        let name = data[32..64].split(|b| *b == 0).next().unwrap_or_default();
        let algorithm = String::from_utf8(name.to_vec()).map_err(|_| SuperblockError::Field("algorithm"))?;
        if algorithm.is_empty() || !algorithm.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(SuperblockError::Field("algorithm"));
        }
        let salt_bytes = usize::from(u16_at(data, 80));
        let salt = data
            .get(88..88 + salt_bytes)
            .filter(|_| salt_bytes <= 256)
            .ok_or(SuperblockError::Field("salt size"))?;
        let block = |at: usize, what: &'static str| match u32_at(data, at) {
            size if size.is_power_of_two() && (512..=65536).contains(&size) => Ok(size),
            _ => Err(SuperblockError::Field(what)),
        };
        Ok(Self {
            algorithm,
            data_block_size: block(64, "data block size")?,
            hash_block_size: block(68, "hash block size")?,
            data_blocks: u64_at(data, 72),
            salt: salt.to_vec(),
        })
    }

    /// Sectors of 512 bytes of the verified device; nothing when the size overflows.
    pub fn sectors(&self) -> Option<u64> {
        self.data_blocks
            .checked_mul(u64::from(self.data_block_size) / 512)
            .filter(|s| *s > 0)
    }

    /// The target's parameters (kernel, admin-guide/device-mapper/verity): devices as `major:minor`.
    pub fn table(&self, data_device: &str, hash_device: &str, root_hash: &[u8], options: &[&str]) -> String {
        let hash_start = (SUPERBLOCK_BYTES as u64).div_ceil(u64::from(self.hash_block_size));
        let salt = if self.salt.is_empty() {
            "-".to_owned()
        } else {
            hex(&self.salt)
        };
        let mut line = format!(
            "1 {data_device} {hash_device} {} {} {} {hash_start} {} {} {salt}",
            self.data_block_size,
            self.hash_block_size,
            self.data_blocks,
            self.algorithm,
            hex(root_hash)
        );
        if !options.is_empty() {
            line += &format!(" {} {}", options.len(), options.join(" "));
        }
        line
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::bytes::put;

    fn sample() -> Vec<u8> {
        let mut b = vec![0; 512];
        put(&mut b, 0, b"verity\0\0");
        put(&mut b, 8, &1u32.to_le_bytes());
        put(&mut b, 12, &1u32.to_le_bytes());
        put(&mut b, 32, b"sha256");
        put(&mut b, 64, &4096u32.to_le_bytes());
        put(&mut b, 68, &4096u32.to_le_bytes());
        put(&mut b, 72, &100u64.to_le_bytes());
        put(&mut b, 80, &2u16.to_le_bytes());
        put(&mut b, 88, &[0xab, 0xcd]);
        b
    }

    #[test]
    fn a_table_line_from_a_superblock() {
        let sb = Superblock::parse(&sample()).unwrap();
        assert_eq!(sb.sectors(), Some(800));
        assert_eq!(
            sb.table("254:2", "254:3", &[0x11; 2], &["panic_on_corruption"]),
            "1 254:2 254:3 4096 4096 100 1 sha256 1111 abcd 1 panic_on_corruption"
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let broken = |at: usize, value: &[u8]| {
            let mut b = sample();
            put(&mut b, at, value);
            Superblock::parse(&b)
        };
        assert_eq!(Superblock::parse(&[0; 512]), Err(SuperblockError::Signature));
        assert_eq!(Superblock::parse(b"verity"), Err(SuperblockError::Signature));
        assert_eq!(broken(8, &[2]), Err(SuperblockError::Version(2, 1)));
        assert_eq!(broken(64, &[1]), Err(SuperblockError::Field("data block size")));
        assert_eq!(broken(80, &[1, 2]), Err(SuperblockError::Field("salt size")));
        assert_eq!(broken(32, b"sha 56"), Err(SuperblockError::Field("algorithm")));
    }
}
