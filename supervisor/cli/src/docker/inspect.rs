//! `docker inspect`: everything known, with Docker's keys, so that templates written for Docker find what they name.

use clap::ArgMatches;
use corten_container::Engine;
use corten_container::containers::{ContainerError, Containers};
use corten_container::image::{Image, ImageStore, StoreError};
use corten_container::record::{MountPoint, MountSource, PortMapping, Record, RestartPolicy, Status};
use serde_json::{Map, Value, json};

use super::failure::{Failure, Outcome};
use super::options::{all, text};
use super::template::Template;
use super::{Context, shown};

/// Go's time that is none.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Prints an array of what was found, or a template for each; what was not found is named, with status 1.
pub(super) fn inspect(context: &Context, matches: &ArgMatches) -> Outcome {
    let template = match text(matches, "format") {
        None | Some("json") => None,
        Some(text) => Some(Template::parse(text).map_err(|error| Failure::plain(64, error))?),
    };
    let kind = text(matches, "type").unwrap_or_default();
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for name in all(matches, "names") {
        match look_up(context, &name, kind)? {
            Some(value) => found.push(value),
            None => missing.push(name),
        }
    }
    match &template {
        None => println!("{}", pretty(&json!(found))),
        Some(template) => {
            for value in &found {
                println!(
                    "{}",
                    template.render(value).map_err(|error| Failure::plain(1, error))?
                );
            }
        }
    }
    for name in &missing {
        let what = if kind.is_empty() { "object" } else { kind };
        eprintln!("Error: No such {what}: {name}");
    }
    Ok(u8::from(!missing.is_empty()))
}

/// JSON with Docker's indentation of four spaces.
fn pretty(value: &Value) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    match serde::Serialize::serialize(value, &mut serializer) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        Err(_) => value.to_string(),
    }
}

fn look_up(context: &Context, name: &str, kind: &str) -> Result<Option<Value>, Failure> {
    if matches!(kind, "" | "container") {
        match Containers::new(&context.engine).find(name) {
            Ok(record) => return Ok(Some(container(&context.engine, &record))),
            Err(ContainerError::Unknown(_)) => {}
            Err(error) => return Err(Failure::engine(error)),
        }
    }
    if matches!(kind, "" | "image") {
        match ImageStore::new(&context.engine).find(name) {
            Ok(found) => return Ok(Some(image(&found))),
            Err(StoreError::Unknown(_)) => {}
            Err(error) => return Err(Failure::engine(error)),
        }
    }
    Ok(None)
}

fn image(image: &Image) -> Value {
    let file = &image.file;
    json!({
        "Id": format!("sha256:{}", image.id),
        "RepoTags": image.tags,
        "RepoDigests": image.digests,
        "Created": file.created,
        "Author": file.author.clone().unwrap_or_default(),
        "Config": file.config,
        "Architecture": file.architecture,
        "Os": file.os,
        "Size": image.size,
        "RootFS": {"Type": "layers", "Layers": file.rootfs.diff_ids},
    })
}

fn container(engine: &Engine, record: &Record) -> Value {
    let argv = record.config.argv();
    json!({
        "Id": record.id,
        "Created": record.created,
        "Path": argv.first(),
        "Args": argv.get(1..).unwrap_or_default(),
        "State": state(record),
        "Image": format!("sha256:{}", record.image),
        "ResolvConfPath": engine.container(&record.id).join("resolv.conf"),
        "HostnamePath": engine.container(&record.id).join("hostname"),
        "HostsPath": engine.container(&record.id).join("hosts"),
        "LogPath": "",
        "Name": format!("/{}", record.name),
        "RestartCount": 0,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": null,
        "HostConfig": host_config(record),
        "GraphDriver": {"Name": "overlay2", "Data": {"UpperDir": engine.container(&record.id).join("upper")}},
        "Mounts": record.host.mounts.iter().map(|mount| mount_point(engine, mount)).collect::<Vec<_>>(),
        "Config": config(record),
        "NetworkSettings": network(record),
        "Corten": {"Cgroup": record.state.cgroup, "InvocationID": record.state.invocation, "LogTag": record.log_tag},
    })
}

fn state(record: &Record) -> Value {
    let state = &record.state;
    json!({
        "Status": shown::state(record),
        "Running": state.status == Status::Running,
        "Paused": false,
        "Restarting": false,
        "OOMKilled": state.oom_killed,
        "Dead": false,
        "Pid": state.process.as_ref().map_or(0, |process| process.pid),
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": state.started_at.as_deref().unwrap_or(NEVER),
        "FinishedAt": state.finished_at.as_deref().unwrap_or(NEVER),
    })
}

fn config(record: &Record) -> Value {
    let config = &record.config;
    let exposed: Map<String, Value> = config
        .exposed_ports
        .iter()
        .map(|port| (port.clone(), json!({})))
        .collect();
    json!({
        "Hostname": config.hostname,
        "Domainname": "",
        "User": config.user,
        "AttachStdin": config.open_stdin,
        "AttachStdout": true,
        "AttachStderr": true,
        "ExposedPorts": exposed,
        "Tty": config.tty,
        "OpenStdin": config.open_stdin,
        "StdinOnce": config.open_stdin,
        "Env": config.env,
        "Cmd": config.cmd,
        "Image": record.image_name,
        "Volumes": null,
        "WorkingDir": config.working_dir,
        "Entrypoint": if config.entrypoint.is_empty() { Value::Null } else { json!(config.entrypoint) },
        "Labels": config.labels,
        "StopSignal": shown::stop_signal_name(record),
        "StopTimeout": config.stop_timeout,
    })
}

