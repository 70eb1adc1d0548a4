//! Settings as tables: what a set of variables means, and what is said about a wrong one.
#![allow(clippy::unwrap_used)]

use super::fragments::from_environment;
use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Understood, SettingsError> {
    understand(&from_environment(
        variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())),
    ))
}

#[test]
fn defaults_are_one_node_on_loopback() {
    let Understood { settings, warnings } = read(&[]).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    let etcd = settings.etcd;
    assert_eq!(etcd.name, "default");
    assert!(
        etcd.listen_client
            .iter()
            .chain(&etcd.listen_peer)
            .all(|listen| listen.address.ip().is_loopback() && !listen.tls)
    );
    assert_eq!(
        etcd.listen_client
            .iter()
            .map(|listen| listen.address.port())
            .collect::<Vec<_>>(),
        [2379, 4001]
    );
    assert_eq!(
        etcd.initial_cluster,
        [("default".to_owned(), "http://localhost:2380".to_owned())]
    );
    assert_eq!(etcd.request_timeout(), Duration::from_secs(7));
    assert_eq!(settings.fleet.agent_ttl, Duration::from_secs(30));
    assert_eq!(settings.fleet.token_limit, 100);
}

#[test]
fn a_machine_of_three() {
    let Understood { settings, warnings } = read(&[
        ("ETCD_NAME", "n1"),
        (
            "ETCD_LISTEN_CLIENT_URLS",
            "http://0.0.0.0:2379,http://0.0.0.0:4001",
        ),
        ("ETCD_ADVERTISE_CLIENT_URLS", "http://10.0.0.1:2379"),
        ("ETCD_LISTEN_PEER_URLS", "http://10.0.0.1:2380"),
        ("ETCD_INITIAL_ADVERTISE_PEER_URLS", "http://10.0.0.1:2380"),
        (
            "ETCD_INITIAL_CLUSTER",
            "n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380,n3=http://10.0.0.3:2380",
        ),
        ("FLEET_METADATA", "role=web, disk=ssd,"),
        ("FLEET_PUBLIC_IP", "10.0.0.1"),
        ("FLEET_AGENT_TTL", "5s"),
    ])
    .unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(settings.etcd.initial_cluster.len(), 3);
    assert_eq!(settings.etcd.advertise_client_urls, ["http://10.0.0.1:2379"]);
    assert_eq!(settings.fleet.metadata["disk"], "ssd");
    assert_eq!(settings.fleet.agent_ttl, Duration::from_secs(5));
}

#[test]
fn wrong_values_name_variable_value_and_what_to_do() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[("FLEET_AGENT_TTL", "30")],
            "FLEET_AGENT_TTL=\"30\" (from the environment): the number has no unit: write a duration like 30s or 1m30s",
        ),
        (
            &[("ETCD_LISTEN_PEER_URLS", "https://1.2.3.4:2380")],
            "ETCD_LISTEN_PEER_URLS=\"https://1.2.3.4:2380\" (from the environment): https needs a certificate: set \
             ETCD_PEER_CERT_FILE and ETCD_PEER_KEY_FILE, or write http",
        ),
        (
            &[("ETCD_LISTEN_CLIENT_URLS", "http://1.2.3.4:2379")],
            "ETCD_ADVERTISE_CLIENT_URLS is not set: it is required when ETCD_LISTEN_CLIENT_URLS is set: write the \
             URLs under which clients reach this machine",
        ),
        (
            &[("ETCD_INITIAL_CLUSTER", "n2=http://localhost:2380")],
            "ETCD_INITIAL_CLUSTER=\"n2=http://localhost:2380\" (from the environment): this member's name \"default\" \
             is not in it: add it, or set ETCD_NAME to the name this machine has there",
        ),
        (
            &[("ETCD_ELECTION_TIMEOUT", "300")],
            "ETCD_ELECTION_TIMEOUT=\"300\" (from the environment): it is less than five heartbeats of 100 ms: raise \
             it, or lower ETCD_HEARTBEAT_INTERVAL",
        ),
        (
            &[("ETCD_HEARTBEAT_INTERVAL", "fast")],
            "ETCD_HEARTBEAT_INTERVAL=\"fast\" (from the environment): it is not a number that can be used here: write \
             milliseconds, at least 1",
        ),
        (
            &[("FLEET_PUBLIC_IP", "web1")],
            "FLEET_PUBLIC_IP=\"web1\" (from the environment): it is no IP address: write this machine's address, or \
             remove it",
        ),
        (
            &[("ETCD_MAX_REQUEST_BYTES", "10485761")],
            "ETCD_MAX_REQUEST_BYTES=\"10485761\" (from the environment): no request can be larger than 10485760 bytes: \
             write bytes, from 1 to 10485760",
        ),
        (
            &[("ETCD_PEER_CERT_FILE", "/etc/ssl/peer.pem")],
            "ETCD_PEER_CERT_FILE=\"/etc/ssl/peer.pem\" (from the environment): ETCD_PEER_KEY_FILE is missing: KeyFile \
             and CertFile must both be present",
        ),
    ];
    for (variables, expected) in cases {
        assert_eq!(
            read(variables).unwrap_err().problems,
            [*expected],
            "{variables:?}"
        );
    }
}

