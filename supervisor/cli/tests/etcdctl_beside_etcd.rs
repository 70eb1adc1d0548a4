//! Our etcdctl beside the real one: the same commands against two fresh servers of real etcd, and every line on
//! standard output and error, and every exit code, must be the same.
//!
//! Needs Debian's etcd-server and etcd-client 3.4 (the last that speak the v2 API) on the PATH; says so loudly and passes
//! without them. It has no libtest harness because the test binary is also the etcdctl under test: it is linked under that
//! name, as the product is.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[path = "beside/files.rs"]
mod files;
#[path = "beside/members.rs"]
mod members;
#[path = "beside/tls.rs"]
mod tls;

/// One command a line; `<` in front gives it `text` on standard input. `?` in front compares only the exit code: the
/// texts of a wrong command line are the argument parser's, and 3.4 words a lost connection differently from 2.3.
const SCRIPT: &str = include_str!("etcdctl-v2.txt");

/// The same with ETCDCTL_API=3. In the text on standard input `~` is a space and `|` a line's end.
const SCRIPT_3: &str = include_str!("etcdctl-v3.txt");

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if args
        .first()
        .is_some_and(|name| Path::new(name).ends_with("etcdctl"))
    {
        return corten_cli::etcdctl::main(args);
    }
    let [Some(etcd), Some(real_etcdctl)] = ["etcd", "etcdctl"].map(on_the_path) else {
        eprintln!("SKIPPED: etcd and etcdctl are not on the PATH (apt-get install etcd-server etcd-client)");
        return ExitCode::SUCCESS;
    };
    if !is_3_4(&etcd) {
        eprintln!("SKIPPED: {} is not etcd 3.4", etcd.display());
        return ExitCode::SUCCESS;
    }
    let rig = Rig::new(&etcd, real_etcdctl);
    let dir = |name: &str| {
        let dir = rig.dir.path().join(name);
        fs::create_dir(&dir).expect("a directory for a test");
        dir
    };
    let differences = rig.compare("2", SCRIPT)
        + rig.compare("3", SCRIPT_3)
        + rig.watch_for_ever()
        + rig.exec_watch()
        + files::look(&rig.ours, &rig.etcdctl, &dir("files"))
        + tls::look(&etcd, &rig.etcdctl, &dir("tls"))
        + members::lose_members(&etcd, [&rig.etcdctl, &rig.real_etcdctl], &dir("members"));
    if differences == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn is_3_4(etcd: &Path) -> bool {
    let answer = Command::new(etcd).arg("--version").output();
    answer.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("etcd Version: 3.4."))
}

fn on_the_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

struct Rig {
    real: Server,
    ours: Server,
    real_etcdctl: PathBuf,
    etcdctl: PathBuf,
    dir: tempfile::TempDir,
}

impl Rig {
    fn new(etcd: &Path, real_etcdctl: PathBuf) -> Rig {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let etcdctl = dir.path().join("etcdctl");
        symlink(std::env::current_exe().expect("our own path"), &etcdctl)
            .expect("a link under the name etcdctl");
        let [real, ours] = ["real", "ours"].map(|name| {
            let dir = dir.path().join(name);
            fs::create_dir(&dir).expect("a directory for a server");
            let mut alone = Server::cluster(etcd, &dir, 1, "http", &[]);
            let server = alone.remove(0);
            server.wait();
            server
        });
        Rig {
            real,
            ours,
            real_etcdctl,
            etcdctl,
            dir,
        }
    }

    fn compare(&self, api: &'static str, script: &str) -> usize {
        let mut differences = 0;
        for line in script.lines().filter(|line| !line.is_empty()) {
            let (exit_only, line) = line.strip_prefix('?').map_or((false, line), |rest| (true, rest));
            let (input, line) = line
                .strip_prefix('<')
                .and_then(|rest| rest.split_once(' '))
                .unwrap_or(("", line));
            let input = match api {
                "3" => input.replace('~', " ").replace('|', "\n"),
                _ => input.to_owned(),
            };
            let mut real = self.real.run(api, &self.real_etcdctl, line, &input);
            let mut ours = self.ours.run(api, &self.etcdctl, line, &input);
            for run in [&mut real, &mut ours] {
                if line.starts_with("endpoint status") {
                    run.stdout = without_indexes(&run.stdout);
                }
                if exit_only {
                    run.stdout.clear();
                    run.stderr.clear();
                }
            }
            if real == ours {
                println!("ok   etcdctl {line}");
            } else {
                differences += 1;
                println!("DIFF etcdctl {line}\n--- theirs {real:#?}\n--- ours {ours:#?}");
            }
        }
        differences
    }

