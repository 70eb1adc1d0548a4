//! Tests of `plan`: cloud-configs in the manner of the classical documentation, and the steps they come to.
#![allow(clippy::unwrap_used)]

use super::super::network;
use super::super::user_data;
use super::*;

fn facts() -> Facts {
    Facts {
        source: "config-drive".to_owned(),
        accounts: Accounts {
            passwd: "core:x:500:500::/home/core:/bin/bash
"
            .to_owned(),
            group: "sudo:x:27:
docker:x:998:
"
            .to_owned(),
            ..Accounts::default()
        },
        hostname: "localhost".to_owned(),
        ..Facts::default()
    }
}

fn planned(body: &str, facts: &Facts) -> Plan {
    let parsed = user_data::parse(&format!("#cloud-config\n{body}"));
    assert!(!parsed.report.has_errors(), "{}", parsed.report);
    plan(&parsed.config, facts)
}

fn file<'a>(plan: &'a Plan, wanted: &str) -> Option<&'a str> {
    plan.steps.iter().find_map(|step| match &step.value {
        Step::File { path, content, .. } if path == wanted => Some(std::str::from_utf8(content).unwrap()),
        _ => None,
    })
}

fn commands(plan: &Plan) -> Vec<String> {
    plan.commands
        .iter()
        .map(|c| format!("{} {}", c.verb, c.unit))
        .collect()
}

#[test]
fn a_cluster_member() {
    let plan = planned(
        "hostname: core1\nssh_authorized_keys: [ssh-ed25519 A]\ncoreos:\n  etcd2:\n    name: core1\n    initial-cluster: \
         core1=http://10.0.0.1:2380,core2=http://10.0.0.2:2380\n  fleet:\n    metadata: region=eu,quote=\"x\"\n  \
         units:\n    - name: etcd2.service\n      command: start\n    - name: fleet.service\n      command: start\n",
        &facts(),
    );
    assert_eq!(plan.steps[0].value, Step::Hostname("core1".to_owned()));
    assert_eq!(
        file(&plan, "/run/systemd/system/etcd2.service.d/20-cloudinit.conf").unwrap(),
        "[Service]\nEnvironment=\"ETCD_INITIAL_CLUSTER=core1=http://10.0.0.1:2380,core2=http://10.0.0.2:2380\"\n\
         Environment=\"ETCD_NAME=core1\"\n"
    );
    assert_eq!(
        file(
            &plan,
            "/run/systemd/system/fleet.service.d/20-cloudinit-fleet.conf"
        )
        .unwrap(),
        "[Service]\nEnvironment=\"FLEET_METADATA=region=eu,quote=\\\"x\\\"\"\n"
    );
    assert_eq!(commands(&plan), ["start etcd2.service", "start fleet.service"]);
    assert!(!plan.commands[0].wait, "ready only once the cluster is formed");
    assert_eq!(plan.commands[0].origin, "config-drive line 11");
    assert_eq!(
        file(&plan, "/etc/environment"),
        Some(""),
        "units may name it without a hyphen"
    );
    assert!(plan.report.entries.is_empty());
}

#[test]
fn metadata_fills_what_the_text_leaves_open() {
    let mut facts = facts();
    facts.metadata = Metadata {
        hostname: Some("meta".into()),
        public_keys: vec!["k2".into()],
    };
    let steps = planned("ssh_authorized_keys: [k1]\n", &facts).steps;
    assert_eq!(steps[0].value, Step::Hostname("meta".into()));
    let keys = Step::AuthorizeKeys {
        user: "core".into(),
        set: "config-drive".into(),
        keys: vec!["k1".into(), "k2".into()],
    };
    assert_eq!(steps[1].value, keys);
    assert_eq!(
        planned("hostname: own\n", &facts).steps[0].value,
        Step::Hostname("own".into())
    );
}

