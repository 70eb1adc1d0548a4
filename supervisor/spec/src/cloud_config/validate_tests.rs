//! Tests of `validate`: each rule with its message and line (contract `os-image.md` section 2.5).
#![allow(clippy::unwrap_used)]

use super::super::user_data::report;

fn lines(body: &str) -> Vec<String> {
    report(&format!("#cloud-config\n{body}"))
        .entries
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn nothing_to_say_about_good_files() {
    for good in [
        "",
        "hostname: true\n",
        "hostname: 4\n",
        "hostname:\n",
        "ssh-authorized-keys: []\n",
        "users:\n  - name: good\n    no-create-home: on\n",
        "manage_etc_hosts: localhost\n",
        "coreos:\n  units:\n    - name: a.service\n      enable: true\n      command: start\n",
        "coreos:\n  etcd2:\n    proxy: on\n    heartbeat-interval: 100\n",
        "coreos:\n  fleet:\n    verbosity: 2\n    agent_ttl: 30s\n    etcd_request_timeout: 1\n",
        "coreos:\n  etcd:\n    discovery: https://discovery.example.com/0000\n",
        "write_files:\n  - path: /tmp/usr/valid\n    permissions: 0644\n",
        "write_files:\n  - path: /hello\n    encoding: gzip+base64\n    content: H4sIAOC3tVQAA8tIzcnJ5wIAIDA6NgYAAAA=\n",
    ] {
        assert_eq!(lines(good), Vec::<String>::new(), "{good}");
    }
}

#[test]
fn every_rule_says_its_line() {
    for (bad, wanted) in [
        ("test:\n", "line 2: warning: unrecognized key \"test\""),
        (
            "coreos:\n  etcd:\n    bad:\n",
            "line 4: warning: unrecognized key \"bad\"",
        ),
        (
            "coreos:\n  units:\n    - hello\n",
            "line 4: warning: incorrect type for \"units[0]\" (want struct)",
        ),
        (
            "coreos:\n  units:\n    - enable: 4\n",
            "line 4: warning: incorrect type for \"enable\" (want bool)",
        ),
        (
            "coreos: true\n",
            "line 2: warning: incorrect type for \"coreos\" (want struct)",
        ),
        (
            "coreos:\n  etcd2:\n    max_wals: x\n",
            "line 4: warning: incorrect type for \"max_wals\" (want int)",
        ),
        (
            "coreos:\n  fleet:\n    etcd_request_timeout: x\n",
            "line 4: warning: incorrect type for \"etcd_request_timeout\" (want float64)",
        ),
        (
            "hostname:\n  - name\n",
            "line 2: warning: incorrect type for \"hostname\" (want string)",
        ),
        (
            "ssh_authorized_keys: key\n",
            "line 2: warning: incorrect type for \"ssh_authorized_keys\" (want []string)",
        ),
        (
            "ssh_authorized_keys:\n  - key: value\n",
            "line 3: warning: incorrect type for \"ssh_authorized_keys[0]\" (want string)",
        ),
        (
            "users:\n  bad:\n",
            "line 2: warning: incorrect type for \"users\" (want []struct)",
        ),
        (
            "users:\n  - - bad\n",
            "line 3: warning: incorrect type for \"users[0]\" (want struct)",
        ),
        (
            "coreos:\n  etcd:\n    proxy: on\n",
            "line 4: warning: deprecated key \"proxy\" (etcd2 options no longer work for etcd)",
        ),
        (
            "coreos:\n  units:\n    - command: lol\n",
            "line 4: error: invalid value lol for \"command\"",
        ),
        (
            "coreos:\n  update:\n    reboot_strategy: always\n",
            "line 4: error: invalid value always for \"reboot_strategy\"",
        ),
        (
            "manage_etc_hosts: true\n",
            "line 2: error: invalid value true for \"manage_etc_hosts\"",
        ),
        (
            "write_files:\n  - permissions: u+x\n",
            "line 3: error: invalid value u+x for \"permissions\"",
        ),
        (
            "write_files:\n  - encoding: base64\n    content: '*'\n",
            "line 4: error: content cannot be decoded as \"base64\"",
        ),
        (
            "write_files:\n  - path: /usr/invalid\n",
            "line 3: error: file cannot be written to a read-only filesystem",
        ),
        (
            "write-files:\n  - path: /tmp/../usr/invalid\n",
            "line 3: error: file cannot be written to a read-only filesystem",
        ),
        (
            "coreos:\n  write-files:\n    - path: /hi\n",
            "line 3: info: write_files doesn't belong under coreos",
        ),
        (
            "coreos:\n  etcd:\n    discovery: disco\n",
            "line 4: warning: discovery URL is not valid",
        ),
        (
            "hostname: a\nhostname: b\n",
            "line 3: warning: duplicate key \"hostname\": only the last one counts",
        ),
    ] {
        assert!(
            lines(bad).iter().any(|line| line == wanted),
            "{bad}: {:?}, want {wanted}",
            lines(bad)
        );
    }
}

#[test]
fn forms() {
    assert!(report("#!/bin/sh\nexit 1\n").entries.is_empty());
    let other = report("hostname: x\n");
    assert_eq!(
        other.to_string(),
        "line 1: error: must be \"#cloud-config\" or begin with \"#!\"\n"
    );
    let broken = report("#cloud-config\nhostname: [\n");
    assert_eq!(broken.entries.len(), 1);
    assert!(broken.has_errors());
}
