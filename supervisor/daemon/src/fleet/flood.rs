//! fleet's API and clients that want more than their share: each bound is met over a real socket, told in fleet's form,
//! and survived.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::Duration;

use corten_spec::unit_file::SIZE_MAX;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::bounds::{Bounds, Numbers};
use super::{Api, app};
use crate::http::serve;
use crate::stop::{self, Stopper};
use crate::testing::{self, Machine, ask, until, within};

const JSON: &str = "application/json";
const UNITS: &str = "/fleet/v1/units";

/// Another listener for the API of `machine`, with bounds that are soon met.
async fn served(machine: &Machine, numbers: Numbers) -> (SocketAddr, Stopper) {
    let node = machine.supervisor.as_ref().unwrap().node.clone();
    let api = Api {
        bounds: Bounds::new(numbers),
        ..Api::new(node, 100)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stopper, stop) = stop::channel();
    tokio::spawn(serve(listener, app(api), stop));
    (address, stopper)
}

fn refused(status: u16, message: &str) -> String {
    format!("{status} {{\"error\":{{\"code\":{status},\"message\":\"{message}\"}}}}")
}

async fn list(to: SocketAddr) -> String {
    ask(to, "GET", UNITS, "", "").await.line()
}

/// A unit whose text has so many bytes, and some.
fn unit(bytes: usize) -> String {
    let option = format!(
        r#"{{"section":"Service","name":"Environment","value":"{}"}}"#,
        "x".repeat(1000)
    );
    let options = vec![option; bytes.div_ceil(1000)].join(",");
    format!(r#"{{"options":[{options}]}}"#)
}

async fn put(to: SocketAddr, name: &str, body: &str) -> String {
    ask(to, "PUT", &format!("{UNITS}/{name}"), JSON, body)
        .await
        .line()
}

/// Begins a PUT with a body that does not come.
async fn half_a_put(to: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let head = format!(
        "PUT {UNITS}/a.service HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {JSON}\r\nContent-Length: 9\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// What is left to be read, however the connection ends.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let _ = within("the end of a connection", stream.read_to_end(&mut text)).await;
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_is_too_large_is_told_so() {
    let mut machines = testing::cluster(1, Duration::from_secs(30)).await;
    let to = machines[0].fleet;
    let long = r#"{"options":[{"section":"Service","name":"ExecStart","value":"LONG"}]}"#
        .replace("LONG", &"x".repeat(2048));
    assert_eq!(
        put(to, "a.service", &long).await,
        refused(400, "line too long (max 2048 bytes)")
    );
    let large = put(to, "a.service", &unit(2 << 20)).await;
    assert!(
        large.contains(r#""code":413,"message":"the unit is too large: "#)
            && large.contains(&format!(" bytes, at most {SIZE_MAX}\"")),
        "{large}"
    );
    // Sent to its end before anything is read, as most clients do.
    let body = format!("{}{}", unit(1000), " ".repeat(20 << 20));
    let huge = refused(
        400,
        "unable to decode body: it is longer than 4194304 bytes; a unit file has at most 1572864",
    );
    assert_eq!(put(to, "a.service", &body).await, huge);
    let patch = ask(to, "PATCH", "/fleet/v1/machines", JSON, &body).await.line();
    assert_eq!(patch, huge);
    assert_eq!(list(to).await, "200 {}");
    assert_eq!(put(to, "a.service", &unit(1 << 20)).await, "201 ");
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_requests_is_refused_and_over_when_it_is_over() {
    let mut machines = testing::cluster(1, Duration::from_secs(30)).await;
    let numbers = Numbers {
        connections: 20,
        requests: 8,
        bodies: 4,
        body: Duration::from_secs(12),
        ..Numbers::default()
    };
    let (to, _stopper) = served(&machines[0], numbers).await;
    let mut halves = Vec::new();
    for _ in 0..numbers.requests {
        halves.push(half_a_put(to).await);
    }
    let full = refused(503, "too many requests at once, at most 8");
    until("all places are taken", async || {
        (list(to).await == full).then_some(())
    })
    .await;
    // Some get a turn and bring no body, the others' turn does not come.
    let late = r#""code":400,"message":"unable to decode body: it did not come within 12 s""#;
    for half in &mut halves {
        let said = rest(half).await;
        assert!(
            said.contains(late) || said.contains("too many requests at once"),
            "{said}"
        );
    }
    assert_eq!(list(to).await, "200 {}");

    // More connections than are taken, more requests than have a place: each is answered.
    let mut flood = JoinSet::new();
    for _ in 0..200 {
        flood.spawn(list(to));
    }
    let answers = within("a flood's answers", flood.join_all()).await;
    assert!(
        answers.iter().all(|line| *line == full || line == "200 {}"),
        "{answers:?}"
    );
    assert!(answers.iter().any(|line| line == "200 {}"));
    // A connection that says nothing keeps its place among the connections, and no other one.
    let silent = TcpStream::connect(to).await.unwrap();
    assert_eq!(list(to).await, "200 {}");
    drop(silent);
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_bring_no_request_give_up_their_places() {
    let mut machines = testing::cluster(1, Duration::from_secs(30)).await;
    let numbers = Numbers {
        connections: 4,
        head: Duration::from_secs(2),
        ..Numbers::default()
    };
    let (to, _stopper) = served(&machines[0], numbers).await;
    let mut silent = Vec::new();
    for head in ["", "", "GET /fleet/v1/units HT", "GET /fleet/v1/units HT"] {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    // Every place is taken; this one waits in the kernel for the first to be free.
    assert_eq!(list(to).await, "200 {}");
    drop(silent);
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_is_let_go() {
    let mut machines = testing::cluster(1, Duration::from_secs(30)).await;
    let numbers = Numbers {
        requests: 4,
        // Less than one answer.
        pieces: 16,
        stall: Duration::from_secs(2),
        ..Numbers::default()
    };
    let (to, _stopper) = served(&machines[0], numbers).await;
    for number in 0..16 {
        assert_eq!(
            put(to, &format!("a{number}.service"), &unit(1 << 20)).await,
            "201 "
        );
    }
    let whole = list(to).await.len();
    assert!(whole > 16 << 20);
    // It asks for more than the kernel keeps for it, and then for nothing.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    let mut idle = socket.connect(to).await.unwrap();
    idle.write_all(format!("GET {UNITS} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
        .await
        .unwrap();
    // While nothing is read of it the next answer waits for its memory, and then comes whole.
    assert_eq!(list(to).await.len(), whole);
    assert_eq!(list(to).await.len(), whole);
    let got = rest(&mut idle).await.len();
    assert!(got < whole, "it got {got} of {whole} bytes");
    machines[0].stop().await;
}
