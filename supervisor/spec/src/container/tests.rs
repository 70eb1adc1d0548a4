//! What `.container` files become: exact services, and refusals with their lines.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::words;

/// The service of `[Container]` lines beside an image, as text.
fn service(container: &str) -> String {
    let text = format!("[Container]\nImage=img\n{container}\n");
    translate("web.service", &text).map_or_else(|error| error.to_string(), |file| file.to_string())
}

/// The words of its `docker run` between `--rm` and the image.
fn run_options(container: &str) -> Vec<String> {
    let text = service(container);
    let file = UnitFile::parse(&text).unwrap();
    let command = file
        .values("Service", "ExecStart")
        .next()
        .unwrap_or_else(|| panic!("{container}: {text}"));
    let words = words::split(&on_one_line(command)).unwrap();
    assert_eq!(
        words[..4],
        ["/usr/bin/docker", "run", "--name=systemd-%N", "--rm"],
        "{container}"
    );
    let image = words.iter().position(|word| word == "img").unwrap();
    words[4..image].to_vec()
}

#[test]
fn a_file_becomes_a_service() {
    let file = "\
; a comment
[Unit]
Description=Web
After=db.container network.target

[Container]
Image=registry.example/web:1
PublishPort=80:8080
Environment=GREETING=\"hello world\" A=1
Volume=data:/srv
Memory=256m
Exec=serve --say 'it''s \"me\"' $$HOME ${B} 100%% %i ; \\
  # not said
  ä
ReloadSignal=HUP

[Service]
Restart=always
MemorySwapMax=0

[X-Fleet]
Conflicts=web@*.container other.service
MachineOf=\"db.container\"

[Install]
WantedBy=multi-user.target
";
    let expected = "\
[Unit]
Description=Web
After=db.service network.target

[Service]
Type=notify
KillMode=mixed
SyslogIdentifier=%N
MemoryMax=256M
MemorySwapMax=256M
ExecStartPre=-/usr/bin/docker rm -f -v systemd-%N
ExecStart=/usr/bin/docker run --name=systemd-%N --rm --publish=80:8080 \\
    \"--env=GREETING=hello world\" --env=A=1 --volume=data:/srv registry.example/web:1 serve --say \\
    \"its \\\"me\\\"\" $$HOME ${B} 100%% %i \";\"
ExecReload=/usr/bin/docker kill --signal=HUP systemd-%N
ExecStop=-/usr/bin/docker stop systemd-%N
Restart=always
MemorySwapMax=0

[X-Fleet]
Conflicts=web@*.service other.service
MachineOf=\"db.service\"

[Install]
WantedBy=multi-user.target
";
    // A comment ends a continuation for fleet's parser, so that what follows would be a line of its own.
    let file = file.replace("  # not said\n  ä\n", "  # not said\n");
    assert_eq!(translate("web.service", &file).unwrap().to_string(), expected);
}

#[test]
fn the_smallest_one_and_a_template() {
    let smallest = "\
[Service]
Type=notify
KillMode=mixed
SyslogIdentifier=%N
ExecStartPre=-/usr/bin/docker rm -f -v systemd-%N
ExecStart=/usr/bin/docker run --name=systemd-%N --rm img
ExecStop=-/usr/bin/docker stop systemd-%N
";
    assert_eq!(service(""), smallest);
    for name in ["web@.service", "web@1.service"] {
        let file = translate(name, "[Container]\nImage=img\n").unwrap();
        assert_eq!(file.to_string(), smallest.replace("systemd-%N", "systemd-%p_%i"));
    }
    let own = "[Service]\nType=oneshot\nKillMode=control-group\nSyslogIdentifier=x\n[Container]\nImage=img\nContainerName=my-%i\n";
    let expected = "\
[Service]
ExecStartPre=-/usr/bin/docker rm -f -v my-%i
ExecStart=/usr/bin/docker run --name=my-%i --rm img
ExecStop=-/usr/bin/docker stop my-%i
Type=oneshot
KillMode=control-group
SyslogIdentifier=x
";
    assert_eq!(translate("web@.service", own).unwrap().to_string(), expected);
}

