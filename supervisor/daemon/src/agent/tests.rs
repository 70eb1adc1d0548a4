//! Several machines in one process: units move when a machine is lost, and nothing moves when a supervisor restarts.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use crate::testing::{self, Machine, ask, until};

const JSON: &str = "application/json";

fn unit(conflicts: &str) -> String {
    format!(
        r#"{{"desiredState":"launched","options":[{{"section":"Service","name":"ExecStart","value":"/bin/true"}},
            {{"section":"X-Fleet","name":"Conflicts","value":"{conflicts}"}}]}}"#
    )
}

/// Where each unit runs, by position.
fn running(machines: &[Machine], unit: &str) -> Vec<usize> {
    (0..machines.len())
        .filter(|at| machines[*at].systemd.runs(unit))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn units_of_a_lost_machine_start_elsewhere_and_it_stops_them_when_it_is_back() {
    let mut machines = testing::cluster(3, Duration::from_secs(2)).await;
    for name in ["a%401.service", "a%402.service", "a%403.service", "free.service"] {
        let conflicts = if name.starts_with('a') {
            "a@*.service"
        } else {
            "none"
        };
        let path = format!("/fleet/v1/units/{name}");
        assert_eq!(
            ask(machines[0].fleet, "PUT", &path, JSON, &unit(conflicts))
                .await
                .line(),
            "201 "
        );
    }
    let spread = async |machines: &[Machine]| {
        until("everything runs once", async || {
            let names = ["a@1.service", "a@2.service", "a@3.service", "free.service"];
            let places: Vec<_> = names.iter().map(|name| running(machines, name)).collect();
            places.iter().all(|places| places.len() == 1).then_some(places)
        })
        .await
    };
    let places = spread(&machines).await;
    let mut three: Vec<usize> = places[..3].iter().map(|places| places[0]).collect();
    let lost = places[3][0];
    three.sort_unstable();
    assert_eq!(three, [0, 1, 2], "one on each");

    machines[lost].stop().await;
    let asked = machines[(lost + 1) % 3].fleet;
    until(
        "the free unit runs elsewhere, and the fourth waits with its reason",
        async || {
            let moved = running(&machines, "free.service").len() == 2;
            let units = ask(asked, "GET", "/fleet/v1/units", "", "").await.body;
            (moved
                && units.contains("\"unplacedReason\":\"")
                && units.contains("2 machines: 2 conflict with"))
            .then_some(())
        },
    )
    .await;
    let listed = ask(asked, "GET", "/fleet/v1/machines", "", "").await.body;
    assert!(!listed.contains(&machines[lost].id), "{listed}");

    let back = machines.remove(lost).restart().await;
    machines.insert(lost, back);
    let places = spread(&machines).await;
    assert_ne!(places[3], [lost], "nothing moves back");
    for machine in &mut machines {
        machine.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_supervisor_touches_no_unit() {
    let mut machines = testing::cluster(1, Duration::from_secs(30)).await;
    let to = machines[0].fleet;
    ask(to, "PUT", "/fleet/v1/units/a.service", JSON, &unit("none")).await;
    until("it runs", async || {
        machines[0].systemd.runs("a.service").then_some(())
    })
    .await;
    machines[0].stop().await;
    assert!(machines[0].systemd.runs("a.service"));
    let before = machines[0].systemd.calls();
    let mut machine = machines.remove(0).restart().await;
    until("its state is known again", async || {
        let body = ask(to, "GET", "/fleet/v1/state/a.service", "", "").await.body;
        body.contains("\"systemdActiveState\":\"active\"").then_some(())
    })
    .await;
    assert_eq!(machine.systemd.calls(), before, "systemd was asked for nothing");
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_systemd_refuses_says_so_until_the_unit_runs() {
    let mut machines = testing::cluster(1, Duration::from_secs(30)).await;
    let to = machines[0].fleet;
    let state = async |what: &str, there: bool| {
        until(what, async || {
            let body = ask(to, "GET", "/fleet/v1/state/a.service", "", "").await.body;
            (body.contains("\"startError\"") == there && body.contains("hash")).then_some(body)
        })
        .await
    };
    machines[0].systemd.refuse("a.service", true);
    ask(to, "PUT", "/fleet/v1/units/a.service", JSON, &unit("none")).await;
    let said = state("the refusal is told", true).await;
    assert!(
        said.contains("systemd refused to start a.service: Unit other.service not found."),
        "{said}"
    );

    machines[0].stop().await;
    let machine = machines.remove(0).restart().await;
    let said = state("the refusal outlives the supervisor", true).await;
    assert!(said.contains("other.service"), "{said}");
    machine.systemd.start_job("a.service", "done");
    let said = state("what runs was not refused", false).await;
    assert!(said.contains("\"systemdActiveState\":\"active\""), "{said}");

    machine.systemd.refuse("a.service", false);
    let set = r#"{"desiredState":"loaded"}"#;
    ask(to, "PUT", "/fleet/v1/units/a.service", JSON, set).await;
    until("it is stopped", async || {
        (!machine.systemd.runs("a.service")).then_some(())
    })
    .await;
    machine.systemd.start_job("a.service", "dependency");
    let other = ask(to, "GET", "/fleet/v1/state/a.service", "", "").await.body;
    assert!(
        !other.contains("startError"),
        "a job nobody here asked for: {other}"
    );
    let mut machine = machine;
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_with_what_it_requires_says_so() {
    let mut machines = testing::cluster(1, Duration::from_secs(30)).await;
    let to = machines[0].fleet;
    machines[0].systemd.refuse("a.service", true);
    ask(to, "PUT", "/fleet/v1/units/a.service", JSON, &unit("none")).await;
    let told = async |words: &str| {
        until(words, async || {
            let body = ask(to, "GET", "/fleet/v1/state/a.service", "", "").await.body;
            body.contains(words).then_some(())
        })
        .await;
    };
    told("other.service not found").await;
    machines[0].systemd.start_job("a.service", "dependency");
    told("a unit that it requires failed").await;
    let unit = ask(to, "GET", "/fleet/v1/units/a.service", "", "").await.body;
    assert!(
        unit.contains("\"unplacedReason\":\"") && unit.contains("a unit that it requires failed"),
        "{unit}"
    );
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_ran_is_gone_at_once() {
    // What would wake the agent else is its question, once per TTL, whether systemd answers.
    let mut machines = testing::cluster(1, Duration::from_secs(600)).await;
    let to = machines[0].fleet;
    machines[0].systemd.refuse("a.service", true);
    ask(to, "PUT", "/fleet/v1/units/a.service", JSON, &unit("none")).await;
    let states = async |what: &str, has: &dyn Fn(&str) -> bool| {
        until(what, async || {
            let body = ask(to, "GET", "/fleet/v1/state", "", "").await.body;
            has(&body).then_some(())
        })
        .await;
    };
    states("the refusal is told", &|body| {
        body.contains("other.service not found")
    })
    .await;
    ask(to, "DELETE", "/fleet/v1/units/a.service", "", "").await;
    states("no machine has it", &|body| !body.contains("a.service")).await;
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_life_left_unread_is_removed() {
    let mut machines = testing::cluster(1, Duration::from_secs(30)).await;
    let mut machine = machines.remove(0);
    machine.stop().await;
    let left = ["z.service", ".unread/z.service"].map(|name| machine.units().join(name));
    std::fs::write(&left[0], "[Service]\nExecStart=/bin/true\n").unwrap();
    std::fs::write(&left[1], "").unwrap();
    let mut machine = machine.restart().await;
    until("it is gone", async || {
        (!left.iter().any(|file| file.exists())).then_some(())
    })
    .await;
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_costs_others_nothing_and_leaves_nothing() {
    let mut machines = testing::cluster(1, Duration::from_secs(30)).await;
    let (to, path) = (machines[0].fleet, "/fleet/v1/units/a.service");
    let file = machines[0].units().join("a.service");
    machines[0].systemd.refuse("a.service", true);
    let install = r#"{"desiredState":"launched","options":[{"section":"Install","name":"WantedBy","value":"x.target"}]}"#;
    ask(to, "PUT", path, JSON, install).await;
    until("the refusal is told", async || {
        let body = ask(to, "GET", path, "", "").await.body;
        body.contains("other.service not found").then_some(())
    })
    .await;
    until("nothing is left", async || (!file.exists()).then_some(())).await;
    for name in ["b", "c", "d"] {
        let unit_path = format!("/fleet/v1/units/{name}.service");
        ask(to, "PUT", &unit_path, JSON, &unit("none")).await;
        until("it runs", async || {
            machines[0].systemd.runs(&format!("{name}.service")).then_some(())
        })
        .await;
    }
    let calls = machines[0].systemd.calls();
    let count = |call: &str| calls.iter().filter(|made| *made == call).count();
    assert_eq!(count("reload "), 0, "{calls:?}");
    assert!(count("enable a.service") > 0, "{calls:?}");
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_cannot_be_loaded_says_why_until_it_is() {
    let mut machines = testing::cluster(1, Duration::from_secs(30)).await;
    let (to, path) = (machines[0].fleet, "/fleet/v1/units/a.service");
    let in_its_place = machines[0].units().join("a.service/b");
    std::fs::create_dir_all(&in_its_place).unwrap();
    ask(to, "PUT", path, JSON, &unit("none")).await;
    let told = async |words: &'static str| {
        until(words, async || {
            let body = ask(to, "GET", path, "", "").await.body;
            body.contains(words).then_some(body)
        })
        .await
    };
    let said = told("\"unplacedReason\":\"").await;
    assert!(said.contains("\"currentState\":\"inactive\""), "{said}");
    assert!(said.contains("a.service: "), "{said}");
    let state = ask(to, "GET", "/fleet/v1/state/a.service", "", "").await.body;
    assert!(state.contains("\"startError\":\""), "{state}");

    std::fs::remove_dir_all(in_its_place.parent().unwrap()).unwrap();
    let said = told("\"currentState\":\"launched\"").await;
    assert!(!said.contains("unplacedReason"), "{said}");
    let state = ask(to, "GET", "/fleet/v1/state/a.service", "", "").await.body;
    assert!(!state.contains("startError"), "{state}");

    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_goes_and_is_back_at_once_is_told_as_it_is() {
    let mut machines = testing::cluster(1, Duration::from_secs(30)).await;
    let (to, path) = (machines[0].fleet, "/fleet/v1/units/a.service");
    for _ in 0..20 {
        ask(to, "PUT", path, JSON, &unit("none")).await;
        until("it is launched", async || {
            let body = ask(to, "GET", path, "", "").await.body;
            body.contains("\"currentState\":\"launched\"").then_some(())
        })
        .await;
        ask(to, "DELETE", path, "", "").await;
    }
    machines[0].stop().await;
}

fn everywhere(command: &str) -> String {
    format!(
        r#"{{"desiredState":"launched","maxUnavailable":1,"options":[{{"section":"Service","name":"ExecStart","value":"{command}"}},
            {{"section":"X-Fleet","name":"Global","value":"true"}}]}}"#
    )
}

/// On which machines a unit's file has this command, by position.
fn have(machines: &[Machine], command: &str) -> Vec<usize> {
    let has = |machine: &Machine| {
        let text = std::fs::read_to_string(machine.units().join("g.service"));
        text.unwrap_or_default().contains(command)
    };
    (0..machines.len()).filter(|at| has(&machines[*at])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_global_unit_is_replaced_on_one_machine_at_a_time_and_no_further_than_it_runs() {
    let mut machines = testing::cluster(3, Duration::from_secs(30)).await;
    let to = machines[0].fleet;
    let path = "/fleet/v1/units/g.service";
    let roll = async |command: &str| ask(to, "PUT", path, JSON, &everywhere(command)).await.line();
    assert_eq!(roll("/bin/1").await, "201 ");
    let unit = async || ask(to, "GET", path, "", "").await.body;
    let states = async || ask(to, "GET", "/fleet/v1/state", "", "").await.body;
    until("it runs everywhere", async || {
        (states()
            .await
            .matches("\"systemdActiveState\":\"active\"")
            .count()
            == 3)
            .then_some(())
    })
    .await;

    let first = (0..3).min_by_key(|at| &machines[*at].id).unwrap();
    machines[first].systemd.refuse("g.service", true);
    assert_eq!(roll("/bin/2").await, "201 ");
    until("the roll has stopped", async || {
        unit().await.contains("\"reason\":\"stopped: ").then_some(())
    })
    .await;
    assert_eq!(have(&machines, "/bin/2"), [first]);
    assert_eq!(running(&machines, "g.service").len(), 2);

    machines[first].systemd.refuse("g.service", false);
    assert_eq!(roll("/bin/3").await, "201 ");
    until("it is over", async || {
        assert!(running(&machines, "g.service").len() >= 2, "{}", unit().await);
        (!unit().await.contains("rollout")).then_some(())
    })
    .await;
    assert_eq!(have(&machines, "/bin/3"), [0, 1, 2]);
    assert_eq!(running(&machines, "g.service"), [0, 1, 2]);
    for machine in &mut machines {
        machine.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_during_a_reload_is_done_together() {
    let mut machines = testing::cluster(1, Duration::from_secs(30)).await;
    let (to, systemd) = (machines[0].fleet, machines[0].systemd.clone());
    let names: Vec<String> = (0..20).map(|n| format!("u{n}.service")).collect();
    for name in &names {
        ask(to, "PUT", &format!("/fleet/v1/units/{name}"), JSON, &unit("none")).await;
    }
    let run = async |running: bool| {
        until("all run, or none does", async || {
            names
                .iter()
                .all(|name| systemd.runs(name) == running)
                .then_some(())
        })
        .await;
    };
    run(true).await;
    let reloads = || systemd.calls().iter().filter(|call| *call == "reload ").count();
    assert_eq!(reloads(), 0, "systemd finds new units by itself");

    systemd.be_busy(true);
    for name in &names {
        ask(to, "DELETE", &format!("/fleet/v1/units/{name}"), "", "").await;
        until("the first is being removed", async || {
            (reloads() == 1).then_some(())
        })
        .await;
    }
    systemd.be_busy(false);
    run(false).await;
    let folder = machines[0].units();
    until("all files are gone", async || {
        names.iter().all(|name| !folder.join(name).exists()).then_some(())
    })
    .await;
    assert!(reloads() <= 3, "{} reloads for what came in two parts", reloads());
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_global_template_is_no_concern_of_a_machine() {
    let mut machines = testing::cluster(1, Duration::from_secs(30)).await;
    let to = machines[0].fleet;
    let template =
        r#"{"desiredState":"inactive","options":[{"section":"X-Fleet","name":"Global","value":"true"}]}"#;
    let put = ask(to, "PUT", "/fleet/v1/units/g%40.service", JSON, template).await;
    assert_eq!(put.line(), "201 ");
    ask(to, "PUT", "/fleet/v1/units/a.service", JSON, &unit("none")).await;
    until("the next unit runs", async || {
        machines[0].systemd.runs("a.service").then_some(())
    })
    .await;
    machines[0].stop().await;
}
