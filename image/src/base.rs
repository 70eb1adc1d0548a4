//! The base tree: Debian's packages unpacked and pruned, before anything of ours.
//!
//! ```text
//! BASE/usr ...        what becomes /usr         BASE/etc ...   what of Debian's /etc stays
//! BASE/vmlinuz        the kernel                BASE/release   its version, as uname -r prints it
//! ```
//! Unpacked only: no maintainer script runs, so the tree is the packages' files and nothing else; what scripts would
//! have made (users, links, certificates' bundle) is made by [`crate::stage`] from data.

use crate::digest::Digest;
use crate::modules::{self, Signatures};
use crate::packages::Packages;
use crate::pattern;
use crate::rules;
use crate::steps::{Steps, remove};
use crate::tools::{Network, Tools};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// The cached base tree.
pub fn make(steps: &Steps, tools: &Tools, packages: &Packages, signatures: Signatures) -> Result<PathBuf> {
    let digest = Digest::of("base", 2)
        .text(&tools.identity())
        .list(packages.list.iter().map(|p| &p.sha256))
        .list(rules::pruned())
        .list(rules::kept().iter().map(|kept| format!("{kept:?}")))
        .list(rules::modules())
        .text(&format!("{signatures:?}"));
    steps.cached(
        "base",
        &format!("unpacking and pruning {} packages", packages.list.len()),
        &digest,
        |dir| {
            unpack(tools, packages, dir)?;
            let release = kernel(dir)?;
            modules::prune(tools, dir, &release, signatures)?;
            prune(dir)?;
            tools.run(
                "ldconfig -X -r /base && rm -rf /base/var",
                &[(dir, "/base")],
                Network::None,
            )?;
            remove_empty(&dir.join("usr"))?;
            Ok(())
        },
    )
}

fn unpack(tools: &Tools, packages: &Packages, dir: &Path) -> Result<()> {
    let mut script = String::from("cd /base\nfor l in bin sbin lib lib64; do ln -s usr/$l $l; done\n");
    script += "mkdir -p usr/bin usr/sbin usr/lib usr/lib64\n";
    for package in &packages.list {
        script += &format!(
            "dpkg-deb --fsys-tarfile '/packages/{}' | tar -x --keep-directory-symlink\n",
            package.file
        );
    }
    tools.run(
        &script,
        &[(dir, "/base"), (&packages.folder, "/packages")],
        Network::None,
    )?;
    Ok(())
}

/// Takes the kernel out of /boot; returns its version.
fn kernel(dir: &Path) -> Result<String> {
    let names: Vec<String> = fs::read_dir(dir.join("boot"))?
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    let kernels: Vec<&str> = names.iter().filter_map(|n| n.strip_prefix("vmlinuz-")).collect();
    let [release] = kernels[..] else {
        bail!("expected one kernel in /boot of the packages, found {kernels:?}")
    };
    fs::rename(
        dir.join("boot").join(format!("vmlinuz-{release}")),
        dir.join("vmlinuz"),
    )?;
    fs::write(dir.join("release"), release)?;
    Ok(release.to_owned())
}

/// Applies the lists of [`rules`], then drops everything that is neither /usr nor the /etc that stays.
fn prune(dir: &Path) -> Result<()> {
    for path in rules::pruned() {
        for found in pattern::find(dir, path)? {
            remove_any(&found)?;
        }
    }
    for (folder, kept) in rules::kept() {
        for entry in fs::read_dir(dir.join(folder))
            .with_context(|| format!("reading /{folder}"))?
            .flatten()
        {
            let name = entry.file_name();
            let wants = folder == "usr/lib/systemd/system" && name.to_string_lossy().ends_with(".wants");
            if !wants && !kept.iter().any(|k| name == *k) {
                remove_any(&entry.path())?;
            }
        }
    }
    prune_wants(&dir.join("usr/lib/systemd/system"))?;
    for entry in fs::read_dir(dir)?.flatten() {
        if !["usr", "etc", "vmlinuz", "release"]
            .iter()
            .any(|k| entry.file_name() == **k)
        {
            remove_any(&entry.path())?;
        }
    }
    Ok(())
}

/// Links in `*.wants` to units that went, go too.
fn prune_wants(units: &Path) -> Result<()> {
    for entry in fs::read_dir(units)?.flatten() {
        if entry.path().is_dir() && entry.file_name().to_string_lossy().ends_with(".wants") {
            for link in fs::read_dir(entry.path())?.flatten() {
                if !units.join(link.file_name()).exists() {
                    fs::remove_file(link.path())?;
                }
            }
        }
    }
    Ok(())
}

fn remove_any(path: &Path) -> Result<()> {
    if path.symlink_metadata()?.is_dir() {
        remove(path)
    } else {
        Ok(fs::remove_file(path)?)
    }
}

/// Removes folders that pruning left empty, from the bottom up.
fn remove_empty(dir: &Path) -> Result<bool> {
    let mut empty = true;
    for entry in fs::read_dir(dir)?.flatten() {
        let gone = entry.file_type()?.is_dir() && remove_empty(&entry.path())?;
        empty &= gone;
    }
    if empty {
        fs::remove_dir(dir)?;
    }
    Ok(empty)
}
