//! The store alone, in-process over loopback: with TLS on both sides, found by discovery, joined, forced, proxied.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use hyper::Method;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::proxy::Running;
use super::run::Store;
use crate::bootstrap::{BootstrapError, DiscoveryError};
use crate::http::Socket;
use crate::listeners::Listeners;
use crate::member::{Member, StartError};
use crate::settings::fragments::{Fragments, Given};
use crate::settings::tls::Tls;
use crate::settings::{Alone, understand_alone};
use crate::testing::{until, within};
use crate::tls;
use crate::tls::testing::{Ca, ask, get};

/// Sockets and settings of a member that does not run yet.
struct Seat {
    settings: Alone,
    clients: TcpListener,
    peers: TcpListener,
}

fn settings(variables: &[(&str, &str)]) -> Alone {
    let given: Fragments = variables
        .iter()
        .map(|(name, value)| {
            let given = Given {
                value: (*value).to_owned(),
                source: "a test".to_owned(),
            };
            (format!("ETCD_{name}"), given)
        })
        .collect();
    understand_alone(&given).unwrap().0
}

impl Seat {
    async fn new(folder: &Path, name: &str, scheme: &str, more: &[(&str, &str)]) -> Seat {
        let clients = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peers = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client_url = format!("{scheme}://{}", clients.local_addr().unwrap());
        let peer_url = format!("{scheme}://{}", peers.local_addr().unwrap());
        let data_dir = folder.join(name);
        let mut variables = vec![
            ("NAME", name),
            ("DATA_DIR", data_dir.to_str().unwrap()),
            ("LISTEN_CLIENT_URLS", &client_url),
            ("ADVERTISE_CLIENT_URLS", &client_url),
            ("LISTEN_PEER_URLS", &peer_url),
            ("INITIAL_ADVERTISE_PEER_URLS", &peer_url),
            ("ELECTION_TIMEOUT", "500"),
            ("HEARTBEAT_INTERVAL", "50"),
        ];
        variables.extend(more);
        Seat {
            settings: settings(&variables),
            clients,
            peers,
        }
    }

    fn client(&self) -> String {
        self.settings.etcd.advertise_client_urls[0].clone()
    }

    fn peer(&self) -> String {
        self.settings.etcd.advertise_peer_urls[0].clone()
    }

    async fn start(self) -> Result<Store, StartError> {
        let etcd = &self.settings.etcd;
        let acceptor = |tls: &Tls, protocols| {
            etcd.listen_client[0]
                .tls
                .then(|| tls::acceptor(tls, protocols).unwrap())
        };
        let clients = Socket::new(self.clients, acceptor(&etcd.client_tls, tls::PEER_PROTOCOLS));
        let peers = Socket::new(self.peers, acceptor(&etcd.peer_tls, tls::PEER_PROTOCOLS));
        let listeners = Listeners {
            clients: vec![clients],
            peers: vec![peers],
            metrics: Vec::new(),
            fleet: Vec::new(),
        };
        let member = Member::start(etcd).await?;
        Ok(Store::serve(member, listeners, &self.settings))
    }
}

/// Names each seat in every seat's initial cluster.
fn introduce(seats: &mut [Seat]) {
    let all: Vec<(String, String)> = seats
        .iter()
        .map(|s| (s.settings.etcd.name.clone(), s.peer()))
        .collect();
    for seat in seats {
        seat.settings.etcd.initial_cluster = all.clone();
    }
}

async fn formed(store: &Store) {
    let mut formed = store.node.formed();
    within("the cluster forms", async {
        formed.wait_for(|formed| *formed).await.unwrap().to_owned()
    })
    .await;
}

async fn put(tls: Option<&Tls>, client: &str, key: &str, value: &str) -> (u16, String) {
    let url = format!("{client}/v2/keys/{key}");
    ask(tls, Method::PUT, &url, &format!("value={value}"))
        .await
        .unwrap()
}

