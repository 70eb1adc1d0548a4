//! From an image and what was asked for to a container's record. Pure but for the random id.
//!
//! Duty: Docker's rules for what the image gives and what the command line overrides.

use std::io;

use crate::image::{Image, ImageConfig};
use crate::record::{Config, HostConfig, MountPoint, MountSource, PortMapping, Record, State, now};
use crate::spec::ports::parse_exposed;

/// The search path of a container whose image names none.
pub const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What was asked for, before the image's part.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Name; empty asks for an invented one.
    pub name: String,
    /// The image as it was named.
    pub image: String,
    /// Arguments behind the image.
    pub cmd: Vec<String>,
    /// Instead of the image's entry point; an empty one takes it away.
    pub entrypoint: Option<String>,
    /// What runs, as far as it was asked for.
    pub config: Config,
    /// How it is tied to the machine.
    pub host: HostConfig,
    /// Whether every exposed port is published at a free one.
    pub publish_all: bool,
}

/// Builds the record.
pub fn record(request: Request, image: &Image) -> io::Result<Record> {
    let id = random_id()?;
    let Request {
        name,
        image: image_name,
        cmd,
        entrypoint,
        mut config,
        mut host,
        publish_all,
    } = request;
    let from = &image.file.config;
    complete(&mut config, from, cmd, entrypoint);
    if config.hostname.is_empty() && !host.host_uts {
        config.hostname = if host.network == crate::record::NetworkMode::Host {
            nix::unistd::gethostname().map_or_else(
                |_| id[..12].to_owned(),
                |name| name.to_string_lossy().into_owned(),
            )
        } else {
            id[..12].to_owned()
        };
    }
    for exposed in from.exposed_ports.keys() {
        if !config.exposed_ports.contains(exposed) {
            config.exposed_ports.push(exposed.clone());
        }
    }
    if publish_all {
        publish_exposed(&config, &mut host);
    }
    add_image_volumes(from, &mut host)?;
    Ok(Record {
        log_tag: name.clone(),
        id,
        name,
        created: now(),
        image: image.id.clone(),
        image_name,
        layers: image.chain.clone(),
        config,
        host,
        state: State::default(),
    })
}

