//! The table `inet corten`: what goes where on its way to and from containers.
//!
//! Duty: the table's text from the leases (pure), and one `nft -f -` that replaces the whole table atomically.
//! Ports of the machine are map elements, so their number does not lengthen the way of a packet.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::leases::Leases;
use super::{BRIDGE, NetworkError, SUBNET};
use crate::record::{PortMapping, Protocol};

/// Makes the table what the leases say.
pub fn apply(leases: &Leases) -> Result<(), NetworkError> {
    let pairs: Vec<(String, &PortMapping)> = leases
        .all()
        .flat_map(|lease| lease.ports.iter().map(|port| (lease.address.to_string(), port)))
        .collect();
    run(&table(&pairs))
}

fn run(script: &str) -> Result<(), NetworkError> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| NetworkError::Firewall(format!("running nft: {error} (is nftables installed?)")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A refusal shows in the exit status, with nft's own words.
        let _ = stdin.write_all(script.as_bytes());
    }
    let output = child
        .wait_with_output()
        .map_err(|error| NetworkError::Firewall(format!("running nft: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(NetworkError::Firewall(format!(
        "nft refused the table: {}",
        words.trim()
    )))
}

/// The whole table for `(container address, port)` pairs.
fn table(ports: &[(String, &PortMapping)]) -> String {
    let mut text = String::from("add table inet corten\ndelete table inet corten\ntable inet corten {\n");
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let word = protocol.word();
        let of_kind = |bound: bool| {
            let fits = move |port: &PortMapping| port.protocol == protocol && port.host_ip.is_some() == bound;
            ports.iter().filter(move |(_, port)| fits(port))
        };
        map(
            &mut text,
            &format!("{word}_any"),
            "inet_service",
            of_kind(false).map(|(ip, port)| format!("{} : {ip} . {}", port.host_port, port.container_port)),
        );
        map(
            &mut text,
            &format!("{word}_bound"),
            "ipv4_addr . inet_service",
            of_kind(true).filter_map(|(ip, port)| {
                // Addresses of version 6 are reserved but not forwarded: the bridge has none.
                let address = port.host_ip.filter(std::net::IpAddr::is_ipv4)?;
                Some(format!(
                    "{address} . {} : {ip} . {}",
                    port.host_port, port.container_port
                ))
            }),
        );
    }
    let subnet = SUBNET.text();
    let _ = write!(
        text,
        r#"  chain publish {{
    dnat ip to ip daddr . tcp dport map @tcp_bound
    dnat ip to ip daddr . udp dport map @udp_bound
    dnat ip to tcp dport map @tcp_any
    dnat ip to udp dport map @udp_any
  }}
  # The bridge routes 127.0.0.0/8 for published ports; containers must not reach the machine's loopback by it.
  chain guard {{
    type filter hook prerouting priority raw; policy accept;
    iifname "{BRIDGE}" ip daddr 127.0.0.0/8 drop
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump publish
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    fib daddr type local jump publish
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {subnet} oifname != "{BRIDGE}" masquerade
    ip saddr 127.0.0.0/8 oifname "{BRIDGE}" masquerade
    ip saddr {subnet} oifname "{BRIDGE}" ct status dnat masquerade
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    oifname "{BRIDGE}" ct state established,related accept
    oifname "{BRIDGE}" iifname "{BRIDGE}" accept
    oifname "{BRIDGE}" ct status dnat accept
    oifname "{BRIDGE}" drop
  }}
}}
"#
    );
    text
}

fn map(text: &mut String, name: &str, key: &str, elements: impl Iterator<Item = String>) {
    let elements: Vec<String> = elements.collect();
    let _ = write!(
        text,
        "  map {name} {{\n    type {key} : ipv4_addr . inet_service\n"
    );
    if !elements.is_empty() {
        let _ = writeln!(text, "    elements = {{ {} }}", elements.join(", "));
    }
    text.push_str("  }\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_become_map_elements() {
        let any = PortMapping {
            host_ip: None,
            host_port: 1337,
            container_port: 80,
            protocol: Protocol::Tcp,
        };
        let bound = PortMapping {
            host_ip: Some([127, 0, 0, 1].into()),
            protocol: Protocol::Udp,
            ..any.clone()
        };
        let text = table(&[("172.17.0.2".into(), &any), ("172.17.0.3".into(), &bound)]);
        assert!(text.contains("elements = { 1337 : 172.17.0.2 . 80 }"), "{text}");
        assert!(
            text.contains("elements = { 127.0.0.1 . 1337 : 172.17.0.3 . 80 }"),
            "{text}"
        );
        assert_eq!(text.matches("elements").count(), 2);
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }
}
