//! Writing the image's GUID partition table; pure.
//!
//! ```text
//! LBA 0 protective MBR | 1 header | 2..33 entries | partitions from 1 MiB, each on a MiB | entries | header
//! ```
//! UEFI specification 2.10, chapter 5; sectors of 512 bytes. Type GUIDs are those of the Discoverable Partitions
//! Specification. Sizes are bytes; the table decides where things lie, not what they are.

/// Bytes per sector.
pub const SECTOR: u64 = 512;
/// Partitions begin and end on multiples of this.
pub const ALIGN: u64 = 1 << 20;
/// EFI system partition.
pub const ESP: u128 = 0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b;
/// /usr for x86-64.
pub const USR: u128 = 0x8484680c_9521_48c6_9c11_b0720656f69e;
/// Hashes of /usr for x86-64.
pub const USR_VERITY: u128 = 0x77ff5f63_e7b6_4633_acf4_1565b864c0e6;
/// Root for x86-64: our state.
pub const ROOT: u128 = 0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709;
/// Read-only partition (attribute of the Discoverable Partitions Specification).
pub const READ_ONLY: u64 = 1 << 60;
/// Not to be mounted by itself.
pub const NO_AUTO: u64 = 1 << 63;

/// One partition to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Label, at most 35 UTF-16 units.
    pub label: &'static str,
    /// Type GUID.
    pub kind: u128,
    /// PARTUUID.
    pub uuid: [u8; 16],
    /// Size in bytes, a multiple of [`ALIGN`].
    pub bytes: u64,
    /// Attribute bits.
    pub attributes: u64,
}

/// Where everything lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Byte offset of each partition, in order.
    pub offsets: Vec<u64>,
    /// Bytes of the whole disk.
    pub disk: u64,
    /// Pieces to write: byte offset and content.
    pub pieces: Vec<(u64, Vec<u8>)>,
}

/// Lays partitions out one behind the other.
pub fn layout(disk_uuid: [u8; 16], partitions: &[Partition]) -> Layout {
    let mut at = ALIGN;
    let mut offsets = Vec::new();
    let mut entries = vec![0; 128 * 128];
    for (p, entry) in partitions.iter().zip(entries.chunks_exact_mut(128)) {
        offsets.push(at);
        fill(entry, p, at / SECTOR, (at + p.bytes) / SECTOR - 1);
        at += p.bytes.next_multiple_of(ALIGN);
    }
    let disk = at + ALIGN;
    let last = disk / SECTOR - 1;
    let primary = header(disk_uuid, &entries, 1, last, 2);
    let backup = header(disk_uuid, &entries, last, 1, last - 32);
    let pieces = vec![
        (0, protective_mbr(last)),
        (SECTOR, primary),
        (2 * SECTOR, entries.clone()),
        ((last - 32) * SECTOR, entries),
        (last * SECTOR, backup),
    ];
    Layout {
        offsets,
        disk,
        pieces,
    }
}

fn fill(entry: &mut [u8], p: &Partition, first: u64, last: u64) {
    entry[..16].copy_from_slice(&on_disk(p.kind.to_be_bytes()));
    entry[16..32].copy_from_slice(&on_disk(p.uuid));
    entry[32..40].copy_from_slice(&first.to_le_bytes());
    entry[40..48].copy_from_slice(&last.to_le_bytes());
    entry[48..56].copy_from_slice(&p.attributes.to_le_bytes());
    for (unit, slot) in p.label.encode_utf16().zip(entry[56..126].chunks_exact_mut(2)) {
        slot.copy_from_slice(&unit.to_le_bytes());
    }
}

fn header(disk_uuid: [u8; 16], entries: &[u8], here: u64, there: u64, entries_at: u64) -> Vec<u8> {
    let last = here.max(there);
    let mut h = vec![0; SECTOR as usize];
    let mut put = |at: usize, value: &[u8]| h[at..at + value.len()].copy_from_slice(value);
    put(0, b"EFI PART");
    put(8, &0x0001_0000u32.to_le_bytes());
    put(12, &92u32.to_le_bytes());
    put(24, &here.to_le_bytes());
    put(32, &there.to_le_bytes());
    put(40, &34u64.to_le_bytes());
    put(48, &(last - 33).to_le_bytes());
    put(56, &on_disk(disk_uuid));
    put(72, &entries_at.to_le_bytes());
    put(80, &128u32.to_le_bytes());
    put(84, &128u32.to_le_bytes());
    put(88, &crc32(entries).to_le_bytes());
    let crc = crc32(&h[..92]);
    h[16..20].copy_from_slice(&crc.to_le_bytes());
    h
}

/// One partition of type EE over the whole disk, so that old tools see no free room.
fn protective_mbr(last: u64) -> Vec<u8> {
    let mut mbr = vec![0; SECTOR as usize];
    mbr[446..454].copy_from_slice(&[0, 0, 2, 0, 0xEE, 0xFF, 0xFF, 0xFF]);
    mbr[454..458].copy_from_slice(&1u32.to_le_bytes());
    mbr[458..462].copy_from_slice(&u32::try_from(last).unwrap_or(u32::MAX).to_le_bytes());
    mbr[510..].copy_from_slice(&[0x55, 0xAA]);
    mbr
}

/// A GUID's on-disk form: its first three fields are little-endian.
fn on_disk(b: [u8; 16]) -> [u8; 16] {
    [
        b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15],
    ]
}

/// CRC-32 (IEEE 802.3).
fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| {
            if c & 1 == 1 {
                (c >> 1) ^ 0xEDB8_8320
            } else {
                c >> 1
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_follow_each_other_on_mebibytes() {
        let p = |label, bytes| Partition {
            label,
            kind: ESP,
            uuid: [3; 16],
            bytes,
            attributes: READ_ONLY,
        };
        let l = layout([9; 16], &[p("esp", 4 * ALIGN), p("usr-a", 2 * ALIGN)]);
        assert_eq!(l.offsets, [ALIGN, 5 * ALIGN]);
        assert_eq!(l.disk, 8 * ALIGN);
        let (at, primary) = &l.pieces[1];
        assert_eq!((*at, &primary[..8]), (512, &b"EFI PART"[..]));
        let (at, backup) = &l.pieces[4];
        assert_eq!(*at, l.disk - 512);
        assert_eq!(primary[24..32], backup[32..40]);
        assert_eq!(l.pieces[2].1[..4], [0x28, 0x73, 0x2a, 0xc1]);
    }

    #[test]
    fn crc_of_the_check_string() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }
}
