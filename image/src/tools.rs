//! The tool tree: a Debian suite's own tools, so that a build's bytes do not depend on the host's versions.
//!
//! Duty: made once by mmdebstrap, then entered with mounts of its own and without network, by `unshare` and `chroot`;
//! no loop device, and nothing of it is left mounted when a command ends, because its mount namespace ends with it.

use crate::digest::Digest;
use crate::host;
use crate::mirror::Mirror;
use crate::rules;
use crate::steps::Steps;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A tool tree that can be entered.
#[derive(Debug, Clone)]
pub struct Tools {
    root: PathBuf,
    epoch: u64,
}

/// Whether a command inside may reach the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Only to fetch packages.
    Reachable,
    /// Everything else.
    None,
}

impl Tools {
    /// The cached tree, made where needed. `refresh` is any text; another one makes it anew.
    pub fn make(steps: &Steps, mirror: &Mirror, refresh: &str, epoch: u64) -> Result<Self> {
        let sources = mirror.lines(rules::SUITE);
        let digest = Digest::of("tools", 1)
            .list(rules::tools())
            .list(&sources)
            .text(refresh);
        let root = steps.cached(
            "tools",
            "making the tool tree with mmdebstrap (about a minute)",
            &digest,
            |dir| {
                let mut command = Command::new("mmdebstrap");
                command
                    .args(["--variant=apt", "--quiet", "--mode=root"])
                    .arg(format!("--include={}", rules::tools().join(",")))
                    .arg("--dpkgopt=path-exclude=/usr/share/doc/*")
                    .arg("--dpkgopt=path-exclude=/usr/share/man/*")
                    .arg("--dpkgopt=path-exclude=/usr/share/locale/*")
                    .arg(rules::SUITE)
                    .arg(dir)
                    .args(&sources)
                    .env("SOURCE_DATE_EPOCH", epoch.to_string());
                host::run(&mut command)?;
                fs::remove_file(dir.join("etc/apt/sources.list.d/0000src.list"))
                    .or_else(|_| anyhow::Ok(()))?;
                fs::write(dir.join("etc/apt/sources.list"), sources.join("\n") + "\n")?;
                Ok(())
            },
        )?;
        Ok(Self { root, epoch })
    }

    /// A tree that is there already; `epoch` is the time its tools are told.
    pub fn at(root: &Path, epoch: u64) -> Self {
        Self {
            root: root.to_path_buf(),
            epoch,
        }
    }

    /// Runs a shell script inside; `binds` are host folders and where they appear.
    pub fn run(&self, script: &str, binds: &[(&Path, &str)], network: Network) -> Result<String> {
        let mut outer = String::from("set -e\nroot=$1\n");
        for (i, (_, inside)) in binds.iter().enumerate() {
            fs::create_dir_all(self.root.join(inside.trim_start_matches('/')))?;
            outer += &format!("mount --bind \"${{{}}}\" \"$root{inside}\"\n", i + 3);
        }
        outer += "mount -t proc proc \"$root/proc\"\nmount --rbind /dev \"$root/dev\"\n";
        if network == Network::Reachable {
            let resolv = self.root.join("etc/resolv.conf");
            let _ = fs::remove_file(&resolv);
            fs::copy("/etc/resolv.conf", resolv).context("handing resolv.conf to the tool tree")?;
            outer += "exec chroot \"$root\" /bin/sh -euc \"$2\"\n";
        } else {
            outer += "exec unshare --net chroot \"$root\" /bin/sh -euc \"$2\"\n";
        }
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "sh", "-c", &outer, "tools"])
            .arg(&self.root)
            .arg(format!("umask 022\n{script}"))
            .args(binds.iter().map(|(host, _)| host));
        for (name, _) in std::env::vars_os() {
            if !name.to_string_lossy().to_ascii_lowercase().ends_with("_proxy") {
                command.env_remove(name);
            }
        }
        command
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .env("HOME", "/root")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("SOURCE_DATE_EPOCH", self.epoch.to_string());
        host::run(&mut command)
    }

    /// The tree's own identity, part of the digest of what is made with it.
    pub fn identity(&self) -> String {
        self.root
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// Where the tree lies on the host.
    pub fn root(&self) -> &Path {
        &self.root
    }
}