#[test]
fn users_new_and_known() {
    let plan = planned(
        "users:\n  - name: elroy\n    passwd: $6$h\n    gecos: El Roy\n    groups: [sudo, nosuch]\n    \
         ssh-authorized-keys: [k]\n  - name: other\n    groups: [elroy]\n    system: true\n    shell: /bin/sh\n  - name: core\n    passwd: x\n    gecos: \
         ignored\n  - gecos: nobody\n  - name: -rf\n",
        &facts(),
    );
    let new: Vec<&NewUser> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.value {
            Step::CreateUser(new) => Some(new),
            _ => None,
        })
        .collect();
    assert_eq!(new.len(), 2);
    assert_eq!((new[0].name.as_str(), new[0].gecos.as_str()), ("elroy", "El Roy"));
    assert_eq!(
        (new[0].groups.join(","), new[1].groups.join(",")),
        ("sudo".into(), "elroy".into())
    );
    assert!(new[0].create_home && !new[1].create_home && new[1].system);
    assert_eq!(
        (new[0].shell.as_str(), new[1].shell.as_str()),
        ("/bin/bash", "/bin/sh")
    );
    let passwords = plan
        .steps
        .iter()
        .filter(|s| matches!(s.value, Step::Password { .. }))
        .count();
    assert_eq!(passwords, 2);
    let said = plan.report.to_string();
    assert!(said.contains("there is no group \"nosuch\""), "{said}");
    assert!(said.contains("warning: user without name is skipped"), "{said}");
    assert!(said.contains("\"-rf\" is not a user name"), "{said}");
}

#[test]
fn units_of_every_kind() {
    let plan = planned(
        "coreos:\n  units:\n    - name: a.service\n      enable: true\n      content: A\n      command: start\n      drop-ins:\n        \
         - name: 10-x.conf\n          content: X\n        - name: ../x\n          content: Y\n    - name: b.service\n      mask: true\n    - \
         name: c.service\n      runtime: true\n    - name: 00-e.network\n      runtime: true\n      content: N\n      command: \
         restart\n      enable: true\n    - name: ../evil.service\n      content: E\n    - command: start\n",
        &facts(),
    );
    assert_eq!(file(&plan, "/etc/systemd/system/a.service"), Some("A"));
    assert_eq!(
        file(&plan, "/etc/systemd/system/a.service.d/10-x.conf"),
        Some("X")
    );
    assert_eq!(file(&plan, "/run/systemd/network/00-e.network"), Some("N"));
    let others: Vec<&Step> = plan
        .steps
        .iter()
        .map(|s| &s.value)
        .filter(|s| !matches!(s, Step::File { .. }))
        .collect();
    assert_eq!(
        others,
        [
            &Step::Enable {
                unit: "a.service".into(),
                runtime: false
            },
            &Step::Mask("/etc/systemd/system/b.service".into()),
            &Step::Unmask("/run/systemd/system/c.service".into()),
        ]
    );
    assert_eq!(commands(&plan), ["start a.service"]);
    assert!(plan.commands[0].wait);
    let said = plan.report.to_string();
    assert!(said.contains("\"../x\" is not a drop-in's name"), "{said}");
    assert!(said.contains("\"../evil.service\" is not a unit name"), "{said}");
    assert!(said.contains("unit without name is skipped"), "{said}");
}

#[test]
fn the_supervisor_has_three_names() {
    let plan = planned(
        "coreos:\n  units:\n    - name: etcd2.service\n      enable: true\n      drop_ins: [{name: 30-x.conf, content: A}]\n    \
         - name: fleet.service\n      drop_ins: [{name: 30-x.conf, content: B}]\n    - {name: etcd.service, mask: true}\n",
        &facts(),
    );
    assert_eq!(
        file(&plan, "/etc/systemd/system/etcd2.service.d/30-x.conf"),
        Some("A")
    );
    assert_eq!(
        file(&plan, "/etc/systemd/system/fleet.service.d/30-x-fleet.conf"),
        Some("B"),
        "systemd would take only one of two drop-ins of one name"
    );
    assert!(!plan.steps.iter().any(|s| matches!(s.value, Step::Enable { .. })));
    assert!(
        plan.report
            .to_string()
            .contains("etcd.service is a name of the supervisor")
    );
}

