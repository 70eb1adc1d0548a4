//! `corten-vm`: clusters of virtual machines from the image; the demonstration and the benchmark. Also serves, as small
//! processes of the same program, as a cluster's switch and as the machines' way to the registry.

mod verbs;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use corten_qemu::{Switch, SwitchConfig, forward};
use corten_vm::cluster::CONNECT_WITHIN_S;
use corten_vm::host::Image;
use corten_vm::{Plan, bench};
use verbs::Verbs;

/// Where a cluster lies unless `--dir` says otherwise.
const DIR: &str = "out/cluster";
/// The exit status of a process that SIGPIPE ended, as a shell sees it.
const READER_GONE: i32 = 141;

#[derive(Parser)]
#[command(
    name = "corten-vm",
    about = "Clusters of virtual machines from the Corten image",
    version
)]
struct Cli {
    /// The cluster's folder
    #[arg(long, global = true, default_value = DIR)]
    dir: PathBuf,
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Boot a cluster; it runs until Ctrl-C, or for good with --detach
    Up {
        /// How many machines
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=200))]
        machines: u8,
        #[command(flatten)]
        shape: Shape,
        /// Leave it running; `corten-vm down` ends it
        #[arg(long)]
        detach: bool,
    },
    /// End a cluster that was left running, and remove its disks
    Down,
    /// The main job: build the image, boot, run a service, survive a loss; leaves the cluster up
    Demo {
        #[command(flatten)]
        shape: Shape,
        /// End the cluster afterwards
        #[arg(long)]
        end: bool,
        /// Only end the cluster that an earlier run left up
        #[arg(long)]
        down: bool,
        /// Take the image as it is
        #[arg(long)]
        no_build: bool,
    },
    /// Which machines are on
    Status,
    /// A shell, or a command, on a machine
    Ssh {
        /// Time the connection may take to come about, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = CONNECT_WITHIN_S)]
        timeout: u16,
        /// The machine: node1, node2, ...
        name: String,
        /// The command; none is a shell
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// fleetctl through a tunnel to a machine
    Fleetctl {
        /// The machine; else the first that is on
        #[arg(long, value_name = "NAME")]
        via: Option<String>,
        /// What fleetctl gets
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Print a machine's console
    Logs {
        /// The machine: node1, node2, ...
        name: String,
    },
    /// Cut a machine's power
    Kill {
        /// The machine: node1, node2, ...
        name: String,
    },
    /// Turn a machine's power on again
    Start {
        /// The machine: node1, node2, ...
        name: String,
    },
    /// Stop a machine's processors; --off lets them go on
    Pause {
        /// The machine: node1, node2, ...
        name: String,
        /// Let them go on
        #[arg(long)]
        off: bool,
    },
    /// Cut a machine off the cluster's network; SSH from here still reaches it
    Cut {
        /// The machine: node1, node2, ...
        name: String,
    },
    /// Undo `cut`
    Heal {
        /// The machine: node1, node2, ...
        name: String,
    },
    /// Measure what the README promises
    BenchBoot {
        /// The image's folder
        #[arg(long, default_value = "out/image")]
        image: PathBuf,
    },
    #[command(hide = true)]
    Switch { config: PathBuf },
    #[command(hide = true)]
    Forward { service: SocketAddr },
}

#[derive(Args)]
struct Shape {
    /// Memory of each, in MiB, at least 256
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(256..))]
    memory: u32,
    /// Disk of each, in GiB, at least 2 (the image takes 1.5)
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(2..=8192))]
    disk: u64,
    /// Boot through UEFI instead of loading the kernel directly
    #[arg(long)]
    firmware: bool,
    /// The image's folder
    #[arg(long, default_value = "out/image")]
    image: PathBuf,
}

impl Shape {
    fn plan(&self, machines: u8) -> Plan {
        Plan {
            machines,
            memory_mib: self.memory,
            disk_bytes: Some(self.disk << 30),
            firmware: self.firmware,
            ..Plan::default()
        }
    }
}

fn main() -> ExitCode {
    end_with_the_reader();
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("corten-vm: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A line printed for a reader that is gone (`corten-vm logs node1 | head`) ends us as SIGPIPE ends others; what must
/// not outlive us ends with us, however we end.
fn end_with_the_reader() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic
            .payload_as_str()
            .is_some_and(|said| said.starts_with("failed printing to std"))
        {
            std::process::exit(READER_GONE);
        }
        report(panic);
    }));
}

fn run(cli: Cli) -> Result<ExitCode> {
    let vm = std::env::current_exe().context("finding this program")?;
    let verbs = Verbs {
        program: shown(&vm, &cli.dir),
        vm,
        dir: cli.dir,
    };
    match cli.command {
        Verb::Up {
            machines,
            shape,
            detach,
        } => verbs.up(&shape.plan(machines), &shape.image, detach)?,
        Verb::Down | Verb::Demo { down: true, .. } => verbs.down()?,
        Verb::Demo {
            shape, end, no_build, ..
        } => verbs.main_job(&shape.plan(Plan::default().machines), &shape.image, end, no_build)?,
        Verb::Status => return verbs.status(),
        Verb::Ssh {
            name,
            timeout,
            command,
        } => return verbs.shell(&name, timeout, &command),
        Verb::Fleetctl { via, args } => return verbs.fleetctl(via, &args),
        Verb::Logs { name } => verbs.logs(&name)?,
        Verb::Kill { name } => verbs.kill(&name)?,
        Verb::Start { name } => verbs.start(&name)?,
        Verb::Pause { name, off } => verbs.pause(&name, !off)?,
        Verb::Cut { name } => verbs.cut(&name, true)?,
        Verb::Heal { name } => verbs.cut(&name, false)?,
        Verb::BenchBoot { image } => bench::run(&verbs.vm, &Image::open(&image)?, &verbs.dir)?,
        Verb::Switch { config } => {
            let text = std::fs::read(&config).with_context(|| format!("reading {}", config.display()))?;
            Switch::run(&serde_json::from_slice::<SwitchConfig>(&text)?)?;
        }
        Verb::Forward { service } => forward::stdio(service)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Our program as the user would type it from here.
fn shown(vm: &Path, dir: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let program = vm.strip_prefix(&here).unwrap_or(vm).display();
    if dir == Path::new(DIR) {
        program.to_string()
    } else {
        format!("{program} --dir {}", dir.display())
    }
}
