//! What an archive's entry says of itself: where it points, whose it is, its times and extended attributes.

use std::io::{self, Read};
use std::path::PathBuf;

use rustix::fs::{Gid, Timespec, Timestamps, Uid};
use tar::Entry;

use super::unpack::Refused;

/// What a link points at.
pub(super) fn link_target<R: Read>(entry: &Entry<'_, R>) -> Result<PathBuf, Refused> {
    match entry.link_name().map_err(Refused::Archive)? {
        Some(target) => Ok(target.into_owned()),
        None => Err(Refused::Archive(io::Error::other("a link without a target"))),
    }
}

/// User and group; refused where they fit no kernel.
pub(super) fn owner<R: Read>(entry: &Entry<'_, R>) -> Result<(Uid, Gid), Refused> {
    let header = entry.header();
    // A field that was left empty means 0 to Docker's own reader.
    let empty = |field: &[u8]| field.iter().all(|byte| matches!(byte, 0 | b' '));
    let uid = if empty(&header.as_old().uid) {
        Ok(0)
    } else {
        header.uid()
    };
    let gid = if empty(&header.as_old().gid) {
        Ok(0)
    } else {
        header.gid()
    };
    let (uid, gid) = (uid.map_err(Refused::Archive)?, gid.map_err(Refused::Archive)?);
    let (Ok(uid), Ok(gid)) = (u32::try_from(uid), u32::try_from(gid)) else {
        return Err(Refused::Unsafe);
    };
    if uid == u32::MAX || gid == u32::MAX {
        return Err(Refused::Unsafe);
    }
    Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
}

/// The time of the last change, for both times.
pub(super) fn times<R: Read>(entry: &Entry<'_, R>) -> Result<Timestamps, Refused> {
    let seconds = entry.header().mtime().map_err(Refused::Archive)?;
    let at = Timespec {
        tv_sec: i64::try_from(seconds).unwrap_or(0),
        tv_nsec: 0,
    };
    Ok(Timestamps {
        last_access: at,
        last_modification: at,
    })
}

/// Extended attributes out of the PAX records `SCHILY.xattr.<name>`.
pub(super) fn attributes<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<(String, Vec<u8>)>, Refused> {
    let mut found = Vec::new();
    if let Some(records) = entry.pax_extensions().map_err(Refused::Archive)? {
        for record in records {
            let record = record.map_err(Refused::Archive)?;
            if let Some(name) = record
                .key()
                .ok()
                .and_then(|key| key.strip_prefix("SCHILY.xattr."))
            {
                found.push((name.to_owned(), record.value_bytes().to_vec()));
            }
        }
    }
    Ok(found)
}
