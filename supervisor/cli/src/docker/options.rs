//! The options of `run` and `create`, and their way into a request.
//!
//! Duty: Docker's names; what has no meaning here is accepted and said to be without effect where it matters.
//! Refusal: reads only the files of `--env-file` and the caller's variables named by `-e KEY`.

use std::io::IsTerminal;

use clap::{Arg, ArgMatches, Command};
use corten_container::create::Request;
use corten_container::launch::signal_number;
use corten_container::record::{Config, HostConfig, NetworkMode, RestartPolicy};
use corten_container::spec::{ports, volumes};

use super::arguments::{list, switch, value};
use super::failure::Failure;

/// Adds the options to a command.
pub(super) fn with_container_options(command: Command) -> Command {
    const SWITCHES: [(&str, Option<char>, &str); 11] = [
        (
            "detach",
            Some('d'),
            "Run as a unit of its own and print the container's id",
        ),
        (
            "init",
            None,
            "Run a small init that forwards signals and reaps processes",
        ),
        ("interactive", Some('i'), "Keep standard input open"),
        ("no-healthcheck", None, "Ignored: there are no health checks"),
        ("privileged", None, "Give all privileges"),
        (
            "publish-all",
            Some('P'),
            "Publish every exposed port at a free one",
        ),
        ("quiet", Some('q'), "No progress of a pull"),
        ("read-only", None, "Mount the root file system read-only"),
        ("rm", None, "Remove the container when it ends"),
        ("sig-proxy", None, "Ignored: signals are always passed on"),
        ("tty", Some('t'), "Give it a terminal"),
    ];
    const VALUES: [(&str, Option<char>, &str); 27] = [
        ("cidfile", None, "Write the container's id to a file"),
        ("cgroupns", None, "Ignored: always private"),
        ("cpu-shares", Some('c'), "Relative share of CPU time"),
        ("cpus", None, "CPUs, for example 1.5"),
        ("detach-keys", None, "Ignored"),
        ("domainname", None, "Ignored"),
        ("entrypoint", None, "Program instead of the image's entry point"),
        ("hostname", Some('h'), "Host name in the container"),
        ("ipc", None, "host or private"),
        ("isolation", None, "Ignored"),
        ("log-driver", None, "none, or anything else for the journal"),
        ("mac-address", None, "Ignored"),
        ("memory", Some('m'), "Memory limit, for example 512m"),
        ("memory-reservation", None, "Ignored"),
        ("memory-swap", None, "Memory and swap limit, or -1"),
        ("name", None, "Name of the container"),
        ("pid", None, "host for the machine's processes"),
        ("pids-limit", None, "Processes at most"),
        ("platform", None, "os/architecture[/variant]"),
        ("pull", None, "always, missing or never"),
        (
            "restart",
            None,
            "no, always, unless-stopped or on-failure[:times]; counts with -d, else the unit's Restart=",
        ),
        ("runtime", None, "Ignored"),
        (
            "sdnotify",
            None,
            "auto, ignore: whether a notifying unit gets the container as its main process",
        ),
        ("shm-size", None, "Size of /dev/shm"),
        ("stop-signal", None, "Signal that asks the container to end"),
        ("stop-timeout", None, "Seconds before it is killed"),
        ("user", Some('u'), "user[:group]"),
    ];
    const LISTS: [(&str, Option<char>, &str); 24] = [
        ("add-host", None, "name:address for /etc/hosts"),
        ("annotation", None, "Ignored"),
        ("attach", Some('a'), "Ignored: output is always attached"),
        ("cap-add", None, "Add a capability"),
        ("cap-drop", None, "Drop a capability"),
        ("device", None, "Device of the machine, host[:container[:rwm]]"),
        ("dns", None, "Name server"),
        ("dns-option", None, "Ignored"),
        ("dns-search", None, "Search domain"),
        ("env", Some('e'), "Set an environment variable"),
        ("env-file", None, "Read environment variables from a file"),
        ("expose", None, "Port to publish with -P"),
        ("group-add", None, "Group besides the user's"),
        ("label", Some('l'), "Label, key=value"),
        ("label-file", None, "Read labels from a file"),
        ("log-opt", None, "Ignored: the journal has its own limits"),
        ("mount", None, "type=bind|volume|tmpfs,source=,target=[,readonly]"),
        ("network-alias", None, "Ignored"),
        (
            "publish",
            Some('p'),
            "[address:][host port:]container port[/protocol]",
        ),
        ("security-opt", None, "no-new-privileges, seccomp=unconfined"),
        (
            "sysctl",
            None,
            "Kernel parameter of the container's namespaces, key=value",
        ),
        ("tmpfs", None, "Memory at a path, path[:options]"),
        ("ulimit", None, "name=soft[:hard]"),
        ("volume", Some('v'), "[source:]target[:options]"),
    ];
    command
        .args(SWITCHES.map(|(name, short, help)| switch(name, short, help)))
        .args(VALUES.map(|(name, short, help)| value(name, short, help)))
        .args(LISTS.map(|(name, short, help)| list(name, short, help)))
        .arg(value("network", None, "bridge, host, none or container:NAME").alias("net"))
        .arg(value("uts", None, "host for the machine's host name"))
        .arg(value("userns", None, "Ignored"))
        .arg(value("workdir", Some('w'), "Working directory"))
        .arg(
            Arg::new("args")
                .value_name("IMAGE [COMMAND] [ARG...]")
                .num_args(1..)
                .trailing_var_arg(true)
                .required(true),
        )
}

