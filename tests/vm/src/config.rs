//! What a machine of a cluster is told at boot: its cloud-config and its network, as text. Pure.

use std::net::Ipv4Addr;

use serde_json::json;

/// Where the machines find the host's registry, on QEMU's user network.
pub const REGISTRY: &str = "10.0.2.100:5000";

/// One machine's place in its cluster.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name, which is also its host name.
    pub name: String,
    /// Its number, from 1.
    pub number: u8,
}

impl Node {
    /// The machine with a number: `node1` and so on.
    pub fn new(number: u8) -> Node {
        Node {
            name: format!("node{number}"),
            number,
        }
    }

    /// Its address on the switch.
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, 10 + self.number)
    }

    /// The address of its card on the switch; the locally administered range that QEMU uses.
    pub fn link_mac(&self) -> String {
        format!("52:54:00:77:00:{:02x}", self.number)
    }

    /// The address of its card on QEMU's user network.
    pub fn user_mac(&self) -> String {
        format!("52:54:00:78:00:{:02x}", self.number)
    }
}

/// What all machines of a cluster share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Names the cluster: two clusters never mix.
    pub token: String,
    /// The public half of the cluster's SSH key.
    pub ssh_key: String,
    /// How long a silent machine counts as present, in seconds.
    pub agent_ttl_s: u32,
    /// How often the store's leader shows itself, and how long its members bear its silence, in ms.
    pub heartbeat_and_election_ms: (u32, u32),
    /// Its machines.
    pub nodes: Vec<Node>,
}

/// The cloud-config of one machine.
pub fn cloud_config(shared: &Shared, node: &Node) -> String {
    let peer = |node: &Node| format!("{}=http://{}:2380", node.name, node.address());
    let initial_cluster: Vec<String> = shared.nodes.iter().map(peer).collect();
    let zone = char::from(b'a' + (node.number - 1) % 26);
    format!(
        r#"#cloud-config
hostname: {name}
ssh_authorized_keys:
  - {ssh_key}
write_files:
  - path: /etc/docker/daemon.json
    permissions: "0644"
    content: |
      {{"insecure-registries": ["{REGISTRY}"]}}
coreos:
  etcd2:
    name: {name}
    initial-cluster: {initial_cluster}
    initial-cluster-state: new
    initial-cluster-token: {token}
    heartbeat-interval: {heartbeat_ms}
    election-timeout: {election_ms}
    initial-advertise-peer-urls: http://$private_ipv4:2380
    listen-peer-urls: http://$private_ipv4:2380
    advertise-client-urls: http://$private_ipv4:2379
    listen-client-urls: http://0.0.0.0:2379
  fleet:
    public-ip: $private_ipv4
    metadata: role=worker,zone={zone}
    agent-ttl: {agent_ttl_s}s
  units:
    - name: etcd2.service
      command: start
    - name: fleet.service
      command: start
"#,
        name = node.name,
        ssh_key = shared.ssh_key,
        initial_cluster = initial_cluster.join(","),
        token = shared.token,
        heartbeat_ms = shared.heartbeat_and_election_ms.0,
        election_ms = shared.heartbeat_and_election_ms.1,
        agent_ttl_s = shared.agent_ttl_s,
    )
}

/// The network of one machine in OpenStack's form: a fixed address on the switch, which comes first and so is
/// `$private_ipv4`, and QEMU's fixed guest address on the user network.
pub fn network_data(node: &Node) -> String {
    let network = |id: &str, link: &str, address: String| json!({"id": id, "link": link, "type": "ipv4", "ip_address": address, "netmask": "255.255.255.0"});
    json!({
        "links": [
            {"id": "switch", "type": "phy", "ethernet_mac_address": node.link_mac()},
            {"id": "user", "type": "phy", "ethernet_mac_address": node.user_mac()},
        ],
        "networks": [
            network("cluster", "switch", node.address().to_string()),
            network("host", "user", "10.0.2.15".to_owned()),
        ],
        "services": [],
    })
    .to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_is_told_the_same_cluster() {
        let nodes: Vec<Node> = (1..=3).map(Node::new).collect();
        let shared = Shared {
            token: "t".into(),
            ssh_key: "ssh-ed25519 AAAA k".into(),
            agent_ttl_s: 5,
            heartbeat_and_election_ms: (100, 1000),
            nodes,
        };
        let texts: Vec<String> = shared
            .nodes
            .iter()
            .map(|node| cloud_config(&shared, node))
            .collect();
        let cluster =
            "node1=http://10.77.0.11:2380,node2=http://10.77.0.12:2380,node3=http://10.77.0.13:2380";
        assert!(texts.iter().all(|text| text.contains(cluster)));
        assert!(texts[2].contains("hostname: node3") && texts[2].contains("zone=c"));
        for text in &texts {
            let tree = corten_spec::cloud_config::yaml::parse(text).unwrap().unwrap();
            let report = corten_spec::cloud_config::validate::validate(&tree);
            assert!(report.entries.is_empty(), "{report:?}\n{text}");
        }
    }

    #[test]
    fn the_address_on_the_switch_comes_first() {
        let data: serde_json::Value = serde_json::from_str(&network_data(&Node::new(2))).unwrap();
        assert_eq!(data["networks"][0]["ip_address"], "10.77.0.12");
        assert_eq!(data["networks"][0]["link"], data["links"][0]["id"]);
        assert_eq!(data["links"][0]["ethernet_mac_address"], "52:54:00:77:00:02");
        let network = corten_spec::cloud_config::network::parse(&network_data(&Node::new(2))).unwrap();
        assert_eq!(network.addresses.private_ipv4.as_deref(), Some("10.77.0.12"));
        assert_eq!((network.files.len(), network.notes.len()), (2, 0), "{network:?}");
    }
}
