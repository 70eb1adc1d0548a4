//! What the host must have: the image, the product's programs, QEMU and its kin. Everything missing is named together
//! with how to get it, before anything is started.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use corten_qemu::tool;

/// The image's files, as `corten-image build` leaves them.
#[derive(Debug, Clone)]
pub struct Image {
    dir: PathBuf,
}

impl Image {
    /// The image in `dir`; every file of it must be there.
    pub fn open(dir: &Path) -> Result<Image> {
        let image = Image {
            dir: std::path::absolute(dir)?,
        };
        for file in [
            image.disk(),
            image.kernel(),
            image.initramfs(),
            image.dir.join("cmdline"),
        ] {
            if !file.is_file() {
                bail!(
                    "no image: {} is missing; build it with `target/release/corten-image build --out {}`",
                    file.display(),
                    dir.display()
                );
            }
        }
        Ok(image)
    }

    /// The whole disk.
    pub fn disk(&self) -> PathBuf {
        self.dir.join("corten.raw")
    }

    /// The kernel for direct boot.
    pub fn kernel(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    /// The initramfs for direct boot.
    pub fn initramfs(&self) -> PathBuf {
        self.dir.join("initramfs")
    }

    /// The kernel's command line for direct boot, with the console on the first serial port.
    pub fn cmdline(&self) -> Result<String> {
        let path = self.dir.join("cmdline");
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let text = text.trim();
        Ok(if text.contains("console=ttyS0") {
            text.to_owned()
        } else {
            format!("{text} console=ttyS0")
        })
    }

    /// What the image is made of.
    pub fn manifest(&self) -> PathBuf {
        self.dir.join("manifest.json")
    }
}

/// This program, which also serves as the switch's process and as the machines' way to the registry.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `corten-vm` itself.
    pub vm: PathBuf,
    /// The product, which is every client by the name it is called under.
    pub corten: PathBuf,
}

impl Programs {
    /// The product's program lies beside ours, as cargo leaves them.
    pub fn beside(vm: &Path) -> Result<Programs> {
        let corten = vm.with_file_name("corten");
        if !corten.is_file() {
            bail!(
                "{} is missing: build it with `cargo build --release -p corten`",
                corten.display()
            );
        }
        Ok(Programs {
            vm: vm.to_owned(),
            corten,
        })
    }
}

/// Where a program lies: on `PATH`, or below `out/tools`, where `tests/demo` unpacks what must not be installed.
pub fn find_program(name: &str) -> Result<PathBuf, tool::ToolError> {
    let unpacked = unpacked_folders()
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    tool::find(name).or_else(|error| unpacked.ok_or(error))
}

/// The program folders of `out/tools` in the checkout that we stand in or that our program was built in.
fn unpacked_folders() -> Vec<PathBuf> {
    let here = std::env::current_dir().into_iter().chain(std::env::current_exe());
    let above: Vec<PathBuf> = here
        .flat_map(|path| path.ancestors().map(PathBuf::from).collect::<Vec<_>>())
        .collect();
    above
        .iter()
        .flat_map(|root| ["usr/bin", "bin"].map(|bin| root.join("out/tools").join(bin)))
        .collect()
}

/// The programs that every cluster calls; all that are missing are named at once.
pub fn check_tools() -> Result<()> {
    let tools = [
        "qemu-system-x86_64",
        "qemu-img",
        "ssh",
        "ssh-keygen",
        "docker-registry",
    ];
    let missing: Vec<String> = tools
        .iter()
        .filter_map(|name| find_program(name).err())
        .map(|error| error.to_string())
        .collect();
    if !missing.is_empty() {
        bail!("{} (`tests/demo` brings all of it)", missing.join("; "));
    }
    Ok(())
}

/// A busybox that needs no library: it runs in a container that holds nothing else.
pub fn static_busybox() -> Result<Vec<u8>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for folder in std::env::split_paths(&path).chain(unpacked_folders()) {
        if let Ok(bytes) = std::fs::read(folder.join("busybox"))
            && is_static(&bytes)
        {
            return Ok(bytes);
        }
    }
    bail!("no static busybox on this host: install it with `apt-get install busybox-static`")
}

/// Whether a 64-bit ELF program names no interpreter (elf(5): a program header of type 3, PT_INTERP).
fn is_static(elf: &[u8]) -> bool {
    let number = |at: usize, size: usize| -> Option<usize> {
        let bytes = elf.get(at..at + size)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
        )
    };
    let interpreted = || -> Option<bool> {
        let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        Some((0..count).any(|entry| number(table + entry * size, 4) == Some(3)))
    };
    elf.starts_with(b"\x7fELF\x02") && interpreted() == Some(false)
}

/// The UEFI firmware for QEMU: its code, and the template of its variables.
pub fn firmware() -> Result<(PathBuf, PathBuf)> {
    let folder = Path::new("/usr/share/OVMF");
    let pair = (folder.join("OVMF_CODE_4M.fd"), folder.join("OVMF_VARS_4M.fd"));
    if !pair.0.is_file() || !pair.1.is_file() {
        bail!(
            "no UEFI firmware in {}: install it with `apt-get install ovmf`",
            folder.display()
        );
    }
    Ok(pair)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_an_interpreter_is_not_static() {
        assert!(!is_static(&std::fs::read("/bin/sh").unwrap()));
        assert!(!is_static(b"#!/bin/sh\n"));
        assert!(!is_static(b"\x7fELF\x02"));
    }

    #[test]
    fn a_missing_image_says_how_to_get_it() {
        let error = Image::open(Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(
            error.contains("corten.raw") && error.contains("corten-image build --out /nonexistent`"),
            "{error}"
        );
    }
}
