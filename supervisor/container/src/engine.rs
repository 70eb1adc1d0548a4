//! Where the engine keeps things: two roots, and the paths below them.
//!
//! Duty: name every path once. Refusal: reads and writes nothing but the two roots' directories.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Default root of what survives a reboot.
pub const DATA_ROOT: &str = "/var/lib/corten/containers";
/// Default root of what does not.
pub const RUN_ROOT: &str = "/run/corten/containers";

/// The engine's two roots. Cheap to clone; holds no open file.
#[derive(Debug, Clone)]
pub struct Engine {
    data: PathBuf,
    run: PathBuf,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new(DATA_ROOT, RUN_ROOT)
    }
}

impl Engine {
    /// An engine over other roots than the default ones (tests, a second engine on one machine).
    pub fn new(data: impl Into<PathBuf>, run: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            run: run.into(),
        }
    }

    /// Creates the directories, private to root: a layer's set-user-id programs must not be within reach of the machine's
    /// own users, nor a volume's files.
    pub fn prepare(&self) -> io::Result<()> {
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700);
        for dir in [
            self.blobs(),
            self.layers(),
            self.containers(),
            self.volumes(),
            self.run_containers(),
            self.run.join("network"),
        ] {
            private.create(dir)?;
        }
        for root in [&self.data, &self.run] {
            std::fs::set_permissions(root, Permissions::from_mode(0o700))?;
        }
        Ok(())
    }

    /// Root of what survives a reboot.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Root of what does not survive a reboot.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// The index of images.
    pub fn image_index(&self) -> PathBuf {
        self.data.join("images/index.json")
    }

    /// Lock over the index of images.
    pub fn image_lock(&self) -> PathBuf {
        self.data.join("images/lock")
    }

    /// Lock held shared while an image is being added, exclusively while unnamed content is removed.
    pub fn collect_lock(&self) -> PathBuf {
        self.data.join("images/collect.lock")
    }

    /// Content-addressed blobs.
    pub fn blobs(&self) -> PathBuf {
        self.data.join("images/blobs/sha256")
    }

    /// Unpacked layers.
    pub fn layers(&self) -> PathBuf {
        self.data.join("images/layers")
    }

    /// Containers' records and writable layers.
    pub fn containers(&self) -> PathBuf {
        self.data.join("containers")
    }

    /// One container's directory.
    pub fn container(&self, id: &str) -> PathBuf {
        self.containers().join(id)
    }

    /// Volumes.
    pub fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    /// Runtime directories of all containers.
    pub fn run_containers(&self) -> PathBuf {
        self.run.join("containers")
    }

    /// One container's runtime directory.
    pub fn run_container(&self, id: &str) -> PathBuf {
        self.run_containers().join(id)
    }

    /// The leases of addresses and ports.
    pub fn leases(&self) -> PathBuf {
        self.run.join("network/leases.json")
    }

    /// Lock over leases, links and the firewall table.
    pub fn network_lock(&self) -> PathBuf {
        self.run.join("network/lock")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_gets_in_also_where_a_directory_was_open() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::new(dir.path().join("data"), dir.path().join("run"));
        std::fs::create_dir(engine.data()).unwrap();
        std::fs::set_permissions(engine.data(), Permissions::from_mode(0o755)).unwrap();
        engine.prepare().unwrap();
        for root in [engine.data(), engine.run()] {
            assert_eq!(
                root.metadata().unwrap().permissions().mode() & 0o7777,
                0o700,
                "{root:?}"
            );
        }
    }
}
