//! Small FAT volumes with a label and files, for machines that read their configuration from a drive.
//! Needs no tool of the host and no mount.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};

use crate::spec::{Disk, DiskFormat};

/// The smallest volume we make, and the room left beside the files.
const SPARE_BYTES: u64 = 1 << 20;

/// Why a volume could not be made.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// FAT keeps eleven bytes for a label.
    #[error("the label {0:?} does not fit: a FAT label is 1 to 11 ASCII characters")]
    Label(String),
    /// Writing it failed.
    #[error("cannot write the volume {path}: {source}")]
    Write {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// Writes a FAT volume (without a partition table) holding `files`, each by its path with `/` between folders.
pub fn fat(path: &Path, label: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<Disk, VolumeError> {
    if label.is_empty() || label.len() > 11 || !label.is_ascii() {
        return Err(VolumeError::Label(label.to_owned()));
    }
    write(path, label, files).map_err(|source| VolumeError::Write {
        path: path.to_owned(),
        source,
    })?;
    Ok(Disk {
        path: path.to_owned(),
        format: DiskFormat::Raw,
        read_only: true,
    })
}

fn write(path: &Path, label: &str, files: &BTreeMap<String, Vec<u8>>) -> std::io::Result<()> {
    let mut padded = [b' '; 11];
    padded[..label.len()].copy_from_slice(label.as_bytes());
    let bytes: u64 = files.values().map(|content| content.len() as u64 + 8192).sum();
    let mut device = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    device.set_len((bytes + SPARE_BYTES).next_multiple_of(1 << 20))?;
    fatfs::format_volume(&mut device, FormatVolumeOptions::new().volume_label(padded))?;
    let volume = FileSystem::new(&mut device, FsOptions::new())?;
    for (name, content) in files {
        let mut folder = volume.root_dir();
        let (folders, file) = name.rsplit_once('/').unwrap_or(("", name));
        for part in folders.split('/').filter(|part| !part.is_empty()) {
            folder = folder.create_dir(part)?;
        }
        folder.create_file(file)?.write_all(content)?;
    }
    volume.unmount()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn holds_its_files_and_its_label() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("volume");
        let files = BTreeMap::from([
            (
                "openstack/latest/user_data".to_owned(),
                b"#cloud-config\n".to_vec(),
            ),
            (
                "openstack/latest/network_data.json".to_owned(),
                vec![b'x'; 100_000],
            ),
        ]);
        let disk = fat(&path, "config-2", &files).unwrap();
        assert!(disk.read_only);
        let mut device = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let volume = FileSystem::new(&mut device, FsOptions::new()).unwrap();
        assert_eq!(volume.volume_label(), "config-2");
        assert_eq!(
            volume.read_volume_label_from_root_dir().unwrap().unwrap(),
            "config-2"
        );
        for (name, content) in &files {
            let mut read = Vec::new();
            volume
                .root_dir()
                .open_file(name)
                .unwrap()
                .read_to_end(&mut read)
                .unwrap();
            assert_eq!(&read, content, "{name}");
        }
    }

    #[test]
    fn a_label_must_fit() {
        let path = Path::new("/nonexistent/volume");
        for label in ["", "twelve chars", "naïve"] {
            assert!(
                matches!(fat(path, label, &BTreeMap::new()), Err(VolumeError::Label(_))),
                "{label}"
            );
        }
        assert!(matches!(
            fat(path, "fits", &BTreeMap::new()),
            Err(VolumeError::Write { .. })
        ));
    }
}
