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
            .all(|address| address.ip().is_loopback())
    );
    assert_eq!(
        etcd.listen_client
            .iter()
            .map(SocketAddr::port)
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
            "ETCD_LISTEN_PEER_URLS=\"https://1.2.3.4:2380\" (from the environment): the scheme must be http: \
             https://1.2.3.4:2380: write http://ADDRESS:PORT, several with commas",
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
            &[("ETCD_PEER_CERT_FILE", "/etc/ssl/peer.pem")],
            "ETCD_PEER_CERT_FILE=\"/etc/ssl/peer.pem\" (from the environment) cannot be honoured: peers speak plain \
             HTTP only: remove it, and keep peer URLs on a private network",
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