#[test]
fn late_means_what_runs_is_told() {
    let late = Facts {
        late: true,
        ..facts()
    };
    let plan = planned(
        "coreos:\n  etcd2: {name: x}\n  units:\n    - {name: e.network, content: N}\n    - {name: a.service, command: start}\n",
        &late,
    );
    assert_eq!(
        commands(&plan),
        [
            "try-restart corten.service",
            "restart systemd-networkd.service",
            "start a.service"
        ]
    );
}

#[test]
fn files_hosts_oem_update_flannel() {
    let mut facts = facts();
    facts.update_conf = "SERVER=old\nGROUP=alpha\n".to_owned();
    facts.environment = Some("A=1\nCOREOS_PRIVATE_IPV4=old\n".to_owned());
    facts.addresses.private_ipv4 = Some("10.0.0.1".to_owned());
    let plan = planned(
        "hostname: h\nmanage_etc_hosts: localhost\nwrite_files:\n  - path: /srv/../srv/x\n    content: y\n  - path: rel\n  - path: \
         /\ncoreos:\n  oem: {id: o, name: N, version-id: 1.0}\n  update: {group: beta}\n  flannel: {interface: e0}\n",
        &facts,
    );
    assert_eq!(file(&plan, "/srv/x"), Some("y"));
    assert_eq!(
        file(&plan, "/etc/hosts"),
        Some("127.0.0.1 localhost\n::1 localhost\n127.0.0.1 h\n")
    );
    assert!(
        file(&plan, "/etc/oem-release")
            .unwrap()
            .starts_with("ID=o\nVERSION_ID=1.0\nNAME=\"N\"\n")
    );
    assert_eq!(
        file(&plan, "/etc/coreos/update.conf"),
        Some("SERVER=old\nGROUP=beta\n")
    );
    assert_eq!(
        file(&plan, "/run/flannel/options.env"),
        Some("FLANNELD_IFACE=e0\n")
    );
    assert_eq!(
        file(&plan, "/etc/environment"),
        Some("A=1\nCOREOS_PRIVATE_IPV4=10.0.0.1\n")
    );
    let said = plan.report.to_string();
    for wanted in [
        "\"rel\" is not an absolute path",
        "\"/\" is not",
        "no flanneld",
        "nothing here follows",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[test]
fn the_users_own_environment_wins() {
    let mut facts = facts();
    facts.addresses.private_ipv4 = Some("10.0.0.1".to_owned());
    let plan = planned(
        "write_files:\n  - path: /etc/environment\n    content: mine\n",
        &facts,
    );
    assert_eq!(plan.steps.len(), 1);
    assert_eq!(file(&plan, "/etc/environment"), Some("mine"));
}

#[test]
fn usr_is_read_only() {
    let parsed = user_data::parse("#cloud-config\nwrite_files:\n  - path: /tmp/../usr/x\n  - path: /ok\n");
    let plan = plan(&parsed.config, &facts());
    assert!(file(&plan, "/usr/x").is_none() && file(&plan, "/ok").is_some());
    assert!(plan.report.has_errors());
}

#[test]
fn a_network_of_the_datasource() {
    let mut facts = facts();
    facts.network = network::parse(
        r#"{"links":[{"id":"a","ethernet_mac_address":"52:54:00:00:00:01"}],
            "networks":[{"link":"a","type":"ipv4_dhcp"}]}"#,
    )
    .unwrap();
    let plan = planned("", &facts);
    assert!(
        file(&plan, "/run/systemd/network/10-config-drive-0.network")
            .unwrap()
            .contains("DHCP=ipv4")
    );
    assert!(plan.steps.iter().any(|s| s.value.touches_network()));
}

#[test]
fn a_script_becomes_a_unit() {
    let plan = plan_script(b"#!/bin/sh\nexit 3\n", &facts());
    assert!(file(&plan, "/var/lib/corten/cloud-init/config-drive-script").is_some());
    assert!(
        file(
            &plan,
            "/run/systemd/system/corten-cloudinit-config-drive-script.service"
        )
        .is_some()
    );
    assert_eq!(
        commands(&plan),
        ["start corten-cloudinit-config-drive-script.service"]
    );
}
