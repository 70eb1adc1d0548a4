//! Tests of `foresee`, by way of the report a user sees.
#![allow(clippy::unwrap_used)]

use super::super::user_data::report;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

fn lines(body: &str) -> Vec<String> {
    let entries = report(&format!("#cloud-config\n{body}")).entries;
    entries.iter().map(ToString::to_string).collect()
}

#[test]
fn good_keys_units_and_users_are_passed_in_silence() {
    for good in [
        format!("ssh_authorized_keys:\n  - {KEY}\n  - {KEY} me@laptop\n"),
        format!("ssh-authorized-keys:\n  - 'command=\"echo a b\",no-pty {KEY} c'\n"),
        format!("users:\n  - name: me\n    groups: [sudo, docker]\n    ssh-authorized-keys:\n      - {KEY}\n"),
        "coreos:\n  units:\n    - name: a.service\n      content: |\n        # one\n        [Service]\n        \
         ExecStart=/bin/a \\\n          b\n"
            .to_owned(),
        "coreos:\n  units:\n    - name: etcd2.service\n      command: start\n".to_owned(),
    ] {
        assert_eq!(lines(&good), Vec::<String>::new(), "{good}");
    }
}

#[test]
fn what_a_machine_would_refuse_is_said_with_key_and_line() {
    let table = [
        (
            "hostname: a b\n",
            "line 2: error: \"hostname\": \"a b\" is not a host name",
        ),
        (
            "write_files:\n  - path: etc/x\n",
            "line 3: error: \"path\": \"etc/x\" is not an absolute path",
        ),
        (
            "write_files:\n  - content: x\n",
            "line 3: error: a file without \"path\" is left out",
        ),
        (
            "users:\n  - name: 0x\n",
            "line 3: error: \"name\": \"0x\" is not a user name",
        ),
        (
            "users:\n  - gecos: x\n",
            "line 3: warning: user without name is skipped",
        ),
        (
            "ssh-authorized-keys:\n  - AAAA me@laptop\n",
            "line 3: warning: \"ssh-authorized-keys\": \"AAAA me@laptop\" is not an SSH public key",
        ),
        (
            "users:\n  - name: me\n    ssh_authorized_keys:\n      - ssh-rsa AAAA...\n",
            "line 5: warning: \"ssh_authorized_keys\": \"ssh-rsa AAAA...\" is not an SSH public key",
        ),
        (
            "coreos:\n  units:\n    - command: start\n",
            "line 4: warning: unit without name is skipped",
        ),
        (
            "coreos:\n  units:\n    - name: \"\"\n",
            "line 4: warning: unit without name is skipped",
        ),
        (
            "coreos:\n  units:\n    - name: web\n",
            "line 4: error: \"name\": \"web\" is not a unit name",
        ),
        (
            "coreos:\n  units:\n    - name: web.foo\n",
            "line 4: error: \"name\": \"web.foo\" is not a unit name",
        ),
        (
            "coreos:\n  units:\n    - name: etcd2.service\n      mask: true\n",
            "line 4: warning: \"mask\" and \"content\" have no effect here: etcd2.service is a name",
        ),
        (
            "coreos:\n  units:\n    - name: fleet.service\n      mask: true\n",
            "line 4: warning: \"mask\" and \"content\" have no effect here: fleet.service is a name",
        ),
        (
            "coreos:\n  units:\n    - name: a.service\n      content: |\n        [Service\n        ExecStart=/a\n",
            "line 5: warning: \"content\" of a.service: its line 1 opens a section and does not close it: \
             \"[Service\" lacks a ]",
        ),
        (
            "coreos:\n  units:\n    - name: a.service\n      drop-ins:\n        - name: b.conf\n          content: A=b\n",
            "line 7: warning: \"content\" of a.service.d/b.conf: it holds no [Section] with an option in it",
        ),
        (
            "coreos:\n  update:\n    reboot-strategy: off\n",
            "line 3: warning: coreos.update is written, but",
        ),
        (
            "write_files:\n  - path: /a\n    permissions: '0999'\n",
            "line 4: error: invalid value 0999 for \"permissions\"",
        ),
        (
            "coreos:\n  update:\n    reboot-strategy: always\n",
            "line 4: error: invalid value always for \"reboot-strategy\"",
        ),
        (
            "reboot-never: x\n",
            "line 2: warning: unrecognized key \"reboot-never\"",
        ),
    ];
    for (bad, wanted) in table {
        let lines = lines(bad);
        assert!(
            lines.iter().any(|line| line.starts_with(wanted)),
            "{bad}: {lines:#?}, want {wanted}"
        );
    }
}

#[test]
fn a_file_below_usr_is_told_once() {
    let lines = lines("write_files:\n  - path: /usr/x\n");
    assert_eq!(
        lines,
        ["line 3: error: file cannot be written to a read-only filesystem"]
    );
}

#[test]
fn an_empty_file_says_so() {
    assert_eq!(report("").to_string(), "line 1: warning: the file is empty\n");
}