    /// `watch --forever` prints what went before and what comes, and CTRL+C ends it with 0.
    fn watch_for_ever(&self) -> usize {
        self.ours.run("2", &self.etcdctl, "set /w/1 a", "");
        let index = self.ours.index("/w/1");
        let after = format!("watch --forever --recursive --after-index {} /w", index - 1);
        let mut watch = self.ours.spawn("2", &self.etcdctl, &after);
        let mut lines = BufReader::new(watch.stdout.take().expect("piped"))
            .lines()
            .map_while(Result::ok);
        let mut seen: Vec<String> = lines.by_ref().take(2).collect();
        self.ours.run("2", &self.etcdctl, "mkdir /w/dir", "");
        self.ours.run("2", &self.etcdctl, "rm /w/1", "");
        seen.extend(lines.by_ref().take(2));
        interrupt(&watch);
        let code = watch.wait().expect("our own child").code();
        check(
            "watch --forever",
            (seen.join("|"), code),
            ("[set] /w/1|a|[delete] /w/1|PrevNode.Value: a".into(), Some(0)),
        )
    }

    /// `exec-watch` runs the program with the change in its environment; events after the index given, the first
    /// included (the real one skips one).
    fn exec_watch(&self) -> usize {
        self.ours.run("2", &self.etcdctl, "set /e/1 a", "");
        let line = format!(
            "exec-watch --recursive --after-index {} /e -- env",
            self.ours.index("/e/1") - 1
        );
        let mut watch = self.ours.spawn("2", &self.etcdctl, &line);
        let lines = BufReader::new(watch.stdout.take().expect("piped"))
            .lines()
            .map_while(Result::ok);
        let mut seen: Vec<String> = lines
            .filter(|line| line.starts_with("ETCD_WATCH_"))
            .take(4)
            .collect();
        seen.sort();
        interrupt(&watch);
        let code = watch.wait().expect("our own child").code();
        let index = self.ours.index("/e/1");
        let expected = format!(
            "ETCD_WATCH_ACTION=set|ETCD_WATCH_KEY=/e/1|ETCD_WATCH_MODIFIED_INDEX={index}|ETCD_WATCH_VALUE=a"
        );
        check("exec-watch", (seen.join("|"), code), (expected, Some(0)))
    }
}

fn check<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> usize {
    if found == expected {
        println!("ok   etcdctl {what}");
        return 0;
    }
    println!("DIFF etcdctl {what}: {found:?}, expected {expected:?}");
    1
}

fn interrupt(child: &Child) {
    kill(pid(child), Signal::SIGINT).expect("our own child");
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().expect("a pid"))
}

#[derive(Debug, PartialEq)]
struct Run {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

/// A real etcd on loopback, killed when dropped.
struct Server {
    child: Child,
    /// Starts it, and after its death again.
    start: Command,
    client: String,
    peer: String,
}

impl Server {
    /// So many of one cluster, with their files in `dir`; they may not be up yet.
    fn cluster(etcd: &Path, dir: &Path, count: usize, scheme: &str, more: &[String]) -> Vec<Server> {
        let addresses: Vec<[String; 2]> = (0..count).map(|_| [free_address(), free_address()]).collect();
        let all: Vec<String> = addresses
            .iter()
            .enumerate()
            .map(|(number, [_, peer])| format!("n{number}=http://{peer}"))
            .collect();
        let started = addresses.into_iter().enumerate().map(|(number, [client, peer])| {
            let log = fs::File::create(dir.join(format!("n{number}.log"))).expect("a log file");
            let mut start = Command::new(etcd);
            start
                .arg("--enable-v2")
                .arg(format!("--name=n{number}"))
                .arg(format!("--data-dir={}", dir.join(format!("n{number}")).display()))
                .arg(format!("--initial-cluster={}", all.join(",")))
                .arg(format!("--listen-client-urls={scheme}://{client}"))
                .arg(format!("--advertise-client-urls={scheme}://{client}"))
                .arg(format!("--listen-peer-urls=http://{peer}"))
                .arg(format!("--initial-advertise-peer-urls=http://{peer}"))
                .args(["--logger", "zap"])
                .args(more)
                .stdout(Stdio::null())
                .stderr(log);
            Server {
                child: start.spawn().expect("etcd starts"),
                start,
                client,
                peer,
            }
        });
        started.collect()
    }

    /// Kills it.
    fn lose(&mut self) {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
    }

    /// Starts it on what it left.
    fn again(&mut self) {
        self.child = self.start.spawn().expect("etcd starts");
        self.wait();
    }

    /// Until it serves.
    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.is_healthy() {
            assert!(
                Instant::now() < deadline,
                "etcd did not become healthy within 60 s"
            );
            std::thread::yield_now();
        }
    }