fn complete(config: &mut Config, from: &ImageConfig, cmd: Vec<String>, entrypoint: Option<String>) {
    match entrypoint {
        // An entry point of one's own drops the image's arguments too.
        Some(program) => {
            config.entrypoint = if program.is_empty() {
                Vec::new()
            } else {
                vec![program]
            };
            config.cmd = cmd;
        }
        None => {
            config.entrypoint = from.entrypoint.clone();
            config.cmd = if cmd.is_empty() { from.cmd.clone() } else { cmd };
        }
    }
    for (target, source) in [
        (&mut config.user, &from.user),
        (&mut config.working_dir, &from.working_dir),
        (&mut config.stop_signal, &from.stop_signal),
    ] {
        if target.is_empty() {
            target.clone_from(source);
        }
    }
    let asked = std::mem::take(&mut config.env);
    config.env = merge_env(&from.env, &asked);
    for (key, value) in &from.labels {
        config.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
}

/// The image's variables with the asked ones over them; a search path and, with a terminal, its kind are added.
fn merge_env(image: &[String], asked: &[String]) -> Vec<String> {
    let key = |entry: &String| entry.split('=').next().unwrap_or_default().to_owned();
    let mut env: Vec<String> = Vec::new();
    for entry in image.iter().chain(asked) {
        match env.iter_mut().find(|old| key(old) == key(entry)) {
            Some(old) => old.clone_from(entry),
            None => env.push(entry.clone()),
        }
    }
    // `-e KEY` of a variable the caller does not have takes the image's away.
    env.retain(|entry| entry.contains('='));
    if !env.iter().any(|entry| entry.starts_with("PATH=")) {
        env.insert(0, DEFAULT_PATH.into());
    }
    env
}

fn publish_exposed(config: &Config, host: &mut HostConfig) {
    for exposed in &config.exposed_ports {
        for (container_port, protocol) in parse_exposed(exposed).unwrap_or_default() {
            let published = |p: &PortMapping| p.container_port == container_port && p.protocol == protocol;
            if !host.ports.iter().any(published) {
                host.ports.push(PortMapping {
                    host_ip: None,
                    host_port: 0,
                    container_port,
                    protocol,
                });
            }
        }
    }
}

/// Gives every volume of the image that nothing is mounted over a volume of its own, and names anonymous ones.
fn add_image_volumes(from: &ImageConfig, host: &mut HostConfig) -> io::Result<()> {
    for target in from.volumes.keys() {
        if !host.mounts.iter().any(|mount| mount.target == *target) {
            host.mounts.push(MountPoint {
                source: MountSource::Volume(String::new()),
                target: target.clone(),
                read_only: false,
                anonymous: true,
                create: false,
                copy: true,
                propagation: String::new(),
            });
        }
    }
    for mount in &mut host.mounts {
        if mount.source == MountSource::Volume(String::new()) {
            mount.source = MountSource::Volume(random_id()?);
        }
    }
    Ok(())
}

/// 64 random hexadecimal digits.
pub fn random_id() -> io::Result<String> {
    let mut bytes = [0; 32];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(crate::image::hex(&bytes))
}

/// A name for a container without one, from its random id: two words, as Docker gives them.
pub fn invented_name() -> String {
    const FIRST: [&str; 32] = [
        "amber",
        "ancient",
        "bold",
        "brisk",
        "calm",
        "clever",
        "copper",
        "dusty",
        "eager",
        "early",
        "fair",
        "fleet",
        "gentle",
        "golden",
        "hardy",
        "hollow",
        "humble",
        "keen",
        "late",
        "lively",
        "mellow",
        "noble",
        "patient",
        "quiet",
        "rapid",
        "rusty",
        "silent",
        "steady",
        "sturdy",
        "swift",
        "vivid",
        "weathered",
    ];
    const SECOND: [&str; 32] = [
        "alder", "anchor", "anvil", "aspen", "barge", "beacon", "birch", "bridge", "canal", "cedar", "crane",
        "dock", "ferry", "forge", "girder", "harbor", "hull", "ingot", "keel", "lantern", "maple", "mast",
        "mill", "oak", "pier", "plate", "quay", "rivet", "rudder", "sluice", "spruce", "wharf",
    ];
    let id = random_id().unwrap_or_else(|_| "0".repeat(64));
    let pick = |at: usize| usize::from_str_radix(&id[at..at + 4], 16).unwrap_or(0);
    format!(
        "{}_{}{}",
        FIRST[pick(0) % 32],
        SECOND[pick(4) % 32],
        pick(8) % 100
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::image::ImageFile;

    fn image() -> Image {
        let file: ImageFile = serde_json::from_str(
            r#"{"config":{"Env":["A=1","B=2"],"Entrypoint":["/e"],"Cmd":["c"],"User":"web","WorkingDir":"/w",
               "ExposedPorts":{"80/tcp":{}},"Volumes":{"/data":{}},"Labels":{"x":"image"}}}"#,
        )
        .unwrap();
        Image {
            id: "i".repeat(64),
            tags: vec![],
            digests: vec![],
            chain: vec![],
            size: 0,
            file,
        }
    }

    #[test]
    fn the_image_gives_what_was_not_asked_for() {
        let record = record(
            Request {
                publish_all: true,
                ..Request::default()
            },
            &image(),
        )
        .unwrap();
        assert_eq!(record.config.argv(), ["/e", "c"]);
        assert_eq!(record.config.env, [DEFAULT_PATH, "A=1", "B=2"]);
        assert_eq!(
            (record.config.user.as_str(), record.config.working_dir.as_str()),
            ("web", "/w")
        );
        assert_eq!(record.config.hostname, record.id[..12]);
        assert_eq!(record.host.ports[0].container_port, 80);
        assert!(record.host.mounts[0].anonymous);
    }

    #[test]
    fn what_was_asked_for_wins() {
        let config = Config {
            env: vec!["A=9".into(), "B".into()],
            user: "0".into(),
            ..Config::default()
        };
        let cmd = vec!["x".to_owned()];
        let asked = Request {
            config,
            cmd: cmd.clone(),
            ..Request::default()
        };
        let first = record(asked.clone(), &image()).unwrap();
        assert_eq!(first.config.argv(), ["/e", "x"]);
        assert_eq!(first.config.env, [DEFAULT_PATH, "A=9"]);
        let second = record(
            Request {
                entrypoint: Some("/own".into()),
                cmd: vec![],
                ..asked.clone()
            },
            &image(),
        )
        .unwrap();
        assert_eq!(second.config.argv(), ["/own"]);
        let third = record(
            Request {
                entrypoint: Some(String::new()),
                ..asked
            },
            &image(),
        )
        .unwrap();
        assert_eq!(third.config.argv(), ["x"]);
    }
}
