//! Disks: copy-on-write overlays over one shared base, and their growth. The base is never written.

use std::path::{Path, PathBuf};

use crate::spec::{Disk, DiskFormat};
use crate::tool::{self, ToolError};

/// Why a disk could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The base is not there.
    #[error("the base image {path} cannot be read: {source}")]
    Base {
        /// Where it should be.
        path: PathBuf,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// A disk smaller than what it is to hold.
    #[error(
        "a disk of {asked} bytes is too small: {base} needs at least {needed} bytes; ask for a larger one"
    )]
    TooSmall {
        /// The size asked for.
        asked: u64,
        /// The base image.
        base: PathBuf,
        /// The size of the base image.
        needed: u64,
    },
    /// qemu-img failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
}

/// Makes a qcow2 overlay at `path` over a raw `base`, `size` bytes large (or as large as the base).
pub fn overlay(base: &Path, path: &Path, size: Option<u64>) -> Result<Disk, DiskError> {
    let unreadable = |source| DiskError::Base {
        path: base.to_owned(),
        source,
    };
    let base = base.canonicalize().map_err(unreadable)?;
    let needed = base.metadata().map_err(unreadable)?.len();
    if let Some(asked) = size.filter(|asked| *asked < needed) {
        return Err(DiskError::TooSmall { asked, base, needed });
    }
    let size = size.unwrap_or(needed).to_string();
    let words = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b"].map(AsRef::<std::ffi::OsStr>::as_ref);
    tool::run(
        "qemu-img",
        words
            .into_iter()
            .chain([base.as_os_str(), path.as_os_str(), size.as_ref()]),
    )?;
    Ok(Disk {
        path: path.to_owned(),
        format: DiskFormat::Qcow2,
        read_only: false,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn too_small_and_missing_are_said() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base.raw");
        assert!(matches!(
            overlay(&base, &folder.path().join("o"), None),
            Err(DiskError::Base { .. })
        ));
        std::fs::File::create(&base).unwrap().set_len(1 << 20).unwrap();
        let error = overlay(&base, &folder.path().join("o"), Some(1 << 19))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("too small") && error.contains("1048576"),
            "{error}"
        );
    }

    #[test]
    fn an_overlay_grows_and_names_its_base() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base.raw");
        std::fs::File::create(&base).unwrap().set_len(1 << 20).unwrap();
        let disk = overlay(&base, &folder.path().join("over.qcow2"), Some(8 << 20)).unwrap();
        let info = tool::run(
            "qemu-img",
            ["info".as_ref(), "--output=json".as_ref(), disk.path.as_os_str()],
        )
        .unwrap();
        let info: serde_json::Value = serde_json::from_str(&info).unwrap();
        assert_eq!(info["virtual-size"], 8 << 20);
        assert_eq!(info["format"], "qcow2");
        assert_eq!(
            info["full-backing-filename"],
            base.canonicalize().unwrap().display().to_string()
        );
    }
}
