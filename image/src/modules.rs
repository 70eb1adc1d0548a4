//! Kernel modules: which stay, in what order they load, and what hardware asks for them.
//!
//! Reads `modules.dep` and `modules.alias` as depmod(8) writes them. Modules are kept uncompressed: the file system
//! and the initramfs compress once, and a slow machine does not unpack xz at every boot. Their signatures go unless
//! they are asked for: the kernel takes a tenth of a second of an emulated machine for each (ECDSA P-384), and modules
//! out of the verified /usr are as trustworthy without. A kernel locked down by Secure Boot needs them.

use crate::tools::{Network, Tools};
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// `modules.dep`, understood: each module's path and those it needs, in loading order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dependencies {
    paths: BTreeMap<String, (String, Vec<String>)>,
}

impl Dependencies {
    /// Lines of `path: needed path..`; depmod lists what is needed last-first.
    pub fn parse(text: &str) -> Self {
        let split = |line: &str| {
            let (path, needs) = line.split_once(':')?;
            let needs = needs.split_ascii_whitespace().rev().map(str::to_owned).collect();
            Some((name_of(path), (path.to_owned(), needs)))
        };
        Self {
            paths: text.lines().filter_map(split).collect(),
        }
    }

    /// Paths to load for one module, itself last; nothing when it is unknown (built in, or not of this kernel).
    pub fn closure(&self, module: &str) -> Vec<String> {
        match self.paths.get(&name_of(module)) {
            Some((path, needs)) => needs.iter().chain([path]).cloned().collect(),
            None => Vec::new(),
        }
    }

    /// Paths to load for several modules, each once, in an order that works.
    pub fn order(&self, modules: &[&str]) -> Vec<String> {
        let mut seen = BTreeSet::new();
        modules
            .iter()
            .flat_map(|m| self.closure(m))
            .filter(|p| seen.insert(p.clone()))
            .collect()
    }
}

/// A module's name: the file's, without endings, `-` written as `_`.
pub fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

/// Lines `alias PATTERN MODULE` of `modules.alias` for one module.
pub fn aliases<'a>(text: &'a str, module: &str) -> Vec<&'a str> {
    let of_module = |line: &'a str| {
        let mut words = line.strip_prefix("alias ")?.split_ascii_whitespace();
        let (pattern, owner) = (words.next()?, words.next()?);
        (name_of(owner) == name_of(module)).then_some(pattern)
    };
    text.lines().filter_map(of_module).collect()
}

/// Folder of a kernel's modules in a tree.
pub fn folder(tree: &Path, release: &str) -> PathBuf {
    tree.join("usr/lib/modules").join(release)
}

/// What happens to the modules' signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signatures {
    /// Removed, for speed.
    Removed,
    /// Kept, for Secure Boot.
    Kept,
}

/// Keeps [`crate::rules::modules`] and what they need, uncompressed, with fresh depmod files.
pub fn prune(tools: &Tools, base: &Path, release: &str, signatures: Signatures) -> Result<()> {
    let depmod = format!("depmod -b /base {release}");
    tools.run(&depmod, &[(base, "/base")], Network::None)?;
    let dir = folder(base, release);
    let dependencies = read_dependencies(base, release)?;
    let builtin = fs::read_to_string(dir.join("modules.builtin"))?;
    let built_in: BTreeSet<String> = builtin.lines().map(name_of).collect();
    let unknown: Vec<&str> = crate::rules::modules()
        .into_iter()
        .filter(|m| dependencies.closure(m).is_empty() && !built_in.contains(&name_of(m)))
        .collect();
    if !unknown.is_empty() {
        eprintln!("             note: kernel {release} has no module {unknown:?}");
    }
    let kept: BTreeSet<String> = dependencies.order(&crate::rules::modules()).into_iter().collect();
    if kept.is_empty() {
        bail!("depmod found none of the modules to keep in {}", dir.display());
    }
    drop_others(&dir, &dir, &kept)?;
    let script = format!(
        "cd /base/usr/lib/modules/{release}\nfind . -name '*.ko.xz' -exec xz -d {{}} +\n{depmod}\n\
         rm -f modules.order modules.builtin.modinfo modules.devname.tmp"
    );
    tools.run(&script, &[(base, "/base")], Network::None)?;
    if signatures == Signatures::Removed {
        for path in read_dependencies(base, release)?
            .paths
            .values()
            .map(|(path, _)| dir.join(path))
        {
            let module = fs::read(&path)?;
            fs::write(&path, unsigned(&module))?;
        }
    }
    Ok(())
}

/// A module without the signature behind it (kernel, `struct module_signature`: its length in the four bytes before
/// the marker, big-endian).
fn unsigned(module: &[u8]) -> &[u8] {
    const MARKER: &[u8] = b"~Module signature appended~\n";
    const DESCRIPTION: usize = 12;
    let Some(signed) = module.strip_suffix(MARKER).filter(|m| m.len() > DESCRIPTION) else {
        return module;
    };
    let length = signed
        .iter()
        .rev()
        .take(4)
        .rev()
        .fold(0, |n, b| (n << 8) | usize::from(*b));
    match signed.len().checked_sub(DESCRIPTION + length) {
        Some(end) => &signed[..end],
        None => module,
    }
}

/// `modules.dep` of a tree.
pub fn read_dependencies(tree: &Path, release: &str) -> Result<Dependencies> {
    let path = folder(tree, release).join("modules.dep");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(Dependencies::parse(&text))
}

fn drop_others(root: &Path, dir: &Path, kept: &BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(dir)?.flatten() {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            drop_others(root, &path, kept)?;
        } else if path.to_string_lossy().contains(".ko") {
            let relative = path.strip_prefix(root)?.to_string_lossy().into_owned();
            if !kept.contains(&relative) {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/md/dm-verity.ko: kernel/md/dm-bufio.ko kernel/md/dm-mod.ko\n\
        kernel/md/dm-bufio.ko: kernel/md/dm-mod.ko\nkernel/md/dm-mod.ko:\nkernel/b/virtio_blk.ko.xz:\n";

    #[test]
    fn loading_order() {
        let d = Dependencies::parse(DEP);
        assert_eq!(
            d.closure("dm_verity"),
            [
                "kernel/md/dm-mod.ko",
                "kernel/md/dm-bufio.ko",
                "kernel/md/dm-verity.ko"
            ]
        );
        let order = d.order(&["virtio_blk", "dm-bufio", "dm-verity", "unknown"]);
        let names: Vec<String> = order.iter().map(|p| name_of(p)).collect();
        assert_eq!(names, ["virtio_blk", "dm_mod", "dm_bufio", "dm_verity"]);
    }

    #[test]
    fn a_signature_is_cut_off() {
        let signed = [
            b"ELF".as_slice(),
            b"sig",
            &[0; 8],
            &[0, 0, 0, 3],
            b"~Module signature appended~\n",
        ]
        .concat();
        assert_eq!(unsigned(&signed), b"ELF");
        assert_eq!(unsigned(b"ELF"), b"ELF");
        assert_eq!(unsigned(&signed[8..]), &signed[8..]);
    }

    #[test]
    fn aliases_of_one_module() {
        let text = "# x\nalias virtio:d00000008v* virtio_scsi\nalias pci:v* ahci\nalias acpi*:QEMU0002:* qemu-fw-cfg\n";
        assert_eq!(aliases(text, "virtio_scsi"), ["virtio:d00000008v*"]);
        assert_eq!(aliases(text, "qemu_fw_cfg"), ["acpi*:QEMU0002:*"]);
    }
}
