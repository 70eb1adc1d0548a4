//! What the host must have, and how to get it; running the host's programs.
//!
//! Duty: everything missing is named at once and before anything is done, with the package that brings it.

use anyhow::{Context, Result, bail};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs of the host that a build runs, with Debian's packages.
const NEEDED: [(&str, &str); 6] = [
    ("mmdebstrap", "mmdebstrap"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
    ("chroot", "coreutils"),
    ("cp", "coreutils"),
    ("apt-get", "apt"),
];

/// Refuses to begin where something is missing.
pub fn check() -> Result<()> {
    let missing: Vec<_> = NEEDED
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .collect();
    if !missing.is_empty() {
        let programs: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
        let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
        packages.dedup();
        bail!(
            "this host lacks {}; on Debian: apt-get install {}",
            programs.join(", "),
            packages.join(" ")
        );
    }
    if !Path::new("/usr/share/keyrings/debian-archive-keyring.gpg").exists() {
        bail!("this host lacks Debian's archive keys; on Debian: apt-get install debian-archive-keyring");
    }
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "building the image needs root, to unpack packages with their owners and to enter the tool tree; run it with sudo"
        );
    }
    Ok(())
}

fn find(program: &str) -> Option<PathBuf> {
    let paths = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&paths)
        .chain(system)
        .map(|dir| dir.join(program))
        .find(|p| p.is_file())
}

/// Runs a command; its output is shown only when it fails.
pub fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.output().with_context(|| format!("starting {name}"))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let said = [out.stdout, out.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().collect();
    let tail = lines[lines.len().saturating_sub(30)..].join("\n  ");
    bail!("{name} failed ({}):\n  {tail}", out.status)
}
