//! `--discovery-srv`: the members' client URLs from the DNS, `_etcd-client-ssl._tcp.DOMAIN` (https) and
//! `_etcd-client._tcp.DOMAIN` (http), in the order of the answers.

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;

use super::fault::Failure;
use super::settings::Endpoint;

const SERVICES: [(&str, &str); 2] = [("etcd-client-ssl", "https"), ("etcd-client", "http")];

/// Looks them up with the system's resolver.
pub(super) async fn endpoints(domain: &str) -> Result<Vec<Endpoint>, Failure> {
    let no_resolver = |error: &dyn std::fmt::Display| {
        Failure::arguments(format!("/etc/resolv.conf cannot be used: {error}"))
    };
    let builder = TokioResolver::builder_tokio().map_err(|error| no_resolver(&error))?;
    let resolver = builder.build().map_err(|error| no_resolver(&error))?;
    look_up(&resolver, domain).await
}

/// Looks them up; one service that answers is enough.
pub(super) async fn look_up(resolver: &TokioResolver, domain: &str) -> Result<Vec<Endpoint>, Failure> {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    for (service, scheme) in SERVICES {
        let name = format!("_{service}._tcp.{domain}");
        match resolver.srv_lookup(format!("{name}.")).await {
            Ok(answer) => {
                let mut records: Vec<_> = answer
                    .answers()
                    .iter()
                    .filter_map(|record| match &record.data {
                        RData::SRV(srv) => Some(srv.clone()),
                        _ => None,
                    })
                    .collect();
                records.sort_by_key(|srv| (srv.priority, srv.target.to_string(), srv.port));
                for srv in records {
                    let host = srv.target.to_string();
                    let url = format!("{scheme}://{}:{}", host.trim_end_matches('.'), srv.port);
                    found.push(Endpoint::parse(&url).map_err(|error| Failure::arguments(error.to_string()))?);
                }
            }
            Err(error) => faults.push(format!("lookup {name}: {error}")),
        }
    }
    if found.is_empty() && faults.len() == SERVICES.len() {
        return Err(Failure::arguments(format!(
            "dns lookup errors: {}",
            faults.join(" and ")
        )));
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::str::FromStr;

    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
    use hickory_resolver::proto::rr::rdata::SRV;
    use hickory_resolver::proto::rr::{Name, Record};
    use tokio::net::UdpSocket;

    use super::*;

    /// A name server on loopback that knows two members without TLS below cluster.test.
    async fn resolver() -> TokioResolver {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut connection = ConnectionConfig::udp();
        connection.port = socket.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut packet = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut packet).await {
                let mut answer = Message::from_vec(&packet[..length]).unwrap();
                let name = answer.queries[0].name().clone();
                answer.additionals.clear();
                answer.edns = None;
                answer.metadata.message_type = MessageType::Response;
                if name.to_string() == "_etcd-client._tcp.cluster.test." {
                    for (priority, host) in [(1, "m2"), (0, "m1")] {
                        let target = Name::from_str(&format!("{host}.cluster.test.")).unwrap();
                        let srv = RData::SRV(SRV::new(priority, 0, 2379, target));
                        answer.add_answer(Record::from_rdata(name.clone(), 60, srv));
                    }
                } else {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                }
                socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        });
        let server = NameServerConfig::new(IpAddr::V4(Ipv4Addr::LOCALHOST), true, vec![connection]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .build()
            .unwrap()
    }

    #[tokio::test]
    async fn members_come_from_srv_records() {
        let resolver = resolver().await;
        let found = look_up(&resolver, "cluster.test").await.unwrap();
        let urls: Vec<&str> = found.iter().map(|endpoint| endpoint.url.as_str()).collect();
        assert_eq!(
            urls,
            ["http://m1.cluster.test:2379", "http://m2.cluster.test:2379"]
        );
        let none = look_up(&resolver, "nosuch.test").await.unwrap_err();
        assert_eq!(none.code, 1);
        let expected = "dns lookup errors: lookup _etcd-client-ssl._tcp.nosuch.test: ";
        assert!(none.text.starts_with(expected), "{}", none.text);
    }
}
