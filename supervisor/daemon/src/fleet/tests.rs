//! fleet's API over a socket, a single machine behind it: status codes and messages of the contract, and a unit's life.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::Duration;

use crate::testing::{self, Answer, ask, until};

const TTL: Duration = Duration::from_secs(30);
const JSON: &str = "application/json";
const WEB: &str =
    r#"{"name":"web.service","options":[{"section":"Service","name":"ExecStart","value":"/bin/sleep 9"}]}"#;

async fn get(to: SocketAddr, path: &str) -> Answer {
    ask(to, "GET", &format!("/fleet/v1{path}"), "", "").await
}

async fn put(to: SocketAddr, path: &str, body: &str) -> Answer {
    ask(to, "PUT", &format!("/fleet/v1{path}"), JSON, body).await
}

fn refused(status: u16, message: &str) -> String {
    format!(
        "{status} {{\"error\":{{\"code\":{status},\"message\":{}}}}}",
        serde_json::to_string(message).unwrap()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_are_told_so() {
    let mut machines = testing::cluster(1, TTL).await;
    let to = machines[0].fleet;
    assert_eq!(get(to, "/units").await.line(), "200 {}");
    assert_eq!(get(to, "/state").await.line(), "200 {}");
    assert_eq!(
        get(to, "/units/none.service").await.line(),
        refused(404, "unit does not exist")
    );
    assert_eq!(
        get(to, "/state/none.service").await.line(),
        refused(404, "unit state does not exist")
    );
    let bad = get(to, "/units?nextPageToken=EwBMLg==").await;
    assert_eq!(bad.line(), refused(400, "token limit must be 100"));
    assert_eq!(bad.header("Content-Type"), Some("application/json"));
    assert!(bad.header("Server").unwrap().starts_with("fleetd/"));
    assert_eq!(
        get(to, "/units?nextPageToken=ZAACAA==").await.line(),
        "200 {}",
        "a page past the end"
    );

    let cases: &[(&str, &str, &str, u16, &str)] = &[
        (
            "/units/a.service",
            "text/plain",
            "{}",
            415,
            "only acceptable Content-Type is application/json",
        ),
        (
            "/units/a.service",
            "",
            "{}",
            415,
            "expected 1 Content-Type, got 0",
        ),
        (
            "/units/a.service",
            JSON,
            "{}",
            409,
            "unit does not exist and options field empty",
        ),
        (
            "/units/a.service",
            JSON,
            r#"{"name":"b.service"}"#,
            400,
            r#"name in URL "a.service" differs from unit name in request body "b.service""#,
        ),
        ("/units/a.foo", JSON, "{}", 400, r#"invalid unit type: "foo""#),
        (
            "/units/web.container",
            JSON,
            r#"{"options":[{"section":"Container","name":"Image","value":"a"}]}"#,
            400,
            r#"invalid unit type: "container""#,
        ),
        (
            "/units/a.service",
            JSON,
            r#"{"options":[{"section":"X-Fleet","name":"MachineID","value":"m"},{"section":"X-Fleet","name":"Conflicts","value":"c"}]}"#,
            400,
            "MachineID cannot be used with Conflicts",
        ),
        (
            "/units/a.service",
            JSON,
            r#"{"desiredState":"bogus"}"#,
            400,
            r#"invalid desiredState "bogus": expect inactive, loaded, or launched"#,
        ),
    ];
    for (path, content_type, body, status, message) in cases {
        let answer = ask(to, "PUT", &format!("/v1-alpha{path}"), content_type, body).await;
        assert_eq!(answer.line(), refused(*status, message), "{path} {body}");
    }
    let broken = put(to, "/units/a.service", "{").await;
    assert!(broken.body.contains("unable to decode body: "), "{}", broken.body);
    let patch = async |body: &str| ask(to, "PATCH", "/fleet/v1/machines", "", body).await;
    assert_eq!(
        patch(r#"[{"op":"add","path":"/x/metadata/k","value":{"value":"v"}},{"op":"move"}]"#)
            .await
            .line(),
        refused(400, "invalid op: expect add, remove, or replace")
    );
    assert_eq!(
        ask(to, "DELETE", "/fleet/v1/units/none.service", "", "")
            .await
            .line(),
        refused(404, "unit does not exist")
    );
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_units_life() {
    let mut machines = testing::cluster(1, TTL).await;
    let (to, id) = (machines[0].fleet, machines[0].id.clone());
    let machine = format!(
        "200 {{\"machines\":[{{\"id\":\"{id}\",\"metadata\":{{\"at\":\"0\"}},\"primaryIP\":\"10.0.0.0\"}}]}}"
    );
    assert_eq!(get(to, "/machines").await.line(), machine);

    assert_eq!(put(to, "/units/web.service", WEB).await.line(), "201 ");
    let unit = get(to, "/units/web.service").await.body;
    assert!(unit.starts_with(
        r#"{"currentState":"inactive","desiredState":"inactive","name":"web.service","options":["#
    ));
    // Somebody may have unloaded it while fleet's fleetctl waits for it (trap 1).
    assert_eq!(get(to, "/state/web.service").await.status, 200);
    assert_eq!(
        put(to, "/units/web.service", WEB).await.line(),
        refused(409, "must provide DesiredState to update existing unit")
    );

    assert_eq!(
        put(to, "/units/web.service", r#"{"desiredState":"launched"}"#)
            .await
            .line(),
        "204 "
    );
    let state = async |wanted: &str| {
        let wanted = format!("\"currentState\":\"{wanted}\"");
        until(&wanted, async || {
            let unit = get(to, "/units/web.service").await.body;
            // Trap 1: who reads launched finds a state at once.
            if unit.contains("launched\",\"desired") {
                assert_eq!(get(to, "/state/web.service").await.status, 200);
            }
            unit.contains(&wanted).then_some(unit)
        })
        .await
    };
    assert!(
        state("launched")
            .await
            .contains(&format!("\"machineID\":\"{id}\""))
    );
    until("the state is active", async || {
        get(to, "/state?unitName=web.service")
            .await
            .body
            .contains("\"systemdActiveState\":\"active\"")
            .then_some(())
    })
    .await;
    let row = get(to, "/state/web.service").await.body;
    assert!(
        row.starts_with("{\"hash\":\"")
            && row.contains("\"systemdLoadState\":\"loaded\",\"systemdSubState\":\"running\"}")
    );
    assert!(machines[0].systemd.runs("web.service"));
    assert!(machines[0].units().join("web.service").exists());

    // Trap 10: restart sets loaded and must see launched for a while yet.
    put(to, "/units/web.service", r#"{"desiredState":"loaded"}"#).await;
    until("systemd stops it", async || {
        (!machines[0].systemd.runs("web.service")).then_some(())
    })
    .await;
    assert!(
        get(to, "/units/web.service")
            .await
            .body
            .contains("\"currentState\":\"launched\"")
    );
    state("loaded").await;

    let changed = WEB
        .replace("sleep 9", "sleep 8")
        .replace("}]}", "}],\"desiredState\":\"launched\"}");
    assert_eq!(put(to, "/units/web.service", &changed).await.line(), "201 ");
    until("the new content runs", async || {
        let text = std::fs::read_to_string(machines[0].units().join("web.service")).unwrap_or_default();
        (text.contains("sleep 8") && machines[0].systemd.runs("web.service")).then_some(())
    })
    .await;
    assert_eq!(
        ask(to, "DELETE", "/fleet/v1/units/web.service", "", "")
            .await
            .line(),
        "204 "
    );
    until("it is gone", async || {
        (get(to, "/state").await.body == "{}").then_some(())
    })
    .await;
    assert!(!machines[0].units().join("web.service").exists());
    assert_eq!(
        machines[0].systemd.calls().last().map(String::as_str),
        Some("reload ")
    );
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_reasons_and_metadata() {
    let mut machines = testing::cluster(1, TTL).await;
    let to = machines[0].fleet;
    let template = WEB.replace("web.service", "web@.service");
    assert_eq!(put(to, "/units/web%40.service", &template).await.line(), "201 ");
    assert_eq!(
        put(to, "/units/web%40.service", r#"{"desiredState":"launched"}"#)
            .await
            .line(),
        refused(400, "cannot activate template \"web@.service\"")
    );
    let picky = r#"{"desiredState":"launched","options":[{"section":"X-Fleet","name":"MachineMetadata","value":"disk=ssd"}]}"#;
    assert_eq!(put(to, "/units/db.service", picky).await.line(), "201 ");
    until("the reason is told", async || {
        let unit = get(to, "/units/db.service").await.body;
        unit.contains("\"unplacedReason\":\"1 machine: 1 lacks metadata disk=ssd\"")
            .then_some(())
    })
    .await;
    let patch = format!(
        r#"[{{"op":"add","path":"/{}/metadata/disk","value":{{"value":"ssd"}}}}]"#,
        machines[0].id
    );
    assert_eq!(
        ask(to, "PATCH", "/fleet/v1/machines", "", &patch).await.line(),
        "204 "
    );
    until("it is placed", async || {
        get(to, "/units/db.service")
            .await
            .body
            .contains("\"currentState\":\"launched\"")
            .then_some(())
    })
    .await;
    assert!(!get(to, "/units/db.service").await.body.contains("unplacedReason"));
    machines[0].stop().await;
}

const GLOBAL: &str = r#"{"desiredState":"launched","options":[{"section":"Service","name":"ExecStart","value":"/bin/1"},{"section":"X-Fleet","name":"Global","value":"true"}]}"#;

/// The global unit with another command, a few machines at a time.
fn rolled(command: &str, limit: &str) -> String {
    let limit = format!("{{\"maxUnavailable\":{limit},");
    GLOBAL.replace("/bin/1", command).replacen('{', &limit, 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_is_shown_until_it_is_over() {
    let mut machines = testing::cluster(1, TTL).await;
    let to = machines[0].fleet;
    let path = "/units/g.service";
    let shows = async |words: &str, there: bool| {
        until(words, async || {
            let unit = get(to, path).await.body;
            (unit.contains(words) == there).then_some(())
        })
        .await;
    };
    let active = async || {
        until("it is active", async || {
            let state = get(to, "/state/g.service").await.body;
            state.contains("\"systemdActiveState\":\"active\"").then_some(())
        })
        .await;
    };
    assert_eq!(put(to, path, &rolled("/bin/0", "1")).await.line(), "201 ");
    active().await;
    assert!(
        !get(to, path).await.body.contains("rollout"),
        "there was nothing to replace"
    );

    machines[0].systemd.refuse("g.service", true);
    assert_eq!(put(to, path, &rolled("/bin/2", "1")).await.line(), "201 ");
    shows("\"rollout\":{\"allowed\":1,\"maxUnavailable\":1,\"of\":1,\"reason\":\"stopped: with the new file it was not started on machine ", true).await;
    assert_eq!(put(to, path, &rolled("/bin/2", "2")).await.line(), "204 ");
    shows("\"maxUnavailable\":2", true).await;
    machines[0].systemd.refuse("g.service", false);
    assert_eq!(put(to, path, &rolled("/bin/3", "1")).await.line(), "201 ");
    shows("rollout", false).await;
    active().await;
    let text = std::fs::read_to_string(machines[0].units().join("g.service")).unwrap();
    assert!(text.contains("/bin/3"), "{text}");
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_rolled_is_refused() {
    let mut machines = testing::cluster(1, TTL).await;
    let to = machines[0].fleet;
    let path = "/units/g.service";
    put(to, path, GLOBAL).await;
    for limit in ["0", "-1", "1.5", "\"1\"", "true", "5000000000"] {
        let answer = put(to, path, &rolled("/bin/2", limit)).await.line();
        assert!(
            answer.starts_with("400 ") && answer.contains("unable to decode body: "),
            "{limit}: {answer}"
        );
    }
    let instance = rolled("/bin/2", "1").replace("Global", "Description");
    let answer = put(to, "/units/web.service", &instance).await.line();
    let want = "maxUnavailable is for global units, and web.service is not to be one";
    assert_eq!(answer, refused(400, want));
    let elsewhere = rolled("/bin/2", "1").replace(
        "}]",
        r#"},{"section":"X-Fleet","name":"MachineMetadata","value":"a=b"}]"#,
    );
    let answer = put(to, path, &elsewhere).await.line();
    assert!(
        answer.starts_with("400 ") && answer.contains("destroy and start it, or change it without"),
        "{answer}"
    );
    let answer = put(to, path, r#"{"desiredState":"loaded","maxUnavailable":1}"#).await;
    let want = "maxUnavailable says how a unit gets new options, and there are none";
    assert_eq!(answer.line(), refused(400, want));
    assert!(get(to, path).await.body.contains("/bin/1"), "nothing was changed");
    machines[0].stop().await;
}