/// One value of an option.
pub(super) fn text<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    matches.get_one::<String>(name).map(String::as_str)
}

/// All values of an option.
pub(super) fn all(matches: &ArgMatches, name: &str) -> Vec<String> {
    matches
        .get_many::<String>(name)
        .into_iter()
        .flatten()
        .cloned()
        .collect()
}

/// Refuses `-it` where standard input is no terminal: what it holds would go to the container's terminal as if typed.
pub(super) fn check_terminal(matches: &ArgMatches) -> Result<(), Failure> {
    let wanted = on(matches, "tty") && on(matches, "interactive") && !on(matches, "detach");
    if wanted && !std::io::stdin().is_terminal() {
        return Err(Failure::plain(1, "the input device is not a TTY"));
    }
    Ok(())
}

/// Whether a switch is on.
pub(super) fn on(matches: &ArgMatches, name: &str) -> bool {
    matches.get_one::<bool>(name).copied().unwrap_or(false)
}

fn invalid(option: &str, value: &str, why: impl std::fmt::Display) -> Failure {
    Failure::plain(
        125,
        format!("invalid argument \"{value}\" for \"--{option}\" flag: {why}"),
    )
}

/// What `run` or `create` asks for.
pub(super) fn request(matches: &ArgMatches) -> Result<Request, Failure> {
    let mut args = all(matches, "args").into_iter();
    Ok(Request {
        name: text(matches, "name")
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned(),
        image: args.next().unwrap_or_default(),
        cmd: args.collect(),
        entrypoint: text(matches, "entrypoint").map(str::to_owned),
        config: config(matches)?,
        host: host(matches)?,
        publish_all: on(matches, "publish-all"),
    })
}

fn config(matches: &ArgMatches) -> Result<Config, Failure> {
    let stop_signal = text(matches, "stop-signal").unwrap_or_default();
    if !stop_signal.is_empty() && signal_number(stop_signal).is_none() {
        return Err(invalid("stop-signal", stop_signal, "no such signal"));
    }
    let mut exposed_ports = Vec::new();
    for text in all(matches, "expose") {
        let parsed = ports::parse_exposed(&text).map_err(|error| invalid("expose", &text, error))?;
        exposed_ports.extend(
            parsed
                .into_iter()
                .map(|(port, protocol)| format!("{port}/{}", protocol.word())),
        );
    }
    let mut labels = all(matches, "label");
    for file in all(matches, "label-file") {
        labels.splice(0..0, read_lines(&file)?);
    }
    let pair = |label: String| match label.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (label, String::new()),
    };
    Ok(Config {
        hostname: text(matches, "hostname").unwrap_or_default().to_owned(),
        user: text(matches, "user").unwrap_or_default().to_owned(),
        env: environment(matches)?,
        working_dir: text(matches, "workdir").unwrap_or_default().to_owned(),
        labels: labels.into_iter().map(pair).collect(),
        exposed_ports,
        tty: on(matches, "tty"),
        open_stdin: on(matches, "interactive"),
        stop_signal: stop_signal.to_owned(),
        stop_timeout: number(matches, "stop-timeout")?,
        ..Config::default()
    })
}

