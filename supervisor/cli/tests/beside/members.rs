//! What goes on when its member is lost: a watch, without a change twice or left out, and a lock.
//!
//! Three members; two hold the quorum while the third is killed, or stopped so that its connections stay open and silent.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use crate::{Run, Server, check, pid};

/// For all that a cluster needs to get over a loss, and etcdctl to find out.
const DEADLINE: Duration = Duration::from_secs(90);

pub fn lose_members(etcd: &Path, [etcdctl, theirs]: [&Path; 2], dir: &Path) -> usize {
    let mut members = Server::cluster(etcd, dir, 3, "http", &[]);
    members.iter().for_each(Server::wait);
    let names: Vec<String> = members.iter().map(|member| member.client.clone()).collect();
    let [a, b, c] = &names[..] else {
        unreachable!("three members")
    };
    let keeper = &members[2];
    let mut all = vec![
        Watching::start(
            keeper,
            etcdctl,
            &format!("--endpoints {a},{b} watch --prefix w/ --rev 1"),
        ),
        Watching::start(keeper, etcdctl, &format!("--endpoints {a} watch --prefix w/")),
        Watching::start(
            keeper,
            etcdctl,
            &format!("--endpoints {b},{c} watch --prefix w/ --rev 1"),
        ),
    ];
    let mut lock = keeper.spawn("3", etcdctl, &format!("--endpoints {a},{c} lock l --ttl 3"));
    let mut writer = Writer { etcdctl, next: 0 };
    // From now on each of them has something to lose.
    for watching in &mut all {
        watching.until_any(|| writer.put(keeper));
    }
    until("the lock is held", || {
        !keeper.run("3", etcdctl, "get --prefix l/", "").stdout.is_empty()
    });

    members[0].lose();
    let keeper = &members[2];
    (0..3).for_each(|_| writer.put(keeper));
    let elsewhere = all[0].until(&writer.last());
    let kept = kept_locked(keeper, etcdctl);

    members[0].again();
    let keeper = &members[2];
    (0..3).for_each(|_| writer.put(keeper));
    let again = all[1].until(&writer.last());

    kill(pid(&members[1].child), Signal::SIGSTOP).expect("our own child");
    let keeper = &members[2];
    (0..3).for_each(|_| writer.put(keeper));
    let silent = all[2].until(&writer.last());
    kill(pid(&members[1].child), Signal::SIGCONT).expect("our own child");

    let mut truth = Watching::start(
        keeper,
        etcdctl,
        &format!("--endpoints {c} watch --prefix w/ --rev 1"),
    );
    let truth = truth.until(&writer.last());
    end(&mut lock);
    let [ours, theirs] = without_leader(members, [etcdctl, theirs]);
    // Each saw the history up to a point, and one of them not from the beginning.
    check(
        "watch goes on at another member",
        &elsewhere[..],
        &truth[..elsewhere.len().min(truth.len())],
    ) + check(
        "watch goes on at a member that comes back",
        &again[..],
        from(&truth, &again),
    ) + check("watch leaves a member that is silent", &silent[..], &truth[..])
        + check("lock is kept through another member", kept, true)
        + check("watch ends without a leader", ours, theirs)
}

/// How each etcdctl's watch of the last member ends when the others are lost; this kills them.
fn without_leader(mut members: Vec<Server>, etcdctls: [&Path; 2]) -> [Run; 2] {
    let watching = etcdctls.map(|etcdctl| members[2].spawn("3", etcdctl, "watch a"));
    members[..2].iter_mut().for_each(Server::lose);
    watching.map(|child| members[2].end(child))
}

/// The part of the history that begins and ends as what was seen.
fn from<'t>(truth: &'t [String], seen: &[String]) -> &'t [String] {
    let place = |value: Option<&String>| truth.iter().position(|line| Some(line) == value).unwrap_or(0);
    // The value is the third line of a change.
    &truth[place(seen.get(2)).saturating_sub(2)..=place(seen.last())]
}

/// Whether the lock's key outlives a lease that nobody keeps and that was to last twice as long.
fn kept_locked(keeper: &Server, etcdctl: &Path) -> bool {
    // As it is: run masks ids.
    let granted = Command::new(etcdctl)
        .args(["--endpoints", &keeper.client, "lease", "grant", "6"])
        .env("ETCDCTL_API", "3")
        .output()
        .expect("etcdctl can be started");
    let granted = String::from_utf8_lossy(&granted.stdout).into_owned();
    let id = granted
        .split(' ')
        .nth(1)
        .expect("lease ID granted with ..")
        .to_owned();
    until("a lease ends", || {
        let left = keeper.run("3", etcdctl, &format!("lease timetolive {id}"), "");
        left.stdout.contains("already expired")
    });
    !keeper.run("3", etcdctl, "get --prefix l/", "").stdout.is_empty()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
    }
}

/// Ends what runs below `timeout`, which hands a SIGTERM on.
fn end(child: &mut Child) {
    kill(pid(child), Signal::SIGTERM).ok();
    child.wait().ok();
}

/// Writes values that are never the same.
struct Writer<'e> {
    etcdctl: &'e Path,
    next: usize,
}

impl Writer<'_> {
    /// One value; until it is written, as a cluster without a leader says no.
    fn put(&mut self, through: &Server) {
        until("a value is written", || {
            self.next += 1;
            let line = format!("put w/k {}", self.last());
            through.run("3", self.etcdctl, &line, "").code == Some(0)
        });
    }

    fn last(&self) -> String {
        format!("v{}", self.next)
    }
}

/// A watch that runs, and the lines it printed.
struct Watching {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Watching {
    fn start(through: &Server, etcdctl: &Path, line: &str) -> Watching {
        let mut child = through.spawn("3", etcdctl, line);
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut printed = output.lines().map_while(Result::ok);
            printed.try_for_each(|line| sender.send(line)).ok();
        });
        Watching {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// Does something again and again until there is a line.
    fn until_any(&mut self, mut again: impl FnMut()) {
        until("a watch sees something", || {
            again();
            self.seen
                .extend(self.lines.recv_timeout(Duration::from_millis(100)));
            !self.seen.is_empty()
        });
    }

    /// All lines up to this one, or those there are when it does not come.
    fn until(&mut self, last: &str) -> Vec<String> {
        let deadline = Instant::now() + DEADLINE;
        while self.seen.last().is_none_or(|line| line != last) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(_) => {
                    self.seen.push(format!("no {last}"));
                    break;
                }
            }
        }
        self.seen.clone()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}
