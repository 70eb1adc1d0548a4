//! `corten-vm`: clusters of virtual machines from the image; the demonstration and the benchmark. Also serves, as small
//! processes of the same program, as a cluster's switch and as the machines' way to the registry.

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use corten_qemu::{Accel, Switch, SwitchConfig, accel, forward, tool};
use corten_vm::host::Image;
use corten_vm::steps::Steps;
use corten_vm::{Cluster, Fleetctl, Plan, bench, demo};

#[derive(Parser)]
#[command(
    name = "corten-vm",
    about = "Clusters of virtual machines from the Corten image",
    version
)]
struct Cli {
    /// The cluster's folder
    #[arg(long, global = true, default_value = "out/cluster")]
    dir: PathBuf,
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Boot a cluster; it runs until Ctrl-C, or for good with --detach
    Up {
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
    /// A shell, or a command, on a machine
    Ssh {
        name: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// fleetctl through a tunnel to the first machine
    Fleetctl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Print a machine's console
    Logs { name: String },
    /// Cut a machine's power
    Kill { name: String },
    /// Turn a machine's power on again
    Start { name: String },
    /// Stop a machine's processors; --off lets them go on
    Pause {
        name: String,
        #[arg(long)]
        off: bool,
    },
    /// Cut a machine off the network
    Cut { name: String },
    /// Undo `cut`
    Heal { name: String },
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
    /// How many machines
    #[arg(long, default_value_t = 3)]
    machines: u8,
    /// Memory of each, in MiB
    #[arg(long, default_value_t = 1024)]
    memory: u32,
    /// Disk of each, in GiB
    #[arg(long, default_value_t = 4)]
    disk: u64,
    /// Boot through UEFI instead of loading the kernel directly
    #[arg(long)]
    firmware: bool,
    /// The image's folder
    #[arg(long, default_value = "out/image")]
    image: PathBuf,
}

impl Shape {
    fn plan(&self) -> Plan {
        Plan {
            machines: self.machines,
            memory_mib: self.memory,
            disk_bytes: Some(self.disk << 30),
            firmware: self.firmware,
            ..Plan::default()
        }
    }
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("corten-vm: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let vm = std::env::current_exe().context("finding this program")?;
    let adopt = || Cluster::adopt(&cli.dir);
    match cli.command {
        Verb::Up { shape, detach } => up(&vm, &cli.dir, &shape, detach)?,
        Verb::Down | Verb::Demo { down: true, .. } => adopt()?.down()?,
        Verb::Demo {
            shape, end, no_build, ..
        } => main_job(&vm, &cli.dir, &shape, end, no_build)?,
        Verb::Ssh { name, command } => return shell(&adopt()?, &name, &command),
        Verb::Fleetctl { args } => return fleetctl(&adopt()?, &args),
        Verb::Logs { name } => print!("{}", adopt()?.machine(&name)?.console()),
        Verb::Kill { name } => adopt()?.machine_mut(&name)?.power_cut()?,
        Verb::Start { name } => {
            let mut cluster = adopt()?;
            cluster.machine_mut(&name)?.power_on()?;
            cluster.leave_up()?;
        }
        Verb::Pause { name, off: false } => adopt()?.machine(&name)?.pause()?,
        Verb::Pause { name, off: true } => adopt()?.machine(&name)?.resume()?,
        Verb::Cut { name } => adopt()?.network().cut(&name)?,
        Verb::Heal { name } => adopt()?.network().heal(&name)?,
        Verb::BenchBoot { image } => bench::run(&vm, &Image::open(&image)?, &cli.dir)?,
        Verb::Switch { config } => {
            let text = std::fs::read(&config).with_context(|| format!("reading {}", config.display()))?;
            Switch::run(&serde_json::from_slice::<SwitchConfig>(&text)?)?;
        }
        Verb::Forward { service } => forward::stdio(service)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn up(vm: &Path, dir: &Path, shape: &Shape, detach: bool) -> Result<()> {
    let steps = Steps::new(dir);
    say_accelerator(&steps);
    let image = Image::open(&shape.image)?;
    let (mut cluster, _) = steps.step("disks, network, registry", |_| {
        Cluster::prepare(&shape.plan(), &image, vm, dir)
    })?;
    steps.step("boot", |steps| {
        cluster.power_on_all()?;
        cluster.wait_all_ready(|name, time| {
            steps.line(format_args!(
                "   {name} is Ready after {:.1} s",
                time.as_secs_f64()
            ));
        })
    })?;
    println!("{}", demo::how_to_go_on(&cluster, &shown(vm))?);
    if detach {
        return cluster.leave_up();
    }
    println!("The cluster ends with this command (Ctrl-C).");
    std::io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}

fn main_job(vm: &Path, dir: &Path, shape: &Shape, end: bool, no_build: bool) -> Result<()> {
    let steps = Steps::new(dir);
    say_accelerator(&steps);
    if !no_build {
        steps.step("the image (nothing is done for what has not changed)", |_| {
            build_image(vm, &shape.image)
        })?;
    }
    let image = Image::open(&shape.image)?;
    let (mut cluster, _) = steps.step("disks, network, registry", |_| {
        Cluster::prepare(&shape.plan(), &image, vm, dir)
    })?;
    let result = demo::run(&mut cluster, &steps);
    if result.is_err() {
        cluster.save_journals();
    }
    result?;
    if end {
        cluster.down()?;
        steps.line("done; the cluster is down");
    } else {
        println!("\n{}", demo::how_to_go_on(&cluster, &shown(vm))?);
        cluster.leave_up()?;
    }
    Ok(())
}

fn build_image(vm: &Path, out: &Path) -> Result<()> {
    let builder = vm.with_file_name("corten-image");
    let status = Command::new(&builder)
        .args(["build", "--out"])
        .arg(out)
        .status()
        .with_context(|| {
            format!(
                "running {} (`cargo build --release -p corten-image` makes it)",
                builder.display()
            )
        })?;
    anyhow::ensure!(status.success(), "corten-image ended with {status}");
    Ok(())
}

fn say_accelerator(steps: &Steps) {
    match (Accel::best(), accel::why_no_kvm()) {
        (Accel::Kvm, _) => steps.line("machines run under KVM"),
        (_, why) => steps.line(format_args!(
            "machines are emulated, which is slow: no KVM here ({})",
            why.unwrap_or_default()
        )),
    }
}

fn shell(cluster: &Cluster, name: &str, command: &[String]) -> Result<ExitCode> {
    let ssh = cluster.ssh(name)?;
    let terminal = if command.is_empty() { "-t" } else { "-T" };
    let error = Command::new(tool::find("ssh")?)
        .args(ssh.options())
        .args([terminal, "127.0.0.1", "--"])
        .args(command)
        .exec();
    Err(error).context("running ssh")
}

fn fleetctl(cluster: &Cluster, args: &[String]) -> Result<ExitCode> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = Fleetctl::by(cluster, "node1")?.output(&args)?;
    print!("{}", output.stdout);
    eprint!("{}", output.stderr);
    Ok(ExitCode::from(
        output.code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
    ))
}

/// Our program as the user would type it from here.
fn shown(vm: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    vm.strip_prefix(&here).unwrap_or(vm).display().to_string()
}
