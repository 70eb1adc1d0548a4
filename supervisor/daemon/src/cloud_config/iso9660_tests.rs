//! Tests of `iso9660` on volumes laid out by hand as in its drawing, with and without Joliet, whole and torn.
#![allow(clippy::unwrap_used)]

use super::*;
use std::io::Cursor;

fn encoded(name: &str, joliet: bool) -> Vec<u8> {
    match joliet {
        true => name.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        false => name.as_bytes().to_vec(),
    }
}

fn dir_record(name: &[u8], sector: u32, bytes: u32, folder: bool) -> Vec<u8> {
    let mut out = vec![0; 33];
    out[2..6].copy_from_slice(&sector.to_le_bytes());
    out[10..14].copy_from_slice(&bytes.to_le_bytes());
    out[25] = if folder { 2 } else { 0 };
    out[32] = name.len() as u8;
    out.extend(name);
    if out.len() % 2 == 1 {
        out.push(0);
    }
    out[0] = out.len() as u8;
    out
}

/// One tree: root at `at`, openstack after it, latest after that, the file's bytes at the end.
fn tree(disk: &mut Vec<u8>, kind: u8, at: u32, names: [&str; 3], content: &[u8], descriptor: usize) {
    let joliet = kind == 2;
    let put = |disk: &mut Vec<u8>, sector: u32, bytes: &[u8]| {
        let start = sector as usize * 2048;
        disk.resize(disk.len().max(start + bytes.len().next_multiple_of(2048)), 0);
        disk[start..start + bytes.len()].copy_from_slice(bytes);
    };
    let mut head = vec![0; 2048];
    head[0] = kind;
    head[1..6].copy_from_slice(b"CD001");
    let label = encoded("config-2", joliet);
    head[40..72].fill(if joliet { 0 } else { b' ' });
    head[40..40 + label.len()].copy_from_slice(&label);
    if joliet {
        head[88..91].copy_from_slice(b"%/E");
    }
    let root = dir_record(&[0], at, 2048, true);
    head[156..156 + root.len()].copy_from_slice(&root);
    put(disk, descriptor as u32, &head);
    let dots = || [dir_record(&[0], at, 2048, true), dir_record(&[1], at, 2048, true)].concat();
    put(
        disk,
        at,
        &[dots(), dir_record(&encoded(names[0], joliet), at + 1, 2048, true)].concat(),
    );
    put(
        disk,
        at + 1,
        &[dots(), dir_record(&encoded(names[1], joliet), at + 2, 2048, true)].concat(),
    );
    let file = dir_record(&encoded(names[2], joliet), at + 3, content.len() as u32, false);
    put(disk, at + 2, &[dots(), file].concat());
    put(disk, at + 3, content);
}

fn volume(joliet: bool) -> Vec<u8> {
    let mut disk = Vec::new();
    let names = ["OPENSTAC", "LATEST", "USER_DAT.;1"];
    tree(&mut disk, 1, 20, names, b"primary", 16);
    if joliet {
        tree(
            &mut disk,
            2,
            30,
            ["openstack", "latest", "user_data"],
            b"joliet",
            17,
        );
    }
    disk
}

const PATH: [&str; 3] = ["openstack", "latest", "user_data"];

#[test]
fn reads_both_trees() {
    for (joliet, wanted) in [(false, &b"primary"[..]), (true, &b"joliet"[..])] {
        let mut iso = Iso9660::open(Cursor::new(volume(joliet))).unwrap().unwrap();
        assert_eq!(iso.label().trim_end_matches('\0'), "config-2");
        assert_eq!(iso.read(&PATH, 100).unwrap().as_deref(), Some(wanted));
        assert_eq!(
            iso.read(&["openstack", "latest", "meta_data.json"], 100).unwrap(),
            None
        );
        assert_eq!(
            iso.read(&["openstack", "latest", "user_data", "x"], 100).unwrap(),
            None
        );
        assert!(iso.read(&PATH, 3).is_err());
    }
}

#[test]
fn torn_or_strange_is_no_panic() {
    let whole = volume(true);
    for cut in (0..whole.len()).step_by(511) {
        if let Ok(Some(mut iso)) = Iso9660::open(Cursor::new(&whole[..cut])) {
            let _ = iso.read(&PATH, 1 << 20);
        }
    }
    for at in (16 * 2048..whole.len()).step_by(7) {
        let mut strange = whole.clone();
        strange[at] = 0xff;
        if let Ok(Some(mut iso)) = Iso9660::open(Cursor::new(strange)) {
            let _ = iso.read(&PATH, 1 << 20);
        }
    }
    assert!(Iso9660::open(Cursor::new(vec![0; 100_000])).unwrap().is_none());
}
