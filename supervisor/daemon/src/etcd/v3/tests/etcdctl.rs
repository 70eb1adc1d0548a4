//! Debian's etcdctl with ETCDCTL_API=3 against us, with endpoints as its own default has them, without a scheme: given
//! `http://...`, the commands that ask one member (endpoint status, endpoint hashkv, defrag) send the whole URL as
//! HTTP/2's `:authority` (etcd-io/etcd#13192), which is no authority, and which the h2 crate refuses.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::TTL;
use crate::testing::{self, within};

/// What to send, what must come back: a line's `*` stands for anything. `<` in front of a command gives it the text up to
/// the next `<` on standard input, `|` being a line's end. `!` asks for a failure.
const SCRIPT: &[(&str, &str)] = &[
    ("put foo bar", "OK"),
    ("get foo", "foo|bar"),
    (
        "get foo -w json",
        "*\"kvs\":[{\"key\":\"Zm9v\",\"create_revision\":2,\"mod_revision\":2,\"version\":1,\"value\":\"YmFy\"}],\"count\":1}",
    ),
    ("put foo baz --prev-kv", "OK|foo|bar"),
    ("get foo --rev=2 --print-value-only", "bar"),
    ("put foa 1", "OK"),
    (
        "get --prefix fo --order=DESCEND --sort-by=KEY --keys-only",
        "foo||foa|",
    ),
    ("get --from-key foa --limit=1", "foa|1"),
    ("del fo --prefix --prev-kv", "2|foa|1|foo|baz"),
    ("get foo", ""),
    (
        "<mod(\"foo\") = \"0\"||put foo 1|get foo||get nothing||<txn",
        "SUCCESS||OK||foo|1",
    ),
    (
        "<value(\"foo\") = \"2\"||put foo 2||get foo||<txn",
        "FAILURE||foo|1",
    ),
    ("!put none --ignore-value", "*etcdserver: key not found*"),
    ("compaction 3", "compacted revision 3"),
    (
        "!get foo --rev=2",
        "*etcdserver: mvcc: required revision has been compacted*",
    ),
    (
        "!compaction 99",
        "*etcdserver: mvcc: required revision is a future revision*",
    ),
    ("lease grant 300", "lease * granted with TTL(300s)"),
    ("lease list", "found 1 leases|*"),
    ("put onlease v --lease=LEASE", "OK"),
    (
        "lease timetolive LEASE --keys",
        "lease LEASE granted with TTL(300s), remaining(*s), attached keys([onlease])",
    ),
    (
        "lease keep-alive LEASE --once",
        "lease LEASE keepalived with TTL(300)",
    ),
    ("lease revoke LEASE", "lease LEASE revoked"),
    ("lease timetolive LEASE", "lease LEASE already expired"),
    ("get onlease", ""),
    ("!lease revoke LEASE", "*etcdserver: requested lease not found*"),
    ("endpoint status", "*, *, 3.4.23, *, true, false, *, *, *, "),
    (
        "endpoint health",
        "* is healthy: successfully committed proposal: took = *",
    ),
    ("endpoint hashkv", "*, *"),
    ("member list", "*, started, n0, http://*, http://*, false"),
    ("!member remove 1234", "*etcdserver: member not found*"),
    ("alarm list", ""),
    ("alarm disarm", ""),
    ("defrag", "Finished defragmenting etcd member[*]"),
    ("lock l echo held", "held"),
    (
        "snapshot save FOLDER/snapshot",
        "Snapshot saved at FOLDER/snapshot|*",
    ),
];

/// Where Debian's etcdctl lies: unpacked below CORTEN_TOOLS or the checkout's out/tools, or installed.
fn found() -> Option<PathBuf> {
    let named = std::env::var_os("CORTEN_TOOLS").map(PathBuf::from);
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../out/tools/usr/bin");
    let folders = named.into_iter().chain([checkout, PathBuf::from("/usr/bin")]);
    folders
        .map(|folder| folder.join("etcdctl"))
        .find(|path| path.exists())
}

