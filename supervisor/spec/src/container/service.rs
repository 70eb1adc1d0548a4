//! The `[Service]` options a `[Container]` stands for, and what the file's own `[Service]` may not say besides.

use super::keys::{self, is_true, last, lines_of, unquoted, words_of};
use super::{ContainerError, Line, SUFFIX, check};
use crate::unit_file::UnitOption;
use crate::words::command_line;

const DOCKER: &str = "/usr/bin/docker";
/// What a read-only container can write to nevertheless, unless `ReadOnlyTmpfs=false`: podman's list without what is
/// in memory anyway.
const WRITABLE: [&str; 3] = ["/run", "/tmp", "/var/tmp"];

/// Keys whose values may name other `.container` files: dependencies, and what fleet knows of other units.
const OTHERS: [(&str, &[&str]); 3] = [
    (
        "Unit",
        &[
            "Requires",
            "Requisite",
            "Wants",
            "BindsTo",
            "PartOf",
            "Upholds",
            "Conflicts",
            "Before",
            "After",
            "OnFailure",
            "OnSuccess",
        ],
    ),
    ("Install", &["WantedBy", "RequiredBy", "UpheldBy", "Also"]),
    (
        "X-Fleet",
        &[
            "MachineOf",
            "Conflicts",
            "Replaces",
            "X-ConditionMachineOf",
            "X-Conflicts",
        ],
    ),
];