#[test]
fn every_problem_is_reported_at_once() {
    let error = read(&[
        (
            "ETCD_INITIAL_CLUSTER",
            "default=http://10.0.0.1:1,b=http://10.0.0.1:1,c",
        ),
        ("ETCD_INITIAL_CLUSTER_STATE", "old"),
        ("FLEET_DISABLE_ENGINE", "maybe"),
        ("FLEET_TOKEN_LIMIT", "0"),
        ("CORTEN_MACHINE_ID", "xyz"),
    ])
    .unwrap_err();
    assert_eq!(error.problems.len(), 7, "{error}");
    assert!(
        error.to_string().contains("belongs to both b and default"),
        "{error}"
    );
    assert!(error.to_string().contains("\"c\" is no NAME=URL"), "{error}");
}

#[test]
fn what_has_no_effect_is_said() {
    let warnings = read(&[("FLEET_ETCD_SERVERS", "http://x"), ("FLEET_METADATA", "junk")])
        .unwrap()
        .warnings;
    assert_eq!(
        warnings,
        [
            "FLEET_METADATA: \"junk\" has no effect: it is no KEY=VALUE",
            "FLEET_ETCD_SERVERS=\"http://x\" (from the environment) has no effect: the scheduler uses the supervisor's \
             own store, there is no etcd to reach",
        ]
    );
}

#[test]
fn tls_is_the_urls_and_the_files() {
    let Understood { settings, warnings } = read(&[
        (
            "ETCD_LISTEN_CLIENT_URLS",
            "https://10.0.0.1:2379,http://127.0.0.1:2379",
        ),
        ("ETCD_ADVERTISE_CLIENT_URLS", "https://10.0.0.1:2379"),
        ("ETCD_CERT_FILE", "/c.pem"),
        ("ETCD_KEY_FILE", "/k.pem"),
        ("ETCD_CA_FILE", "/ca.pem"),
        ("ETCD_PEER_AUTO_TLS", "true"),
        ("ETCD_CIPHER_SUITES", "A, B"),
    ])
    .unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    let etcd = settings.etcd;
    assert_eq!(
        etcd.listen_client
            .iter()
            .map(|listen| listen.tls)
            .collect::<Vec<_>>(),
        [true, false]
    );
    assert!(
        etcd.client_tls.asks_clients(),
        "the old name of the CA file means so"
    );
    assert_eq!(etcd.client_tls.trusted_ca, Some("/ca.pem".into()));
    assert_eq!(etcd.client_tls.cipher_suites, ["A", "B"]);
    assert!(etcd.peer_tls.auto && !etcd.peer_tls.asks_clients());

    let plain = read(&[
        ("ETCD_LISTEN_PEER_URLS", "http://10.0.0.1:2380"),
        ("ETCD_PEER_CERT_FILE", "/c.pem"),
        ("ETCD_PEER_KEY_FILE", "/k.pem"),
    ]);
    let warnings = plain.unwrap().warnings;
    assert!(
        warnings[0].contains("everything goes in the clear"),
        "{warnings:?}"
    );
}

#[test]
fn one_way_to_the_founding_members() {
    let found = read(&[("ETCD_DISCOVERY", "http://h:2379/v2/keys/t/")])
        .unwrap()
        .settings
        .etcd;
    let url = "http://h:2379/v2/keys/t".to_owned();
    assert_eq!(found.discovery, Some(Discovery::Url { url, proxy: None }));
    assert_eq!(found.initial_cluster, []);
    let both = read(&[("ETCD_DISCOVERY", "http://h/t"), ("ETCD_DISCOVERY_SRV", "d")]);
    assert!(both.unwrap_err().problems[0].contains("multiple discovery or bootstrap flags are set"));
}

