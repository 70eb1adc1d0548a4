//! `version`, `info`, and being root.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::ArgMatches;
use corten_container::containers::Containers;
use corten_container::image::ImageStore;
use corten_container::record::Status;
use serde_json::json;

use super::Context;
use super::failure::{Failure, Outcome};
use super::options::text;
use super::template::Template;

/// The Docker API whose behaviour we follow; tools compare it.
const API: &str = "1.50";

/// `docker version`.
pub(super) fn version(matches: &ArgMatches) -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .unwrap_or_default()
        .trim()
        .to_owned();
    let (os, arch) = (
        "linux",
        corten_container::image::manifest::Platform::host().architecture,
    );
    if let Some(format) = text(matches, "format") {
        let side =
            json!({"Version": version, "ApiVersion": API, "Os": os, "Arch": arch, "KernelVersion": kernel});
        return print(format, &json!({"Client": side, "Server": side}));
    }
    println!(
        "Client: Corten\n Version:           {version}\n API version:       {API}\n OS/Arch:           {os}/{arch}\n"
    );
    println!(
        "Server: Corten engine (no daemon)\n Engine:\n  Version:          {version}\n  Kernel:           {kernel}"
    );
    println!(" libcontainer:\n  Version:          0.7");
    Ok(0)
}

fn print(format: &str, value: &serde_json::Value) -> Outcome {
    if format == "json" {
        println!("{value}");
        return Ok(0);
    }
    let template = Template::parse(format).map_err(|error| Failure::plain(64, error))?;
    println!(
        "{}",
        template.render(value).map_err(|error| Failure::plain(1, error))?
    );
    Ok(0)
}

/// `docker info`.
pub(super) fn info(context: &Context, matches: &ArgMatches) -> Outcome {
    let containers = Containers::new(&context.engine).list().map_err(Failure::engine)?;
    let images = ImageStore::new(&context.engine).list().map_err(Failure::engine)?;
    let running = containers
        .iter()
        .filter(|record| record.state.status == Status::Running)
        .count();
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let value = json!({
        "Containers": containers.len(),
        "ContainersRunning": running,
        "ContainersPaused": 0,
        "ContainersStopped": containers.len() - running,
        "Images": images.len(),
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "Driver": "overlay2",
        "LoggingDriver": "journald",
        "CgroupDriver": "systemd",
        "CgroupVersion": "2",
        "DefaultRuntime": "libcontainer",
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
        "KernelVersion": read("/proc/sys/kernel/osrelease"),
        "Name": read("/proc/sys/kernel/hostname"),
        "OSType": "linux",
        "DockerRootDir": context.engine.data(),
    });
    if let Some(format) = text(matches, "format") {
        return print(format, &value);
    }
    println!("Server:");
    for (label, key) in [
        ("Containers", "Containers"),
        (" Running", "ContainersRunning"),
        (" Stopped", "ContainersStopped"),
        ("Images", "Images"),
        ("Server Version", "ServerVersion"),
        ("Storage Driver", "Driver"),
        ("Logging Driver", "LoggingDriver"),
        ("Cgroup Driver", "CgroupDriver"),
        ("Cgroup Version", "CgroupVersion"),
        ("Default Runtime", "DefaultRuntime"),
        ("Kernel Version", "KernelVersion"),
        ("Name", "Name"),
        ("Docker Root Dir", "DockerRootDir"),
    ] {
        println!(
            " {label}: {}",
            value[key]
                .as_str()
                .map_or_else(|| value[key].to_string(), str::to_owned)
        );
    }
    Ok(0)
}

/// The engine has no daemon to ask, so the command itself must be root: it calls itself again through sudo where that
/// asks no password, as it is for an operator in the groups docker, sudo or wheel of our image.
pub(super) fn need_root(args: &[OsString]) -> Result<(), Failure> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let (program, before) =
        corten_container::systemd::docker_command().map_err(|error| Failure::plain(1, error.to_string()))?;
    let may = Command::new("sudo")
        .args(["-n", "-l"])
        .arg(&program)
        .output()
        .is_ok_and(|output| output.status.success());
    if may {
        let rest = args.iter().skip(1);
        let error = Command::new("sudo")
            .arg("-n")
            .arg("--")
            .arg(&program)
            .args(before)
            .args(rest)
            .exec();
        return Err(Failure::plain(1, format!("running sudo: {error}")));
    }
    Err(Failure::plain(
        1,
        "permission denied: containers are root's here: try 'sudo docker ...', or ask for a place in the group sudo",
    ))
}
