//! Tests of `network`: documents like OpenStack's, the files they become, and what cannot be used.
#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

const CLUSTER: &str = r#"{
  "links": [
    {"id": "tap0", "type": "phy", "ethernet_mac_address": "52:54:00:00:00:01", "mtu": 1500},
    {"id": "tap1", "type": "ovs", "ethernet_mac_address": "52:54:00:00:01:01"},
    {"id": "idle", "ethernet_mac_address": "52:54:00:00:02:01"}
  ],
  "networks": [
    {"id": "n0", "link": "tap0", "type": "ipv4", "ip_address": "10.11.0.1", "netmask": "255.255.255.0",
     "gateway": "10.11.0.254", "routes": [{"network": "10.12.0.0", "netmask": "255.255.0.0", "gateway": "10.11.0.2"}]},
    {"id": "n1", "link": "tap0", "type": "ipv6", "ip_address": "fd00::1/64"},
    {"id": "n2", "link": "tap1", "type": "ipv4_dhcp", "services": [{"type": "dns", "address": "192.0.2.53"}]}
  ],
  "services": [{"type": "dns", "address": "10.11.0.53"}]
}"#;

#[test]
fn static_and_dhcp() {
    let network = parse(CLUSTER).unwrap();
    assert_eq!(network.notes, Vec::<String>::new());
    assert_eq!(network.files.len(), 2);
    assert_eq!(network.files[0].0, "10-config-drive-0.network");
    assert_eq!(
        network.files[0].1,
        "# from network_data.json\n[Match]\nMACAddress=52:54:00:00:00:01\n\n[Link]\nMTUBytes=1500\n\n[Network]\n\
         Address=10.11.0.1/24\nGateway=10.11.0.254\nAddress=fd00::1/64\nDNS=10.11.0.53\n\n[Route]\n\
         Destination=10.12.0.0/16\nGateway=10.11.0.2\n"
    );
    assert!(
        network.files[1]
            .1
            .contains("DHCP=ipv4\nDNS=192.0.2.53\nDNS=10.11.0.53\n")
    );
    assert_eq!(network.addresses.private_ipv4.as_deref(), Some("10.11.0.1"));
    assert_eq!(network.addresses.public_ipv4.as_deref(), Some("10.11.0.1"));
    assert_eq!(network.addresses.private_ipv6.as_deref(), Some("fd00::1"));
}

#[test]
fn public_and_private() {
    let choose = |texts: &[&str]| choose(&texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<_>>());
    let both = choose(&[
        "127.0.0.1",
        "203.0.113.4",
        "192.168.1.4",
        "10.0.0.4",
        "fe80::1",
        "2001:db8::1",
    ]);
    assert_eq!(both.public_ipv4.as_deref(), Some("203.0.113.4"));
    assert_eq!(both.private_ipv4.as_deref(), Some("192.168.1.4"));
    assert_eq!(both.public_ipv6.as_deref(), Some("2001:db8::1"));
    assert_eq!(both.private_ipv6.as_deref(), Some("2001:db8::1"));
    assert_eq!(choose(&["127.0.0.1"]), Addresses::default());
    assert_eq!(
        choose(&["100.64.0.9", "198.51.100.1"]).private_ipv4.as_deref(),
        Some("100.64.0.9")
    );
}

#[test]
fn netmasks() {
    for (text, v4, wanted) in [
        ("24", true, Some(24)),
        ("255.255.240.0", true, Some(20)),
        ("0.0.0.0", true, Some(0)),
        ("255.0.255.0", true, None),
        ("33", true, None),
        ("64", false, Some(64)),
        ("ffff:ffff:ffff:ffff::", false, Some(64)),
        ("255.255.255.0", false, None),
        ("x", true, None),
    ] {
        assert_eq!(prefix(text, v4).ok(), wanted, "{text}");
    }
}

#[test]
fn what_cannot_be_used_is_named() {
    for (network, wanted) in [
        (
            r#"{"links":[{"id":"a","type":"bond"}],"networks":[{"link":"a","type":"ipv4"}]}"#,
            "bond",
        ),
        (
            r#"{"links":[{"id":"a"}],"networks":[{"link":"a","type":"ipv4"}]}"#,
            "ethernet_mac_address",
        ),
        (
            r#"{"links":[{"id":"a","ethernet_mac_address":"52:54:00:00:00:01\nX"}],"networks":[{"link":"a"}]}"#,
            "not an Ethernet address",
        ),
        (
            r#"{"links":[{"id":"a","ethernet_mac_address":"52:54:00:00:00:01"}],
            "networks":[{"link":"a","type":"ipv4","ip_address":"10.0.0.999"}]}"#,
            "10.0.0.999",
        ),
        (
            r#"{"links":[{"id":"a","ethernet_mac_address":"52:54:00:00:00:01"}],
            "networks":[{"link":"a","type":"token"}]}"#,
            "token",
        ),
        (r#"{"links":[{}]}"#, "without id"),
    ] {
        let notes = parse(network).unwrap().notes;
        assert!(
            notes.iter().any(|note| note.contains(wanted)),
            "{network}: {notes:?}"
        );
    }
    assert!(parse("{\n\n!").unwrap_err().to_string().contains("line 3"));
    assert_eq!(parse("[]").unwrap(), Network::default());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = parse(&text);
    }

    #[test]
    fn a_file_has_one_value_per_line(address in "\\PC{0,20}", mask in "\\PC{0,20}", mac in "\\PC{0,20}") {
        let data = serde_json::json!({
            "links": [{"id": "a", "ethernet_mac_address": mac}],
            "networks": [{"link": "a", "type": "ipv4", "ip_address": address, "netmask": mask, "gateway": address}]
        });
        let network = parse(&data.to_string()).unwrap();
        for (_, content) in network.files {
            prop_assert!(content.lines().all(|l| l.is_empty() || l.starts_with(['[', '#']) || l.contains('=')));
        }
    }
}
