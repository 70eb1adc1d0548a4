//! fleetctl's commands for units, from files on disk over the wire to what is printed.
//!
//! It has no libtest harness because the test binary is also the fleetctl under test.

mod stand_in;
mod words;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use serde_json::{Value, json};
use stand_in::{Api, MACHINE};

/// A test and its name.
type Test = (&'static str, fn(&Rig));

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if args
        .first()
        .is_some_and(|name| Path::new(name).ends_with("fleetctl"))
    {
        return corten_cli::fleetctl::main(args);
    }
    let tests: [Test; 20] = [
        ("containers become services", containers_become_services),
        (
            "containers that cannot be run are refused",
            odd_containers_are_refused,
        ),
        (
            "a roll goes on where it was left",
            a_roll_goes_on_where_it_was_left,
        ),
        ("a restart of nothing fails", a_restart_of_nothing_fails),
        (
            "a second start does not hide a failure",
            a_second_start_does_not_hide_a_failure,
        ),
        (
            "a template of the same command counts",
            a_template_of_the_same_command_counts,
        ),
        ("a roll that ends early says so", a_roll_that_ends_early_says_so),
        ("a global unit is rolled", a_global_unit_is_rolled),
        ("a machine that comes has its address", a_newcomer_has_its_address),
        ("the status of units as JSON", the_status_of_units_as_json),
        (
            "status shows all that can be shown",
            words::status_shows_all_that_can_be_shown,
        ),
        (
            "ssh that fails has one advice",
            words::ssh_that_fails_has_one_advice,
        ),
        (
            "what was only asked for is not said to be done",
            words::what_was_only_asked_for_is_not_said_to_be_done,
        ),
        (
            "unknown names are told, and no failure",
            words::unknown_names_are_told_and_no_failure,
        ),
        (
            "the keys of a list are named",
            words::the_keys_of_a_list_are_named,
        ),
        (
            "a command that became a value is missed",
            words::a_command_that_became_a_value_is_missed,
        ),
        (
            "a unit that is too large is not sent",
            words::a_unit_that_is_too_large_is_not_sent,
        ),
        (
            "what is destroyed and still there is told",
            words::what_is_destroyed_and_still_there_is_told,
        ),
        ("an election is waited for", words::an_election_is_waited_for),
        (
            "metadata that is ignored is told",
            words::metadata_that_is_ignored_is_told,
        ),
    ];
    for (name, test) in tests {
        test(&Rig::new());
        println!("ok   {name}");
    }
    ExitCode::SUCCESS
}

/// A folder with unit files, and a cluster.
struct Rig {
    folder: tempfile::TempDir,
    api: Api,
}

impl Rig {
    fn new() -> Rig {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path();
        symlink(
            std::env::current_exe().expect("our own path"),
            path.join("fleetctl"),
        )
        .expect("a link called fleetctl");
        let api = Api::serve(&path.join("fleet.sock"));
        Rig { folder, api }
    }

    fn file(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).expect("a file");
    }

    /// Runs fleetctl in the folder; words are split at blanks. Its exit code must be `code`; what it printed is returned.
    #[track_caller]
    fn run(&self, line: &str, code: i32) -> (String, String) {
        let folder = self.folder.path();
        let output = Command::new(folder.join("fleetctl"))
            .env_clear()
            // A test may put a program before the system's.
            .env("PATH", format!("{}:/usr/bin:/bin", folder.display()))
            .env(
                "FLEETCTL_ENDPOINT",
                format!("unix://{}", folder.join("fleet.sock").display()),
            )
            .current_dir(folder)
            .args(line.split(' '))
            .stdin(Stdio::null())
            .output()
            .expect("fleetctl runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{line}: {out}{err}");
        (out, err)
    }

    /// Runs it; it must print this, and nothing on standard error.
    #[track_caller]
    fn prints(&self, line: &str, expected: &str) {
        assert_eq!(self.run(line, 0), (expected.to_owned(), String::new()), "{line}");
    }
}

/// Machines are asked for before what runs on them, and again if one came between.
fn a_newcomer_has_its_address(rig: &Rig) {
    rig.file("web.service", "[Service]\nExecStart=/bin/true\n");
    rig.run("start web.service", 0);
    for list in [
        "list-units --no-legend --fields=machine",
        "list-unit-files --no-legend --fields=target",
    ] {
        rig.api.come_late();
        rig.prints(list, "01234567.../127.0.0.1\n");
    }
}

const SERVICE: &str = "\
[Unit]
Description=Web