/// The options of `[Service]` that `container` stands for; `others` are the file's other lines, with their sections.
pub(super) fn options(
    name: &str,
    container: &[Line<'_>],
    others: &[(&str, Line<'_>)],
) -> Result<Vec<UnitOption>, ContainerError> {
    keys::refuse(container)?;
    let image = image(container)?;
    let name = container_name(name, container)?;
    let own: Vec<Line<'_>> = others
        .iter()
        .filter(|(section, _)| *section == "Service")
        .map(|(_, line)| *line)
        .collect();
    for (section, line) in others {
        check_other(section, line)?;
    }
    let mut made = Vec::new();
    let mut push = |key: &str, value: String| {
        made.push(UnitOption {
            section: "Service".to_owned(),
            name: key.to_owned(),
            value,
        });
    };
    for (key, value) in [
        ("Type", "notify"),
        ("KillMode", "mixed"),
        ("SyslogIdentifier", "%N"),
    ] {
        if !own.iter().any(|line| line.key == key) {
            push(key, value.to_owned());
        }
    }
    limits(container)?
        .into_iter()
        .for_each(|(key, value)| push(key, value));
    let docker = |prefix: &str, words: &[&str]| -> Vec<String> {
        let words = words.iter().map(|&word| word.to_owned());
        std::iter::once(format!("{prefix}{DOCKER}"))
            .chain(words)
            .collect()
    };
    let mut command = |key: &str, words: &[String]| push(key, command_line(key, words));
    command("ExecStartPre", &docker("-", &["rm", "-f", "-v", &name]));
    let mut run = docker("", &["run", &format!("--name={name}"), "--rm"]);
    run.extend(run_options(container)?);
    run.push(image);
    if let Some(line) = last(container, "Exec") {
        run.extend(words_of(&line)?);
    }
    command("ExecStart", &run);
    if let Some(words) = reload(container, &name)? {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        command("ExecReload", &docker("", &words));
    }
    command("ExecStop", &docker("-", &["stop", &name]));
    Ok(made)
}

fn image(container: &[Line<'_>]) -> Result<String, ContainerError> {
    let line = last(container, "Image").ok_or(ContainerError::NoImage)?;
    let image = unquoted(line.value);
    check::image(image).map_err(|why| line.refuse(why))?;
    Ok(image.to_owned())
}

/// Quadlet's name for the container unless there is another: an `@` cannot be part of it.
fn container_name(service: &str, container: &[Line<'_>]) -> Result<String, ContainerError> {
    if let Some(line) = last(container, "ContainerName") {
        let name = unquoted(line.value);
        check::name(name).map_err(|why| line.refuse(why))?;
        return Ok(name.to_owned());
    }
    let stem = service.rsplit_once('.').map_or(service, |(stem, _)| stem);
    let (prefix, name) = match stem.split_once('@') {
        Some((prefix, _)) => (prefix, "systemd-%p_%i"),
        None => (stem, "systemd-%N"),
    };
    let called = format!("systemd-{prefix}");
    if check::is_name(&called) {
        Ok(name.to_owned())
    } else {
        Err(ContainerError::Name(called))
    }
}

/// Refuses what would contradict the container, or what nothing reads here.
fn check_other(section: &str, line: &Line<'_>) -> Result<(), ContainerError> {
    let one_of = |values: &[&str]| {
        if values.contains(&line.value) {
            return Ok(());
        }
        Err(line.refuse(format!(
            "the service of a container takes {}",
            values.join(" or ")
        )))
    };
    match (section, line.key) {
        ("Service", "Type") => one_of(&["notify", "oneshot"]),
        ("Service", "KillMode") => one_of(&["mixed", "control-group"]),
        ("Service", "ExecStart") => {
            Err(line.refuse("[Container] says what is started; its arguments go into Exec="))
        }
        ("Service", "User" | "Group" | "DynamicUser") => {
            Err(line
                .refuse("who runs in the container is said in [Container]: User=; docker itself needs root"))
        }
        ("Quadlet", _) => Err(line.refuse(
            "[Quadlet] is for podman alone, nothing is added here that it could turn off; leave it out",
        )),
        _ => Ok(()),
    }
}

/// Limits are the unit's, in whose cgroup the container is. With a limit of memory docker gives as much swap.
fn limits(container: &[Line<'_>]) -> Result<Vec<(&'static str, String)>, ContainerError> {
    let mut limits = Vec::new();
    if let Some(line) = last(container, "Memory") {
        let bytes = check::bytes(line.value).ok_or_else(|| line.refuse("a size such as 512m"))?;
        limits.push(("MemoryMax", bytes.clone()));
        limits.push(("MemorySwapMax", bytes));
    }
    if let Some(line) = last(container, "PidsLimit") {
        let number = line
            .value
            .parse::<i64>()
            .map_err(|_| line.refuse("a whole number"))?;
        let tasks = if number > 0 {
            number.to_string()
        } else {
            "infinity".to_owned()
        };
        limits.push(("TasksMax", tasks));
    }
    Ok(limits)
}

fn run_options(container: &[Line<'_>]) -> Result<Vec<String>, ContainerError> {
    let mut options = keys::options(container)?;
    if let [_, second, ..] = lines_of(container, "Network")[..] {
        return Err(second.refuse("one network only; leave the others out"));
    }
    let user = last(container, "User");
    match (user, last(container, "Group")) {
        (Some(user), Some(group)) => options.push(format!(
            "--user={}:{}",
            unquoted(user.value),
            unquoted(group.value)
        )),
        (Some(user), None) => options.push(format!("--user={}", unquoted(user.value))),
        (None, Some(group)) => return Err(group.refuse("goes with User= only")),
        (None, None) => {}
    }
    if let Some(line) = last(container, "LogDriver") {
        match line.value {
            "none" => options.push("--log-driver=none".to_owned()),
            "journald" | "passthrough" => {}
            _ => return Err(line.refuse("output goes to the journal (journald), or nowhere (none)")),
        }
    }
    options.extend(writable(container, &options)?);
    Ok(options)
}

/// In memory, for a read-only container, where nothing else is mounted.
fn writable(container: &[Line<'_>], options: &[String]) -> Result<Vec<String>, ContainerError> {
    let wanted = lines_of(container, "ReadOnlyTmpfs");
    let wanted = wanted.is_empty() || is_true(&wanted)?;
    if !wanted || !is_true(&lines_of(container, "ReadOnly"))? {
        return Ok(Vec::new());
    }
    let targets: Vec<&str> = options.iter().filter_map(|option| target(option)).collect();
    let free = WRITABLE.into_iter().filter(|path| !targets.contains(path));
    Ok(free.map(|path| format!("--tmpfs={path}")).collect())
}

/// Where an option of `docker run` mounts something.
fn target(option: &str) -> Option<&str> {
    let target = match option.split_once('=')? {
        ("--tmpfs", value) => value.split(':').next(),
        ("--volume", value) => value.split(':').nth(1).or(Some(value)),
        ("--mount", value) => value.split(',').find_map(|field| match field.split_once('=')? {
            ("target" | "dst" | "destination", target) => Some(target),
            _ => None,
        }),
        _ => None,
    };
    target.map(|path| path.trim_end_matches('/'))
}

fn reload(container: &[Line<'_>], name: &str) -> Result<Option<Vec<String>>, ContainerError> {
    let words = |first: &str, rest: Vec<String>| Some([vec![first.to_owned()], rest].concat());
    match (last(container, "ReloadCmd"), last(container, "ReloadSignal")) {
        (Some(_), Some(line)) => Err(line.refuse("goes with no ReloadCmd=")),
        (Some(line), None) => Ok(words("exec", [vec![name.to_owned()], words_of(&line)?].concat())),
        (None, Some(line)) => Ok(words(
            "kill",
            vec![format!("--signal={}", line.value), name.to_owned()],
        )),
        (None, None) => Ok(None),
    }
}

/// The same option, with services in the place of `.container` files.
pub(super) fn with_services(mut option: UnitOption) -> UnitOption {
    let names_others = OTHERS
        .iter()
        .any(|(section, keys)| *section == option.section && keys.contains(&option.name.as_str()));
    if names_others {
        let suffix = format!(".{SUFFIX}");
        let service = |word: &str| {
            let text = word.trim_end();
            let (bare, quote) = text.strip_suffix('"').map_or((text, ""), |bare| (bare, "\""));
            match bare.strip_suffix(&suffix) {
                Some(stem) => format!("{stem}.service{quote}{}", &word[text.len()..]),
                None => word.to_owned(),
            }
        };
        option.value = option
            .value
            .split_inclusive(char::is_whitespace)
            .map(service)
            .collect();
    }
    option
}