    fn is_healthy(&self) -> bool {
        self.ask("/health").is_some_and(|text| text.contains("true"))
    }

    fn ask(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.client).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// The modifiedIndex of a key.
    fn index(&self, key: &str) -> u64 {
        let text = self.ask(&format!("/v2/keys{key}")).expect("the server answers");
        let digits = text.split("\"modifiedIndex\":").nth(1).expect("the key is there");
        digits
            .split(',')
            .next()
            .and_then(|digits| digits.parse().ok())
            .expect("a number")
    }

    /// `timeout` keeps a command that waits for what never comes from holding up the rest.
    fn command(&self, api: &str, program: &Path, line: &str) -> Command {
        let mut command = Command::new("timeout");
        command
            .arg("180")
            .arg(program)
            .args(words(line))
            .env_clear()
            .env("ETCDCTL_API", api)
            .env("PATH", "/usr/bin:/bin");
        let scheme = if api == "2" { "http://" } else { "" };
        command.env("ETCDCTL_ENDPOINTS", format!("{scheme}{}", self.client));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn spawn(&self, api: &str, program: &Path, line: &str) -> Child {
        self.command(api, program, line).spawn().expect("etcdctl starts")
    }

    fn run(&self, api: &str, program: &Path, line: &str, input: &str) -> Run {
        let mut child = self.spawn(api, program, line);
        let mut stdin = child.stdin.take().expect("piped");
        // A command that does not read its input may be gone already.
        stdin.write_all(input.as_bytes()).ok();
        drop(stdin);
        self.end(child)
    }

    /// How a command ends.
    fn end(&self, child: Child) -> Run {
        let output = child.wait_with_output().expect("our own child");
        let text = [output.stdout, output.stderr].map(|bytes| self.generic(&String::from_utf8_lossy(&bytes)));
        let [stdout, stderr] = text;
        Run {
            stdout,
            stderr,
            code: output.status.code(),
        }
    }

    /// Takes out what differs between any two servers: ports, ids, times.
    fn generic(&self, text: &str) -> String {
        // Go's way of hiding a password calls stty, which complains where there is no terminal; its v3 client logs.
        let text: String = text
            .split_inclusive('\n')
            .filter(|line| !line.starts_with("stty: ") && !line.starts_with("{\"level\""))
            .map(without_widths)
            .collect();
        let text = text.replace(&self.client, "CLIENT").replace(&self.peer, "PEER");
        // A moment later there are only 99 s left.
        let text = text.replace("\"ttl\":100", "\"ttl\":99");
        text.split_inclusive([' ', '\n', ',', ':', '{', '}', '[', ']'])
            .map(generic_word)
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn generic_word(word: &str) -> String {
    let bare = word.trim_end_matches([' ', '\n', ',', ':', '{', '}', '[', ']']);
    let is_id = (12..=16).contains(&bare.len()) && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_time = bare.starts_with("\"20") && bare.contains('T');
    // The seconds' fraction and zone behind the last colon of a time.
    let is_fraction =
        bare.ends_with("Z\"") || (bare.len() == 2 && bare.bytes().all(|byte| byte.is_ascii_digit()));
    // Ids and sizes on disk.
    let is_number = (bare.len() >= 4 && bare.bytes().all(|byte| byte.is_ascii_digit()))
        || (bare.contains('.') && bare.parse::<f64>().is_ok());
    let took = bare.trim_matches('"').trim_end_matches(['m', 's', 'µ']);
    let is_duration = took.len() < bare.trim_matches('"').len() && took.parse::<f64>().is_ok();
    if is_id || is_time || is_fraction || is_number || is_duration {
        word.replace(bare, "ANY")
    } else {
        word.to_owned()
    }
}

/// A row of a table, without what shows how wide its columns are: a time is as long as it is.
fn without_widths(line: &str) -> String {
    match line.as_bytes().first() {
        Some(b'+') => line.replace('-', ""),
        Some(b'|') => line
            .split_whitespace()
            .map(|word| format!("{word} "))
            .chain(["\n".to_owned()])
            .collect(),
        _ => line.to_owned(),
    }
}

/// Takes out Raft's indexes, which count up by themselves.
fn without_indexes(text: &str) -> String {
    let is_index = |word: &str| word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_digit());
    text.split_inclusive([' ', ',', ':', '}', '\n'])
        .map(|word| match word.split_at(word.len() - 1) {
            (bare, end) if is_index(bare) => format!("ANY{end}"),
            _ => word.to_owned(),
        })
        .collect()
}

/// Splits at spaces; single quotes keep them.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (number, part) in line.split('\'').enumerate() {
        if number % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").to_string()
}
