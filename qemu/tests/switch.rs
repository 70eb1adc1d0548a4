//! The switch with plain sockets for cards: frames arrive, faults bite, a reconnected card works again.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use corten_qemu::{Fault, Port, Switch, SwitchConfig, short_path, wait_until};

const SOON: Duration = Duration::from_secs(10);

struct Rig {
    folder: tempfile::TempDir,
    switch: Switch,
}

fn rig(ports: &[&str]) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let port = |name: &&str| Port {
        name: (*name).into(),
        socket: folder.path().join(name),
    };
    let config = SwitchConfig {
        ports: ports.iter().map(port).collect(),
        control: folder.path().join("control"),
        seed: 1,
    };
    let switch = Switch::start(&config).unwrap();
    Rig { folder, switch }
}

fn frame(to: u8, from: u8, payload: &[u8]) -> Vec<u8> {
    let mac = |last: u8| {
        if last == 0xff {
            [0xff; 6]
        } else {
            [2, 0, 0, 0, 0, last]
        }
    };
    [&mac(to)[..], &mac(from)[..], &[8, 0], payload].concat()
}

impl Rig {
    fn card(&self, port: &str) -> UnixStream {
        let card = short_path::connect(&self.folder.path().join(port)).unwrap();
        card.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        card
    }
}

fn send(mut card: &UnixStream, frame: &[u8]) {
    card.write_all(&[&(frame.len() as u32).to_be_bytes()[..], frame].concat())
        .unwrap();
}

/// The next frame, or `None` if none comes for 300 ms.
fn receive(mut card: &UnixStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    card.read_exact(&mut length).ok()?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    card.read_exact(&mut frame).unwrap();
    Some(frame)
}

/// A card counts once the switch has taken its connection; until then frames for it are dropped.
fn until_received(from: &UnixStream, to: &UnixStream, frame: &[u8]) {
    wait_until("a frame to pass", SOON, || {
        send(from, frame);
        receive(to)
            .map(|got| assert_eq!(got, frame))
            .ok_or_else(|| "nothing".to_owned())
    })
    .unwrap();
}

#[test]
fn frames_pass_and_a_new_card_takes_the_old_ones_place() {
    let rig = rig(&["a", "b"]);
    let (a, b) = (rig.card("a"), rig.card("b"));
    until_received(&a, &b, &frame(0xff, 1, b"hello"));
    until_received(&b, &a, &frame(1, 2, &vec![7; 60_000]));
    drop(b);
    let b = rig.card("b");
    until_received(&a, &b, &frame(2, 1, b"again"));
    let counts = rig.switch.control().counts().unwrap();
    assert!(counts.received >= 3 && counts.forwarded >= 3, "{counts:?}");
}

#[test]
fn cut_delay_and_heal() {
    let rig = rig(&["a", "b", "c"]);
    let (a, b, c) = (rig.card("a"), rig.card("b"), rig.card("c"));
    let control = rig.switch.control();
    for (to, mac) in [(&a, 1), (&b, 2), (&c, 3)] {
        let from = if mac == 1 { &b } else { &a };
        until_received(from, to, &frame(0xff, if mac == 1 { 2 } else { 1 }, b"x"));
    }
    for card in [&a, &b, &c] {
        while receive(card).is_some() {}
    }
    control.cut_between("a", "b").unwrap();
    send(&a, &frame(0xff, 1, b"partition"));
    assert!(receive(&c).is_some());
    assert!(receive(&b).is_none());
    control.heal_all().unwrap();
    assert!(!control.is_cut("a").unwrap(), "only one path of it was cut");
    control.cut("c").unwrap();
    assert!(control.is_cut("c").unwrap() && !control.is_cut("b").unwrap());
    send(&a, &frame(0xff, 1, b"alone"));
    assert!(receive(&b).is_some());
    assert!(receive(&c).is_none());
    control.heal("c").unwrap();
    control
        .set(
            Some("a"),
            None,
            Fault {
                delay_us: 150_000,
                ..Fault::default()
            },
        )
        .unwrap();
    let start = Instant::now();
    send(&a, &frame(0xff, 1, b"late"));
    assert!(receive(&b).is_some());
    assert!(
        start.elapsed() >= Duration::from_millis(150),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn an_unknown_port_is_named() {
    let rig = rig(&["a", "b"]);
    let error = rig.switch.control().cut("z").unwrap_err().to_string();
    assert!(error.contains("\"z\"") && error.contains("a, b"), "{error}");
}

#[test]
fn a_card_that_talks_nonsense_loses_its_connection_and_nothing_else() {
    let rig = rig(&["a", "b"]);
    let (mut a, b) = (rig.card("a"), rig.card("b"));
    until_received(&a, &b, &frame(0xff, 1, b"hello"));
    a.write_all(&[0xff; 64]).unwrap();
    assert!(receive(&a).is_none());
    let a = rig.card("a");
    until_received(&a, &b, &frame(0xff, 1, b"hello"));
}
