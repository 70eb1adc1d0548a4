//! fleetctl over SSH: a real sshd on loopback with a host key and a user key of its own, the real ssh, and fleetctl at
//! both ends. The API behind it is a few fixed answers: what is tested is the way, not the API.
//!
//! Needs OpenSSH's client and server; says so loudly and passes without them. It has no libtest harness because the
//! test binary is also the fleetctl under test, here and at the far end of the tunnel.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const SSHD: &str = "/usr/sbin/sshd";
const MACHINE: &str = "0123456789abcdef0123456789abcdef";
/// A name that only survives two shells when it is quoted for both.
const UNIT: &str = r"x\x2dy.service";

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if args
        .first()
        .is_some_and(|name| Path::new(name).ends_with("fleetctl"))
    {
        return corten_cli::fleetctl::main(args);
    }
    for tool in [
        SSHD,
        "/usr/bin/ssh",
        "/usr/bin/ssh-keygen",
        "/usr/bin/ssh-keyscan",
    ] {
        if !Path::new(tool).exists() {
            eprintln!("SKIPPED: {tool} is not installed (apt-get install openssh-server openssh-client)");
            return ExitCode::SUCCESS;
        }
    }
    let rig = Rig::new();
    let lists = "MACHINE\t\tIP\t\tMETADATA\n01234567...\t127.0.0.1\trole=db\n";
    let journal = format!("journalctl|--unit|{UNIT}|--no-pager|-n|5|--output|cat|");
    let checks = [
        check(
            "the API over the tunnel",
            &rig.fleetctl("KNOWN list-machines"),
            0,
            lists,
            "",
        ),
        check(
            "no host key is checked",
            &rig.fleetctl("LAX list-machines"),
            0,
            lists,
            "",
        ),
        check(
            "an unknown host is refused where nobody can be asked",
            &rig.fleetctl("UNKNOWN list-machines"),
            1,
            "",
            "its own words stand above)\nA host key that is not known: --strict-host-key-checking=false takes any",
        ),
        check(
            "a command through the tunnel",
            &rig.fleetctl("KNOWN ssh --ssh-port PORT 0123 echo a; exit 7"),
            7,
            "a\n",
            "",
        ),
        check(
            "words after --",
            &rig.fleetctl("KNOWN ssh --ssh-port PORT --machine 0123 -- echo a -n"),
            0,
            "a -n\n",
            "",
        ),
        check(
            "status through the tunnel",
            &rig.fleetctl(&format!("KNOWN status --ssh-port PORT {UNIT}")),
            3,
            &format!("systemctl|--no-pager|status|-l|--|{UNIT}|\n"),
            "",
        ),
        check(
            "journal through the tunnel",
            &rig.fleetctl(&format!("KNOWN journal --ssh-port PORT -n 5 --output cat {UNIT}")),
            0,
            &format!("{journal}\n"),
            "",
        ),
        check(
            "the status of a unit beside one that nobody knows",
            &rig.fleetctl(&format!("KNOWN status --ssh-port PORT none.service {UNIT}")),
            1,
            &format!("systemctl|--no-pager|status|-l|--|{UNIT}|\n"),
            "Unit none.service does not exist.\n",
        ),
        check(
            "a key that is none of the machine's",
            &rig.fleetctl("STRANGER list-machines"),
            1,
            "",
            "its own words stand above)\nPermission denied: the key comes from an agent",
        ),
        check(
            "nobody listens",
            &rig.fleetctl("NOWHERE list-machines"),
            1,
            "",
            "failed initializing SSH client: ssh ended with exit code 255; its own words stand above)\nNobody answers there: ",
        ),
        check(
            "no such machine",
            &rig.fleetctl("KNOWN ssh feed uptime"),
            1,
            "",
            "could not find matching unit or machine",
        ),
        check(
            "the socket is not there",
            &rig.fleetctl("KNOWN --endpoint unix:///nowhere.sock list-machines"),
            1,
            "",
            "Failed dialing unix socket /nowhere.sock: no such file or directory",
        ),
        check(
            "a machine that SSH cannot reach",
            &rig.fleetctl("KNOWN ssh --ssh-port 1 0123 true"),
            255,
            "",
            "its own words stand above\nNobody answers there: ",
        ),
    ];
    if checks.iter().all(|good| *good) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What a run left: exit code, standard output, standard error.
type Run = (Option<i32>, String, String);

fn check(what: &str, run: &Run, code: i32, out: &str, in_err: &str) -> bool {
    let good = run.0 == Some(code) && run.1 == out && run.2.contains(in_err);
    if good {
        println!("ok   {what}");
    } else {
        println!("BAD  {what}: expected exit {code}, output {out:?}, error with {in_err:?}, found {run:#?}");
    }
    good
}

struct Rig {
    dir: tempfile::TempDir,
    sshd: Child,
    port: u16,
}

