//! Founding members from a DNS of our own on loopback.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;

use super::srv::{SrvError, look_up};

/// A name server that knows three members below cluster.test and their addresses; returns its port.
async fn name_server() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut packet = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut packet).await {
            let asked = Message::from_vec(&packet[..length]).unwrap();
            let answer = answer(asked).to_vec().unwrap();
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    port
}

fn answer(asked: Message) -> Message {
    let query = asked.queries[0].clone();
    let name = query.name().to_string();
    let mut answer = asked;
    answer.additionals.clear();
    answer.edns = None;
    answer.metadata.message_type = MessageType::Response;
    let records: Vec<RData> = match (query.query_type(), name.as_str()) {
        (RecordType::SRV, "_etcd-server._tcp.cluster.test." | "_etcd-server-blue._tcp.cluster.test.") => (1
            ..=3)
            .map(|n| {
                let target = Name::from_str(&format!("m{n}.cluster.test.")).unwrap();
                RData::SRV(SRV::new(0, 0, 2380, target))
            })
            .collect(),
        (RecordType::A, name) if name.starts_with('m') => {
            let n: u8 = name[1..2].parse().unwrap();
            vec![RData::A(A(Ipv4Addr::new(127, 0, 0, n)))]
        }
        _ => Vec::new(),
    };
    if records.is_empty() && query.query_type() == RecordType::SRV {
        answer.metadata.response_code = ResponseCode::NXDomain;
    }
    for data in records {
        answer.add_answer(Record::from_rdata(query.name().clone(), 60, data));
    }
    answer
}

async fn resolver() -> TokioResolver {
    let mut connection = ConnectionConfig::udp();
    connection.port = name_server().await;
    let server = NameServerConfig::new(IpAddr::V4(Ipv4Addr::LOCALHOST), true, vec![connection]);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .build()
        .unwrap()
}

#[tokio::test]
async fn members_come_from_srv_records() {
    let resolver = resolver().await;
    let advertised = ["http://127.0.0.2:2380".to_owned()];
    for suffix in [None, Some("blue")] {
        let found = look_up(&resolver, "cluster.test", suffix, "me", &advertised)
            .await
            .unwrap();
        assert!(found.has_own);
        let expected = [
            ("0", "http://m1.cluster.test:2380"),
            ("me", "http://m2.cluster.test:2380"),
            ("1", "http://m3.cluster.test:2380"),
        ];
        assert_eq!(found.members, expected.map(|(n, u)| (n.to_owned(), u.to_owned())));
    }
    let named = ["http://m3.cluster.test:2380".to_owned()];
    let found = look_up(&resolver, "cluster.test", None, "me", &named)
        .await
        .unwrap();
    assert_eq!(found.members[2].0, "me", "an advertised name is resolved, too");
}

#[tokio::test]
async fn what_the_dns_does_not_say_is_told() {
    let resolver = resolver().await;
    let advertised = ["http://127.0.0.9:2380".to_owned()];
    let found = look_up(&resolver, "cluster.test", None, "me", &advertised)
        .await
        .unwrap();
    assert!(!found.has_own);
    let none = look_up(&resolver, "nosuch.test", None, "me", &advertised).await;
    let error = none.unwrap_err().to_string();
    let expected = "error querying DNS SRV records for _etcd-server-ssl._tcp.nosuch.test and _etcd-server._tcp.nosuch.test";
    assert!(error.starts_with(expected), "{error}");
    let secure = ["https://127.0.0.1:2380".to_owned()];
    let mismatch = look_up(&resolver, "cluster.test", None, "me", &secure).await;
    assert!(matches!(mismatch, Err(SrvError::Scheme { .. })), "{mismatch:?}");
}
