//! A reader that goes away (`docker ps | head -1`) ends every program that prints as SIGPIPE would, with the shell's
//! 141 and without a word.
#![allow(clippy::unwrap_used)]

use std::process::Command;

/// Runs `corten` with these words; nobody reads its standard output.
fn unread(words: &[&str]) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_corten"))
        .args(words)
        .stdout(writer)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

#[test]
fn every_program_ends_quietly_when_nobody_reads() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("user_data");
    std::fs::write(&file, "#cloud-config\nunknown: x\n").unwrap();
    for words in [
        &["version"][..],
        &["help"],
        &["cloud-init", "help"],
        &["cloud-init", "validate", file.to_str().unwrap()],
        &["docker", "--help"],
        &["docker", "version"],
        &["docker", "run", "--help"],
        &["fleetctl", "--help"],
        &["fleetctl", "help", "start"],
        &["fleetctl", "version"],
        &["etcdctl", "--help"],
        &["etcdctl", "--version"],
    ] {
        assert_eq!(unread(words), (Some(141), String::new()), "{words:?}");
    }
}
