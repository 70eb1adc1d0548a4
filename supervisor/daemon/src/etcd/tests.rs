//! The etcd face over a socket, a single member behind it, held against a real etcd's answers.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use corten_etcd_api::etcdserverpb::PutRequest;
use corten_etcd_api::etcdserverpb::kv_client::KvClient;
use corten_store::alarm::{self, Alarm};
use corten_store::keys::Watch;
use corten_store::{Command, kv};
use corten_watch::v2::{self, Begun};

use super::v3::tests::connect;
use crate::testing::{self, Machine, ask, chunk, form, head, send, until, within};

const TTL: Duration = Duration::from_secs(30);

/// Times as T, so that answers can be compared.
fn masked(json: &str) -> String {
    let mut out = String::new();
    let mut rest = json;
    while let Some((before, after)) = rest.split_once("\"expiration\":\"") {
        out.push_str(before);
        out.push_str("\"expiration\":\"T");
        rest = &after[after.find('"').unwrap()..];
    }
    out + rest
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_etcds_over_http() {
    let mut machines = testing::cluster(1, TTL).await;
    let clients = machines[0].clients;
    let script = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../store/tests/keys.txt"));
    let mut played = 0;
    for block in script.split("\n> ").skip(1) {
        let mut lines = block.lines().filter(|line| !line.starts_with('#'));
        let mut request = lines.next().unwrap().splitn(3, ' ');
        let (method, target) = (request.next().unwrap(), request.next().unwrap());
        let body = request.next().unwrap_or_default();
        let (status, index) = lines
            .next()
            .unwrap()
            .trim_start_matches("< ")
            .split_once(' ')
            .unwrap();
        let expected = lines.next().unwrap_or_default();
        let answer = form(clients, method, target, body).await;
        assert_eq!(answer.status.to_string(), status, "{block}\n{answer:?}");
        assert_eq!(answer.header("X-Etcd-Index"), Some(index), "{block}\n{answer:?}");
        assert_eq!(answer.header("Content-Type"), Some("application/json"), "{block}");
        assert!(answer.header("X-Etcd-Cluster-Id").is_some(), "{block}");
        assert_eq!(
            answer.header("X-Raft-Index").is_some(),
            answer.status < 300,
            "{block}"
        );
        if method != "HEAD" {
            assert_eq!(masked(answer.body.trim_end()), expected, "{block}");
        }
        played += 1;
    }
    assert!(played > 45, "only {played} requests in the script");
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_applied_before_the_hub_runs_is_not_missed() {
    let mut machines = testing::cluster(1, TTL).await;
    let node = machines[0].supervisor.as_ref().unwrap().node.clone();
    let (hub, feed) = v2::Hub::begin(&node, v2::hub::QUEUE);
    let watch = Watch {
        key: "/early".to_owned(),
        recursive: false,
        stream: false,
        since: 0,
    };
    let (begun, _) = v2::begin(&node, &hub, watch).unwrap().unwrap();
    let Begun::Waits(mut waiter) = begun else {
        panic!("{begun:?}");
    };
    form(machines[0].clients, "PUT", "/v2/keys/early", "value=1").await;
    let running = tokio::spawn(v2::hub::run(hub, feed, || {}));
    let delivery = within("the event", waiter.next()).await.unwrap();
    assert_eq!(delivery.event.node.key, "/early");
    running.abort();
    drop(node);
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_wait_stream_and_look_back() {
    let mut machines = testing::cluster(1, TTL).await;
    let to = machines[0].clients;
    let mut poll = send(to, "GET", "/v2/keys/w?wait=true", "", "").await;
    let started = head(&mut poll).await;
    assert_eq!((started.status, started.header("X-Etcd-Index")), (200, Some("3")));
    assert_eq!(started.header("Transfer-Encoding"), Some("chunked"));
    let mut stream = send(
        to,
        "GET",
        "/v2/keys/?wait=true&stream=true&recursive=true",
        "",
        "",
    )
    .await;
    head(&mut stream).await;

    form(to, "PUT", "/v2/keys/w", "value=1").await;
    let event = "{\"action\":\"set\",\"node\":{\"key\":\"/w\",\"value\":\"1\",\"modifiedIndex\":4,\"createdIndex\":4}}\n";
    assert_eq!(chunk(&mut poll).await, event);
    assert_eq!(chunk(&mut poll).await, "", "one event and the end");
    form(to, "PUT", "/v2/keys/s/a", "value=2").await;
    assert_eq!(chunk(&mut stream).await, event);
    assert!(
        chunk(&mut stream).await.contains("\"key\":\"/s/a\""),
        "the stream goes on"
    );

    let past = form(to, "GET", "/v2/keys/w?wait=true&waitIndex=1", "").await;
    assert_eq!(
        (past.status, past.body.as_str()),
        (200, event),
        "found in the history"
    );

    form(to, "PUT", "/v2/keys/t", "value=x&ttl=1").await;
    assert!(chunk(&mut stream).await.contains("\"ttl\":1"));
    let expired = within("the key expires", chunk(&mut stream)).await;
    assert!(
        expired.starts_with("{\"action\":\"expire\",\"node\":{\"key\":\"/t\""),
        "{expired}"
    );

    let stats = form(to, "GET", "/v2/stats/store", "").await;
    assert!(
        stats.body.contains("\"expireCount\":1,\"watchers\":1}"),
        "{}",
        stats.body
    );
    machines[0].stop().await;
    assert_eq!(chunk(&mut stream).await, "", "a stop ends the watch in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_healthy_under_an_alarm() {
    let mut machines = testing::cluster(1, TTL).await;
    let to = machines[0].clients;
    let node = machines[0].supervisor.as_ref().unwrap().node.clone();
    let health = async || form(to, "GET", "/health", "").await;
    for kind in [alarm::Kind::NoSpace, alarm::Kind::Corrupt] {
        let raised = Alarm { member: 1, kind };
        let raise = Command::Alarm(alarm::Change::Activate(raised));
        node.propose(raise).await.unwrap();
        let answer = health().await;
        assert_eq!(answer.line(), "503 {\"health\":\"false\"}\n");
        assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
        let clear = Command::Alarm(alarm::Change::Deactivate(raised));
        node.propose(clear).await.unwrap();
        assert_eq!(health().await.line(), "200 {\"health\":\"true\"}");
    }
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_mib_are_taken_by_any_member_and_reach_all() {
    let machines = testing::cluster_with(3, TTL, |etcd| {
        etcd.limits.max_request_bytes = 10 << 20;
        // On a busy machine as much may take longer to be written than a leader may be silent.
        (etcd.heartbeat_ms, etcd.election_ms) = (300, 3000);
    })
    .await;
    let node = |machine: &Machine| machine.supervisor.as_ref().unwrap().node.clone();
    let follower = machines
        .iter()
        .find(|machine| node(machine).leading_term().is_none());
    let to = follower.unwrap().clients;
    let value = "x".repeat((10 << 20) - "value=".len());
    let set = form(to, "PUT", "/v2/keys/large", &format!("value={value}")).await;
    assert_eq!(set.status, 201, "{:.200}", set.body);
    let over = form(to, "PUT", "/v2/keys/large", &format!("value=x{value}")).await;
    assert!(
        over.line().starts_with("400 {\"errorCode\":210"),
        "{:.200}",
        over.body
    );

    let channel = connect(to).await;
    let put = PutRequest {
        key: "large".into(),
        value: vec![b'x'; 9 << 20].into(),
        ..PutRequest::default()
    };
    KvClient::new(channel).put(put).await.unwrap();
    for machine in &machines {
        let node = node(machine);
        until("all have both", async || {
            let range = kv::Range {
                key: "large".into(),
                ..kv::Range::default()
            };
            let found = node.read(|tx| kv::range(tx, &range)).unwrap().unwrap();
            let v2 = form(machine.clients, "GET", "/v2/keys/large", "").await;
            (found.count == 1 && v2.body.len() > value.len()).then_some(())
        })
        .await;
    }
    for mut machine in machines {
        machine.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_resources() {
    let mut machines = testing::cluster(1, TTL).await;
    let to = machines[0].clients;
    let get = async |target: &str| form(to, "GET", target, "").await.line();
    assert_eq!(
        get("/version").await,
        "200 {\"etcdserver\":\"3.4.23\",\"etcdcluster\":\"3.4.0\"}"
    );
    assert_eq!(get("/health").await, "200 {\"health\":\"true\"}");
    assert_eq!(get("/v2/machines").await, format!("200 http://{to}"));
    assert_eq!(get("/nosuch").await, "404 404 page not found\n");
    assert_eq!(get("/v2/stats/nosuch").await, "404 404 page not found\n");
    assert_eq!(get("/v2/auth/enable").await, "200 {\"enabled\":false}\n");
    let members = get("/v2/members").await;
    assert!(
        members.starts_with("200 {\"members\":[{\"id\":\"") && members.ends_with("\"]}]}\n"),
        "{members}"
    );
    assert!(
        members.contains(&format!(
            "\"name\":\"n0\",\"peerURLs\":[\"http://{}\"]",
            machines[0].peers()
        )),
        "{members}"
    );
    assert!(get("/v2/members/leader").await.contains("\"name\":\"n0\""));
    let own = get("/v2/stats/self").await;
    assert!(
        own.contains("\"state\":\"StateLeader\"") && own.contains("\"name\":\"n0\""),
        "{own}"
    );
    assert!(get("/v2/stats/leader").await.ends_with(",\"followers\":{}}"));

    let wrong = form(to, "PATCH", "/v2/keys/a", "").await;
    assert_eq!(wrong.line(), "405 Method Not Allowed\n");
    assert_eq!(wrong.header("Allow"), Some("HEAD,GET,PUT,POST,DELETE"));
    assert_eq!(form(to, "OPTIONS", "/v2/keys/a", "").await.line(), "200 ");
    assert_eq!(
        form(to, "POST", "/v2/members", "{}").await.line(),
        "415 {\"message\":\"Bad Content-Type application/x-www-form-urlencoded, accept application/json\"}"
    );
    let post = async |body: &str| {
        ask(to, "POST", "/v2/members", "application/json", body)
            .await
            .line()
    };
    for (url, refusal) in [
        ("bad", "URL scheme must be http, https, unix, or unixs: bad"),
        (
            "http://",
            "URL address does not have the form \\\"host:port\\\": http://",
        ),
        (
            "http://a:1,http://b:1",
            "URL address does not have the form \\\"host:port\\\": http://a:1,http://b:1",
        ),
        ("http://a:1/b", "URL must not contain a path: http://a:1/b"),
        (
            "unix://a:1",
            "unix sockets are not served, URL scheme must be http or https: unix://a:1",
        ),
    ] {
        assert_eq!(
            post(&format!("{{\"peerURLs\":[\"{url}\"]}}")).await,
            format!("400 {{\"message\":\"{refusal}\"}}")
        );
    }
    let added = post("{\"peerURLs\":[\"http://10.0.0.1:2380\"]}").await;
    assert!(added.starts_with("201 {\"id\":\""), "{added}");
    // One more URL makes another id, whatever the time.
    assert_eq!(
        post("{\"peerURLs\":[\"http://10.0.0.1:2380\",\"http://10.0.0.3:2380\"]}").await,
        "409 {\"message\":\"membership: peerURL exists\"}"
    );
    let id = added.split('"').nth(3).unwrap().to_owned();
    assert!(get("/v2/members").await.contains(&format!(
        "{{\"id\":\"{id}\",\"name\":\"\",\"peerURLs\":[\"http://10.0.0.1:2380\"],\"clientURLs\":[]}}"
    )));
    let path = format!("/v2/members/{id}");
    let moved = ask(
        to,
        "PUT",
        &path,
        "application/json",
        "{\"peerURLs\":[\"http://10.0.0.2:2380\"]}",
    )
    .await;
    assert_eq!(moved.line(), "204 ");
    for answer in [
        "204 ".to_owned(),
        format!("410 {{\"message\":\"Member permanently removed: {id}\"}}"),
    ] {
        let removed = form(to, "DELETE", &path, "").await;
        assert_eq!(removed.line(), answer);
    }
    assert_eq!(
        form(to, "DELETE", "/v2/members/zz", "").await.line(),
        "404 {\"message\":\"No such member: zz\"}"
    );
    let too_long = format!("value={}", "x".repeat(11 << 20));
    assert!(
        form(to, "PUT", "/v2/keys/big", &too_long)
            .await
            .line()
            .starts_with("400 {\"errorCode\":210")
    );
    machines[0].stop().await;
}
