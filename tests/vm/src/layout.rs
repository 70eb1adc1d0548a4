//! Where the files of one cluster lie, and what of it goes when it ends.
//!
//! ```text
//! <dir>/machines/<name>/   console.log, qemu.log, serial1.log; sockets        logs stay, sockets go
//! <dir>/journal/<name>.txt  a machine's journal, taken when something failed  stays
//! <dir>/registry.log, switch.log                                              stay
//! <dir>/disks/              overlays and configuration volumes                go
//! <dir>/keys/               the cluster's SSH key, known hosts                go
//! <dir>/bin/                links to the product's programs                   go
//! <dir>/registry/           the registry's data                               goes
//! <dir>/state.json          what a later command needs                        goes
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Marks a folder as one we may empty.
const MARK: &str = ".cluster-of-virtual-machines";

/// The folder of one cluster.
#[derive(Debug, Clone)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// The cluster in `dir`, whether it exists or not.
    pub fn new(dir: &Path) -> Result<Layout> {
        let dir = std::path::absolute(dir).with_context(|| format!("the folder {}", dir.display()))?;
        Ok(Layout { dir })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes it an empty cluster's folder; what an earlier cluster left in it is removed, anything else is not.
    pub fn prepare(&self) -> Result<()> {
        let dir = self.dir.display();
        if self.dir.exists() {
            let empty = std::fs::read_dir(&self.dir)
                .with_context(|| format!("reading {dir}"))?
                .next()
                .is_none();
            if !empty && !self.is_ours() {
                bail!("{dir} holds something that is not a cluster of ours: name another folder with --dir");
            }
            std::fs::remove_dir_all(&self.dir).with_context(|| format!("emptying {dir}"))?;
        }
        for folder in [
            self.machines(),
            self.disks(),
            self.keys(),
            self.bin(),
            self.journals(),
        ] {
            std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        }
        std::fs::write(self.dir.join(MARK), "").with_context(|| format!("writing to {dir}"))
    }

    /// What is removed when the cluster ends.
    pub fn passing(&self, names: &[String]) -> Vec<PathBuf> {
        let mut paths = vec![
            self.disks(),
            self.keys(),
            self.bin(),
            self.registry(),
            self.state(),
        ];
        paths.extend([self.switch_control(), self.switch_config()]);
        for name in names {
            let machine = self.machine(name);
            paths.extend([machine.join("qmp.sock"), machine.join("net0.sock")]);
        }
        paths
    }

    /// Whether the folder is a cluster's, of now or of an earlier run.
    pub fn is_ours(&self) -> bool {
        self.dir.join(MARK).exists()
    }

    /// The folder of the machines' folders.
    pub fn machines(&self) -> PathBuf {
        self.dir.join("machines")
    }

    /// One machine's folder.
    pub fn machine(&self, name: &str) -> PathBuf {
        self.machines().join(name)
    }

    /// Where journals go when something failed.
    pub fn journals(&self) -> PathBuf {
        self.dir.join("journal")
    }

    /// Disks and volumes.
    pub fn disks(&self) -> PathBuf {
        self.dir.join("disks")
    }

    /// Everything of SSH.
    pub fn keys(&self) -> PathBuf {
        self.dir.join("keys")
    }

    /// The private key.
    pub fn key(&self) -> PathBuf {
        self.keys().join("key")
    }

    /// The host keys seen so far.
    pub fn known_hosts(&self) -> PathBuf {
        self.keys().join("known_hosts")
    }

    /// The programs by their names.
    pub fn bin(&self) -> PathBuf {
        self.dir.join("bin")
    }

    /// The registry's data.
    pub fn registry(&self) -> PathBuf {
        self.dir.join("registry")
    }

    /// What a later command needs.
    pub fn state(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    /// Where the switch takes its orders.
    pub fn switch_control(&self) -> PathBuf {
        self.dir.join("switch.sock")
    }

    /// What the switch's process is made from.
    pub fn switch_config(&self) -> PathBuf {
        self.dir.join("switch.json")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_folder_is_emptied() {
        let root = tempfile::tempdir().unwrap();
        let ours = Layout::new(&root.path().join("cluster")).unwrap();
        ours.prepare().unwrap();
        std::fs::write(ours.disks().join("old"), "").unwrap();
        ours.prepare().unwrap();
        assert!(!ours.disks().join("old").exists());
        std::fs::write(root.path().join("precious"), "").unwrap();
        let error = Layout::new(root.path())
            .unwrap()
            .prepare()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("--dir") && root.path().join("precious").exists(),
            "{error}"
        );
    }
}