#[test]
fn every_key_that_docker_honours_becomes_its_option() {
    let table: &[(&str, &[&str])] = &[
        ("Pull=always", &["--pull=always"]),
        ("HostName=h\nHostName=\"web-%m\"", &["--hostname=web-%m"]),
        ("Network=host", &["--network=host"]),
        ("Network=container:db", &["--network=container:db"]),
        (
            "PublishPort=80:80\nPublishPort=[::1]:${PORT}:53/udp",
            &["--publish=80:80", "--publish=[::1]:${PORT}:53/udp"],
        ),
        (
            "PublishPort=80:80\nPublishPort=\nPublishPort=81",
            &["--publish=81"],
        ),
        ("ExposeHostPort=80-81", &["--expose=80-81"]),
        ("AddHost=db:10.0.0.1", &["--add-host=db:10.0.0.1"]),
        (
            "DNS=1.1.1.1\nDNSSearch=example",
            &["--dns=1.1.1.1", "--dns-search=example"],
        ),
        ("WorkingDir=/a b", &["--workdir=/a b"]),
        ("User=web\nGroup=10", &["--user=web:10"]),
        ("User=web", &["--user=web"]),
        ("GroupAdd=audio", &["--group-add=audio"]),
        (
            r#"Environment=A=1 "B=2 3" 'C="' D=\x41\\ E"#,
            &["--env=A=1", "--env=B=2 3", "--env=C=\"", "--env=D=A\\", "--env=E"],
        ),
        (
            "EnvironmentFile=/etc/a %E/b",
            &["--env-file=/etc/a", "--env-file=%E/b"],
        ),
        ("Label=a=b \"c=d e\"", &["--label=a=b", "--label=c=d e"]),
        (
            "ReadOnly=yes",
            &["--read-only", "--tmpfs=/run", "--tmpfs=/tmp", "--tmpfs=/var/tmp"],
        ),
        ("ReadOnly=yes\nReadOnlyTmpfs=no", &["--read-only"]),
        (
            "ReadOnly=1\nTmpfs=/tmp/:size=1m\nVolume=/var/tmp\nMount=type=tmpfs,dst=/run",
            &[
                "--read-only",
                "--volume=/var/tmp",
                "--mount=type=tmpfs,dst=/run",
                "--tmpfs=/tmp/:size=1m",
            ],
        ),
        ("ReadOnly=false", &[]),
        (
            "Volume=/a:/b:ro,Z\nVolume=%S/x:/y\nVolume=v:/v:nocopy",
            &["--volume=/a:/b:ro,Z", "--volume=%S/x:/y", "--volume=v:/v:nocopy"],
        ),
        (
            "Mount=type=bind,src=/a,dst=/b,ro",
            &["--mount=type=bind,src=/a,dst=/b,ro"],
        ),
        ("Tmpfs=/t:size=1m", &["--tmpfs=/t:size=1m"]),
        ("ShmSize=64m", &["--shm-size=64m"]),
        ("AddDevice=/dev/null:/dev/x:rw", &["--device=/dev/null:/dev/x:rw"]),
        (
            "AddCapability=NET_ADMIN SYS_TIME\nDropCapability=all",
            &["--cap-drop=all", "--cap-add=NET_ADMIN", "--cap-add=SYS_TIME"],
        ),
        ("NoNewPrivileges=true", &["--security-opt=no-new-privileges"]),
        (
            "SeccompProfile=unconfined",
            &["--security-opt=seccomp=unconfined"],
        ),
        (
            "Sysctl=net.ipv4.ip_forward=1 a=b",
            &["--sysctl=net.ipv4.ip_forward=1", "--sysctl=a=b"],
        ),
        ("Ulimit=nofile=1:2", &["--ulimit=nofile=1:2"]),
        ("RunInit=on", &["--init"]),
        (
            "StopSignal=INT\nStopTimeout=20",
            &["--stop-signal=INT", "--stop-timeout=20"],
        ),
        ("LogDriver=none", &["--log-driver=none"]),
        ("LogDriver=journald", &[]),
        ("Entrypoint=/bin/own", &["--entrypoint=/bin/own"]),
        ("Entrypoint=\"\"", &["--entrypoint="]),
        ("Entrypoint=/a\nEntrypoint=", &[]),
        (
            "PodmanArgs=--privileged --pid host --ipc=private --platform=linux/arm64\nPodmanArgs=--publish-all=false",
            &[
                "--privileged",
                "--pid=host",
                "--platform=linux/arm64",
                "--publish-all=false",
            ],
        ),
        (
            "CgroupsMode=split\nNotify=no\nHttpProxy=False\nEnvironmentHost=0\nSecurityLabelDisable=true\nNotify=",
            &[],
        ),
    ];
    for (container, options) in table {
        assert_eq!(run_options(container), *options, "{container}");
    }
}

