//! Tests of whole passes: cloud-configs applied below a folder, without root, systemd or network.
#![allow(clippy::unwrap_used)]

use super::pass::Pass;
use super::say::Say;
use super::sources::{self, Source};
use super::system::Manager;
use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;

/// Notes what systemd is asked; refuses what names a certain unit.
#[derive(Clone, Default)]
pub struct Recorder {
    asked: Rc<RefCell<Vec<String>>>,
    refused: Option<&'static str>,
}

impl Recorder {
    pub fn refusing(unit: &'static str) -> Recorder {
        Recorder {
            refused: Some(unit),
            ..Recorder::default()
        }
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }
}

impl Manager for Recorder {
    fn systemctl(&mut self, arguments: &[&str]) -> Result<(), String> {
        self.asked.borrow_mut().push(arguments.join(" "));
        match self.refused.is_some_and(|unit| arguments.contains(&unit)) {
            true => Err("refused".to_owned()),
            false => Ok(()),
        }
    }

    fn set_hostname(&mut self, name: &str) -> Result<(), String> {
        self.asked.borrow_mut().push(format!("hostname {name}"));
        Ok(())
    }
}

/// A machine with a user `core` who is whoever runs the test.
fn machine() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
    for folder in ["etc", "home/core"] {
        fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    fs::write(
        root.path().join("etc/passwd"),
        format!("core:x:{uid}:{gid}::/home/core:/bin/bash\n"),
    )
    .unwrap();
    fs::write(root.path().join("etc/group"), format!("core:x:{gid}:\n")).unwrap();
    root
}

fn source(user_data: &str) -> Source {
    Source {
        name: "config-drive",
        place: "/dev/vdb:openstack/latest/user_data".to_owned(),
        user_data: Some(user_data.as_bytes().to_vec()),
        ..Source::default()
    }
}

struct Applied {
    good: bool,
    said: String,
    asked: Vec<String>,
}

