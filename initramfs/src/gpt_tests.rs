//! Tests of the partition table: a table is made here by hand, grown, and read back from the planned writes.

use super::*;

const SECTOR: u64 = 512;

/// A disk of 64 MiB with partitions 1 (2048..4095) and 2 (4096..8191).
fn table() -> Table {
    let mut header = vec![0; 92];
    put(&mut header, 0, b"EFI PART");
    put(&mut header, 8, &0x1_0000u32.to_le_bytes());
    put(&mut header, 12, &92u32.to_le_bytes());
    put(&mut header, 24, &1u64.to_le_bytes());
    put(&mut header, 32, &131_071u64.to_le_bytes());
    put(&mut header, 40, &34u64.to_le_bytes());
    put(&mut header, 72, &2u64.to_le_bytes());
    put(&mut header, 80, &128u32.to_le_bytes());
    put(&mut header, 84, &128u32.to_le_bytes());
    let mut t = Table {
        header,
        entries: vec![0; 128 * 128],
        sector: SECTOR,
    };
    for (n, first, last, name) in [(1u32, 2048u64, 4095u64, "one"), (2, 4096, 8191, "state")] {
        let e = t.entry_mut(n);
        put(e, 0, &[7; 16]);
        put(e, 16, &[n as u8; 16]);
        put(e, 32, &first.to_le_bytes());
        put(e, 40, &last.to_le_bytes());
        for (i, u) in name.encode_utf16().enumerate() {
            put(e, 56 + 2 * i, &u.to_le_bytes());
        }
    }
    t
}

/// Reads a table back out of planned writes, by the header at `lba`.
fn read_back(growth: &Growth, lba: u64) -> Table {
    let at = |lba| {
        growth
            .writes
            .iter()
            .find(|(l, _)| *l == lba)
            .map(|(_, b)| b.clone())
            .unwrap()
    };
    let header = Header::parse(&at(lba)).unwrap();
    let entries = at(header.entries_at());
    Table::new(header, entries, SECTOR).unwrap()
}

#[test]
fn growth_moves_the_backup_and_stretches_the_last_partition() {
    let disk = 1 << 20;
    let growth = table().grow(disk, 2).unwrap().unwrap();
    assert_eq!(
        growth.writes.iter().map(|(l, _)| *l).collect::<Vec<_>>(),
        [disk - 33, disk - 1, 2, 1]
    );
    for lba in [1, disk - 1] {
        let t = read_back(&growth, lba);
        let p: Vec<_> = t.partitions().collect();
        assert_eq!((p[0].first, p[0].last), (2048, 4095));
        assert_eq!(
            (p[1].first, p[1].last, p[1].name.as_str()),
            (4096, disk - 2048 - 1, "state")
        );
    }
    assert_eq!(read_back(&growth, 1), growth.table);
    assert_eq!(growth.table.grow(disk, 2), Ok(None));
}

#[test]
fn a_table_read_from_the_backup_is_written_again_as_primary() {
    let disk = 1 << 20;
    let growth = table().grow(disk, 2).unwrap().unwrap();
    let again = read_back(&growth, disk - 1).grow(disk, 2).unwrap().unwrap();
    assert_eq!(read_back(&again, 1), growth.table);
}

#[test]
fn a_partition_in_the_middle_stays() {
    let growth = table().grow(1 << 20, 1).unwrap().unwrap();
    let p: Vec<_> = growth.table.partitions().collect();
    assert_eq!((p[0].last, p[1].last), (4095, 8191));
}

#[test]
fn a_disk_too_small_is_named_with_both_sizes() {
    let error = table().grow(8192, 2).unwrap_err();
    assert_eq!(
        error,
        GptError::DiskTooSmall {
            have_mib: 4,
            need_mib: 5
        }
    );
}

#[test]
fn a_missing_partition_is_made_in_the_free_room() {
    let new = Partition {
        number: 0,
        kind: [9; 16],
        guid: [8; 16],
        first: 0,
        last: 0,
        name: "new".into(),
    };
    let growth = table().add(1 << 20, &new, 64 << 20).unwrap();
    let p = read_back(&growth, 1).partitions().nth(2).unwrap();
    assert_eq!(
        (p.number, p.first, p.name.as_str(), p.kind),
        (3, 8192, "new", [9; 16])
    );
    let error = table().add(16384, &new, 64 << 20).unwrap_err();
    assert_eq!(
        error,
        GptError::NoRoom {
            name: "new".into(),
            free_mib: 3,
            need_mib: 64
        }
    );
}

#[test]
fn a_flipped_bit_is_seen() {
    let growth = table().grow(1 << 20, 2).unwrap().unwrap();
    let mut sector = growth.writes[3].1.clone();
    let header = Header::parse(&sector).unwrap();
    let mut entries = growth.writes[2].1.clone();
    entries[40] ^= 1;
    assert_eq!(Table::new(header, entries, SECTOR), Err(GptError::Entries));
    sector[60] ^= 1;
    assert_eq!(Header::parse(&sector), Err(GptError::Header));
    assert_eq!(Header::parse(&[0; 512]), Err(GptError::Header));
}

#[test]
fn guids_are_mixed_endian() {
    let esp = guid(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);
    assert_eq!(&esp[..8], [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11]);
    assert_eq!(esp[15], 0x3b);
}