fn host_config(record: &Record) -> Value {
    let host = &record.host;
    let binds: Vec<String> = host.mounts.iter().filter_map(bind).collect();
    let retries = match host.restart {
        RestartPolicy::OnFailure(times) => times,
        _ => 0,
    };
    json!({
        "Binds": if binds.is_empty() { Value::Null } else { json!(binds) },
        "ContainerIDFile": "",
        "LogConfig": {"Type": if host.log_driver == "none" { "none" } else { "journald" }, "Config": {}},
        "NetworkMode": host.network.word(),
        "PortBindings": bindings(&host.ports),
        "RestartPolicy": {"Name": host.restart.word(), "MaximumRetryCount": retries},
        "AutoRemove": host.auto_remove,
        "CapAdd": host.cap_add,
        "CapDrop": host.cap_drop,
        "CgroupnsMode": "private",
        "Dns": host.dns,
        "DnsSearch": host.dns_search,
        "ExtraHosts": host.extra_hosts,
        "GroupAdd": host.group_add,
        "IpcMode": if host.host_ipc { "host" } else { "private" },
        "PidMode": if host.host_pid { "host" } else { "" },
        "UTSMode": if host.host_uts { "host" } else { "" },
        "Privileged": host.privileged,
        "PublishAllPorts": false,
        "ReadonlyRootfs": host.read_only,
        "SecurityOpt": host.security_opt,
        "ShmSize": host.shm_size.unwrap_or(64 << 20),
        "Sysctls": host.sysctls,
        "Runtime": "libcontainer",
        "Memory": host.memory.unwrap_or(0),
        "MemorySwap": host.memory_swap.unwrap_or(0),
        "NanoCpus": host.cpus_milli.unwrap_or(0) * 1_000_000,
        "CpuShares": host.cpu_shares.unwrap_or(0),
        "PidsLimit": host.pids_limit,
        "Init": host.init,
        "Devices": host.devices,
        "Ulimits": host.ulimits,
    })
}

fn bind(mount: &MountPoint) -> Option<String> {
    let MountSource::Bind(path) = &mount.source else {
        return None;
    };
    let access = if mount.read_only { ":ro" } else { "" };
    Some(format!("{path}:{}{access}", mount.target))
}

fn mount_point(engine: &Engine, mount: &MountPoint) -> Value {
    let (kind, name, source) = match &mount.source {
        MountSource::Bind(path) => ("bind", Value::Null, json!(path)),
        MountSource::Volume(name) => (
            "volume",
            json!(name),
            json!(engine.volumes().join(name).join("_data")),
        ),
        MountSource::Tmpfs(_) => ("tmpfs", Value::Null, json!("")),
    };
    json!({
        "Type": kind,
        "Name": name,
        "Source": source,
        "Destination": mount.target,
        "Mode": "",
        "RW": !mount.read_only,
        "Propagation": mount.propagation,
    })
}

/// `{"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}`.
fn bindings(ports: &[PortMapping]) -> Value {
    let mut map: Map<String, Value> = Map::new();
    for port in ports {
        let key = format!("{}/{}", port.container_port, port.protocol.word());
        let address = port
            .host_ip
            .map_or_else(|| "0.0.0.0".to_owned(), |ip| ip.to_string());
        let host_port = if port.host_port == 0 {
            String::new()
        } else {
            port.host_port.to_string()
        };
        let binding = json!({"HostIp": address, "HostPort": host_port});
        match map.get_mut(&key).and_then(Value::as_array_mut) {
            Some(list) => list.push(binding),
            None => drop(map.insert(key, json!([binding]))),
        }
    }
    Value::Object(map)
}

fn network(record: &Record) -> Value {
    let attachment = record.state.network.as_ref();
    let text = |value: Option<String>| value.unwrap_or_default();
    let address = text(attachment.map(|a| a.address.to_string()));
    let gateway = text(attachment.map(|a| a.gateway.to_string()));
    let mac = text(attachment.map(corten_container::record::Attachment::mac_text));
    let prefix = attachment.map_or(0, |a| a.prefix);
    let mut ports = attachment.map_or_else(|| json!({}), |a| bindings(&a.ports));
    if let Some(map) = ports.as_object_mut().filter(|_| attachment.is_some()) {
        for exposed in &record.config.exposed_ports {
            map.entry(exposed.clone()).or_insert(Value::Null);
        }
    }
    let endpoint = json!({
        "IPAddress": address,
        "IPPrefixLen": prefix,
        "Gateway": gateway,
        "MacAddress": mac,
        "NetworkID": "",
        "EndpointID": "",
        "Aliases": null,
        "DNSNames": null,
    });
    json!({
        "Bridge": "",
        "SandboxKey": record.state.process.as_ref().map_or_else(String::new, |process| format!("/proc/{}/ns/net", process.pid)),
        "Ports": ports,
        "IPAddress": address,
        "IPPrefixLen": prefix,
        "Gateway": gateway,
        "MacAddress": mac,
        "Networks": {record.host.network.word(): endpoint},
    })
}
