//! What fleetctl says where it cannot do all that it was asked.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::Rig;

const RUNS: &str = "[Service]\nExecStart=/bin/true\n";

/// Puts a program `ssh` before the system's.
fn ssh(rig: &Rig, script: &str) {
    rig.file("ssh", &format!("#!/bin/sh\n{script}\n"));
    let path = rig.folder.path().join("ssh");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("an executable script");
}

pub fn status_shows_all_that_can_be_shown(rig: &Rig) {
    rig.file("good.service", RUNS);
    rig.file("idle.service", RUNS);
    rig.file("bad.service", "[Service]\nExecStart=/bin/false\n");
    rig.run("start good.service", 0);
    rig.run("start bad.service", 1);
    rig.run("submit idle.service", 0);
    ssh(
        rig,
        "case \"$*\" in *' -- bad.service') echo bad; exit 3;; *) echo good;; esac",
    );
    rig.prints("status good", "good\n");
    let both = "bad\n\ngood\n".to_owned();
    assert_eq!(rig.run("status bad good", 3), (both.clone(), String::new()));
    let (out, err) = rig.run("status none bad idle good", 1);
    assert_eq!(out, both);
    assert_eq!(
        err,
        "Unit none.service does not exist.\n\
         Unit idle.service does not appear to be loaded.\n\
         Nobody has asked for it: fleetctl start idle.service\n"
    );
    let (out, err) = rig.run("status", 2);
    assert!(
        out.is_empty() && err.starts_with("No units given: fleetctl status UNIT..."),
        "{out}{err}"
    );
}

pub fn ssh_that_fails_has_one_advice(rig: &Rig) {
    rig.file("web.service", RUNS);
    rig.run("start web.service", 0);
    for (words, advice) in [
        (
            "ssh: connect to host 127.0.0.1 port 22: Connection refused",
            "Nobody answers there",
        ),
        ("Host key verification failed.", "A host key that is not known"),
        (
            "core@127.0.0.1: Permission denied (publickey).",
            "Permission denied: the key",
        ),
    ] {
        ssh(rig, &format!("echo '{words}' >&2; exit 255"));
        let (_, err) = rig.run("status web", 255);
        let lines: Vec<&str> = err.lines().collect();
        assert_eq!(lines.len(), 3, "{err}");
        assert_eq!(lines[0], words);
        assert!(lines[1].starts_with("Unable to SSH to remote host: "), "{err}");
        assert!(lines[2].starts_with(advice), "{err}");
        let (_, err) = rig.run("--tunnel 127.0.0.1 list-units", 1);
        let lines: Vec<&str> = err.lines().collect();
        assert_eq!((lines.len(), lines[0]), (3, words), "{err}");
        assert!(lines[1].contains("failed initializing SSH client"), "{err}");
        assert!(lines[2].starts_with(advice), "{err}");
    }
}

pub fn what_was_only_asked_for_is_not_said_to_be_done(rig: &Rig) {
    rig.file("web.service", RUNS);
    rig.run("start web.service", 0);
    rig.prints("stop --no-block web", "Triggered unit web.service stop\n");
    rig.prints("unload --no-block web", "Triggered unit web.service unload\n");
}

pub fn unknown_names_are_told_and_no_failure(rig: &Rig) {
    rig.file("web.service", RUNS);
    for verb in ["stop", "unload", "destroy"] {
        rig.run("start web.service", 0);
        let none = (
            String::new(),
            "Units not found in registry: none.service\n".to_owned(),
        );
        assert_eq!(rig.run(&format!("{verb} none"), 0), none);
        rig.api.changes();
        let (_, err) = rig.run(&format!("{verb} none web"), 0);
        assert!(
            err.starts_with("Unit none.service not found in registry\n"),
            "{err}"
        );
        assert_eq!(rig.api.changes().len(), 1, "{verb}");
    }
}

