//! What each verb of `corten-vm` does, and the line it says about it: also when there was nothing to do.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use corten_qemu::{Accel, accel, tool};
use corten_vm::condition::{Condition, shows_anything};
use corten_vm::host::Image;
use corten_vm::steps::Steps;
use corten_vm::{Cluster, Fleetctl, Plan, demo};

/// What all verbs go by.
pub struct Verbs {
    /// Our program.
    pub vm: PathBuf,
    /// The same as the user types it, `--dir` included.
    pub program: String,
    /// The cluster's folder.
    pub dir: PathBuf,
}

impl Verbs {
    /// `up`
    pub fn up(&self, plan: &Plan, image: &Path, detach: bool) -> Result<()> {
        Cluster::preflight(plan, &self.vm, &self.dir)?;
        let image = Image::open(image)?;
        let steps = Steps::new(&self.dir);
        say_accelerator(&steps);
        let (mut cluster, _) = steps.step("disks, network, registry", |_| {
            Cluster::prepare(plan, &image, &self.vm, &self.dir)
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
        println!("{}", demo::how_to_go_on(&cluster, &self.program)?);
        if detach {
            return cluster.leave_up();
        }
        println!("The cluster ends with this command (Ctrl-C).");
        std::io::stdout().flush()?;
        loop {
            std::thread::park();
        }
    }

    /// `demo`
    pub fn main_job(&self, plan: &Plan, image: &Path, end: bool, no_build: bool) -> Result<()> {
        Cluster::preflight(plan, &self.vm, &self.dir)?;
        if no_build {
            Image::open(image)?;
        }
        let steps = Steps::new(&self.dir);
        say_accelerator(&steps);
        if !no_build {
            steps.step("the image (nothing is done for what has not changed)", |_| {
                build_image(&self.vm, image)
            })?;
        }
        let image = Image::open(image)?;
        let (mut cluster, _) = steps.step("disks, network, registry", |_| {
            Cluster::prepare(plan, &image, &self.vm, &self.dir)
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
            println!("\n{}", demo::how_to_go_on(&cluster, &self.program)?);
            cluster.leave_up()?;
        }
        Ok(())
    }

    /// `down`
    pub fn down(&self) -> Result<()> {
        let dir = self.dir.display();
        let Some(cluster) = Cluster::find(&self.dir)? else {
            println!("no cluster is up in {dir}: nothing to end");
            return Ok(());
        };
        let machines = cluster.names().join(", ");
        cluster.down()?;
        println!("{machines}: ended, their disks removed; the logs stay in {dir}");
        Ok(())
    }

    /// `status`; the exit code is that of "no" when no machine is on.
    pub fn status(&self) -> Result<ExitCode> {
        let cluster = self.adopt()?;
        let mut any = false;
        for name in cluster.names() {
            let condition = cluster.condition(&name)?;
            any |= condition != Condition::Off;
            let cut = match cluster.network().is_cut(&name) {
                Ok(true) => ", cut off the machines' network",
                _ => "",
            };
            println!("{name}: {}{cut}", condition.word());
        }
        Ok(if any { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// `ssh`
    pub fn shell(&self, name: &str, timeout_s: u16, command: &[String]) -> Result<ExitCode> {
        let cluster = self.adopt()?;
        cluster.require_on(name, &self.program)?;
        let ssh = cluster.ssh(name)?;
        let terminal = if command.is_empty() { "-t" } else { "-T" };
        // ssh takes the first of several values.
        let patience = format!("ConnectTimeout={timeout_s}");
        let error = Command::new(tool::find("ssh")?)
            .args(["-o", &patience])
            .args(ssh.options())
            .args([terminal, "127.0.0.1", "--"])
            .args(command)
            .exec();
        Err(error).context("running ssh")
    }

    /// `fleetctl`
    pub fn fleetctl(&self, via: Option<String>, args: &[String]) -> Result<ExitCode> {
        let cluster = self.adopt()?;
        let name = match via {
            Some(name) => {
                cluster.require_on(&name, &self.program)?;
                name
            }
            None => {
                let (name, why) = cluster.first_on(&self.program)?;
                if !why.is_empty() {
                    eprintln!("corten-vm: by way of {name}: {}", why.join(", "));
                }
                name
            }
        };
        let error = Fleetctl::by(&cluster, &name)?.command(args).exec();
        Err(error).context("running fleetctl")
    }

    /// `logs`
    pub fn logs(&self, name: &str) -> Result<()> {
        let cluster = self.adopt()?;
        let console = cluster.machine(name)?.console();
        if shows_anything(&console) {
            print!("{console}");
        } else {
            println!(
                "{name}'s console is quiet: a machine writes there only what went wrong. Its journal: \
                 `{} ssh {name} sudo journalctl`",
                self.program
            );
        }
        Ok(())
    }

    /// `kill`
    pub fn kill(&self, name: &str) -> Result<()> {
        let mut cluster = self.adopt()?;
        let machine = cluster.machine_mut(name)?;
        if !machine.is_running() {
            println!("{name} is off already");
            return Ok(());
        }
        machine.power_cut()?;
        println!("{name} is off; `{} start {name}` turns it on again", self.program);
        Ok(())
    }

    /// `start`
    pub fn start(&self, name: &str) -> Result<()> {
        let mut cluster = self.adopt()?;
        match cluster.condition(name)? {
            Condition::On => println!("{name} is on already"),
            Condition::Paused => println!(
                "{name} is on already, but paused; `{} pause --off {name}`",
                self.program
            ),
            Condition::Off => {
                cluster.machine_mut(name)?.power_on()?;
                cluster.leave_up()?;
                println!("{name} is on, and boots now");
            }
        }
        Ok(())
    }

    /// `pause`, and with `--off` its opposite
    pub fn pause(&self, name: &str, wanted: bool) -> Result<()> {
        let cluster = self.adopt()?;
        let condition = cluster.condition(name)?;
        match (condition, wanted) {
            (Condition::Off, _) => cluster.require_on(name, &self.program)?,
            (Condition::Paused, true) => println!("{name} is paused already"),
            (Condition::On, false) => println!("{name} is not paused"),
            (Condition::On, true) => {
                cluster.machine(name)?.pause()?;
                println!(
                    "{name} is paused; `{} pause --off {name}` lets it go on",
                    self.program
                );
            }
            (Condition::Paused, false) => {
                cluster.machine(name)?.resume()?;
                println!("{name} goes on");
            }
        }
        Ok(())
    }

    /// `cut`, and its opposite `heal`
    pub fn cut(&self, name: &str, wanted: bool) -> Result<()> {
        let cluster = self.adopt()?;
        cluster.machine(name)?;
        let network = cluster.network();
        match (network.is_cut(name)?, wanted) {
            (true, true) => println!("{name} is cut off already"),
            (false, false) => println!("{name} is not cut off"),
            (false, true) => {
                network.cut(name)?;
                println!(
                    "{name} is cut off the machines' network; `{} heal {name}` puts it back",
                    self.program
                );
            }
            (true, false) => {
                network.heal(name)?;
                println!("{name} is on the machines' network again");
            }
        }
        Ok(())
    }

    fn adopt(&self) -> Result<Cluster> {
        Cluster::adopt(&self.dir)
    }
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
    if !status.success() {
        bail!("corten-image ended with {status}");
    }
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