#[test]
fn limits_and_reloads_are_the_units() {
    for (container, line) in [
        ("Memory=1.5G", "MemoryMax=1.5G\nMemorySwapMax=1.5G\n"),
        ("Memory=4096", "MemoryMax=4096\n"),
        ("PidsLimit=20", "TasksMax=20\n"),
        ("PidsLimit=-1", "TasksMax=infinity\n"),
        (
            "ReloadCmd=/bin/x 'a b'",
            "ExecReload=/usr/bin/docker exec systemd-%N /bin/x \"a b\"\n",
        ),
    ] {
        assert!(
            service(container).contains(line),
            "{container}: {}",
            service(container)
        );
    }
}

#[test]
fn what_cannot_be_honoured_says_where_and_what_to_do() {
    // Line 1 is [Container], line 2 the image.
    let table = [
        (
            "Frob=1",
            "line 3: Frob=: no key of [Container] (podman-systemd.unit(5))",
        ),
        ("image=x", "line 3: image=: no key of [Container]; write Image="),
        ("\nNotify=yes", "line 4: Notify=: the unit is active when"),
        ("Notify=healthy", "line 3: Notify=: "),
        ("HealthCmd=true", "line 3: HealthCmd=: there are no health checks"),
        ("Pod=x.pod", "line 3: Pod=: there are no pods"),
        ("Secret=s", "line 3: Secret=: "),
        ("UserNS=keep-id", "line 3: UserNS=: there are no user namespaces"),
        (
            "AutoUpdate=registry",
            "line 3: AutoUpdate=: nothing replaces images by itself",
        ),
        ("Image=", "[Container] has no Image="),
        ("Image=-v", "line 3: Image=: begins with '-'"),
        ("Image=a b", "line 3: Image=: invalid reference format"),
        ("Image=$A b", "line 3: Image=: one image, one word"),
        ("Image=x.build", "line 3: Image=: names another Quadlet file"),
        ("ContainerName=a b", "line 3: ContainerName=: letters, digits"),
        ("ContainerName=%i b", "line 3: ContainerName=: letters, digits"),
        (
            "Network=my.network",
            "line 3: Network=: there are bridge, host, none and container:NAME",
        ),
        ("Network=host\nNetwork=none", "line 4: Network=: one network only"),
        (
            "Volume=a.volume:/a",
            "line 3: Volume=: a.volume is another Quadlet file",
        ),
        ("Volume=./a:/a", "line 3: Volume=: begin it with '/'"),
        ("Volume=/a:/b:U", "line 3: Volume=: docker knows no option U here"),
        ("Volume=/a:/b:ro:rw", "line 3: Volume=: [source:]target[:options]"),
        ("Mount=type=image,src=a,dst=/b", "line 3: Mount=: type=image"),
        (
            "Mount=type=bind,src=/a,dst=/b,relabel=shared",
            "line 3: Mount=: docker knows no \"relabel\"",
        ),
        (
            "Mount=type=volume,src=a.volume,dst=/b",
            "line 3: Mount=: a.volume is another",
        ),
        (
            "EnvironmentFile=./env",
            "line 3: EnvironmentFile=: a path on the unit's machine",
        ),
        (
            "EnvironmentFile=-/env",
            "line 3: EnvironmentFile=: the file must exist",
        ),
        (
            "Environment=\"A=b",
            "line 3: Environment=: the quote \" has no end",
        ),
        ("Environment==b", "line 3: Environment=: KEY=value"),
        ("Exec='a", "line 3: Exec=: the quote ' has no end"),
        (
            "Exec=test\\.com",
            "line 3: Exec=: systemd knows no escape \"\\\\.\" here",
        ),
        ("Group=10", "line 3: Group=: goes with User= only"),
        (
            "ReadOnly=maybe",
            "line 3: ReadOnly=: \"maybe\" is neither true nor false",
        ),
        ("Memory=50%", "line 3: Memory=: a size such as 512m"),
        ("Memory=1..5g", "line 3: Memory=: a size"),
        ("PidsLimit=many", "line 3: PidsLimit=: a whole number"),
        ("StopTimeout=1m", "line 3: StopTimeout=: a whole number"),
        ("Pull=newer", "line 3: Pull=: always, missing or never"),
        ("Ulimit=host", "line 3: Ulimit=: name=soft[:hard]"),
        ("SeccompProfile=/a.json", "line 3: SeccompProfile=: "),
        (
            "LogDriver=json-file",
            "line 3: LogDriver=: output goes to the journal",
        ),
        ("Entrypoint=[\"a\"]", "line 3: Entrypoint=: one program"),
        ("AddDevice=-/dev/x", "line 3: AddDevice=: the device must exist"),
        (
            "ReloadCmd=a\nReloadSignal=HUP",
            "line 4: ReloadSignal=: goes with no ReloadCmd=",
        ),
        (
            "PodmanArgs=--cpus 2",
            "line 3: PodmanArgs=: for --cpus write CPUQuota= in [Service]",
        ),
        (
            "PodmanArgs=-v /a:/b",
            "line 3: PodmanArgs=: \"-v\" is no option in its long form",
        ),
        (
            "PodmanArgs=--replace",
            "line 3: PodmanArgs=: docker run has nothing for --replace here",
        ),
        (
            "PodmanArgs=--pid",
            "line 3: PodmanArgs=: --pid=: it takes host or private",
        ),
        (
            "PodmanArgs=--privileged=perhaps",
            "line 3: PodmanArgs=: --privileged=perhaps: it takes true or false",
        ),
        (
            "[Service]\nExecStart=/bin/x",
            "line 4: ExecStart=: [Container] says what is started",
        ),
        (
            "[Service]\nType=simple",
            "line 4: Type=: the service of a container takes notify or oneshot",
        ),
        (
            "[Service]\nKillMode=none",
            "line 4: KillMode=: the service of a container takes mixed or control-group",
        ),
        (
            "[Service]\nUser=web",
            "line 4: User=: who runs in the container is said in [Container]",
        ),
        (
            "[Quadlet]\nDefaultDependencies=false",
            "line 4: DefaultDependencies=: [Quadlet] is for podman alone",
        ),
        ("[Service", "line 3: unable to find end of section"),
        ("nonsense", "line 3: unexpected newline"),
        ("Exec=a\0b", "line 3: a NUL byte"),
    ];
    for (container, refusal) in table {
        let said = service(container);
        assert!(said.starts_with(refusal), "{container:?}: {said}");
    }
    for (text, refusal) in [
        ("", "it has no [Container] section"),
        ("[Container]\nUser=a\n", "[Container] has no Image="),
    ] {
        assert_eq!(translate("web.service", text).unwrap_err().to_string(), refusal);
    }
    let named = |name| {
        translate(name, "[Container]\nImage=img\n")
            .unwrap_err()
            .to_string()
    };
    assert!(named(r"a\x2db.service").starts_with(r"no container can be called systemd-a\x2db: "));
    assert!(named("a:b@.service").contains("say ContainerName= in [Container]"));
}

