//! A listener with TLS over loopback: who gets in, what those hear who do not, and files replaced under it.
#![allow(clippy::unwrap_used)]

use axum::Router;
use axum::routing::get as route;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::testing::{Ca, get};
use super::*;
use crate::http::{Socket, serve};
use crate::stop::{self, Stopper};
use crate::testing::within;

/// A served route, `/`, that says "in".
struct Served {
    port: u16,
    stopper: Stopper,
    tasks: JoinSet<()>,
}

impl Served {
    async fn new(tls: &Tls) -> Served {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = tcp.local_addr().unwrap().port();
        let socket = Socket::new(tcp, Some(acceptor(tls, PEER_PROTOCOLS).unwrap()));
        let (stopper, stop) = stop::channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(
            socket,
            Router::new().route("/", route(async || "in")).into(),
            stop,
        ));
        Served { port, stopper, tasks }
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}/", self.port)
    }

    async fn stop(mut self) {
        self.stopper.stop();
        within("the end", self.tasks.join_next()).await;
    }
}

/// Why a request is refused. Where the server's alert comes before the request is handed over, hyper tells of a connection
/// that was not ready and not of the alert; then it is asked again.
async fn refusal(client: &Tls, url: &str) -> String {
    for _ in 0..50 {
        let refused = get(Some(client), url).await.unwrap_err();
        if !refused.contains("connection was not ready") {
            return refused;
        }
    }
    panic!("fifty requests were refused without a reason");
}

fn inside() -> Result<(u16, String), String> {
    Ok((200, "in".to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_certificate_gets_in_and_nobody_else() {
    let folder = TempDir::new().unwrap();
    let (ca, other) = (Ca::new(folder.path(), "ca"), Ca::new(folder.path(), "other"));
    let server = ca.issue("server", 1);
    let served = Served::new(&server).await;
    assert_eq!(get(Some(&ca.issue("client", 2)), &served.url()).await, inside());

    let bare = Tls {
        trusted_ca: Some(ca.file.clone()),
        ..Tls::default()
    };
    let refused = refusal(&bare, &served.url()).await;
    assert!(refused.contains("CertificateRequired"), "{refused}");
    let stranger = Tls {
        trusted_ca: Some(ca.file.clone()),
        ..other.issue("stranger", 3)
    };
    let refused = refusal(&stranger, &served.url()).await;
    assert!(
        refused.contains("UnknownCA") || refused.contains("DecryptError"),
        "{refused}"
    );
    let believer = other.issue("believer", 4);
    let refused = refusal(&believer, &served.url()).await;
    assert!(
        refused.contains("UnknownIssuer"),
        "the client refuses the server: {refused}"
    );

    let mut plain = TcpStream::connect(("127.0.0.1", served.port)).await.unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut heard = String::new();
    within("an end", plain.read_to_string(&mut heard)).await.unwrap();
    assert!(heard.starts_with("HTTP/1.0 400 Bad Request\r\n"), "{heard}");
    assert!(
        heard.ends_with("Client sent an HTTP request to an HTTPS server.\n"),
        "{heard}"
    );
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_delays_nobody() {
    let folder = TempDir::new().unwrap();
    let ca = Ca::new(folder.path(), "ca");
    let served = Served::new(&ca.issue("server", 1)).await;
    let _silent = TcpStream::connect(("127.0.0.1", served.port)).await.unwrap();
    assert_eq!(get(Some(&ca.issue("client", 2)), &served.url()).await, inside());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_files_are_used_at_once_and_broken_ones_never() {
    let folder = TempDir::new().unwrap();
    let (old, new) = (Ca::new(folder.path(), "old"), Ca::new(folder.path(), "new"));
    let open = Tls {
        trusted_ca: None,
        ..old.issue("server", 1)
    };
    let served = Served::new(&open).await;
    let believing = |ca: &Ca| Tls {
        trusted_ca: Some(ca.file.clone()),
        ..Tls::default()
    };
    assert_eq!(get(Some(&believing(&old)), &served.url()).await, inside());
    testing::put(open.cert.as_deref().unwrap(), "no certificate at all");
    assert_eq!(
        get(Some(&believing(&old)), &served.url()).await,
        inside(),
        "the last good one stays"
    );
    new.issue("server", 2);
    assert_eq!(get(Some(&believing(&new)), &served.url()).await, inside());
    assert!(get(Some(&believing(&old)), &served.url()).await.is_err());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_and_wrongly_named_clients_stay_out() {
    let folder = TempDir::new().unwrap();
    let ca = Ca::new(folder.path(), "ca");
    let server = Tls {
        crl: Some(ca.revoke(7)),
        allowed_hostname: Some("member.example".to_owned()),
        ..ca.issue("server", 1)
    };
    let served = Served::new(&server).await;
    assert_eq!(
        get(Some(&ca.issue("member.example", 2)), &served.url()).await,
        inside()
    );
    assert!(
        get(Some(&ca.issue("other.example", 3)), &served.url())
            .await
            .is_err()
    );
    let revoked = refusal(&ca.issue("member.example", 7), &served.url()).await;
    assert!(revoked.contains("CertificateRevoked"), "{revoked}");
    served.stop().await;
}

#[test]
fn what_cannot_be_used_is_named() {
    let folder = TempDir::new().unwrap();
    let ca = Ca::new(folder.path(), "ca");
    let good = ca.issue("server", 1);
    let missing = Tls {
        cert: Some(folder.path().join("nosuch.crt")),
        ..good.clone()
    };
    let error = acceptor(&missing, PEER_PROTOCOLS).unwrap_err().to_string();
    assert!(
        error.contains("nosuch.crt: cannot use the certificate: "),
        "{error}"
    );
    let swapped = Tls {
        key: ca.issue("other", 2).key,
        ..good.clone()
    };
    let error = acceptor(&swapped, PEER_PROTOCOLS).unwrap_err().to_string();
    assert!(
        error.contains("server.crt: cannot use the certificate with its key"),
        "{error}"
    );
    let suite = Tls {
        cipher_suites: vec!["TLS_RSA_WITH_RC4_128_SHA".to_owned()],
        ..good.clone()
    };
    let error = acceptor(&suite, PEER_PROTOCOLS).unwrap_err().to_string();
    assert!(
        error.starts_with("unexpected TLS cipher suite \"TLS_RSA_WITH_RC4_128_SHA\""),
        "{error}"
    );
    let suite = Tls {
        cipher_suites: vec!["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256".to_owned()],
        ..good
    };
    acceptor(&suite, PEER_PROTOCOLS).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_certificate_is_kept_and_serves() {
    let folder = TempDir::new().unwrap();
    let auto = Tls {
        auto: true,
        ..Tls::default()
    };
    let hosts = ["127.0.0.1".to_owned()];
    let made = with_generated(&auto, folder.path(), "peer", &hosts).unwrap();
    let first = std::fs::read(made.cert.as_deref().unwrap()).unwrap();
    let again = with_generated(&auto, folder.path(), "peer", &hosts).unwrap();
    assert_eq!(std::fs::read(again.cert.as_deref().unwrap()).unwrap(), first);
    let served = Served::new(&made).await;
    assert_eq!(get(Some(&again), &served.url()).await, inside());
    served.stop().await;
}
