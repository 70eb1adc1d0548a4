//! What becomes of actions, against a systemd in memory.

use std::cell::Cell;
use std::path::Path;

use super::*;
use crate::pulse::Pulses;
use crate::systemd::memory::MemorySystemd;

struct Here {
    systemd: MemorySystemd,
    folder: Folder,
    disk: BTreeMap<UnitName, OnDisk>,
    failures: Failures,
    _temporary: tempfile::TempDir,
}

impl Here {
    fn new() -> Here {
        let temporary = tempfile::tempdir().unwrap();
        Here {
            systemd: MemorySystemd::default(),
            folder: Folder::open(&temporary.path().join("units")).unwrap(),
            disk: BTreeMap::new(),
            failures: Failures::default(),
            _temporary: temporary,
        }
    }

    fn performer<'p>(&'p mut self, pulse: &'p Pulse) -> Performer<'p, MemorySystemd> {
        Performer {
            pulse,
            systemd: &self.systemd,
            folder: &self.folder,
            disk: &mut self.disk,
            failures: &mut self.failures,
        }
    }
}

fn unit(name: &str) -> UnitName {
    UnitName::parse(name).unwrap()
}

#[tokio::test]
async fn a_stop_that_fails_keeps_nothing_from_being_killed() {
    let mut here = Here::new();
    for name in ["a.service", "b.service"] {
        here.systemd.link(Path::new(name)).await.unwrap();
        here.systemd.start(name).await.unwrap();
        here.systemd.refuse_stop(name, true);
    }
    let pulse = Pulses::default().register("test");
    let ends = ["a.service", "b.service"]
        .map(unit)
        .map(|unit| [Action::Stop(unit.clone()), Action::Kill(unit)])
        .concat();
    here.performer(&pulse).end(&ends).await;
    assert!(!here.systemd.runs("a.service") && !here.systemd.runs("b.service"));
    assert_eq!(
        here.failures.next(Instant::now()),
        None,
        "it is tried again at once"
    );
}

#[tokio::test]
async fn what_may_not_go_on_is_left_and_no_failure() {
    let mut here = Here::new();
    let pulse = Pulses::default().register("test");
    let (a, b) = (unit("a.service"), unit("b.service"));
    let list = [Action::Disable(a), Action::Disable(b)];
    let left = Cell::new(1);
    let may_go_on = || left.replace(0) > 0;
    here.performer(&pulse).perform(&list, may_go_on).await;
    assert_eq!(here.systemd.calls(), ["disable a.service"]);
    assert_eq!(here.failures.next(Instant::now()), None);
}

#[tokio::test]
async fn a_long_reload_is_no_standstill() {
    let pulses = Pulses::default();
    let pulse = pulses.register("test");
    let mut here = Here::new();
    let systemd = here.systemd.clone();
    systemd.be_busy(true);
    let looks = async {
        tokio::time::sleep(BEAT * 4).await;
        let stuck = pulses.stuck(Instant::now(), BEAT * 3);
        systemd.be_busy(false);
        stuck
    };
    let mut performer = here.performer(&pulse);
    let removal = [Action::Remove(unit("a.service")), Action::DaemonReload];
    let perform = performer.perform(&removal, || true);
    let ((), stuck) = tokio::join!(perform, looks);
    assert!(stuck.is_empty());
}

#[tokio::test]
async fn what_systemd_did_not_take_is_taken_back() {
    let pulse = Pulses::default().register("test");
    let mut here = Here::new();
    let a = unit("a.service");
    here.systemd.refuse("a.service", true);
    let list = [
        Action::Write {
            unit: a.clone(),
            text: "[Install]\nWantedBy=x.target\n".to_owned(),
        },
        Action::Link(a.clone()),
        Action::Enable(a.clone()),
        Action::DaemonReload,
        Action::Start(a.clone()),
    ];
    here.performer(&pulse).perform(&list, || true).await;
    let calls = ["link", "enable", "disable", "unlink"].map(|verb| format!("{verb} a.service"));
    assert_eq!(here.systemd.calls(), calls, "nothing is read again for it");
    assert!(!here.folder.path(&a).exists() && !here.folder.owes_reload());
    assert!(here.failures.waits(&a, Instant::now()));
}

#[test]
fn another_content_is_tried_at_once() {
    let (mut failures, now, a) = (Failures::default(), Instant::now(), unit("a.service"));
    let actions = vec![Action::Start(a.clone())];
    let waits = |failures: &Failures| failures.without(actions.clone(), now).is_empty();
    for _ in 0..3 {
        failures.failed(&a, "why".to_owned(), now);
        failures.keep(|_| Some("old"));
        assert!(waits(&failures) && failures.reasons().count() == 1);
    }
    failures.keep(|_| Some("new"));
    assert!(!waits(&failures) && failures.reasons().count() == 0);
    failures.failed(&a, "why".to_owned(), now);
    failures.keep(|_| None);
    assert!(!waits(&failures), "it is no concern any more");
}

#[tokio::test]
async fn what_systemd_has_missed_is_found_by_a_reload() {
    let pulse = Pulses::default().register("test");
    for misses in [false, true] {
        let mut here = Here::new();
        if misses {
            here.systemd.miss();
        }
        let a = unit("a.service");
        let list = [
            Action::Write {
                unit: a.clone(),
                text: "[Service]\nExecStart=/bin/true\n".to_owned(),
            },
            Action::Link(a.clone()),
            Action::Find(a.clone()),
            Action::Start(a.clone()),
        ];
        here.performer(&pulse).perform(&list, || true).await;
        assert!(here.systemd.runs("a.service"));
        let reloads = here
            .systemd
            .calls()
            .iter()
            .filter(|call| *call == "reload ")
            .count();
        assert_eq!(reloads, usize::from(misses));
        assert_eq!(here.folder.read().unwrap(), here.disk);
        assert!(here.disk[&a].launched);
    }
}
#[tokio::test]
async fn a_reload_that_a_removal_owes_is_made_good() {
    let pulse = Pulses::default().register("test");
    let mut here = Here::new();
    let removal = [Action::Remove(unit("a.service")), Action::DaemonReload];
    let left = Cell::new(1);
    let may_go_on = || left.replace(0) > 0;
    here.performer(&pulse).perform(&removal, may_go_on).await;
    assert!(here.systemd.calls().is_empty(), "it may not go on");
    for _ in 0..2 {
        here.performer(&pulse).perform(&[], || true).await;
        assert_eq!(here.systemd.calls(), ["reload "]);
    }
    here.performer(&pulse).perform(&removal, || true).await;
    here.performer(&pulse).perform(&[], || true).await;
    assert_eq!(here.systemd.calls(), ["reload ", "reload "]);
}
