//! `ps`, `port`, `top`.

use std::process::Command;

use clap::ArgMatches;
use corten_container::containers::Containers;
use corten_container::record::{MountSource, Record, Status};
use serde_json::{Value, json};

use super::failure::{Failure, Outcome};
use super::options::{all, on, text};
use super::table::{Format, Sheet, print_lines};
use super::{Context, elapsed, lifecycle, shown};

const COLUMNS: &[(&str, &str)] = &[
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("PORTS", "Ports"),
    ("NAMES", "Names"),
];
const FIELDS: &[(&str, &str)] = &[
    ("CREATED AT", "CreatedAt"),
    ("STATE", "State"),
    ("SIZE", "Size"),
    ("LABELS", "Labels"),
    ("MOUNTS", "Mounts"),
    ("NETWORKS", "Networks"),
];

/// `docker ps`.
pub(super) fn ps(context: &Context, matches: &ArgMatches) -> Outcome {
    lifecycle::sweep(context);
    let filters = filters(matches)?;
    let asks_state = filters
        .iter()
        .any(|(key, _)| matches!(key.as_str(), "status" | "exited"));
    let last = if on(matches, "latest") {
        Some(1)
    } else {
        matches.get_one::<i64>("last").copied().filter(|n| *n >= 0)
    };
    let everything = on(matches, "all") || asks_state || last.is_some();
    let mut records = Containers::new(&context.engine).list().map_err(Failure::engine)?;
    records.retain(|record| everything || record.state.status == Status::Running);
    let mut kept = Vec::new();
    for record in records {
        if fits(&record, &filters)? {
            kept.push(record);
        }
    }
    kept.truncate(
        last.and_then(|last| usize::try_from(last).ok())
            .unwrap_or(usize::MAX),
    );
    let whole = on(matches, "no-trunc");
    let rows: Vec<Value> = kept.iter().map(|record| row(record, whole)).collect();
    if on(matches, "quiet") {
        let ids: Vec<String> = rows
            .iter()
            .map(|row| row["ID"].as_str().unwrap_or_default().to_owned())
            .collect();
        print_lines(&ids);
        return Ok(0);
    }
    Sheet {
        columns: COLUMNS,
        all: FIELDS,
    }
    .print(&Format::parse(text(matches, "format"))?, &rows)?;
    Ok(0)
}

fn filters(matches: &ArgMatches) -> Result<Vec<(String, String)>, Failure> {
    let split = |filter: String| match filter.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned())),
        None => Err(Failure::plain(
            125,
            format!("invalid argument \"{filter}\" for \"-f, --filter\" flag: invalid filter '{filter}'"),
        )),
    };
    all(matches, "filter").into_iter().map(split).collect()
}