/// Waits until a member's own state has a key.
async fn has(tls: Option<&Tls>, client: &str, key: &str, value: &str) {
    let wanted = format!("\"value\":\"{value}\"");
    until("the key is there", async || {
        let (_, body) = get(tls, &format!("{client}/v2/keys/{key}")).await.ok()?;
        body.contains(&wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_with_certificates_on_both_sides() {
    let folder = TempDir::new().unwrap();
    let (ca, other) = (Ca::new(folder.path(), "ca"), Ca::new(folder.path(), "other"));
    let mut seats = Vec::new();
    for at in 0..3 {
        let tls = ca.issue(&format!("n{at}"), at + 1);
        let file = |path: &Option<std::path::PathBuf>| path.as_ref().unwrap().to_str().unwrap().to_owned();
        let (cert, key, ca) = (file(&tls.cert), file(&tls.key), file(&tls.trusted_ca));
        let more = [
            ("CERT_FILE", cert.as_str()),
            ("KEY_FILE", &key),
            ("TRUSTED_CA_FILE", &ca),
            ("CLIENT_CERT_AUTH", "true"),
            ("PEER_CERT_FILE", &cert),
            ("PEER_KEY_FILE", &key),
            ("PEER_TRUSTED_CA_FILE", &ca),
            ("PEER_CLIENT_CERT_AUTH", "true"),
        ];
        seats.push(Seat::new(folder.path(), &format!("n{at}"), "https", &more).await);
    }
    introduce(&mut seats);
    let clients: Vec<String> = seats.iter().map(Seat::client).collect();
    let peers: Vec<String> = seats.iter().map(Seat::peer).collect();
    let mut stores = Vec::new();
    for seat in seats {
        stores.push(seat.start().await.unwrap());
    }
    for store in &stores {
        formed(store).await;
    }
    let me = ca.issue("me", 9);
    let (status, body) = put(Some(&me), &clients[0], "a", "1").await;
    assert_eq!(status, 201, "{body}");
    for client in &clients {
        has(Some(&me), client, "a", "1").await;
    }

    // Whom the CA does not know gets neither at clients' nor at peers' routes, not even to be refused by them.
    let bare = Tls {
        trusted_ca: Some(ca.file.clone()),
        ..Tls::default()
    };
    let stranger = Tls {
        trusted_ca: Some(ca.file.clone()),
        ..other.issue("stranger", 1)
    };
    for wrong in [&bare, &stranger] {
        assert!(
            get(Some(wrong), &format!("{}/v2/keys/a", clients[0]))
                .await
                .is_err()
        );
        let append = format!("{}/corten/raft/v1/append", peers[0]);
        // The client's pool loses the reason where the alert comes before the request is on its way.
        let refused = until("a refusal with its reason", async || {
            let refused = ask(Some(wrong), Method::POST, &append, "x").await.unwrap_err();
            (!refused.contains("connection was not ready")).then_some(refused)
        });
        let refused = refused.await;
        assert!(refused.contains("AlertReceived"), "{refused}");
    }
    let (status, _) = ask(
        Some(&me),
        Method::POST,
        &format!("{}/corten/raft/v1/append", peers[0]),
        "x",
    )
    .await
    .unwrap();
    assert_eq!(status, 412, "a certificate alone makes no peer of this cluster");
    let plain = peers[0].replace("https", "http");
    let (status, body) = get(None, &format!("{plain}/members")).await.unwrap();
    assert_eq!(
        (status, body.as_str()),
        (400, "Client sent an HTTP request to an HTTPS server.\n")
    );
    for store in stores {
        store.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_find_each_other_through_another_store() {
    let folder = TempDir::new().unwrap();
    let directory = Seat::new(folder.path(), "directory", "http", &[]).await;
    let service = directory.client();
    let directory = directory.start().await.unwrap();
    formed(&directory).await;
    let token = format!("{service}/v2/keys/discovery/t1");

    let early = Seat::new(folder.path(), "early", "http", &[("DISCOVERY", &token)]).await;
    let error = early.start().await.err().unwrap();
    assert_eq!(error.to_string(), "discovery: size key not found");
    put(None, &service, "discovery/t1/_config/size", "many").await;
    let early = Seat::new(folder.path(), "early", "http", &[("DISCOVERY", &token)]).await;
    assert_eq!(
        early.start().await.err().unwrap().to_string(),
        "discovery: size key is bad"
    );
    put(None, &service, "discovery/t1/_config/size", "3").await;

    // A proxy that is there before the members waits for them.
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let of_proxy = format!("http://{}", tcp.local_addr().unwrap());
    let proxy = settings(&[
        ("PROXY", "on"),
        ("LISTEN_CLIENT_URLS", &of_proxy),
        ("DISCOVERY", &token),
    ]);
    let proxy = tokio::spawn(async move { Running::serve(&proxy, vec![tcp.into()]).await });

    let (mut starting, mut clients) = (Vec::new(), Vec::new());
    for at in 0..3 {
        let seat = Seat::new(folder.path(), &format!("d{at}"), "http", &[("DISCOVERY", &token)]).await;
        clients.push(seat.client());
        starting.push(tokio::spawn(seat.start()));
    }
    let mut stores = Vec::new();
    for start in starting {
        stores.push(within("a member starts", start).await.unwrap().unwrap());
    }
    for store in &stores {
        formed(store).await;
        assert_eq!(store.node.members().len(), 3);
    }
    put(None, &clients[0], "found", "yes").await;
    has(None, &clients[2], "found", "yes").await;
    let proxy = within("the proxy knows the members", proxy)
        .await
        .unwrap()
        .unwrap();
    has(None, &of_proxy, "found", "yes").await;
    proxy.stop().await;

    let late = Seat::new(folder.path(), "late", "http", &[("DISCOVERY", &token)]).await;
    let error = late.start().await.err().unwrap();
    assert!(
        matches!(
            error,
            StartError::Bootstrap(BootstrapError::Discovery(DiscoveryError::Full))
        ),
        "{error}"
    );
    // What etcd does with one that comes too late: it serves as a proxy of the cluster.
    let late = Seat::new(folder.path(), "late", "http", &[("DISCOVERY", &token)]).await;
    let client = late.client();
    let proxy = Running::serve(&late.settings, vec![late.clients.into()])
        .await
        .unwrap();
    has(None, &client, "found", "yes").await;
    proxy.stop().await;
    // What the supervisor does: it stands by in it.
    let mut late = Seat::new(folder.path(), "late", "http", &[("DISCOVERY", &token)]).await;
    late.settings.etcd.stands_by_when_full = true;
    let client = late.client();
    let late = late.start().await.unwrap();
    has(None, &client, "found", "yes").await;
    let members = stores[0].node.members();
    let voters = members.iter().filter(|member| !member.learner).count();
    assert_eq!((members.len(), voters), (4, 3));
    stores.push(late);

    put(None, &service, "discovery/t2/_config/size", "2").await;
    let token = format!("{service}/v2/keys/discovery/t2");
    let twice = Seat::new(folder.path(), "twice", "http", &[("DISCOVERY", &token)]).await;
    let id = corten_raft::member_id(&twice.settings.etcd.advertise_peer_urls, &token);
    put(
        None,
        &service,
        &format!("discovery/t2/{id:x}"),
        "twice=http://127.0.0.1:1",
    )
    .await;
    assert_eq!(
        twice.start().await.err().unwrap().to_string(),
        "discovery: found duplicate id"
    );
    for store in stores.into_iter().chain([directory]) {
        store.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_joins_a_running_cluster_and_the_last_one_goes_on_alone() {
    let folder = TempDir::new().unwrap();
    let mut seats = Vec::new();
    for name in ["e0", "e1", "e2"] {
        seats.push(Seat::new(folder.path(), name, "http", &[]).await);
    }
    introduce(&mut seats);
    let mut joining = seats.pop().unwrap();
    let (client, settings) = (joining.client(), joining.settings.clone());
    let (mut stores, mut clients) = (Vec::new(), Vec::new());
    for seat in seats {
        clients.push(seat.client());
        stores.push(seat.start().await.unwrap());
    }
    formed(&stores[0]).await;
    put(None, &clients[0], "before", "1").await;

    joining.settings.etcd.existing = true;
    let all = joining.settings.etcd.initial_cluster.clone();
    let mut wrong = Seat::new(
        folder.path(),
        "wrong",
        "http",
        &[("INITIAL_CLUSTER_STATE", "existing")],
    )
    .await;
    wrong.settings.etcd.initial_cluster.extend(all[..2].to_vec());
    let error = wrong.start().await.err().unwrap().to_string();
    assert!(
        error.contains("unmatched member while checking PeerURLs: wrong"),
        "{error}"
    );
    let mut fewer = Seat::new(
        folder.path(),
        "fewer",
        "http",
        &[("INITIAL_CLUSTER_STATE", "existing")],
    )
    .await;
    fewer.settings.etcd.initial_cluster.push(all[0].clone());
    let error = fewer.start().await.err().unwrap().to_string();
    assert!(error.contains("member count is unequal"), "{error}");

    let joined = joining.start().await.unwrap();
    formed(&joined).await;
    has(None, &client, "before", "1").await;
    assert_eq!(joined.node.members().len(), 3);

    // The other two are gone for good.
    for store in stores {
        store.stop().await;
    }
    joined.stop().await;
    let mut alone = Seat::new(folder.path(), "e2", "http", &[]).await;
    let client = alone.client();
    alone.settings.etcd.initial_cluster = settings.etcd.initial_cluster;
    alone.settings.etcd.force_new_cluster = true;
    let alone = alone.start().await.unwrap();
    formed(&alone).await;
    assert_eq!(alone.node.members().len(), 1);
    has(None, &client, "before", "1").await;
    let (status, body) = put(None, &client, "after", "2").await;
    assert_eq!(status, 201, "{body}");
    alone.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_passes_on_what_it_may() {
    let folder = TempDir::new().unwrap();
    let seat = Seat::new(folder.path(), "n1", "http", &[]).await;
    let (member, peer) = (seat.client(), seat.peer());
    let store = seat.start().await.unwrap();
    formed(&store).await;
    put(None, &member, "a", "1").await;
    let cluster = format!("n1={peer}");
    for (mode, status) in [("on", 200), ("readonly", 501)] {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = format!("http://{}", tcp.local_addr().unwrap());
        let mut proxy = settings(&[
            ("PROXY", mode),
            ("LISTEN_CLIENT_URLS", &client),
            ("INITIAL_CLUSTER", &cluster),
        ]);
        proxy.proxy.refresh_interval = Duration::from_secs(1);
        proxy.proxy.failure_wait = Duration::from_millis(200);
        let running = Running::serve(&proxy, vec![tcp.into()]).await.unwrap();
        has(None, &client, "a", "1").await;
        assert_eq!(put(None, &client, "a", "1").await.0, status, "{mode}");
        let (_, endpoints) = get(None, &format!("{client}/v2/config/local/proxy"))
            .await
            .unwrap();
        assert_eq!(endpoints, format!("{{\"endpoints\":[\"{member}\"]}}"));
        running.stop().await;
    }
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = format!("http://{}", tcp.local_addr().unwrap());
    let proxy = settings(&[
        ("PROXY", "on"),
        ("LISTEN_CLIENT_URLS", &client),
        ("INITIAL_CLUSTER", &cluster),
    ]);
    store.stop().await;
    let running = Running::serve(&proxy, vec![tcp.into()]).await.unwrap();
    let (status, body) = get(None, &format!("{client}/v2/keys/a")).await.unwrap();
    assert_eq!(status, 503, "{body}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_does_not_know_its_cluster_does_not_say_that_a_key_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut seats = Vec::new();
    for name in ["a", "b", "c"] {
        seats.push(Seat::new(folder.path(), name, "http", &[]).await);
    }
    introduce(&mut seats);
    let mut seats = seats.into_iter();
    let (first, second) = (seats.next().unwrap(), seats.next().unwrap());
    let client = first.client();
    let alone = first.start().await.unwrap();
    for path in ["/v2/keys/k", "/v2/members"] {
        let (status, body) = get(None, &format!("{client}{path}")).await.unwrap();
        assert_eq!(status, 500, "{path}: {body}");
        assert!(body.contains("\"errorCode\":300"), "{path}: {body}");
    }
    let (health, _) = get(None, &format!("{client}/health")).await.unwrap();
    assert_eq!(health, 503, "it is asked at any time");

    let other = second.start().await.unwrap();
    formed(&alone).await;
    let (status, body) = get(None, &format!("{client}/v2/keys/k")).await.unwrap();
    assert_eq!(status, 404, "{body}");
    // It knows its cluster from its data also while nobody else is there.
    put(None, &client, "k", "v").await;
    other.stop().await;
    has(None, &client, "k", "v").await;
    alone.stop().await;
}
