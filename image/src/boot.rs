//! What the firmware and the kernel get: initramfs, command line, unified kernel image, EFI system partition.
//!
//! The initramfs is `/init`, the modules it may load and their list, uncompressed: it is small, and a slow machine
//! copies faster than it decompresses.

use crate::cpio::Archive;
use crate::digest::{self, Digest};
use crate::modules;
use crate::rules;
use crate::steps::Steps;
use crate::tools::{Network, Tools};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Words of the kernel command line after the root hash, for every way to boot. Without huge pages the kernel keeps 4
/// instead of 45 MiB of a small machine free for them; security modules that nothing here uses are not started. With
/// `gpt` it falls back on the table's backup, when a power cut came while the initramfs was writing the primary.
const COMMON: &str = "panic=10 gpt audit=0 transparent_hugepage=never lsm=lockdown,yama,landlock quiet";
/// Further words of the unified kernel image, where nobody can add any: both consoles, and after a failure a restart,
/// so that the boot loader's counting reaches the other slot.
const UKI_ONLY: &str = "console=ttyS0,115200n8 console=tty0 corten.onfail=reboot";
/// Bytes of the EFI system partition.
pub const ESP_BYTES: u64 = 256 << 20;

/// The kernel command line for direct boot.
pub fn command_line(root_hash: &[u8; 32]) -> String {
    format!("corten.usrhash={} {COMMON}", digest::hex(root_hash))
}

/// Writes the initramfs.
pub fn initramfs(base: &Path, release: &str, init: &Path, epoch: u64, out: &Path) -> Result<()> {
    let dependencies = modules::read_dependencies(base, release)?;
    let folder = modules::folder(base, release);
    let aliases = fs::read_to_string(folder.join("modules.alias"))?;
    let file_name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let mut list = String::new();
    let mut paths = dependencies.order(&rules::boot_modules());
    for path in &paths {
        list += &format!("load {}\n", file_name(path));
    }
    for (word, modules) in [
        ("want", rules::boot_modules_wanted()),
        ("if", rules::boot_modules_by_alias()),
    ] {
        for module in modules {
            let needs = dependencies.closure(module);
            let files: Vec<String> = needs.iter().map(|p| file_name(p)).collect();
            for alias in modules::aliases(&aliases, module) {
                list += &format!("{word} {alias} {}\n", files.join(" "));
            }
            paths.extend(needs);
        }
    }
    paths.sort();
    paths.dedup();
    let mut archive = Archive::new(epoch);
    archive.file(
        "init",
        0o755,
        &fs::read(init).with_context(|| format!("reading {}", init.display()))?,
    );
    archive.folder("modules");
    archive.file("modules/list", 0o644, list.as_bytes());
    for path in paths {
        archive.file(
            &format!("modules/{}", file_name(&path)),
            0o644,
            &fs::read(folder.join(&path))?,
        );
    }
    Ok(fs::write(out, archive.finish())?)
}

/// What the boot files are made of.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Kernel.
    pub kernel: PathBuf,
    /// Initramfs.
    pub initramfs: PathBuf,
    /// os-release of the image.
    pub os_release: PathBuf,
    /// Version of the image.
    pub version: String,
    /// Kernel's version.
    pub release: String,
    /// Root hash of /usr.
    pub root_hash: [u8; 32],
}

/// The cached `corten.efi` and `esp` (a FAT file system of [`ESP_BYTES`], sparse).
pub fn efi(steps: &Steps, tools: &Tools, inputs: &Inputs) -> Result<PathBuf> {
    let line = format!("{} {UKI_ONLY}", command_line(&inputs.root_hash));
    let digest = Digest::of("efi", 2)
        .text(&tools.identity())
        .file(&inputs.kernel)?
        .file(&inputs.initramfs)?
        .file(&inputs.os_release)?
        .text(&inputs.version)
        .text(&line);
    let volume = digest::hex(&digest.bytes()[..4]);
    steps.cached(
        "efi",
        "building the unified kernel image and the EFI system partition",
        &digest,
        |dir| {
            for (from, to) in [
                (&inputs.kernel, "vmlinuz"),
                (&inputs.initramfs, "initramfs"),
                (&inputs.os_release, "os-release"),
            ] {
                fs::copy(from, dir.join(to))?;
            }
            fs::write(dir.join("cmdline"), &line)?;
            fs::write(
                dir.join("loader.conf"),
                "timeout 0\nconsole-mode keep\neditor no\n",
            )?;
            // Clusters of two sectors: with larger ones there are fewer than 65525, and firmware takes the file system for
            // FAT16 by their number.
            let script = format!(
                "cd /efi\n\
             ukify build --linux=vmlinuz --initrd=initramfs --cmdline=@cmdline --os-release=@os-release \
             --uname={release} --output=corten.efi >/dev/null\n\
             truncate -s {ESP_BYTES} esp\n\
             mkfs.vfat --invariant -F 32 -S 512 -s 2 -n ESP -i {volume} esp >/dev/null\n\
             mmd -i esp ::/EFI ::/EFI/BOOT ::/EFI/systemd ::/EFI/Linux ::/loader\n\
             boot=/usr/lib/systemd/boot/efi/systemd-bootx64.efi\n\
             cp $boot boot.efi\n\
             touch -d @$SOURCE_DATE_EPOCH boot.efi corten.efi loader.conf\n\
             mcopy -m -i esp boot.efi ::/EFI/BOOT/BOOTX64.EFI\n\
             mcopy -m -i esp boot.efi ::/EFI/systemd/systemd-bootx64.efi\n\
             mcopy -m -i esp corten.efi ::/EFI/Linux/corten_{version}.efi\n\
             mcopy -m -i esp loader.conf ::/loader/loader.conf\n\
             rm vmlinuz initramfs os-release cmdline loader.conf boot.efi\n",
                release = inputs.release,
                version = inputs.version,
            );
            tools.run(&script, &[(dir, "/efi")], Network::None)?;
            Ok(())
        },
    )
}