fn command(etcdctl: &Path, to: SocketAddr, args: &[&str]) -> Command {
    let mut command = Command::new(etcdctl);
    command
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &to.to_string()])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs a command to its end; success, and standard output and error.
async fn run(etcdctl: &Path, to: SocketAddr, line: &str) -> (bool, String) {
    let (input, line) = match line.strip_prefix('<').and_then(|rest| rest.split_once('<')) {
        Some((input, line)) => (input.replace('|', "\n"), line),
        None => (String::new(), line),
    };
    let args: Vec<&str> = line.split(' ').collect();
    let mut child = command(etcdctl, to, &args).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = within("etcdctl ends", child.wait_with_output()).await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    (output.status.success(), text.trim_end_matches('\n').to_owned())
}

/// Whether a text is as the pattern, in which `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            let mut ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            ends.any(|end| fits(after, &rest[end..]))
        }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn debians_etcdctl_works() {
    let Some(etcdctl) = found() else {
        eprintln!(
            "SKIPPED: {} commands: there is no etcdctl (Debian's etcd-client)",
            SCRIPT.len()
        );
        return;
    };
    let mut machines = testing::cluster(1, TTL).await;
    let to = machines[0].clients;
    let folder = tempfile::tempdir().unwrap();
    let (mut lease, mut wrong) = (String::new(), Vec::new());
    for (line, expected) in SCRIPT {
        let named = |text: &str| {
            let text = text.replace("LEASE", &lease);
            text.replace("FOLDER", folder.path().to_str().unwrap())
        };
        let (line, expected) = (named(line), named(expected).replace('|', "\n"));
        let (fails, line) = line
            .strip_prefix('!')
            .map_or((false, line.as_str()), |line| (true, line));
        let (success, text) = run(&etcdctl, to, line).await;
        if success == fails || !fits(expected.trim_end_matches('\n'), &text) {
            wrong.push(format!(
                "etcdctl {line}: success {success}\n{text}\n--- but not\n{expected}"
            ));
        }
        if line.starts_with("lease grant") {
            lease = text.split(' ').nth(1).unwrap().to_owned();
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    long_running(&etcdctl, to).await;
    machines[0].stop().await;
}

struct Running {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(etcdctl: &Path, to: SocketAddr, args: &[&str]) -> Running {
        let mut child = command(etcdctl, to, args).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Running { _child: child, lines }
    }

    async fn next(&mut self) -> String {
        within("a line of etcdctl", self.lines.next_line())
            .await
            .unwrap()
            .unwrap()
    }
}

/// Those that go on until they are stopped.
async fn long_running(etcdctl: &Path, to: SocketAddr) {
    run(etcdctl, to, "put w/a 1").await;
    let (_, text) = run(etcdctl, to, "get w/a -w fields").await;
    let revision = text
        .lines()
        .find_map(|line| line.strip_prefix("\"ModRevision\" : "))
        .unwrap();
    let mut watch = Running::start(
        etcdctl,
        to,
        &["watch", "--prefix", "w/", "--rev", revision, "--prev-kv"],
    );
    for expected in ["PUT", "w/a", "1"] {
        assert_eq!(watch.next().await, expected);
    }
    run(etcdctl, to, "put w/a 2").await;
    for expected in ["PUT", "w/a", "1", "w/a", "2"] {
        assert_eq!(watch.next().await, expected);
    }
    run(etcdctl, to, "del w/a").await;
    for expected in ["DELETE", "w/a", "2", "w/a", ""] {
        assert_eq!(watch.next().await, expected);
    }
    let mut elected = Running::start(etcdctl, to, &["elect", "e", "me"]);
    assert!(elected.next().await.starts_with("e/"));
    assert_eq!(elected.next().await, "me");
    let mut listening = Running::start(etcdctl, to, &["elect", "--listen", "e"]);
    assert!(listening.next().await.starts_with("e/"));
    assert_eq!(listening.next().await, "me");
    let mut holder = Running::start(etcdctl, to, &["lock", "x"]);
    assert!(holder.next().await.starts_with("x/"));
}
