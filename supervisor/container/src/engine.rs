//! Where the engine keeps things: two roots, and the paths below them.
//!
//! Duty: name every path once. Refusal: reads and writes nothing but the two roots' directories.

use std::io;
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

    /// Creates the directories, private to root.
    pub fn prepare(&self) -> io::Result<()> {
        for dir in [
            self.blobs(),
            self.layers(),
            self.containers(),
            self.volumes(),
            self.run_containers(),
            self.run.join("network"),
        ] {
            std::fs::create_dir_all(dir)?;
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
