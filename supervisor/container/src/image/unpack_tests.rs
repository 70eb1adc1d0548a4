//! Layers that must be unpacked, and layers that must be refused.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::MetadataExt;

use super::*;

fn header(kind: EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Directory {
        0o755
    } else {
        0o644
    });
    header.set_size(size);
    header.set_mtime(1_000_000_000);
    header
}

/// Entries as `(path, kind, content or link target)`; paths are written raw, so that bad ones get in.
fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, kind, text) in entries {
        let file = *kind == EntryType::Regular;
        let mut header = header(*kind, if file { text.len() as u64 } else { 0 });
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        if !file && !text.is_empty() {
            header.set_link_name_literal(text).unwrap();
        }
        header.set_cksum();
        builder
            .append(&header, if file { text.as_bytes() } else { b"" })
            .unwrap();
    }
    builder.into_inner().unwrap()
}

fn unpacked(entries: &[(&str, EntryType, &str)]) -> Result<tempfile::TempDir, UnpackError> {
    let dir = tempfile::tempdir().unwrap();
    unpack(archive(entries).as_slice(), dir.path(), Ownership::Caller).map(|()| dir)
}

use EntryType::{Directory, Link, Regular, Symlink};

#[test]
fn files_links_and_times_arrive() {
    let dir = unpacked(&[
        ("a/", Directory, ""),
        ("a/b/c", Regular, "hello"),
        ("a/hard", Link, "a/b/c"),
        ("a/soft", Symlink, "/etc/passwd"),
    ])
    .unwrap();
    let at = |path: &str| dir.path().join(path);
    assert_eq!(std::fs::read(at("a/b/c")).unwrap(), b"hello");
    assert_eq!(
        at("a/hard").metadata().unwrap().ino(),
        at("a/b/c").metadata().unwrap().ino()
    );
    assert_eq!(
        std::fs::read_link(at("a/soft")).unwrap(),
        Path::new("/etc/passwd")
    );
    assert_eq!(at("a").metadata().unwrap().mtime(), 1_000_000_000);
}

#[test]
fn no_path_leaves_the_layer() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap();
    for entries in [
        &[("../evil", Regular, "x")][..],
        &[("a/../../evil", Regular, "x")],
        &[("l", Symlink, target), ("l/evil", Regular, "x")],
        &[("l", Symlink, target), ("l/sub/evil", Regular, "x")],
        &[("l", Symlink, target), ("l/.wh.evil", Regular, "")],
        &[("h", Link, "../../etc/passwd")],
        &[("l", Symlink, "/etc"), ("h", Link, "l/passwd")],
        &[("d/.wh...", Regular, "")],
    ] {
        assert!(
            matches!(unpacked(entries), Err(UnpackError::UnsafePath(_))),
            "{entries:?}"
        );
    }
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_file_replaces_a_link_instead_of_writing_through_it() {
    let outside = tempfile::NamedTempFile::new().unwrap();
    let target = outside.path().to_str().unwrap();
    let dir = unpacked(&[("f", Symlink, target), ("f", Regular, "mine")]).unwrap();
    assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), b"mine");
    assert_eq!(std::fs::read(outside.path()).unwrap(), b"");
}

#[test]
fn an_opaque_directory_keeps_what_its_own_layer_holds() {
    let dir = unpacked(&[("d/new", Regular, "x"), ("d/.wh..wh..opq", Regular, "")]).unwrap();
    let mut value = [0; 8];
    let attribute = Ownership::Caller.opaque_attribute();
    match rfs::getxattr(dir.path().join("d"), attribute, &mut value) {
        Ok(n) => assert_eq!(&value[..n], b"y"),
        Err(errno) => panic!("no attribute {attribute}: {errno}"),
    }
    assert!(dir.path().join("d/new").exists());
}

#[test]
fn whiteouts_are_character_devices_and_lose_against_their_own_layer() {
    // Making a 0:0 character device needs no privilege since Linux 5.8.
    let dir = unpacked(&[
        (".wh.gone", Regular, ""),
        ("kept", Regular, "k"),
        (".wh.kept", Regular, ""),
        (".wh.again", Regular, ""),
        ("again/", Directory, ""),
    ])
    .unwrap();
    let gone = std::fs::symlink_metadata(dir.path().join("gone")).unwrap();
    assert_eq!((gone.mode() & 0o170_000, gone.rdev()), (0o020_000, 0));
    assert_eq!(std::fs::read(dir.path().join("kept")).unwrap(), b"k");
    let mut value = [0; 8];
    let attribute = Ownership::Caller.opaque_attribute();
    assert_eq!(
        rfs::getxattr(dir.path().join("again"), attribute, &mut value).unwrap(),
        1
    );
}