/// Whether a container fits: values of one key are alternatives, keys are conditions; labels are all conditions.
fn fits(record: &Record, filters: &[(String, String)]) -> Result<bool, Failure> {
    let mut keys: Vec<&str> = filters.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let mut values = filters
            .iter()
            .filter(|(each, _)| each == key)
            .map(|(_, value)| value.as_str());
        let holds = match key {
            "id" => values.any(|value| record.id.starts_with(value)),
            "name" => values.any(|value| fits_name(&record.name, value)),
            "status" => values.any(|value| shown::state(record) == value),
            "exited" => values.any(|value| record.state.status == Status::Exited && record.state.exit_code.to_string() == value),
            "ancestor" => values.any(|value| {
                record.image_name == value || record.image.starts_with(value) || record.image_name.split(':').next() == Some(value)
            }),
            "network" => values.any(|value| record.host.network.word() == value),
            "publish" | "expose" => values.any(|value| {
                let port = value.split('/').next().unwrap_or(value);
                let network = record.state.network.as_ref();
                network.is_some_and(|network| network.ports.iter().any(|p| p.host_port.to_string() == port))
            }),
            "volume" => values.any(|value| record.host.mounts.iter().any(|mount| {
                mount.target == value || matches!(&mount.source, MountSource::Bind(s) | MountSource::Volume(s) if s == value)
            })),
            "label" => values.all(|value| match value.split_once('=') {
                Some((key, value)) => record.config.labels.get(key).is_some_and(|have| have == value),
                None => record.config.labels.contains_key(value),
            }),
            other => return Err(Failure::engine(format!("invalid filter '{other}'"))),
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Docker matches names by regular expression; of those `^x`, `x$`, `^/x$` and plain parts are in use.
fn fits_name(name: &str, pattern: &str) -> bool {
    let (start, rest) = pattern
        .strip_prefix('^')
        .map_or((false, pattern), |rest| (true, rest));
    let (end, rest) = rest.strip_suffix('$').map_or((false, rest), |rest| (true, rest));
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    match (start, end) {
        (true, true) => name == rest,
        (true, false) => name.starts_with(rest),
        (false, true) => name.ends_with(rest),
        (false, false) => name.contains(rest),
    }
}

fn row(record: &Record, whole: bool) -> Value {
    let labels: Vec<String> = record
        .config
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mounts: Vec<String> = record
        .host
        .mounts
        .iter()
        .map(|mount| match &mount.source {
            MountSource::Bind(path) => path.clone(),
            MountSource::Volume(name) => name.clone(),
            MountSource::Tmpfs(_) => String::new(),
        })
        .filter(|text| !text.is_empty())
        .collect();
    json!({
        "ID": if whole { &record.id } else { record.short_id() },
        "Image": record.image_name,
        "Command": shown::command(record, whole),
        "CreatedAt": record.created,
        "RunningFor": elapsed::ago(&record.created).unwrap_or_default(),
        "Status": shown::status(record),
        "State": shown::state(record),
        "Ports": shown::ports(record),
        "Names": record.name,
        "Labels": labels.join(","),
        "Mounts": mounts.join(","),
        "Networks": record.host.network.word(),
        "LocalVolumes": "0",
        "Size": "0B",
    })
}

/// `docker port`.
pub(super) fn port(context: &Context, matches: &ArgMatches) -> Outcome {
    let record = Containers::new(&context.engine)
        .find(text(matches, "name").unwrap_or_default())
        .map_err(Failure::engine)?;
    let published = record
        .state
        .network
        .as_ref()
        .map(|network| network.ports.clone())
        .unwrap_or_default();
    let address = |port: &corten_container::record::PortMapping| {
        format!(
            "{}:{}",
            port.host_ip
                .map_or_else(|| "0.0.0.0".to_owned(), |ip| ip.to_string()),
            port.host_port
        )
    };
    let name = |port: &corten_container::record::PortMapping| {
        format!("{}/{}", port.container_port, port.protocol.word())
    };
    let Some(wanted) = text(matches, "port") else {
        print_lines(
            &published
                .iter()
                .map(|port| format!("{} -> {}", name(port), address(port)))
                .collect::<Vec<_>>(),
        );
        return Ok(0);
    };
    let wanted = if wanted.contains('/') {
        wanted.to_owned()
    } else {
        format!("{wanted}/tcp")
    };
    let found: Vec<String> = published
        .iter()
        .filter(|port| name(port) == wanted)
        .map(address)
        .collect();
    if found.is_empty() {
        return Err(Failure::plain(
            1,
            format!("no public port '{wanted}' published for {}", record.name),
        ));
    }
    print_lines(&found);
    Ok(0)
}

/// `docker top`: the machine's `ps`, for the processes in the container's process namespace.
pub(super) fn top(context: &Context, matches: &ArgMatches) -> Outcome {
    let record = Containers::new(&context.engine)
        .find(text(matches, "name").unwrap_or_default())
        .map_err(Failure::engine)?;
    let Some(process) = record.state.process.as_ref().filter(|process| process.alive()) else {
        return Err(Failure::engine(format!("container {} is not running", record.id)));
    };
    let mut options = all(matches, "ps");
    if options.is_empty() {
        options.push("-ef".into());
    }
    let output = Command::new("ps")
        .args(&options)
        .output()
        .map_err(|error| Failure::plain(1, format!("running ps: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(column) = text
        .lines()
        .next()
        .and_then(|heading| heading.split_whitespace().position(|word| word == "PID"))
    else {
        return Err(Failure::engine("Couldn't find PID field in ps output"));
    };
    let inside = namespace_of(process.pid);
    let shown = |line: &&str| {
        let pid = line
            .split_whitespace()
            .nth(column)
            .and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid: i32| inside.is_some() && namespace_of(pid) == inside)
    };
    let mut lines: Vec<String> = text.lines().take(1).map(str::to_owned).collect();
    lines.extend(text.lines().skip(1).filter(shown).map(str::to_owned));
    print_lines(&lines);
    Ok(0)
}

fn namespace_of(pid: i32) -> Option<std::path::PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_parts_and_anchors() {
        assert!(fits_name("web-1", "web") && fits_name("web-1", "^web") && fits_name("web-1", "^/web-1$"));
        assert!(!fits_name("my-web", "^web") && !fits_name("web-1", "^web$"));
    }
}
