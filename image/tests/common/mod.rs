//! The built image, for tests that look at it or boot it.
#![allow(clippy::unwrap_used, dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// A file of the built image.
pub fn built(name: &str) -> PathBuf {
    let path = repository().join("out/image").join(name);
    assert!(
        path.exists(),
        "{} is missing; build the image first: just image",
        path.display()
    );
    path
}

/// The cached step's newest result.
pub fn cached(step: &str) -> PathBuf {
    let cache = repository().join("out/cache");
    let newest = fs::read_dir(&cache)
        .unwrap_or_else(|e| panic!("{}: {e}; build the image first: just image", cache.display()))
        .flatten()
        .filter(|e| {
            e.file_name()
                .to_string_lossy()
                .rsplit_once('-')
                .is_some_and(|(name, _)| name == step)
        })
        .max_by_key(|e| e.metadata().unwrap().modified().unwrap());
    newest
        .unwrap_or_else(|| panic!("no cached {step}; build the image first: just image"))
        .path()
}

/// The tool tree of that build.
pub fn tools() -> corten_image::tools::Tools {
    corten_image::tools::Tools::at(&cached("tools"), 0)
}

/// Runs a command that must succeed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(
        out.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}