/// Variables of `--env-file` and, over them, of `-e`; `KEY` alone takes the caller's value. A key the caller has not
/// is passed on bare, which takes the image's away.
pub(super) fn environment(matches: &ArgMatches) -> Result<Vec<String>, Failure> {
    let mut env = Vec::new();
    for file in all(matches, "env-file") {
        env.extend(read_lines(&file)?);
    }
    env.extend(all(matches, "env"));
    let complete = |entry: String| match entry.contains('=') {
        true => entry,
        false => std::env::var(&entry).map_or(entry.clone(), |value| format!("{entry}={value}")),
    };
    match env
        .iter()
        .find(|entry| entry.is_empty() || entry.starts_with('='))
    {
        Some(bad) => Err(Failure::plain(
            125,
            format!("invalid environment variable: {bad}"),
        )),
        None => Ok(env.into_iter().map(complete).collect()),
    }
}

fn read_lines(path: &str) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::plain(125, format!("open {path}: {error}")))?;
    let lines = text
        .lines()
        .map(str::trim_start)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

fn host(matches: &ArgMatches) -> Result<HostConfig, Failure> {
    let mut host = HostConfig {
        network: network(text(matches, "network").unwrap_or("bridge"))?,
        auto_remove: on(matches, "rm"),
        restart: restart(text(matches, "restart").unwrap_or("no"))?,
        privileged: on(matches, "privileged"),
        cap_add: all(matches, "cap-add"),
        cap_drop: all(matches, "cap-drop"),
        read_only: on(matches, "read-only"),
        dns: all(matches, "dns"),
        dns_search: all(matches, "dns-search"),
        extra_hosts: all(matches, "add-host"),
        group_add: all(matches, "group-add"),
        memory: bytes(matches, "memory")?,
        memory_swap: match text(matches, "memory-swap") {
            Some("-1") => Some(-1),
            _ => bytes(matches, "memory-swap")?.map(|bytes| bytes as i64),
        },
        cpus_milli: cpus(matches)?,
        cpu_shares: number(matches, "cpu-shares")?,
        pids_limit: match text(matches, "pids-limit") {
            Some("-1" | "0") => None,
            _ => number(matches, "pids-limit")?,
        },
        shm_size: bytes(matches, "shm-size")?,
        ulimits: all(matches, "ulimit"),
        devices: all(matches, "device"),
        security_opt: all(matches, "security-opt"),
        init: on(matches, "init"),
        host_pid: text(matches, "pid") == Some("host"),
        host_ipc: text(matches, "ipc") == Some("host"),
        host_uts: text(matches, "uts") == Some("host"),
        log_driver: text(matches, "log-driver").unwrap_or("journald").to_owned(),
        ..HostConfig::default()
    };
    if host.auto_remove && host.restart != RestartPolicy::No {
        return Err(Failure::plain(
            125,
            "conflicting options: cannot specify both --restart and --rm",
        ));
    }
    for text in all(matches, "publish") {
        host.ports
            .extend(ports::parse_publish(&text).map_err(|error| invalid("publish", &text, error))?);
    }
    for text in all(matches, "volume") {
        host.mounts
            .push(volumes::parse_volume(&text).map_err(|error| Failure::plain(125, error.to_string()))?);
    }
    for text in all(matches, "mount") {
        host.mounts
            .push(volumes::parse_mount(&text).map_err(|error| Failure::plain(125, error.to_string()))?);
    }
    for text in all(matches, "tmpfs") {
        host.mounts
            .push(volumes::parse_tmpfs(&text).map_err(|error| Failure::plain(125, error.to_string()))?);
    }
    let mut targets = std::collections::BTreeSet::new();
    for mount in &host.mounts {
        if !targets.insert(mount.target.trim_end_matches('/')) {
            return Err(Failure::engine(format!("Duplicate mount point: {}", mount.target)).with_code(125));
        }
    }
    for text in all(matches, "sysctl") {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| invalid("sysctl", &text, "expected key=value"))?;
        host.sysctls.insert(key.to_owned(), value.to_owned());
    }
    Ok(host)
}