fn apply(root: &Path, source: &Source) -> Applied {
    let (say, manager) = (Say::to_list(), Recorder::default());
    let mut pass = Pass::new(root, "boot", &say, manager.clone());
    let good = pass.source(source) & pass.finish();
    Applied {
        good,
        said: say.said(),
        asked: manager.asked(),
    }
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

const MEMBER: &str = "#cloud-config
hostname: core1
ssh_authorized_keys:
  - ssh-ed25519 AAAA me
write_files:
  - path: /etc/motd
    permissions: 0600
    content: hello from $private_ipv4
coreos:
  etcd2:
    name: core1
    advertise-client-urls: http://$private_ipv4:2379
  units:
    - name: hello.service
      command: start
      content: |
        [Service]
        ExecStart=/bin/true
";

#[test]
fn a_member_of_a_cluster() {
    let root = machine();
    let network = r#"{"links":[{"id":"a","ethernet_mac_address":"52:54:00:00:00:01"}],
        "networks":[{"link":"a","type":"ipv4","ip_address":"10.0.0.1","netmask":"255.255.255.0"}]}"#;
    let source = Source {
        network_data: Some(network.to_owned()),
        ..source(MEMBER)
    };
    let first = apply(root.path(), &source);
    assert!(first.good, "{}", first.said);
    assert_eq!(first.asked, ["hostname core1", "daemon-reload"]);
    assert_eq!(read(root.path(), "etc/hostname"), "core1\n");
    assert_eq!(read(root.path(), "etc/motd"), "hello from 10.0.0.1");
    assert_eq!(
        fs::metadata(root.path().join("etc/motd"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    assert_eq!(
        read(
            root.path(),
            "run/systemd/system/etcd2.service.d/20-cloudinit.conf"
        ),
        "[Service]\nEnvironment=\"ETCD_ADVERTISE_CLIENT_URLS=http://10.0.0.1:2379\"\nEnvironment=\"ETCD_NAME=core1\"\n"
    );
    assert!(read(root.path(), "etc/environment").contains("COREOS_PRIVATE_IPV4=10.0.0.1\n"));
    assert!(
        read(root.path(), "run/systemd/network/10-config-drive-0.network").contains("Address=10.0.0.1/24")
    );
    let keys = root.path().join("home/core/.ssh/authorized_keys");
    assert!(
        fs::read_to_string(&keys)
            .unwrap()
            .contains("ssh-ed25519 AAAA me\n")
    );
    assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(read(root.path(), "run/corten/cloud-init/commands-boot.json").contains("hello.service"));

    let again = apply(root.path(), &source);
    assert!(again.good);
    assert_eq!(
        again.asked,
        ["hostname core1"],
        "nothing changed, so systemd reads nothing again"
    );
}

#[test]
fn a_bad_value_costs_its_entry_and_the_status() {
    let root = machine();
    let bad = "#cloud-config\nhostname: h\nwrite_files:\n  - path: /a\n    permissions: rwx\n  - path: /b\n    owner: \
               nobody-here\n  - path: /c\nssh_authorized_keys: [ssh-rsa K]\n";
    let applied = apply(root.path(), &source(bad));
    assert!(!applied.good);
    let place = "error: /dev/vdb:openstack/latest/user_data: ";
    assert!(
        applied
            .said
            .contains(&format!("{place}line 5: invalid value rwx")),
        "{}",
        applied.said
    );
    assert!(
        applied
            .said
            .contains(&format!("{place}line 6: /b: there is no user or group")),
        "{}",
        applied.said
    );
    assert!(
        !root.path().join("a").exists() && !root.path().join("b").exists() && root.path().join("c").exists()
    );
    assert!(read(root.path(), "home/core/.ssh/authorized_keys").contains("ssh-rsa K"));
}

#[test]
fn no_yaml_still_lets_its_owner_in() {
    let root = machine();
    let broken = "#cloud-config\nssh_authorized_keys:\n  - ssh-rsa K\nhostname: h\ncoreos:\n  units: [\n";
    let applied = apply(root.path(), &source(broken));
    assert!(!applied.good);
    assert!(applied.said.contains("not YAML"), "{}", applied.said);
    assert!(read(root.path(), "home/core/.ssh/authorized_keys").contains("ssh-rsa K"));
    assert_eq!(read(root.path(), "etc/hostname"), "h\n");
}

#[test]
fn what_is_no_user_data_leaves_the_metadata() {
    let root = machine();
    let meta = r#"{"hostname": "m", "public_keys": {"k": "ssh-rsa M"}}"#;
    for (text, good, said) in [
        ("hello", false, "Unrecognized user-data format"),
        ("\u{1f}", false, "Unrecognized"),
        ("{\"ignition\": {}}", true, "Ignition"),
        ("", true, ""),
    ] {
        let source = Source {
            meta_data: Some(meta.to_owned()),
            ..source(text)
        };
        let applied = apply(root.path(), &source);
        assert_eq!(applied.good, good, "{text}: {}", applied.said);
        assert!(applied.said.contains(said), "{text}: {}", applied.said);
        assert_eq!(read(root.path(), "etc/hostname"), "m\n");
        assert!(read(root.path(), "home/core/.ssh/authorized_keys").contains("ssh-rsa M"));
    }
    let torn = Source {
        user_data: Some(vec![0x1f, 0x8b, 8, 0]),
        ..source("")
    };
    assert!(apply(root.path(), &torn).said.contains("not gzip"));
    let latin = Source {
        user_data: Some(b"#cloud-config\nhostname: h\n# \xff\n".to_vec()),
        ..source("")
    };
    assert!(apply(root.path(), &latin).said.contains("line 3: not UTF-8"));
    let bad_meta = Source {
        meta_data: Some("{\n\n!".to_owned()),
        ..source("")
    };
    assert!(
        apply(root.path(), &bad_meta)
            .said
            .contains("meta_data.json: line 3")
    );
}

#[test]
fn users_are_made_once() {
    let root = machine();
    let text = "#cloud-config\nusers:\n  - name: elroy\n    passwd: $6$h\n    no-create-home: true\n  - name: core\n    passwd: \
                $6$c\n";
    let applied = apply(root.path(), &source(text));
    assert!(applied.good, "{}", applied.said);
    assert!(read(root.path(), "etc/passwd").contains("elroy:x:1000:1000::/home/elroy:/bin/bash\n"));
    assert_eq!(
        read(root.path(), "etc/shadow"),
        "elroy:$6$h::0:99999:7:::\ncore:$6$c::0:99999:7:::\n"
    );
    assert!(
        !apply(root.path(), &source(text)).said.contains("elroy"),
        "the second time nothing changes"
    );
}

#[test]
fn units_masks_and_enabling() {
    let root = machine();
    let text = "#cloud-config\ncoreos:\n  units:\n    - {name: a.service, mask: true}\n    - {name: b.service, enable: true, \
                runtime: true, content: x}\n";
    let applied = apply(root.path(), &source(text));
    assert!(applied.good, "{}", applied.said);
    assert_eq!(
        fs::read_link(root.path().join("etc/systemd/system/a.service")).unwrap(),
        Path::new("/dev/null")
    );
    assert_eq!(
        applied.asked,
        ["--no-reload enable --runtime -- b.service", "daemon-reload"]
    );
    let unmask = "#cloud-config\ncoreos:\n  units:\n    - {name: b.service, mask: true, runtime: true}\n";
    apply(root.path(), &source(unmask));
    let again = apply(
        root.path(),
        &source("#cloud-config\ncoreos:\n  units:\n    - {name: b.service, runtime: true}\n"),
    );
    assert_eq!(again.asked, ["daemon-reload"]);
    assert!(!root.path().join("run/systemd/system/b.service").exists());
}

#[test]
fn a_link_in_the_way_gives_nothing_away() {
    let root = machine();
    let secret = root.path().join("etc/secret");
    fs::write(&secret, "secret\n").unwrap();
    fs::create_dir(root.path().join("home/core/.ssh")).unwrap();
    let keys = root.path().join("home/core/.ssh/authorized_keys");
    std::os::unix::fs::symlink(&secret, &keys).unwrap();
    apply(
        root.path(),
        &source("#cloud-config\nssh_authorized_keys: [ssh-rsa K]\n"),
    );
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret\n");
    assert!(!fs::read_to_string(&keys).unwrap().contains("secret"));
    assert!(!fs::symlink_metadata(&keys).unwrap().is_symlink());
}

#[test]
fn a_late_pass_starts_its_own_commands() {
    let root = machine();
    let (say, manager) = (Say::to_list(), Recorder::default());
    let mut pass = Pass::new(root.path(), "url", &say, manager.clone()).late();
    assert!(
        pass.source(&source("#cloud-config\ncoreos:\n  etcd2: {name: x}\n")) & pass.finish(),
        "{}",
        say.said()
    );
    assert_eq!(
        manager.asked(),
        [
            "daemon-reload",
            "--no-block start corten-cloudinit-commands@url.service"
        ]
    );
    assert!(read(root.path(), "run/corten/cloud-init/commands-url.json").contains("try-restart"));
}

#[test]
fn sources_in_their_order() {
    let root = machine();
    let say = Say::to_list();
    assert_eq!(sources::local(root.path(), &say), (vec![], true));
    for (folder, file) in [
        ("usr/share/oem", "cloud-config.yml"),
        ("var/lib/coreos-install", "user_data"),
        ("sys/firmware/qemu_fw_cfg/by_name/opt/org.corten/user_data", "raw"),
    ] {
        fs::create_dir_all(root.path().join(folder)).unwrap();
        fs::write(root.path().join(folder).join(file), "#cloud-config\n").unwrap();
    }
    let (found, good) = sources::local(root.path(), &say);
    let names: Vec<&str> = found.iter().map(|source| source.name).collect();
    assert!(good);
    assert_eq!(names, ["oem", "install", "fw_cfg"]);
}
