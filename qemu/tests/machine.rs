//! Machines without a kernel: a ROM that says one word and halts shows start, monitor, power and the end with us.
//! Needs QEMU (`apt-get install qemu-system-x86`) and fails without it; takes seconds, even emulated.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use corten_qemu::process::Process;
use corten_qemu::{Accel, Boot, Link, Machine, Spec, StartError, UserNet, rom, wait_until};

const SOON: Duration = Duration::from_secs(30);
/// Names the folder for the process that is to be killed; see the last test.
const VICTIM: &str = "MACHINE_TEST_VICTIM_FOLDER";

fn spec(folder: &Path, name: &str) -> Spec {
    let file = folder.join("say.rom");
    std::fs::write(&file, rom::say("alive\n")).unwrap();
    Spec {
        name: name.to_owned(),
        cpus: 1,
        memory_mib: 16,
        boot: Boot::Rom { file },
        disks: vec![],
        links: vec![],
        user_net: None,
        fw_cfg: vec![],
        second_serial: true,
        accel: Some(Accel::Tcg),
    }
}

fn user_net(ssh_port: u16) -> UserNet {
    UserNet {
        mac: "52:54:00:00:00:01".into(),
        ssh_port,
        forwards: vec![],
    }
}

#[test]
fn power_pause_and_power_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut machine = Machine::new(spec(folder.path(), "one"), &folder.path().join("one")).unwrap();
    assert!(!machine.is_running());
    machine.power_on().unwrap();
    machine.wait_console("alive", SOON).unwrap();
    machine.pause().unwrap();
    assert_eq!(
        machine.qmp("query-status", serde_json::Value::Null).unwrap()["status"],
        "paused"
    );
    machine.resume().unwrap();
    let first = machine.process().unwrap();
    machine.power_cut().unwrap();
    assert!(!machine.is_running() && !first.is_running());
    machine.power_on().unwrap();
    wait_until("a second word", SOON, || {
        let console = machine.console();
        if console.matches("alive").count() == 2 {
            Ok(())
        } else {
            Err(console)
        }
    })
    .unwrap();
    machine.qmp("quit", serde_json::Value::Null).unwrap();
    machine.wait_off(SOON).unwrap();
}

#[test]
fn a_port_in_use_is_named_and_a_free_one_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut wanted = spec(folder.path(), "port");
    wanted.user_net = Some(user_net(port));
    let mut machine = Machine::new(wanted.clone(), &folder.path().join("port")).unwrap();
    match machine.power_on() {
        Err(StartError::PortInUse { port: named, .. }) => assert_eq!(named, port),
        other => panic!("{other:?}"),
    }
    wanted.user_net = Some(user_net(0));
    let mut machine = Machine::new(wanted, &folder.path().join("port")).unwrap();
    machine.power_on().unwrap();
    let got = machine.ssh_port().unwrap();
    machine.power_cut().unwrap();
    machine.power_on().unwrap();
    assert_eq!(machine.ssh_port(), Some(got));
}

#[test]
fn a_machine_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let mut wanted = spec(folder.path(), "broken");
    wanted.links = vec![Link {
        mac: "52:54:00:00:00:09".into(),
    }]; // no switch listens
    let mut machine = Machine::new(wanted, &folder.path().join("broken")).unwrap();
    let error = machine.power_on().unwrap_err().to_string();
    assert!(error.contains("broken") && error.contains("net0.sock"), "{error}");
    assert!(!machine.is_running());
    let mut wanted = spec(folder.path(), "broken");
    wanted.boot = Boot::Rom {
        file: folder.path().join("no.rom"),
    };
    let mut machine = Machine::new(wanted, &folder.path().join("broken")).unwrap();
    let error = machine.power_on().unwrap_err().to_string();
    assert!(error.contains("no.rom") && error.contains("qemu.log"), "{error}");
}

#[test]
fn released_it_can_be_taken_over_and_ended() {
    let folder = tempfile::tempdir().unwrap();
    let mut machine = Machine::new(spec(folder.path(), "kept"), &folder.path().join("kept")).unwrap();
    machine.power_on().unwrap();
    let record = serde_json::to_string(&machine.release().unwrap()).unwrap();
    let mut adopted = Machine::adopt(serde_json::from_str(&record).unwrap());
    assert!(adopted.is_running());
    adopted.wait_console("alive", SOON).unwrap();
    adopted.power_cut().unwrap();
    assert!(!adopted.is_running());
    assert!(
        !Machine::adopt(serde_json::from_str(&record).unwrap()).is_running(),
        "its number alone is not it"
    );
}

/// Not a test by itself: the process that the next test kills.
#[test]
fn victim() {
    let Some(folder) = std::env::var_os(VICTIM) else {
        return;
    };
    let folder = Path::new(&folder);
    let mut machine = Machine::new(spec(folder, "victim"), &folder.join("victim")).unwrap();
    machine.power_on().unwrap();
    println!("\npid {}", machine.process().unwrap().pid);
    machine
        .wait_console("never said", Duration::from_secs(600))
        .unwrap();
}

#[test]
fn machines_die_with_the_process_that_made_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture"])
        .env(VICTIM, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let pid = lines
        .find_map(|line| line.unwrap().strip_prefix("pid ").map(|pid| pid.parse().unwrap()))
        .unwrap();
    let machine = Process::of(pid).unwrap();
    assert!(machine.is_running());
    victim.kill().unwrap(); // SIGKILL: nothing of it runs any more, no destructor, no handler
    victim.wait().unwrap();
    wait_until("the machine to follow", SOON, || {
        if machine.is_running() {
            Err("it runs".into())
        } else {
            Ok(())
        }
    })
    .unwrap();
}