[Service]
Type=notify
KillMode=mixed
SyslogIdentifier=%N
ExecStartPre=-/usr/bin/docker rm -f -v systemd-%N
ExecStart=/usr/bin/docker run --name=systemd-%N --rm --publish=80:8080 registry.example/web:1
ExecStop=-/usr/bin/docker stop systemd-%N
";

fn containers_become_services(rig: &Rig) {
    let container =
        "[Unit]\nDescription=Web\n[Container]\nImage=registry.example/web:1\nPublishPort=80:8080\n";
    rig.file("web.container", container);
    rig.file("web@.container", container);
    rig.prints("verify web.container", SERVICE);
    assert!(rig.api.changes().is_empty());

    let launched =
        |name: &str| format!("Unit {name} inactive\nUnit {name} launched on 01234567.../127.0.0.1\n");
    rig.prints("start ./web.container", &launched("web.service"));
    assert_eq!(
        rig.api.changes(),
        [
            "PUT web.service with its file inactive",
            "PUT web.service launched"
        ]
    );
    rig.prints("start web.container", "");
    rig.prints("cat web.container", SERVICE);
    rig.prints("cat web", SERVICE);

    rig.prints("start web@1.container", &launched("web@1.service"));
    let instance = SERVICE.replace("systemd-%N", "systemd-%p_%i");
    assert_eq!(rig.api.text("web@1.service"), instance);
    rig.prints("submit web@.container", "Unit web@.service inactive\n");
    rig.prints(
        "load web@2.service",
        "Unit web@2.service inactive\nUnit web@2.service loaded on 01234567.../127.0.0.1\n",
    );
    assert_eq!(rig.api.text("web@2.service"), instance);

    rig.file("web.container", &container.replace("web:1", "web:2"));
    let (_, warned) = rig.run("start web.container", 0);
    assert!(
        warned.contains(
            "Unit web.service in registry differs from local unit file web.container. Add --replace"
        ),
        "{warned}"
    );
    rig.api.changes();
    rig.prints(
        "start --replace web.container",
        "Unit web.service launched on 01234567.../127.0.0.1\n",
    );
    assert_eq!(rig.api.changes(), ["PUT web.service with its file launched"]);
    rig.prints("cat web.service", &SERVICE.replace("web:1", "web:2"));

    let (out, err) = rig.run("stop web.container", 0);
    assert_eq!(out, "Unit web.service loaded on 01234567.../127.0.0.1\n");
    assert_eq!(err, "Successfully stopped units [web.service].\n");
    rig.prints(
        "destroy web.container web@1.container",
        "Destroyed web.service\nDestroyed web@1.service\n",
    );
    for line in ["status web.container", "journal web.container"] {
        assert_eq!(rig.run(line, 1).1, "Unit web.service does not exist.\n");
    }
    let gone = rig.run("ssh web.container true", 1).1;
    assert!(gone.contains("could not find matching unit or machine"), "{gone}");
}

fn odd_containers_are_refused(rig: &Rig) {
    rig.file("web.container", "[Container]\nImage=a\nHealthCmd=/bin/true\n");
    let refusal = "Unit(web.container) from file: line 3: HealthCmd=: there are no health checks";
    for line in [
        "submit web.container",
        "load web.container",
        "start web.container",
        "verify web.container",
    ] {
        let (out, err) = rig.run(line, 1);
        assert!(out.is_empty() && err.contains(refusal), "{line}: {out}{err}");
    }
    rig.file(
        "far.container",
        "[Container]\nImage=a\n[X-Fleet]\nGlobal=true\nMachineOf=db.container\n",
    );
    let at_odds =
        "Global cannot be used with Peers (in [X-Fleet] of far.service: Global=true, MachineOf=db.service)";
    for line in ["start far.container", "verify far.container"] {
        let (_, err) = rig.run(line, 1);
        assert!(err.contains(at_odds), "{line}: {err}");
    }
    let (_, err) = rig.run("start none.container", 1);
    assert!(
        err.contains(
            "unable to find Unit(none.service) in Registry or on filesystem; there is no file none.container"
        ),
        "{err}"
    );
    assert!(rig.api.changes().is_empty());
    let (out, err) = rig.run("verify web.service", 2);
    assert!(
        out.is_empty() && err.contains("signed/verified units feature is DEPRECATED"),
        "{out}{err}"
    );
}

const ROLL: &str = "start --replace --max-unavailable 1 web@1.service web@2.service web@3.service";

