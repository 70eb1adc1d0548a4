//! The finished tree of /usr: the base, our binary under its names, `units/` as it lies, and the factory /etc.
//!
//! What maintainer scripts do on other systems is done here once, from data: users (sysusers.d), enabled units
//! (presets), the certificates' bundle. The result's /etc moves to /usr/share/factory/etc, over which each machine
//! lays its own changes.

use crate::digest::Digest;
use crate::host;
use crate::steps::Steps;
use crate::tools::{Network, Tools};
use anyhow::{Context, Result, bail};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names under which our one binary answers.
const LINKS: [&str; 5] = ["docker", "etcd", "etcdctl", "etcdutl", "fleetctl"];

/// What the tree is made of.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The base tree.
    pub base: PathBuf,
    /// The repository's `units` folder.
    pub units: PathBuf,
    /// Our binary.
    pub binary: PathBuf,
    /// Version of the image, as in os-release.
    pub version: String,
}

/// The cached tree; `RESULT/usr` is what goes into the file system, `RESULT/ours` lists our files.
pub fn make(steps: &Steps, tools: &Tools, inputs: &Inputs) -> Result<PathBuf> {
    let ours = list_files(&inputs.units)?;
    let mut digest = Digest::of("stage", 1)
        .step(&inputs.base)
        .text(&tools.identity())
        .text(&inputs.version)
        .file(&inputs.binary)?;
    for file in &ours {
        digest = digest.text(file);
        let path = inputs.units.join(file);
        digest = match fs::read_link(&path) {
            Ok(target) => digest.text(&target.to_string_lossy()),
            Err(_) => digest.text(&mode_of(&path)?.to_string()).file(&path)?,
        };
    }
    steps.cached("stage", "putting /usr together", &digest, |dir| {
        copy_base(&inputs.base, dir)?;
        install_binary(tools, inputs, dir)?;
        for file in &ours {
            install(&inputs.units.join(file), &dir.join(file))?;
        }
        write_os_release(dir, &inputs.version)?;
        fs::create_dir_all(dir.join("etc/ssl/certs"))?;
        move_factory_etc(dir)?;
        tools.run(SCRIPT, &[(dir, "/stage")], Network::None)?;
        let mut list: Vec<String> = ours.clone();
        list.extend(["usr/bin/corten".to_owned(), "usr/lib/os-release".to_owned()]);
        list.sort();
        fs::write(dir.join("ours"), list.join("\n") + "\n")?;
        Ok(())
    })
}

/// Runs inside the tool tree on /stage. `etc` is complete when it moves to the factory.
const SCRIPT: &str = r#"
cd /stage
cat usr/share/ca-certificates/mozilla/*.crt > etc/ssl/certs/ca-certificates.crt
rm -rf usr/share/ca-certificates
ln -s ../usr/lib/os-release etc/os-release
ln -s ../proc/self/mounts etc/mtab
ln -s ../run/systemd/resolve/stub-resolv.conf etc/resolv.conf
systemd-sysusers --root=/stage
rm -f etc/passwd- etc/shadow- etc/group- etc/gshadow- etc/.pwd.lock
systemctl --root=/stage preset-all 2>&1
ldconfig -X -r /stage
mkdir -p usr/share/factory var
ldconfig -r /stage && rm -rf var
chmod 0440 etc/sudoers etc/sudoers.d/* 2>/dev/null || true
rm -rf usr/share/factory/etc
mv etc usr/share/factory/etc
"#;

/// The base by hard links: cheap, and nothing here writes into a file in place. /etc is copied, for tools do.
fn copy_base(base: &Path, dir: &Path) -> Result<()> {
    host::run(
        Command::new("cp")
            .args(["-al"])
            .arg(base.join("usr"))
            .arg(dir.join("usr")),
    )?;
    host::run(
        Command::new("cp")
            .args(["-a"])
            .arg(base.join("etc"))
            .arg(dir.join("etc")),
    )?;
    Ok(())
}

/// Our files' /etc lies under the factory's name already; until the end it is worked on as /etc.
fn move_factory_etc(dir: &Path) -> Result<()> {
    let factory = dir.join("usr/share/factory/etc");
    if factory.is_dir() {
        host::run(
            Command::new("cp")
                .args(["-a", "--remove-destination"])
                .arg(factory.join("."))
                .arg(dir.join("etc")),
        )?;
    }
    Ok(())
}

fn install_binary(tools: &Tools, inputs: &Inputs, dir: &Path) -> Result<()> {
    let bin = dir.join("usr/bin");
    replace(&bin.join("corten"))?;
    fs::copy(&inputs.binary, bin.join("corten"))
        .with_context(|| format!("copying {}", inputs.binary.display()))?;
    fs::set_permissions(bin.join("corten"), Permissions::from_mode(0o755))?;
    tools.run(
        "strip --strip-debug --enable-deterministic-archives /stage/usr/bin/corten",
        &[(dir, "/stage")],
        Network::None,
    )?;
    for link in LINKS {
        replace(&bin.join(link))?;
        symlink("corten", bin.join(link))?;
    }
    Ok(())
}

/// Copies a file or link of ours; modes are 0755 for programs and 0644 for the rest, whatever the checkout's umask.
fn install(from: &Path, to: &Path) -> Result<()> {
    let parent = to.parent().context("a file without a folder")?;
    make_folders(parent)?;
    replace(to)?;
    if let Ok(target) = fs::read_link(from) {
        return Ok(symlink(target, to)?);
    }
    fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    fs::set_permissions(to, Permissions::from_mode(mode_of(from)?))?;
    Ok(())
}

fn make_folders(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    make_folders(dir.parent().context("no parent folder")?)?;
    fs::create_dir(dir)?;
    Ok(fs::set_permissions(dir, Permissions::from_mode(0o755))?)
}

fn mode_of(path: &Path) -> Result<u32> {
    Ok(if path.metadata()?.permissions().mode() & 0o100 == 0 {
        0o644
    } else {
        0o755
    })
}

fn replace(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("replacing {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn write_os_release(dir: &Path, version: &str) -> Result<()> {
    let text = format!(
        "ID=corten\nID_LIKE=debian\nNAME=Corten\nPRETTY_NAME=\"Corten {version}\"\nVERSION=\"{version}\"\n\
         VERSION_ID={version}\nIMAGE_ID=corten\nIMAGE_VERSION={version}\nDEFAULT_HOSTNAME=localhost\n"
    );
    let path = dir.join("usr/lib/os-release");
    replace(&path)?;
    Ok(fs::write(path, text)?)
}

/// Every file and link below `usr` of a folder, sorted, as paths relative to the folder.
pub fn list_files(root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    let mut folders = vec![root.join("usr")];
    while let Some(dir) = folders.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() || kind.is_symlink() {
                files.push(entry.path().strip_prefix(root)?.to_string_lossy().into_owned());
            } else {
                bail!("{} is neither file nor link", entry.path().display());
            }
        }
    }
    files.sort();
    Ok(files)
}
