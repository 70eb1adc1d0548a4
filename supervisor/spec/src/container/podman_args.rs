//! `PodmanArgs=`: options of `podman run` that mean the same to our `docker run` and that no key stands for.

/// A switch.
const SWITCHES: [&str; 3] = ["--privileged", "--publish-all", "--quiet"];

/// An option, the values that have an effect (any, where there are none), and what else could be meant.
const VALUES: [(&str, &[&str]); 5] = [
    ("--pid", &["host", "private"]),
    ("--ipc", &["host", "private"]),
    ("--uts", &["host", "private"]),
    ("--platform", &[]),
    ("--label-file", &[]),
];

/// Options for which there is a better place.
const ELSEWHERE: [(&str, &str); 38] = [
    ("--add-host", "AddHost="),
    ("--cap-add", "AddCapability="),
    ("--cap-drop", "DropCapability="),
    ("--cpu-shares", "CPUWeight= in [Service]"),
    ("--cpus", "CPUQuota= in [Service]: 150% is one and a half"),
    ("--cpuset-cpus", "AllowedCPUs= in [Service]"),
    ("--device", "AddDevice="),
    ("--dns", "DNS="),
    ("--dns-search", "DNSSearch="),
    ("--entrypoint", "Entrypoint="),
    ("--env", "Environment="),
    ("--env-file", "EnvironmentFile="),
    ("--expose", "ExposeHostPort="),
    ("--group-add", "GroupAdd="),
    ("--hostname", "HostName="),
    ("--init", "RunInit=true"),
    ("--label", "Label="),
    ("--log-driver", "LogDriver="),
    ("--memory", "Memory="),
    ("--memory-swap", "MemorySwapMax= in [Service]"),
    ("--mount", "Mount="),
    ("--name", "ContainerName="),
    ("--net", "Network="),
    ("--network", "Network="),
    ("--oom-score-adj", "OOMScoreAdjust= in [Service]"),
    ("--pids-limit", "PidsLimit="),
    ("--publish", "PublishPort="),
    ("--pull", "Pull="),
    ("--read-only", "ReadOnly=true"),
    ("--restart", "Restart= in [Service]"),
    ("--security-opt", "NoNewPrivileges= or SeccompProfile="),
    ("--stop-signal", "StopSignal="),
    ("--stop-timeout", "StopTimeout="),
    ("--sysctl", "Sysctl="),
    ("--tmpfs", "Tmpfs="),
    ("--ulimit", "Ulimit="),
    ("--user", "User="),
    ("--volume", "Volume="),
];

/// The options, each in one word.
///
/// # Errors
/// The first that cannot be honoured, and what to do.
pub(super) fn options(words: Vec<String>) -> Result<Vec<String>, String> {
    let mut options = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        if SWITCHES.contains(&name) {
            options.push(switch(name, value.as_deref())?);
            continue;
        }
        let Some((name, known)) = VALUES.iter().find(|(known, _)| *known == name) else {
            return Err(refusal(name));
        };
        let value = value.or_else(|| words.next()).unwrap_or_default();
        if value.is_empty() || !(known.is_empty() || known.contains(&value.as_str())) {
            let among = if known.is_empty() {
                "a value".to_owned()
            } else {
                known.join(" or ")
            };
            return Err(format!("{name}={value}: it takes {among}"));
        }
        // What is private anyway has no word for it.
        if value != "private" {
            options.push(format!("{name}={value}"));
        }
    }
    Ok(options)
}

fn switch(name: &str, value: Option<&str>) -> Result<String, String> {
    match value {
        None | Some("true") => Ok(name.to_owned()),
        Some("false") => Ok(format!("{name}=false")),
        Some(other) => Err(format!("{name}={other}: it takes true or false")),
    }
}

fn refusal(name: &str) -> String {
    match ELSEWHERE.iter().find(|(known, _)| *known == name) {
        Some((_, place)) => format!("for {name} write {place}"),
        None if !name.starts_with("--") => format!("{name:?} is no option in its long form (--option=value)"),
        None => format!("docker run has nothing for {name} here (docker run --help); leave it out"),
    }
}
