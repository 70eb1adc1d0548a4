//! What people write: unit files, `.container` files and cloud-configs.

use corten_spec::cloud_config::plan::{Facts, plan, plan_script};
use corten_spec::cloud_config::substitute::{Addresses, substitute};
use corten_spec::cloud_config::{encoding, user_data};
use corten_spec::container;
use corten_spec::unit_file::UnitFile;
use corten_spec::unit_name::UnitName;
use corten_spec::words;
use corten_spec::x_fleet::{self, Requirements};

/// A unit's name, a line end, and its file.
pub fn unit_seeds() -> Vec<Vec<u8>> {
    let files = [
        "web@1.service\n[Service]\nExecStart=/bin/sh -c \"echo %i; \\\n  sleep 1\"\n[X-Fleet]\nConflicts=web@*.service\nMachineMetadata=\"a=b\" c=d\n",
        "a.service\n[Unit]\nDescription=x\n# no\n; no\n\n[X-Fleet]\nGlobal=true\nMachineOf=b.service\nReplaces=%p*\n",
        "b.timer\n[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n",
    ];
    let mut seeds: Vec<Vec<u8>> = files.iter().map(|file| file.as_bytes().to_vec()).collect();
    let corten = include_str!("../../../units/usr/lib/systemd/system/corten.service");
    seeds.push(format!("corten.service\n{corten}").into_bytes());
    seeds
}

/// A unit file is refused or read; what can be printed and read again is the same, so that its hash stays.
pub fn unit_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (name, text) = text.split_once('\n').unwrap_or((&text, ""));
    let Ok(file) = UnitFile::parse(text) else { return };
    let valid = x_fleet::validate(&file).is_ok();
    let printed = file.to_string();
    match UnitFile::parse(&printed) {
        Ok(again) => assert_eq!(again.to_string(), printed),
        Err(error) => assert!(!valid, "valid, but cannot be read again: {error}\n{printed}"),
    }
    x_fleet::unknown_keys(&file);
    if let Ok(name) = UnitName::parse(name) {
        Requirements::of(&name, &file);
    }
}

/// `.container` files.
pub fn container_seeds() -> Vec<Vec<u8>> {
    let files = [
        "[Unit]\nAfter=db.container\n[Container]\nImage=a/b:1\nExec=x 'y z' \\\n  %i $A\nEnvironment=\"A=b c\" D=\\x41\nVolume=v:/v:ro\n\
         Memory=64m\nReadOnly=true\n[Service]\nRestart=always\n[X-Fleet]\nConflicts=\"a@*.container\" \"b.service\"\n",
        "[Service]\nType=oneshot\n[Container]\nImage=%i\nContainerName=x-%i\nPodmanArgs=--pid host --privileged\nMount=type=tmpfs,dst=/t\n\
         PidsLimit=0\nUser=a\nGroup=b\nReloadCmd=/x 'y'\n",
    ];
    files.iter().map(|file| file.as_bytes().to_vec()).collect()
}

/// A `.container` file is refused, or becomes a service that can be printed and read again and starts one container.
pub fn container(data: &[u8]) {
    let Ok(file) = container::translate("web@1.service", &String::from_utf8_lossy(data)) else {
        return;
    };
    let printed = file.to_string();
    let again =
        UnitFile::parse(&printed).unwrap_or_else(|error| panic!("cannot be read again: {error}\n{printed}"));
    assert_eq!(again.hash(), file.hash());
    let commands: Vec<&str> = again.values("Service", "ExecStart").collect();
    let words = words::split(&commands.join("").replace("\\\n", " "));
    let started = words.is_ok_and(|words| {
        words[..2] == ["/usr/bin/docker", "run"] && words[2].starts_with("--name=") && words[3] == "--rm"
    });
    assert!(commands.len() == 1 && started, "{printed}");
    assert!(!again.sections().contains(&"Container"), "{printed}");
}

/// Cloud-configs and scripts.
pub fn cloud_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "#!/bin/sh\necho hello\n",
        "#cloud-config\nhostname: n1\nssh_authorized_keys:\n  - ssh-ed25519 AAAA a\nwrite_files:\n  - path: /a/b\n    encoding: gzip+base64\n    content: !!binary |\n      H4sIAAAAAAAC/ytJLS4BAAx+f9gEAAAA\n    permissions: '0644'\n    owner: core:core\n",
        "#cloud-config\ncoreos:\n  etcd2:\n    name: $private_ipv4\n    initial-cluster: a=http://10.0.0.1:2380\n  fleet: {metadata: 'a=b,c=d', public-ip: $public_ipv4}\n  units:\n    - name: a.service\n      command: start\n      enable: true\n      content: |\n        [Service]\n        ExecStart=/bin/true\n      drop-ins:\n        - name: 10-x.conf\n          content: \"[Service]\\nUser=x\\n\"\n  update: {reboot-strategy: off}\nusers:\n  - name: ann\n    groups: [sudo, docker]\n    passwd: $6$x\nmanage_etc_hosts: localhost\n",
        "#cloud-config\na: &x [1, ~, 0x10, .inf, {b: *x}]\n<<: *x\n",
        "{\"ignition\":{}}",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Whatever user-data says, there is a report and a plan.
pub fn cloud_config(data: &[u8]) {
    let Ok(unpacked) = encoding::unpacked(data.to_vec()) else {
        return;
    };
    let addresses = Addresses::from_environment("COREOS_PRIVATE_IPV4=10.0.0.1\nCOREOS_PUBLIC_IPV4=1.2.3.4\n");
    let facts = Facts::default();
    let (text, _) = substitute(&String::from_utf8_lossy(&unpacked), &addresses);
    user_data::report(&text);
    match user_data::form(&text) {
        user_data::Form::Script => {
            plan_script(&unpacked, &facts);
        }
        _ => {
            let parsed = user_data::parse(&text);
            plan(&parsed.config, &facts);
        }
    }
}