#[test]
fn the_store_alone_has_etcds_own_defaults() {
    let given = |variables: &[(&str, &str)]| {
        from_environment(variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())))
    };
    let (alone, warnings) = understand_alone(&given(&[])).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(alone.etcd.data_dir, PathBuf::from("default.etcd"));
    assert_eq!(alone.etcd.snapshot_count, 100_000);
    assert_eq!(alone.etcd.listen_client.len(), 1);
    assert_eq!(alone.proxy.mode, ProxyMode::Off);
    assert_eq!(alone.etcd.limits, Limits::default());
    let (alone, warnings) = understand_alone(&given(&[
        ("ETCD_PROXY", "readonly"),
        ("ETCD_AUTO_COMPACTION_RETENTION", "5m"),
        ("ETCD_ENABLE_V2", "true"),
        ("FLEET_AGENT_TTL", "wrong"),
    ]))
    .unwrap();
    assert_eq!(alone.proxy.mode, ProxyMode::Readonly);
    let five_minutes = AutoCompaction::Periodic(Duration::from_secs(300));
    assert_eq!(alone.etcd.limits.auto_compaction, five_minutes);
    assert_eq!(
        warnings,
        ["ETCD_ENABLE_V2=\"true\" (from the environment) has no effect: v2 is always served",]
    );
    let wrong = understand_alone(&given(&[("ETCD_AUTO_COMPACTION_MODE", "x")])).unwrap_err();
    assert!(wrong.problems[0].contains("unknown auto-compaction-mode"));
}

#[test]
fn a_quota_below_zero_is_none() {
    let limits = |bytes: &str| {
        read(&[("ETCD_QUOTA_BACKEND_BYTES", bytes)])
            .unwrap()
            .settings
            .etcd
            .limits
    };
    for (given, holds, is_told) in [
        ("0", 2 << 30, 2 << 30),
        ("4096", 4096, 4096),
        ("-5", u64::MAX, -5),
    ] {
        let limits = limits(given);
        assert_eq!((limits.quota(), limits.told_quota()), (holds, is_told), "{given}");
    }
}

#[test]
fn a_proxy_is_no_member() {
    let read = |mode: &str, more: &[(&str, &str)]| {
        let mut given = vec![
            ("ETCD_PROXY", mode),
            ("ETCD_LISTEN_CLIENT_URLS", "http://127.0.0.1:2379"),
        ];
        given.extend(more);
        let given = given.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        understand_alone(&from_environment(given)).map(|(alone, _)| alone)
    };
    let members = (
        "ETCD_INITIAL_CLUSTER",
        "n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380",
    );
    for (mode, expected) in [("on", ProxyMode::On), ("readonly", ProxyMode::Readonly)] {
        let alone = read(mode, &[members]).unwrap();
        assert_eq!(
            (alone.proxy.mode, alone.etcd.initial_cluster.len()),
            (expected, 2)
        );
        let found = read(mode, &[("ETCD_DISCOVERY", "http://h/t")]).unwrap();
        assert!(found.etcd.discovery.is_some());
    }
    let twice = (
        "ETCD_INITIAL_CLUSTER",
        "n1=http://10.0.0.1:2380,n2=http://10.0.0.1:2380",
    );
    assert!(
        read("on", &[twice])
            .unwrap_err()
            .to_string()
            .contains("belongs to both")
    );
    let member = read("off", &[members]).unwrap_err().to_string();
    assert!(member.contains("is not in it"), "{member}");
    assert!(member.contains("ETCD_ADVERTISE_CLIENT_URLS"), "{member}");
}

#[test]
fn voters_and_standbys() {
    let standby = [
        ("ETCD_NAME", "n9"),
        ("ETCD_INITIAL_CLUSTER", "n1=http://10.0.0.1:2380"),
        ("ETCD_INITIAL_ADVERTISE_PEER_URLS", "http://10.0.0.9:2380"),
        ("ETCD_INITIAL_CLUSTER_STATE", "existing"),
        ("ETCD_CLUSTER_ACTIVE_SIZE", "5"),
        ("ETCD_CLUSTER_REMOVE_DELAY", "90"),
    ];
    let etcd = read(&standby).unwrap().settings.etcd;
    assert_eq!((etcd.existing, etcd.active_size), (true, Some(5)));
    assert_eq!(etcd.remove_delay, Some(Duration::from_secs(90)));
    assert_eq!(
        etcd.initial_cluster,
        [("n1".to_owned(), "http://10.0.0.1:2380".to_owned())]
    );

    let delay = |text: &str| read(&[("ETCD_CLUSTER_REMOVE_DELAY", text)]);
    assert_eq!(delay("0").unwrap().settings.etcd.remove_delay, None);
    let minutes = delay("10m").unwrap().settings.etcd.remove_delay;
    assert_eq!(minutes, Some(Duration::from_secs(600)));
    let default = read(&[]).unwrap().settings.etcd;
    assert_eq!(
        (default.active_size, default.remove_delay),
        (None, Some(Duration::from_secs(300)))
    );
    assert!(delay("soon").is_err());
    assert!(read(&[("ETCD_CLUSTER_ACTIVE_SIZE", "4")]).is_err());

    // One that stands there under another name, or is to found the cluster, is a mistake.
    let mut other = standby;
    other[2].1 = "http://10.0.0.1:2380";
    assert!(read(&other).unwrap_err().to_string().contains("is not in it"));
    other = standby;
    other[3].1 = "new";
    assert!(read(&other).unwrap_err().to_string().contains("is not in it"));
}
