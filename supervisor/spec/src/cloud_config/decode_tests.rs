//! Tests of `decode`: what a good file comes to, and that a bad value costs its entry and nothing else.
#![allow(clippy::unwrap_used)]

use super::super::user_data;
use super::*;

fn read(body: &str) -> (CloudConfig, Vec<String>) {
    let parsed = user_data::parse(&format!("#cloud-config\n{body}"));
    let report = parsed.report.entries.iter().map(ToString::to_string).collect();
    (parsed.config, report)
}

#[test]
fn groups_become_variables() {
    let (config, report) = read(
        "coreos:\n  etcd2:\n    name: n1\n    cors: '*'\n    debug: false\n    strict-reconfig-check: true\n    \
         snapshot_count: 0\n    heartbeat-interval: 250\n    proxy: off\n  etcd:\n    snapshot_count: 7\n  fleet:\n    \
         public-ip: 10.0.0.1\n    metadata: region=eu,disk=ssd\n    engine_reconcile_interval: 2\n  flannel:\n    \
         interface: eth1\n  locksmith:\n    window-start: 14:00\n    endpoint: http://x\n  update:\n    \
         reboot-strategy: off\n    group: stable\n",
    );
    assert_eq!(report, Vec::<String>::new());
    let got: Vec<(Group, Vec<String>)> = config
        .groups
        .iter()
        .map(|(group, values)| {
            (
                *group,
                values.value.iter().map(|(k, v)| format!("{k}={v}")).collect(),
            )
        })
        .collect();
    let want = |group, lines: &[&str]| (group, lines.iter().map(|l| (*l).to_owned()).collect());
    assert_eq!(
        got,
        vec![
            want(Group::Etcd, &["ETCD_SNAPSHOTCOUNT=7"]),
            want(
                Group::Etcd2,
                &[
                    "ETCD_CORS=*",
                    "ETCD_HEARTBEAT_INTERVAL=250",
                    "ETCD_NAME=n1",
                    "ETCD_PROXY=off",
                    "ETCD_STRICT_RECONFIG_CHECK=true"
                ]
            ),
            want(Group::Flannel, &["FLANNELD_IFACE=eth1"]),
            want(
                Group::Fleet,
                &[
                    "FLEET_ENGINE_RECONCILE_INTERVAL=2",
                    "FLEET_METADATA=region=eu,disk=ssd",
                    "FLEET_PUBLIC_IP=10.0.0.1"
                ]
            ),
            want(
                Group::Locksmith,
                &["LOCKSMITHD_ENDPOINT=http://x", "REBOOT_WINDOW_START=14:00"]
            ),
            want(Group::Update, &["REBOOT_STRATEGY=off", "GROUP=stable"]),
        ]
    );
}

#[test]
fn files_users_and_units() {
    let (config, report) = read(
        "write_files:\n  - path: /etc/motd\n    permissions: 0744\n    owner: core:core\n    encoding: b64\n    \
         content: aGVsbG8=\nusers:\n  - name: elroy\n    passwd: $6$x\n    groups: [sudo, docker]\n    \
         ssh-authorized-keys:\n      - ssh-rsa A\n    no-create-home: yes\ncoreos:\n  units:\n    - name: a.service\n      \
         enable: true\n      command: start\n      content: |\n        [Service]\n      drop-ins:\n        - name: 10-x.conf\n          \
         content: y\n",
    );
    assert_eq!(report, Vec::<String>::new());
    let file = &config.write_files[0].value;
    assert_eq!(
        (file.mode, file.content.as_slice(), file.owner.as_str()),
        (0o744, &b"hello"[..], "core:core")
    );
    let user = &config.users[0].value;
    assert_eq!(
        (user.name.as_str(), user.groups.len(), user.no_create_home),
        ("elroy", 2, true)
    );
    assert_eq!(user.passwd, "$6$x");
    let unit = &config.units[0].value;
    assert_eq!(
        (unit.content.as_str(), unit.enable, unit.mask),
        ("[Service]\n", true, false)
    );
    assert_eq!(unit.drop_ins[0].value.name, "10-x.conf");
}

#[test]
fn a_bad_value_costs_its_entry() {
    let (config, report) = read(
        "hostname: h\nssh_authorized_keys: [k1, [k2], k3]\nwrite_files:\n  - path: /a\n    permissions: bad\n  - path: \
         /b\ncoreos:\n  etcd2:\n    name: n\n    max_wals: many\n  units:\n    - name: a.service\n      command: lol\n    \
         - name: b.service\n    - c.service\nusers:\n  - name: u\n    groups: sudo\n    ssh_authorized_keys: [k4]\n",
    );
    assert_eq!(config.hostname.unwrap().value, "h");
    let keys: Vec<&str> = config
        .ssh_authorized_keys
        .iter()
        .map(|k| k.value.as_str())
        .collect();
    assert_eq!(keys, ["k1", "k3"]);
    assert_eq!(config.write_files.len(), 1);
    assert_eq!(config.units.len(), 1);
    assert_eq!(
        config.groups[0].1.value,
        [("ETCD_NAME".to_owned(), "n".to_owned())]
    );
    assert_eq!(
        config.users[0].value.ssh_authorized_keys,
        ["k4"],
        "a user keeps what can be read"
    );
    for wanted in [
        "line 3: error: incorrect type for \"ssh_authorized_keys[1]\" (want string)",
        "line 6: error: invalid value bad for \"permissions\"",
        "line 11: error: incorrect type for \"max_wals\" (want int)",
        "line 14: error: invalid value lol for \"command\"",
        "line 16: error: incorrect type for \"units[2]\" (want struct)",
        "line 19: error: incorrect type for \"groups\" (want []string)",
    ] {
        assert!(
            report.iter().any(|line| line == wanted),
            "{wanted} in {report:#?}"
        );
    }
}

#[test]
fn odd_shapes_are_errors_not_panics() {
    for body in [
        "[]\n",
        "x\n",
        "coreos: []\n",
        "users: {a: b}\n",
        "coreos: {units: x, oem: 3, etcd2: [1]}\n",
        "? [a]\n: b\n",
    ] {
        let (config, report) = read(body);
        assert!(
            report.iter().any(|line| line.contains("error")),
            "{body}: {report:?}"
        );
        assert_eq!(config.units.len() + config.users.len(), 0);
    }
}