impl Rig {
    fn new() -> Rig {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let path = dir.path();
        symlink(
            std::env::current_exe().expect("our own path"),
            path.join("fleetctl"),
        )
        .expect("a link called fleetctl");
        script(
            &path.join("systemctl"),
            "printf '%s|' systemctl \"$@\"; echo; exit 3",
        );
        script(&path.join("journalctl"), "printf '%s|' journalctl \"$@\"; echo");
        for key in ["host", "user", "stranger"] {
            done(
                Command::new("ssh-keygen")
                    .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                    .arg(path.join(key)),
            );
        }
        serve(UnixListener::bind(path.join("fleet.sock")).expect("a socket"));
        let port = free_port();
        let sshd = start_sshd(path, port);
        let scan = Command::new("ssh-keyscan")
            .args(["-H", "-p", &port.to_string(), "127.0.0.1"])
            .output();
        fs::write(path.join("known"), scan.expect("ssh-keyscan runs").stdout).expect("a file");
        fs::write(path.join("empty"), "").expect("a file");
        Rig { dir, sshd, port }
    }

    /// Runs fleetctl; the first word says how the host key is to be checked. Words are split at blanks; `PORT` is
    /// sshd's.
    fn fleetctl(&self, line: &str) -> Run {
        let (how, line) = line.split_once(' ').expect("two words");
        let file = |name: &str| self.dir.path().join(name).to_string_lossy().into_owned();
        let port = if how == "NOWHERE" { free_port() } else { self.port };
        let mut command = Command::new(self.dir.path().join("fleetctl"));
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.dir.path());
        command
            .env("FLEETCTL_TUNNEL", format!("127.0.0.1:{port}"))
            .env("FLEETCTL_SSH_USERNAME", user());
        command.env("FLEETCTL_ENDPOINT", format!("unix://{}", file("fleet.sock")));
        let key = if how == "STRANGER" { "stranger" } else { "user" };
        command.args(["--ssh-config", &file("empty"), "--ssh-identity", &file(key)]);
        match how {
            "LAX" => command.arg("--strict-host-key-checking=false"),
            "KNOWN" | "STRANGER" => command.args(["--known-hosts-file", &file("known")]),
            _ => command.args(["--known-hosts-file", &file("none")]),
        };
        command.args(
            line.split(' ')
                .map(|word| word.replace("PORT", &self.port.to_string())),
        );
        let output = command.stdin(Stdio::null()).output().expect("fleetctl runs");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.sshd.kill().ok();
        self.sshd.wait().ok();
    }
}

fn start_sshd(dir: &Path, port: u16) -> Child {
    let shown = dir.display();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {shown}/host\nAuthorizedKeysFile {shown}/user.pub\nPidFile none\n\
         UsePAM no\nStrictModes no\nPasswordAuthentication no\nSetEnv PATH={shown}:/usr/bin:/bin\n"
    );
    fs::write(dir.join("sshd_config"), config).expect("a file");
    // Root's sshd wants this directory, which the distribution's unit makes.
    fs::create_dir_all("/run/sshd").ok();
    let log = fs::File::create(dir.join("sshd.log")).expect("a log");
    let mut sshd = Command::new(SSHD);
    let child = sshd
        .arg("-D")
        .arg("-e")
        .arg("-f")
        .arg(dir.join("sshd_config"))
        .stderr(log)
        .spawn()
        .expect("sshd starts");
    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let log = || fs::read_to_string(dir.join("sshd.log")).unwrap_or_default();
        assert!(
            Instant::now() < deadline,
            "sshd does not listen within 30 s: {}",
            log()
        );
        std::thread::yield_now();
    }
    child
}

/// Answers requests on `listener` with what is fixed, for as long as the test runs.
fn serve(listener: UnixListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || converse(stream));
        }
    });
}

fn converse(stream: UnixStream) {
    let mut writer = stream.try_clone().expect("a second handle");
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    while let Some(request) = lines.next() {
        for line in lines.by_ref() {
            if line.is_empty() {
                break;
            }
        }
        let (status, body) = answer(&request);
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        if writer.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(request: &str) -> (&'static str, String) {
    let name = UNIT.replace('\\', "\\\\");
    let unit = format!(
        r#"{{"name":"{name}","machineID":"{MACHINE}","currentState":"launched","desiredState":"launched"}}"#
    );
    match request.split(['?', ' ']).nth(1).unwrap_or_default() {
        "/fleet/v1/machines" => (
            "200 OK",
            format!(
                r#"{{"machines":[{{"id":"{MACHINE}","primaryIP":"127.0.0.1","metadata":{{"role":"db"}}}}]}}"#
            ),
        ),
        "/fleet/v1/units/x%5Cx2dy.service" => ("200 OK", unit),
        "/fleet/v1/state" => ("200 OK", "{}".to_owned()),
        _ => (
            "404 Not Found",
            r#"{"error":{"code":404,"message":"unit does not exist"}}"#.to_owned(),
        ),
    }
}

fn script(path: &PathBuf, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("a script");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("an executable script");
}

fn done(command: &mut Command) {
    assert!(command.status().expect("it starts").success(), "{command:?}");
}

fn user() -> String {
    let output = Command::new("id")
        .arg("-un")
        .output()
        .expect("id is part of every system");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}