/// Three instances that run, and a template for what they are to run next.
fn instances(rig: &Rig, next: &str) {
    rig.file("web@.service", "[Service]\nExecStart=/bin/true\n");
    rig.run("start web@1.service web@2.service web@3.service", 0);
    rig.api.changes();
    rig.file("web@.service", &format!("[Service]\nExecStart={next}\n"));
}

fn a_roll_goes_on_where_it_was_left(rig: &Rig) {
    instances(rig, "/bin/slow");
    // The first roll got no further than this.
    rig.run("start --replace --no-block web@1.service", 0);
    let (out, _) = rig.run(ROLL, 0);
    let expected = [
        "PUT web@1.service with its file launched",
        "ACTIVE web@1.service",
        "PUT web@2.service with its file launched",
        "ACTIVE web@2.service",
        "PUT web@3.service with its file launched",
        "ACTIVE web@3.service",
    ];
    assert_eq!(rig.api.changes(), expected);
    assert!(
        out.starts_with(
            "Found same Unit(web@1.service) in Registry, nothing to do\nUnit web@1.service launched on"
        ),
        "{out}"
    );
    // Without the limit nothing is waited for, as ever.
    rig.run("start --replace --no-block web@1.service", 0);
    rig.prints(
        "start --replace web@1.service",
        "Found same Unit(web@1.service) in Registry, nothing to do\n",
    );
}

fn a_restart_of_nothing_fails(rig: &Rig) {
    instances(rig, "/bin/true");
    let (_, err) = rig.run("restart nothing.service", 1);
    assert_eq!(err, "Units not found in registry: nothing.service\n");
    // What is there is restarted.
    rig.api.changes();
    let (_, err) = rig.run("restart --no-block nothing.service web@1.service", 1);
    assert!(
        err.starts_with("Unit nothing.service not found in registry\n"),
        "{err}"
    );
    assert!(!rig.api.changes().is_empty());
}

fn a_second_start_does_not_hide_a_failure(rig: &Rig) {
    rig.file("bad.service", "[Service]\nExecStart=/bin/false\n");
    rig.run("start bad.service", 1);
    let (_, err) = rig.run("start bad.service", 1);
    let said = "Unit bad.service was to be started before, and is not: it is failed (failed); fleetctl restart bad.service";
    assert!(err.starts_with(said), "{err}");
    rig.file("good.service", "[Service]\nExecStart=/bin/true\n");
    rig.run("start good.service", 0);
    rig.prints("start good.service", "");
}

fn a_template_of_the_same_command_counts(rig: &Rig) {
    for (folder, program) in [("one", "/bin/one"), ("two", "/bin/two")] {
        fs::create_dir(rig.folder.path().join(folder)).expect("a folder");
        let text = format!("[Service]\nExecStart={program}\n");
        rig.file(&format!("{folder}/web@.service"), &text);
    }
    let has = |unit: &str, program: &str| {
        let (out, _) = rig.run(&format!("cat {unit}"), 0);
        assert!(out.contains(program), "{unit}: {out}");
    };
    // The first finds its template beside it; the third has no file, and takes the one that the second brings.
    rig.run("submit one/web@1.service one/web@.service web@2.service", 0);
    has("web@2.service", "/bin/one");
    rig.run("submit web@3.service --replace two/web@.service web@4.service", 0);
    has("web@3.service", "/bin/one");
    has("web@4.service", "/bin/two");
}

fn a_roll_that_ends_early_says_so(rig: &Rig) {
    let stopped =
        |left: usize| format!("Stopped there: the last {left} of the units given were not touched\n");
    instances(rig, "/bin/false");
    rig.run("start --replace --no-block web@1.service", 0);
    let (_, err) = rig.run(ROLL, 1);
    assert!(
        err.contains("unit web@1.service did not get to launched: it is failed")
            && err.ends_with(&stopped(2)),
        "{err}"
    );
    assert_eq!(rig.api.changes(), ["PUT web@1.service with its file launched"]);

    rig.file(
        "web@.service",
        "[Service]\nExecStart=/bin/true\n# again\nRestart=always\n",
    );
    rig.api.break_changes_of("web@2.service");
    let (_, err) = rig.run(ROLL, 1);
    assert!(
        err.contains("failed creating unit web@2.service: ") && err.ends_with(&stopped(1)),
        "{err}"
    );
    assert_eq!(rig.api.changes(), ["PUT web@1.service with its file launched"]);
    // The last one has nothing behind it.
    rig.api.break_changes_of("web@3.service");
    let (_, err) = rig.run(ROLL, 1);
    assert!(
        err.contains("failed creating unit web@3.service: ") && !err.contains("Stopped there"),
        "{err}"
    );
}

