//! What becomes of each key of `[Container]`: the table, and how its rows turn into options of `docker run`.

use super::check;
use super::podman_args;
use super::{ContainerError, Line};
use crate::words;

/// What is wrong with a value, and what to do.
pub(super) type Check = fn(&str) -> Result<(), String>;

/// What becomes of a key.
enum Key {
    /// `--option=VALUE`; the last line counts.
    Last(&'static str, Check),
    /// `--option=VALUE` for each line.
    Each(&'static str, Check),
    /// `--option=WORD` for each word of each line.
    Words(&'static str, Check),
    /// This word where it is true; nothing where it is false.
    Switch(&'static str),
    /// Further options of `docker run`, word by word.
    Options,
    /// Nothing, where its value is one of these: it says what is so anyway. Else the advice.
    Only(&'static [&'static str], &'static str),
    /// [`super::service`]'s to read.
    Elsewhere,
    /// An error, with what to do.
    No(&'static str),
}

use Key::{Each, Elsewhere, Last, No, Only, Options, Switch, Words};

const FALSE: &[&str] = &["0", "no", "false", "off"];
const NO_HEALTH: &str = "there are no health checks; leave it out";
const NO_SELINUX: &str = "there is no SELinux here; leave it out";
const NO_USERS: &str = "there are no user namespaces; leave it out";

/// In the order in which options stand in the command.
const KEYS: &[(&str, Key)] = &[
    ("Image", Elsewhere),
    ("ContainerName", Elsewhere),
    ("Exec", Elsewhere),
    ("User", Elsewhere),
    ("Group", Elsewhere),
    ("Memory", Elsewhere),
    ("PidsLimit", Elsewhere),
    ("ReadOnlyTmpfs", Elsewhere),
    ("ReloadCmd", Elsewhere),
    ("ReloadSignal", Elsewhere),
    ("Pull", Last("pull", check::pull)),
    ("HostName", Last("hostname", check::any)),
    ("Network", Last("network", check::network)),
    ("PublishPort", Each("publish", check::any)),
    ("ExposeHostPort", Each("expose", check::any)),
    ("AddHost", Each("add-host", check::any)),
    ("DNS", Each("dns", check::any)),
    ("DNSSearch", Each("dns-search", check::any)),
    ("WorkingDir", Last("workdir", check::absolute)),
    ("GroupAdd", Each("group-add", check::group)),
    ("Environment", Words("env", check::variable)),
    ("EnvironmentFile", Words("env-file", check::variables)),
    ("Label", Words("label", check::variable)),
    ("ReadOnly", Switch("--read-only")),
    ("Volume", Each("volume", check::volume)),
    ("Mount", Words("mount", check::mount)),
    ("Tmpfs", Each("tmpfs", check::absolute)),
    ("ShmSize", Last("shm-size", check::size)),
    ("AddDevice", Words("device", check::device)),
    ("DropCapability", Words("cap-drop", check::any)),
    ("AddCapability", Words("cap-add", check::any)),
    ("NoNewPrivileges", Switch("--security-opt=no-new-privileges")),
    ("SeccompProfile", Last("security-opt=seccomp", check::seccomp)),
    ("Sysctl", Words("sysctl", check::pair)),
    ("Ulimit", Each("ulimit", check::ulimit)),
    ("RunInit", Switch("--init")),
    ("StopSignal", Last("stop-signal", check::any)),
    ("StopTimeout", Last("stop-timeout", check::number)),
    ("LogDriver", Elsewhere),
    ("Entrypoint", Last("entrypoint", check::entrypoint)),
    ("PodmanArgs", Options),
    (
        "CgroupsMode",
        Only(
            &["split"],
            "the container is always in its unit's own cgroup, which is split; leave it out",
        ),
    ),
    (
        "EnvironmentHost",
        Only(
            FALSE,
            "name the variables: Environment=KEY passes one of the service's on",
        ),
    ),
    (
        "HttpProxy",
        Only(
            FALSE,
            "no proxy's variables are passed on; name them in Environment=",
        ),
    ),
    (
        "Notify",
        Only(
            FALSE,
            "the unit is active when the container's process runs; a container cannot say so itself: leave it out",
        ),
    ),
    (
        "SecurityLabelDisable",
        Only(&["1", "yes", "true", "on"], NO_SELINUX),
    ),
    ("SecurityLabelNested", Only(FALSE, NO_SELINUX)),
    ("SecurityLabelFileType", No(NO_SELINUX)),
    ("SecurityLabelLevel", No(NO_SELINUX)),
    ("SecurityLabelType", No(NO_SELINUX)),
    (
        "Annotation",
        No("nobody reads annotations here; Label= is shown by docker inspect"),
    ),
    ("AppArmor", No("there is no AppArmor here; leave it out")),
    (
        "AutoUpdate",
        No("nothing replaces images by itself; Pull=always looks for a newer one at each start"),
    ),
    (
        "ContainersConfModule",
        No("there is no containers.conf; leave it out"),
    ),
    ("DNSOption", No("docker has no effect for it here; leave it out")),
    ("GIDMap", No(NO_USERS)),
    ("GlobalArgs", No("these are podman's own; leave it out")),
    ("HealthCmd", No(NO_HEALTH)),
    ("HealthInterval", No(NO_HEALTH)),
    ("HealthLogDestination", No(NO_HEALTH)),
    ("HealthMaxLogCount", No(NO_HEALTH)),
    ("HealthMaxLogSize", No(NO_HEALTH)),
    ("HealthOnFailure", No(NO_HEALTH)),
    ("HealthRetries", No(NO_HEALTH)),
    ("HealthStartPeriod", No(NO_HEALTH)),
    ("HealthStartupCmd", No(NO_HEALTH)),
    ("HealthStartupInterval", No(NO_HEALTH)),
    ("HealthStartupRetries", No(NO_HEALTH)),
    ("HealthStartupSuccess", No(NO_HEALTH)),
    ("HealthStartupTimeout", No(NO_HEALTH)),
    ("HealthTimeout", No(NO_HEALTH)),
    (
        "IP",
        No("addresses are given out, in 172.17.0.0/16; publish a port, or Network=host"),
    ),
    ("IP6", No("containers have no IPv6; leave it out")),
    (
        "LogOpt",
        No("output goes to the journal, which has its own limits (LogRateLimitBurst= in [Service])"),
    ),
    ("Mask", No("what docker masks is fixed; leave it out")),
    (
        "NetworkAlias",
        No("containers have no names on the network; AddHost= gives one an address"),
    ),
    (
        "Pod",
        No("there are no pods; Network=container:NAME shares one container's network with another"),
    ),
    (
        "Retry",
        No("a pull is not tried again by itself; Restart= in [Service] tries the whole start again"),
    ),
    (
        "RetryDelay",
        No("a pull is not tried again by itself; RestartSec= in [Service] is the wait between two starts"),
    ),
    ("Rootfs", No("a container is made of an image here: Image=")),
    (
        "Secret",
        No("there are no secrets; a file of the machine can be had with Volume= or EnvironmentFile="),
    ),
    (
        "ServiceName",
        No("the service is called as the file: rename that"),
    ),
    ("StartWithPod", No("there are no pods; leave it out")),
    ("SubGIDMap", No(NO_USERS)),
    ("SubUIDMap", No(NO_USERS)),
    (
        "Timezone",
        No("set it in the container: Environment=TZ=Europe/Amsterdam"),
    ),
    ("UIDMap", No(NO_USERS)),
    (
        "Unmask",
        No("what docker masks is fixed; PodmanArgs=--privileged masks nothing"),
    ),
    ("UserNS", No(NO_USERS)),
    ("RemapGid", No(NO_USERS)),
    ("RemapUid", No(NO_USERS)),
    ("RemapUidSize", No(NO_USERS)),
    ("RemapUsers", No(NO_USERS)),
    ("VolatileTmp", No("Quadlet has given it up: Tmpfs=/tmp")),
];

/// Refuses keys that are none, or that cannot be honoured.
pub(super) fn refuse(lines: &[Line<'_>]) -> Result<(), ContainerError> {
    for line in lines {
        let known = KEYS.iter().find(|(name, _)| *name == line.key);
        match known.map(|(_, key)| key) {
            None => return Err(line.refuse(unknown(line.key))),
            Some(No(why)) => return Err(line.refuse(*why)),
            Some(Only(values, why)) if !line.value.is_empty() => {
                let value = line.value.to_ascii_lowercase();
                if !values.contains(&value.as_str()) {
                    return Err(line.refuse(*why));
                }
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn unknown(key: &str) -> String {
    let close = KEYS.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
    match close {
        Some((name, _)) => format!("no key of [Container]; write {name}="),
        None => "no key of [Container] (podman-systemd.unit(5))".to_owned(),
    }
}

/// The options of `docker run` that the lines stand for, without those of [`Elsewhere`].
pub(super) fn options(lines: &[Line<'_>]) -> Result<Vec<String>, ContainerError> {
    let mut options = Vec::new();
    for (name, key) in KEYS {
        let lines = lines_of(lines, name);
        match key {
            Last(option, check) => {
                if let Some(line) = lines.last() {
                    options.push(option_of(option, unquoted(line.value), line, *check)?);
                }
            }
            Each(option, check) => {
                for line in &lines {
                    options.push(option_of(option, unquoted(line.value), line, *check)?);
                }
            }
            Words(option, check) => {
                for line in &lines {
                    for word in words_of(line)? {
                        options.push(option_of(option, &word, line, *check)?);
                    }
                }
            }
            Switch(option) => {
                if is_true(&lines)? {
                    options.push((*option).to_owned());
                }
            }
            Options => {
                for line in &lines {
                    let words = words_of(line)?;
                    options.extend(podman_args::options(words).map_err(|why| line.refuse(why))?);
                }
            }
            Only(..) | Elsewhere | No(_) => {}
        }
    }
    Ok(options)
}

fn option_of(option: &str, value: &str, line: &Line<'_>, check: Check) -> Result<String, ContainerError> {
    check(value).map_err(|why| line.refuse(why))?;
    Ok(format!("--{option}={value}"))
}

/// The lines of a key that count: an empty one takes those before it away.
pub(super) fn lines_of<'a>(lines: &[Line<'a>], key: &str) -> Vec<Line<'a>> {
    let of_key = lines.iter().filter(|line| line.key == key);
    of_key.fold(Vec::new(), |mut counting, line| {
        if line.value.is_empty() {
            counting.clear();
        } else {
            counting.push(*line);
        }
        counting
    })
}

/// The last line of a key, if it is not empty.
pub(super) fn last<'a>(lines: &[Line<'a>], key: &str) -> Option<Line<'a>> {
    lines_of(lines, key).pop()
}

/// A value without the quotes around it, if there are any: `Entrypoint=""` is the empty one.
pub(super) fn unquoted(value: &str) -> &str {
    let within = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    within('"').or_else(|| within('\'')).unwrap_or(value)
}

/// The words of a line.
pub(super) fn words_of(line: &Line<'_>) -> Result<Vec<String>, ContainerError> {
    words::split(line.value).map_err(|error| line.refuse(error.to_string()))
}

/// What the last of a switch's lines says; false if there is none.
pub(super) fn is_true(lines: &[Line<'_>]) -> Result<bool, ContainerError> {
    let Some(line) = lines.last() else {
        return Ok(false);
    };
    let value = line.value.to_ascii_lowercase();
    match value.as_str() {
        "1" | "yes" | "true" | "on" => Ok(true),
        no if FALSE.contains(&no) => Ok(false),
        _ => Err(line.refuse(format!("{:?} is neither true nor false", line.value))),
    }
}