fn network(text: &str) -> Result<NetworkMode, Failure> {
    match text {
        "bridge" | "default" => Ok(NetworkMode::Bridge),
        "host" => Ok(NetworkMode::Host),
        "none" => Ok(NetworkMode::None),
        other => match other.strip_prefix("container:") {
            Some(name) if !name.is_empty() => Ok(NetworkMode::Container(name.to_owned())),
            _ => Err(Failure::engine(format!("network {other} not found")).with_code(125)),
        },
    }
}

fn restart(text: &str) -> Result<RestartPolicy, Failure> {
    match text.split_once(':') {
        None => match text {
            "" | "no" => Ok(RestartPolicy::No),
            "always" => Ok(RestartPolicy::Always),
            "unless-stopped" => Ok(RestartPolicy::UnlessStopped),
            "on-failure" => Ok(RestartPolicy::OnFailure(0)),
            _ => Err(invalid("restart", text, "unknown policy")),
        },
        Some(("on-failure", times)) => times
            .parse()
            .map(RestartPolicy::OnFailure)
            .map_err(|error| invalid("restart", text, error)),
        Some(_) => Err(invalid("restart", text, "unknown policy")),
    }
}

fn number(matches: &ArgMatches, name: &str) -> Result<Option<u64>, Failure> {
    let parse = |text: &str| text.parse().map_err(|error| invalid(name, text, error));
    text(matches, name).map(parse).transpose()
}

fn cpus(matches: &ArgMatches) -> Result<Option<u64>, Failure> {
    let parse = |text: &str| match text.parse::<f64>() {
        Ok(cpus) if cpus > 0.0 && cpus < 10_000.0 => Ok((cpus * 1000.0).round() as u64),
        _ => Err(invalid("cpus", text, "not a number of CPUs")),
    };
    text(matches, "cpus").map(parse).transpose()
}

fn bytes(matches: &ArgMatches, name: &str) -> Result<Option<u64>, Failure> {
    let parse = |text: &str| parse_bytes(text).ok_or_else(|| invalid(name, text, "not a size such as 512m"));
    text(matches, name).map(parse).transpose()
}

/// Reads `1024`, `64k`, `1.5g`, `512MB`, `1GiB`.
fn parse_bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let factor: u64 = match unit.trim().trim_end_matches('b').trim_end_matches('i') {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => return None,
    };
    let value: f64 = number.parse().ok()?;
    Some((value * factor as f64) as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Request, Failure> {
        let args = std::iter::once("run").chain(line.split_whitespace());
        request(
            &with_container_options(Command::new("run"))
                .try_get_matches_from(args)
                .unwrap(),
        )
    }

    #[test]
    fn options_become_a_request() {
        let request = asked("--name x -m 64m --cpus .5 --restart on-failure:3 --net none -v /a:/b:ro --memory-swap -1 img a -b").unwrap();
        assert_eq!((request.name.as_str(), request.image.as_str()), ("x", "img"));
        assert_eq!(request.cmd, ["a", "-b"]);
        let host = request.host;
        assert_eq!(
            (host.memory, host.memory_swap, host.cpus_milli),
            (Some(64 << 20), Some(-1), Some(500))
        );
        assert_eq!(
            (host.restart, host.network),
            (RestartPolicy::OnFailure(3), NetworkMode::None)
        );
        assert!(host.mounts[0].read_only);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for line in [
            "--restart sometimes i",
            "--rm --restart always i",
            "-p x i",
            "-m lots i",
            "--net nowhere i",
            "-v /a:/b -v /c:/b/ i",
            "--stop-signal SIGX i",
            "--env-file /nonexistent i",
        ] {
            assert!(asked(line).is_err(), "{line}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("1024", 1024),
            ("64k", 65536),
            ("1.5g", 3 << 29),
            ("512MB", 512 << 20),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        assert_eq!(parse_bytes("x"), None);
    }
}
