//! What `corten-vm` says without a machine: mistakes, and nothing to do. Needs no root, no image and no QEMU.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};

fn corten_vm(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_corten-vm"))
        .arg("--dir")
        .arg(dir)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn mistakes_are_told_without_a_step() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("cluster");
    for (args, code, said) in [
        (&["up", "--machines", "0"][..], 2, "1..=200"),
        (&["up", "--machine", "3"], 2, "--machines"),
        (&["ssh", "node1"], 1, "no cluster is up in"),
        (&["status"], 1, "no cluster is up in"),
        (
            &["fleetctl", "--via", "node2", "list-units", "--full"],
            1,
            "no cluster is up in",
        ),
    ] {
        let (found, _, error) = corten_vm(&dir, args);
        assert_eq!(found, code, "{args:?}: {error}");
        assert!(
            error.contains(said) && !error.contains("step") && !error.contains("logs are in"),
            "{error}"
        );
    }
    assert!(!dir.exists(), "nothing was made");
}

#[test]
fn ending_nothing_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said, _) = corten_vm(folder.path(), &["down"]);
    assert_eq!(code, 0);
    assert!(
        said.starts_with("no cluster is up in ") && said.ends_with(": nothing to end\n"),
        "{said}"
    );
}

#[test]
fn a_reader_that_goes_away_ends_us_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_corten-vm"))
        .arg("--dir")
        .arg(folder.path())
        .arg("down")
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
