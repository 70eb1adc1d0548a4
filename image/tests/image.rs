//! What the built image is: only what it should hold, as systemd and veritysetup judge it, and the same bytes again.
//!
//! These need root and a built image (`just image`), so they are ignored unless asked for: `-- --include-ignored`.
#![allow(clippy::unwrap_used)]

mod common;

use common::{built, cached, repository, run, tools};
use corten_image::digest;
use corten_image::pattern;
use corten_image::tools::Network;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const WHY: &str = "needs root and a built image";

#[test]
#[ignore = "needs root and a built image"]
fn veritysetup_agrees_with_our_hashes() {
    let usr = cached("usr");
    let root = digest::hex(&fs::read(usr.join("roothash")).unwrap());
    let script = format!("veritysetup verify /usr-out/usr.erofs /usr-out/usr.verity {root}");
    tools()
        .run(&script, &[(&usr, "/usr-out")], Network::None)
        .expect(WHY);
    let wrong = script.replace(&root[..2], if root.starts_with("00") { "11" } else { "00" });
    assert!(tools().run(&wrong, &[(&usr, "/usr-out")], Network::None).is_err());
    assert!(fs::read_to_string(built("cmdline")).unwrap().contains(&root));
}

#[test]
#[ignore = "needs root and a built image"]
fn nothing_lies_inside_that_should_not() {
    let stage = cached("stage");
    for unwanted in [
        "usr/bin/apt*",
        "usr/bin/dpkg*",
        "usr/bin/perl*",
        "usr/bin/python*",
        "usr/lib/apt",
        "usr/lib/dpkg",
        "usr/share/perl*",
        "usr/lib/x86_64-linux-gnu/perl*",
        "usr/share/doc",
        "usr/share/man",
        "usr/share/info",
        "usr/share/locale",
        "usr/share/i18n",
        "usr/lib/locale",
        "usr/share/factory/etc/apt",
        "usr/share/factory/etc/machine-id",
        "usr/share/factory/etc/ssh/ssh_host*",
        "usr/share/factory/etc/*-",
    ] {
        let found = pattern::find(&stage, unwanted).unwrap();
        assert!(found.is_empty(), "{unwanted} is inside: {found:?}");
    }
    for wanted in [
        "corten", "fleetctl", "etcdctl", "docker", "sudo", "nft", "ip", "ssh", "bash",
    ] {
        let found = pattern::find(&stage, &format!("usr/*bin/{wanted}")).unwrap();
        let programs = found.iter().map(|path| path.canonicalize().unwrap());
        let programs: BTreeSet<PathBuf> = programs.collect();
        assert_eq!(programs.len(), 1, "{wanted}: {found:?}");
    }
}

#[test]
#[ignore = "needs root and a built image"]
fn systemd_finds_no_fault_in_our_units() {
    let stage = cached("stage");
    let ours = fs::read_to_string(stage.join("ours")).unwrap();
    let units: Vec<&str> = ours
        .lines()
        .filter_map(|l| l.strip_prefix("usr/lib/systemd/system/"))
        .filter(|l| !l.contains('/') && !l.contains("@."))
        .collect();
    assert!(units.len() > 5, "{units:?}");
    let script = format!(
        "systemd-analyze verify --man=no --generators=no --root=/stage {} 2>&1",
        units.join(" ")
    );
    let said = tools()
        .run(&script, &[(&stage, "/stage")], Network::None)
        .expect(WHY);
    assert_eq!(said.trim(), "", "systemd-analyze verify");
}

#[test]
#[ignore = "needs root and a built image"]
fn the_account_core_is_as_promised() {
    let etc = cached("stage").join("usr/share/factory/etc");
    let passwd = fs::read_to_string(etc.join("passwd")).unwrap();
    assert!(
        passwd.contains("\ncore:x:500:500:Corten operator:/home/core:/bin/bash\n"),
        "{passwd}"
    );
    let groups = fs::read_to_string(etc.join("group")).unwrap();
    for group in ["sudo", "wheel", "docker", "fleet", "systemd-journal"] {
        let line = groups
            .lines()
            .find(|l| l.starts_with(&format!("{group}:")))
            .unwrap_or_default();
        assert!(
            line.rsplit([':', ',']).any(|member| member == "core"),
            "{group}: {line:?}"
        );
    }
}

#[test]
#[ignore = "needs root and a built image"]
fn the_manifest_tells_the_truth() {
    let manifest: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(built("manifest.json")).unwrap()).unwrap();
    for name in ["vmlinuz", "initramfs", "cmdline", "corten.efi"] {
        let sum = digest::sha256_of(&built(name)).unwrap();
        assert_eq!(manifest["artifacts"][name]["sha256"], sum, "{name}");
    }
    let packages = manifest["packages"].as_array().unwrap();
    assert!(
        packages
            .iter()
            .any(|p| p["name"] == "systemd" && p["sha256"].as_str().unwrap().len() == 64)
    );
    assert!(
        manifest["files"]
            .as_object()
            .unwrap()
            .contains_key("/usr/bin/corten")
    );
    assert!(manifest["download_bytes"].as_u64().unwrap() < 100 << 20);
}

/// Two builds that share only the fetched packages and the tools: other folders, other umask, other time zone.
#[test]
#[ignore = "needs root and a built image"]
fn the_same_inputs_give_the_same_bytes() {
    let folder = tempfile::tempdir_in(repository().join("out")).unwrap();
    let program = env!("CARGO_BIN_EXE_corten-image");
    let build = |name: &str, umask: &str, zone: &str| {
        let dir = folder.path().join(name);
        fs::create_dir_all(dir.join("cache")).unwrap();
        for step in ["tools", "packages"] {
            let from = cached(step);
            let to = dir.join("cache").join(from.file_name().unwrap());
            run("cp", &["-al", from.to_str().unwrap(), to.to_str().unwrap()]);
        }
        let refreshed = repository().join("out/cache/refreshed");
        if refreshed.exists() {
            fs::copy(refreshed, dir.join("cache/refreshed")).unwrap();
        }
        let script = format!(
            "umask {umask}; exec {program} build --source-date-epoch 1700000000 --binary {program} --init {program} --out {}",
            dir.join("image").display()
        );
        let out = Command::new("sh")
            .args(["-c", &script])
            .env("TZ", zone)
            .current_dir(repository())
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(
            said.contains("packages  unchanged"),
            "the test must not fetch:\n{said}"
        );
        dir.join("image")
    };
    let (one, two) = (build("one", "022", "UTC"), build("two", "077", "Asia/Tokyo"));
    for name in [
        "corten.raw",
        "vmlinuz",
        "initramfs",
        "cmdline",
        "corten.efi",
        "manifest.json",
    ] {
        assert!(
            same(&one.join(name), &two.join(name)),
            "{name} differs; kept in {}",
            folder.keep().display()
        );
    }
}

fn same(one: &Path, two: &Path) -> bool {
    Command::new("cmp")
        .arg("--quiet")
        .args([one, two])
        .status()
        .unwrap()
        .success()
}
