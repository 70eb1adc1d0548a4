//! Choosing and fetching the image's packages.
//!
//! Duty: apt of the tool tree resolves the list against an empty system, checks signatures and fetches; every `.deb`
//! stays in the cache with its SHA-256. A warm build neither resolves nor fetches; `--refresh` does both again.

use crate::digest::{self, Digest};
use crate::mirror::Mirror;
use crate::rules;
use crate::steps::Steps;
use crate::tools::{Network, Tools};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// One package as fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Architecture: `amd64` or `all`.
    pub architecture: String,
    /// SHA-256 of the `.deb`.
    pub sha256: String,
    /// File name in the folder.
    pub file: String,
}

/// The fetched packages, sorted by name.
#[derive(Debug, Clone)]
pub struct Packages {
    /// Folder of the `.deb` files.
    pub folder: PathBuf,
    /// What lies in it, without those of [`rules::dropped`].
    pub list: Vec<Package>,
}

/// Where the list of a folder is kept.
const INDEX: &str = "packages.json";

/// Fetches what [`rules::packages`] asks for.
pub fn fetch(steps: &Steps, tools: &Tools, mirror: &Mirror, refresh: &str) -> Result<Packages> {
    let digest = Digest::of("packages", 1)
        .text(&tools.identity())
        .list(rules::packages())
        .list(rules::dropped())
        .list(mirror.lines(rules::SUITE))
        .text(refresh);
    let what = format!(
        "resolving and fetching {} packages and what they need",
        rules::packages().len()
    );
    let folder = steps.cached("packages", &what, &digest, |dir| {
        fs::create_dir(dir.join("partial"))?;
        tools.run(&fetch_script(), &[(dir, "/packages")], Network::Reachable)?;
        fs::remove_dir_all(dir.join("partial"))?;
        let list = index(tools, dir)?;
        fs::write(dir.join(INDEX), serde_json::to_string_pretty(&list)?)?;
        Ok(())
    })?;
    let text = fs::read_to_string(folder.join(INDEX)).with_context(|| format!("reading {INDEX}"))?;
    Ok(Packages {
        list: serde_json::from_str(&text)?,
        folder,
    })
}

fn fetch_script() -> String {
    format!(
        "apt-get -qq update\n\
         apt-get -qq -y -o Dir::State::status=/dev/null -o Dir::Cache::archives=/packages -o Debug::NoLocking=true \
         -o APT::Install-Recommends=false -o APT::Sandbox::User=root --download-only install {}\n",
        rules::packages().join(" ")
    )
}

/// Reads name, version and architecture out of every `.deb`.
fn index(tools: &Tools, dir: &Path) -> Result<Vec<Package>> {
    let script = "cd /packages; for f in *.deb; do dpkg-deb -W --showformat='${Package} ${Version} ${Architecture} ' $f; echo $f; done";
    let mut list = Vec::new();
    let dropped = rules::dropped();
    for line in tools.run(script, &[(dir, "/packages")], Network::None)?.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [name, version, architecture, file] = words[..] else {
            bail!("dpkg-deb said {line:?} where name, version, architecture and file were asked for");
        };
        if dropped.contains(&name) {
            fs::remove_file(dir.join(file))?;
            continue;
        }
        list.push(Package {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: architecture.to_owned(),
            sha256: digest::sha256_of(&dir.join(file))?,
            file: file.to_owned(),
        });
    }
    list.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(list)
}