pub fn what_is_destroyed_and_still_there_is_told(rig: &Rig) {
    let trouble = "machine 01234567 has trouble: systemd does not answer";
    rig.file("stuck.service", "[Service]\nExecStart=/bin/stuck\n");
    rig.run("start stuck.service", 0);
    let timed_out = format!(
        "Error waiting for units: timed out waiting for unit stuck.service to report state destroyed: \
         it waits for its machine: {trouble}\n"
    );
    assert_eq!(
        rig.run("destroy --timeout 1ms stuck", 1),
        (String::new(), timed_out.clone())
    );
    assert!(rig.api.changes().contains(&"DELETE stuck.service".to_owned()));
    let (_, err) = rig.run("status stuck", 1);
    assert_eq!(
        err,
        format!(
            "Unit stuck.service does not exist.\n\
             Unit stuck.service is still active (running) on 01234567.../127.0.0.1: {trouble}\n"
        )
    );
    rig.file("good.service", RUNS);
    rig.run("start good.service", 0);
    let (_, err) = rig.run("status good", 1);
    assert_eq!(err, format!("Unit good.service cannot be looked at: {trouble}\n"));
    rig.api.changes();
    let (_, err) = rig.run("destroy --timeout 1ms stuck none", 1);
    assert_eq!(
        err,
        format!(
            "Unit none.service not found in registry\n\
             Unit stuck.service was destroyed before, and is still on a machine\n{timed_out}"
        )
    );
    rig.api.recover();
    let (_, err) = rig.run("destroy stuck", 0);
    assert_eq!(err, "Units not found in registry: stuck.service\n");
    assert!(rig.api.changes().is_empty());
}

pub fn an_election_is_waited_for(rig: &Rig) {
    rig.file("web.service", RUNS);
    rig.api.elect(2);
    rig.run("start web.service", 0);
    rig.api.elect(2);
    rig.prints("destroy web.service", "Destroyed web.service\n");
    assert_eq!(
        rig.api.changes(),
        [
            "PUT web.service with its file inactive",
            "PUT web.service launched",
            "DELETE web.service"
        ]
    );
}

pub fn a_command_that_became_a_value_is_missed(rig: &Rig) {
    let (out, err) = rig.run("--tunnel list-units", 2);
    assert!(
        out.is_empty() && err.starts_with("No command given. "),
        "{out}{err}"
    );
    for line in ["--version", "--help"] {
        assert!(!rig.run(line, 0).0.is_empty());
    }
    // One unit, and the usage says so.
    for command in ["cat", "journal"] {
        let (out, _) = rig.run(&format!("{command} --help"), 0);
        assert!(
            out.contains("<UNIT>\n") && !out.contains("[UNIT]...\n\n"),
            "{out}"
        );
    }
}

pub fn the_keys_of_a_list_are_named(rig: &Rig) {
    for (list, wrong, keys) in [
        (
            "list-units --fields=unit,nonsense",
            "Invalid key in output format: \"nonsense\"",
            "active, hash, load, machine, reason, sub, unit",
        ),
        (
            "list-machines --fields=",
            "Must define output format",
            "ip, machine, metadata",
        ),
    ] {
        let expected = (String::new(), format!("{wrong}\nValid keys: {keys}\n"));
        assert_eq!(rig.run(list, 1), expected);
    }
}

pub fn a_unit_that_is_too_large_is_not_sent(rig: &Rig) {
    let line = format!("Environment=A={}\n", "x".repeat(984));
    let text = format!("[Service]\n{}", line.repeat(3900));
    rig.file("big.service", &text);
    let size = text.len();
    let (_, err) = rig.run("submit big.service", 1);
    assert_eq!(
        err,
        format!("Error creating units: Unit big.service is too large: {size} bytes, at most 1572864\n")
    );
    assert!(rig.api.changes().is_empty());
    rig.file("good.service", &format!("[Service]\n{}", line.repeat(1500)));
    rig.prints("submit good.service", "Unit good.service inactive\n");
}

pub fn metadata_that_is_ignored_is_told(rig: &Rig) {
    rig.file("web.service", &format!("{RUNS}[X-Fleet]\nMachineMetadata=zone\n"));
    let (out, err) = rig.run("start web.service", 0);
    assert!(out.contains("Unit web.service launched on "), "{out}");
    assert_eq!(
        err,
        "WARNING: Unit web.service: MachineMetadata=zone in [X-Fleet] is ignored: it is not MachineMetadata=KEY=VALUE\n"
    );
}