fn a_global_unit_is_rolled(rig: &Rig) {
    let file = |run: &str, more: &str| {
        rig.file(
            "g.service",
            &format!("[Service]\nExecStart={run}\n{more}[X-Fleet]\nGlobal=true\n"),
        );
    };
    let same = "Found same Unit(g.service) in Registry, nothing to do\n";
    let launched = "Unit g.service launched on 01234567.../127.0.0.1\n";
    let roll = "start --replace --max-unavailable 2 g.service";
    file("/bin/true", "");
    rig.prints(
        "start g.service",
        "Unit g.service inactive\nTriggered global unit g.service start\n",
    );
    rig.api.changes();
    file("/bin/slow", "");
    rig.prints(roll, launched);
    let put = "PUT g.service with its file launched, at most 2";
    assert_eq!(rig.api.changes(), [put, "ACTIVE g.service"]);
    rig.prints(roll, same);

    // One that was not followed to its end is followed by the next.
    file("/bin/slow", "Restart=no\n");
    let (_, err) = rig.run("start --replace --max-unavailable 2 --timeout 1ms g.service", 1);
    assert!(
        err.contains(
            "timed out waiting for unit g.service to report state launched: new on 1 of 3 machines; waits"
        ),
        "{err}"
    );
    let (out, _) = rig.run("list-unit-files --fields unit,reason --no-legend", 0);
    assert_eq!(out, "g.service\tnew on 1 of 3 machines; waits\n");
    rig.prints(roll, &format!("{same}{launched}"));
    assert_eq!(rig.api.changes(), [put, "ACTIVE g.service"]);
    // With another limit it goes on with that.
    file("/bin/slow", "Restart=always\n");
    rig.run("start --replace --max-unavailable 2 --timeout 1ms g.service", 1);
    rig.prints(&roll.replace('2', "3"), &format!("{same}{launched}"));
    let anew = "PUT g.service with its file launched, at most 3";
    assert_eq!(rig.api.changes(), [put, anew, "ACTIVE g.service"]);

    file("/bin/false", "");
    let (out, err) = rig.run(roll, 1);
    let failed = format!(
        "unit g.service did not get to launched: on machine {MACHINE} it is failed (failed); 2 of 3 machines keep the file \
         they have; fleetctl ssh {MACHINE} journalctl --unit g.service may say why\n"
    );
    assert!(out.is_empty() && err.contains(&failed), "{out}{err}");
    // Without the limit all machines have it at once, and nobody waits.
    file("/bin/slow", "");
    rig.prints(
        "start --replace g.service",
        "Triggered global unit g.service start\n",
    );
}

fn the_status_of_units_as_json(rig: &Rig) {
    rig.file(
        "good.service",
        "[Unit]\nDescription=it runs\n[Service]\nExecStart=/bin/true\n",
    );
    rig.file("bad.service", "[Service]\nExecStart=/bin/false\n");
    rig.run("start good.service", 0);
    rig.run("start bad.service", 1);
    // Nobody is visited for it, and no state is a failure.
    let (out, err) = rig.run("status --output json good bad.service", 0);
    assert_eq!(err, "");
    let units: Value = serde_json::from_str(&out).expect("JSON");
    let found = |pointer: &str| {
        units
            .pointer(pointer)
            .cloned()
            .unwrap_or_else(|| panic!("{pointer} in {out}"))
    };
    for (pointer, expected) in [
        ("/0/unit", json!("good.service")),
        ("/0/desc", json!("it runs")),
        ("/0/dstate", json!("launched")),
        ("/0/target", json!(MACHINE)),
        ("/0/reason", Value::Null),
        ("/0/machines/0/machine", json!(MACHINE)),
        ("/0/machines/0/ip", json!("127.0.0.1")),
        ("/0/machines/0/active", json!("active")),
        ("/0/machines/0/hash", found("/0/hash")),
        ("/1/unit", json!("bad.service")),
        ("/1/machines/0/active", json!("failed")),
    ] {
        assert_eq!(found(pointer), expected, "{pointer}");
    }
    let (out, err) = rig.run("status --output json good none", 1);
    assert_eq!(
        (out.as_str(), err.as_str()),
        ("", "Unit none.service does not exist.\n")
    );
    assert!(
        rig.run("status --output yaml good", 2)
            .1
            .contains("possible values: text, json")
    );
}
