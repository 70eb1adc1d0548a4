//! Our own programs: compiled here by cargo, or taken as they are given.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Target of the static `/init`.
const STATIC_TARGET: &str = "x86_64-unknown-linux-gnu";
const STATIC_FLAGS: &str = r#"target.x86_64-unknown-linux-gnu.rustflags=["-C","target-feature=+crt-static"]"#;

/// `/usr/bin/corten`.
pub fn corten(repository: &Path) -> Result<PathBuf> {
    cargo(repository, "corten", &[])
}

/// `/init`, linked statically.
pub fn init(repository: &Path) -> Result<PathBuf> {
    cargo(
        repository,
        "corten-init",
        &["--target", STATIC_TARGET, "--config", STATIC_FLAGS],
    )
}

/// Builds a package's program of the same name and asks cargo where it lies.
fn cargo(repository: &Path, package: &str, further: &[&str]) -> Result<PathBuf> {
    let out = Command::new("cargo")
        .current_dir(repository)
        .args([
            "build",
            "--release",
            "--locked",
            "--message-format=json-render-diagnostics",
            "-p",
            package,
            "--bin",
            package,
        ])
        .args(further)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context(
            "starting cargo; install the Rust toolchain (https://rustup.rs), or give --binary and --init",
        )?;
    if !out.status.success() {
        bail!("cargo build -p {package} failed ({})", out.status);
    }
    String::from_utf8_lossy(&out.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|m| m["target"]["name"] == package)
        .find_map(|m| m["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo built {package} but named no program"))
}