#[test]
fn what_is_too_long_for_a_line_is_refused_before_it_is_stored() {
    let long = format!("Environment=A={}", "\\a".repeat(900));
    assert!(
        service(&long).starts_with("the service it stands for: line too long (max 2048 bytes)"),
        "{}",
        service(&long)
    );
}

#[test]
fn the_readmes_example_is_one() {
    let readme = include_str!("../../../../README.md");
    let (_, after) = readme.split_once("```ini\n# page.container:").unwrap();
    let (text, _) = after.split_once("```").unwrap();
    let file = translate("page.service", &format!("# {text}")).unwrap();
    let command = file.values("Service", "ExecStart").next().unwrap();
    assert_eq!(
        words::split(&on_one_line(command)).unwrap()[4..],
        [
            "--publish=8081:8080",
            "--env=GREETING=hello world",
            "registry.example/web:1"
        ]
    );
    assert_eq!(file.values("Service", "MemoryMax").collect::<Vec<_>>(), ["256M"]);
}

#[test]
fn files_and_services_are_called_alike() {
    for (file, service) in [
        ("web.container", "web.service"),
        ("a.b@1.container", "a.b@1.service"),
    ] {
        assert_eq!(service_of(file).as_deref(), Some(service));
        assert_eq!(file_of(service), file);
    }
    assert_eq!(service_of("web.service"), None);
    assert_eq!(service_of("webcontainer"), None);
}

