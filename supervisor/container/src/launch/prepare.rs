//! What a container needs on the machine before its first process is cloned: its files, its mounts' sources, and the
//! facts its specification is built from.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Launch, LaunchError, io_error};
use crate::identity::ProcessId;
use crate::record::{Attachment, MountSource, NetworkMode};
use crate::spec::{Facts, capabilities};
use crate::{network, rootfs, user};

impl Launch<'_> {
    /// resolv.conf, hosts and hostname, as the container sees them.
    pub(super) fn write_files(&self, attachment: Option<&Attachment>) -> Result<(), LaunchError> {
        let (record, dir) = (&self.record, self.engine.container(&self.record.id));
        let shares = record.host.network == NetworkMode::Host;
        let mut machine = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        // systemd-resolved's stub is on loopback; behind it stand the real servers.
        if !shares && machine.contains("nameserver 127.0.0.53") {
            machine = fs::read_to_string("/run/systemd/resolve/resolv.conf").unwrap_or(machine);
        }
        let host = &record.host;
        let hosts = if shares && host.extra_hosts.is_empty() {
            fs::read_to_string("/etc/hosts").unwrap_or_default()
        } else {
            network::hosts_file(&record.config.hostname, &host.extra_hosts, attachment)
        };
        for (name, text) in [
            (
                "resolv.conf",
                network::resolv_conf(&machine, &host.dns, &host.dns_search, shares),
            ),
            ("hosts", hosts),
            ("hostname", format!("{}\n", record.config.hostname)),
        ] {
            let path = dir.join(name);
            let write = || {
                fs::write(&path, text)?;
                fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644))
            };
            write().map_err(io_error(path.display().to_string()))?;
        }
        Ok(())
    }

    /// Makes missing sources of mounts and fills new volumes.
    pub(super) fn prepare_mounts(&self, rootfs: &Path) -> Result<(), LaunchError> {
        for mount in &self.record.host.mounts {
            match &mount.source {
                MountSource::Bind(path) if !Path::new(path).exists() => {
                    if !mount.create {
                        return Err(LaunchError::NoSource(path.clone()));
                    }
                    fs::create_dir_all(path).map_err(io_error(path.as_str()))?;
                }
                MountSource::Volume(name) => {
                    let volume = self.engine.volumes().join(name);
                    let data = volume.join("_data");
                    fs::create_dir_all(&data).map_err(io_error(data.display().to_string()))?;
                    if mount.copy {
                        rootfs::fill_volume(rootfs, &mount.target, &volume)
                            .map_err(io_error(format!("filling volume {name}")))?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What the specification is built from, besides the record.
    pub(super) fn facts(&self, rootfs: &Path, cgroup: &str) -> Result<Facts, LaunchError> {
        let record = &self.record;
        let (passwd, group) = (
            user::read_in(rootfs, "etc/passwd"),
            user::read_in(rootfs, "etc/group"),
        );
        let network_namespace = match &record.host.network {
            NetworkMode::Container(peer) => {
                let peer = self.containers.find(peer)?;
                let process = peer.state.process.filter(ProcessId::alive);
                let pid = process.ok_or(LaunchError::NoPeer(peer.name))?.pid;
                Some(PathBuf::from(format!("/proc/{pid}/ns/net")))
            }
            _ => None,
        };
        Ok(Facts {
            rootfs: rootfs.to_owned(),
            dir: self.engine.container(&record.id),
            volumes: self.engine.volumes(),
            cgroup: cgroup.to_owned(),
            identity: user::resolve(&record.config.user, &record.host.group_add, &passwd, &group)?,
            available: capabilities::available(),
            network_namespace,
            extra_env: Vec::new(),
            host_devices: if record.host.privileged || !record.host.devices.is_empty() {
                host_devices(Path::new("/dev"))
            } else {
                Vec::new()
            },
        })
    }
}

/// Device nodes below `dir`, without those a container has of its own.
fn host_devices(dir: &Path) -> Vec<(String, char, u64, u64)> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    const OWN: [&str; 5] = ["pts", "shm", "mqueue", "fd", "hugepages"];
    const STANDARD: [&str; 8] = [
        "null", "zero", "full", "random", "urandom", "tty", "ptmx", "console",
    ];
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (Ok(metadata), name) = (entry.metadata(), entry.file_name().to_string_lossy().into_owned())
        else {
            continue;
        };
        let kind = metadata.file_type();
        if kind.is_dir() && !OWN.contains(&name.as_str()) {
            found.extend(host_devices(&entry.path()));
        } else if (kind.is_char_device() || kind.is_block_device()) && !STANDARD.contains(&name.as_str()) {
            let letter = if kind.is_block_device() { 'b' } else { 'c' };
            let device = metadata.rdev();
            let (major, minor) = (
                u64::from(rustix::fs::major(device)),
                u64::from(rustix::fs::minor(device)),
            );
            found.push((entry.path().to_string_lossy().into_owned(), letter, major, minor));
        }
    }
    found
}