fn any_file() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        "\\[(Container|Service|X-Fleet|Unit|[A-Za-z]{0,3})\\]",
        "(Image|Exec|Environment|Volume|PodmanArgs|Label|Mount|Memory|User|ReadOnly|Conflicts|Type)=[ -~]{0,20}",
        "(Exec|Environment|Label)=[ -~äß\u{a0}\t]{0,12}\\\\",
        "[ -~äß]{0,12}",
    ];
    prop::collection::vec(line, 0..12)
        .prop_map(|lines| format!("[Container]\nImage=img\n{}\n", lines.join("\n")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_translated_is_a_unit_file(text in any_file()) {
        let Ok(file) = translate("web.service", &text) else { return Ok(()) };
        prop_assert_eq!(translate("web.service", &text).unwrap(), file.clone());
        let again = UnitFile::parse(&file.to_string()).unwrap();
        prop_assert_eq!(again.hash(), file.hash());
        prop_assert!(file.options.iter().all(|option| option.section != SECTION));
        let commands: Vec<&str> = again.values("Service", "ExecStart").collect();
        prop_assert_eq!(commands.len(), 1);
        let words = words::split(&on_one_line(commands[0])).unwrap();
        prop_assert_eq!(&words[..2], ["/usr/bin/docker", "run"]);
    }

    #[test]
    fn values_arrive_as_they_were_meant(values in prop::collection::vec("[^\0]{0,12}", 1..6), arguments in prop::collection::vec("[^\0]{0,12}", 0..6)) {
        let mut text = "[Container]\nImage=img\n".to_owned();
        for value in &values {
            text += &format!("Environment={}\n", words::quote(&format!("A={value}")));
        }
        text += &format!("Exec={}\n", words::command_line("Exec", &arguments));
        let file = translate("web.service", &text).unwrap();
        let command = file.values("Service", "ExecStart").next().unwrap();
        let words = words::split(&on_one_line(command)).unwrap();
        let expected: Vec<String> = values.iter().map(|value| format!("--env=A={value}")).collect();
        prop_assert_eq!(&words[4..4 + values.len()], &expected[..]);
        prop_assert_eq!(&words[5 + values.len()..], &arguments[..]);
    }
}
