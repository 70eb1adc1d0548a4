//! The figures that the README promises, measured on this machine, each beside the floor of the same run: the same kernel
//! with an /init that turns the machine off at once. Prints; asserts nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use corten_qemu::{Accel, Boot, Machine, Spec};

use crate::cluster::{Cluster, Plan};
use crate::faults::name_of;
use crate::fleetctl::{Fleetctl, UnitRow, unit_file};
use crate::host::Image;
use crate::steps::Steps;

/// How often the cheap figures are taken; the median counts.
const ROUNDS: usize = 3;
/// How long anything may take before the benchmark gives up.
const WITHIN: Duration = Duration::from_secs(240);

/// A plain service: what is measured is us, not it.
const PLAIN: &str = "[Service]\nExecStart=/bin/sleep infinity\n";
/// How long a silent machine counts as present where its loss is measured.
const TTL_S: u32 = 3;
/// The product's defaults.
const HEARTBEAT_AND_ELECTION_MS: (u32, u32) = (100, 1000);
/// The instances of one template that one command starts.
const MANY: usize = 1000;

/// Measures everything in clusters below `dir` and prints it.
pub fn run(vm: &Path, image: &Image, dir: &Path) -> Result<()> {
    let dir = dir.with_extension("bench");
    let steps = Steps::new(&dir);
    let mut table = Table::default();
    steps.step("the floor: kernel to a static /init that powers off", |_| {
        table.floor = median(ROUNDS, || floor(image, &dir))?;
        Ok(())
    })?;
    table.row(
        "kernel + initramfs + /usr to download",
        "100 MiB",
        download(image)?,
    );
    steps.step("one machine: power-on to Ready", |_| {
        let seconds = median(ROUNDS, || alone(vm, image, &dir))?;
        let aim = format!("5 x floor = {:.1} s", table.floor * 5.0);
        table.seconds("power-on to Ready, one machine", &aim, seconds);
        Ok(())
    })?;
    let plan = Plan {
        agent_ttl_s: TTL_S,
        heartbeat_and_election_ms: HEARTBEAT_AND_ELECTION_MS,
        ..Plan::default()
    };
    let mut cluster = Cluster::prepare(&plan, image, vm, &dir)?;
    let result = of_three(&mut cluster, &steps, &mut table);
    if result.is_err() {
        cluster.save_journals();
        table.print(); // what there is: it took long
    }
    result?;
    cluster.down()?;
    steps.step(
        "a warm rebuild of the image after a change in our program",
        |_| {
            table.seconds(
                "warm image rebuild, without the compile",
                "30 s",
                rebuild(vm, &dir)?,
            );
            Ok(())
        },
    )?;
    table.print();
    Ok(())
}

/// The figures as they come.
#[derive(Debug, Default)]
struct Table {
    floor: f64,
    rows: Vec<[String; 3]>,
}

impl Table {
    fn row(&mut self, what: &str, aim: &str, value: String) {
        self.rows.push([what.to_owned(), aim.to_owned(), value]);
    }

    fn seconds(&mut self, what: &str, aim: &str, seconds: f64) {
        let floors = seconds / self.floor;
        self.row(what, aim, format!("{seconds:.1} s ({floors:.1} x floor)"));
    }

    fn print(&self) {
        let accel = match Accel::best() {
            Accel::Kvm => "KVM",
            Accel::Tcg => "TCG",
        };
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        println!("\n| under {accel}, {cores} cores | aim | measured |\n| --- | --- | --- |");
        println!(
            "| floor: kernel to a static init that powers off | | {:.1} s |",
            self.floor
        );
        for [what, aim, value] in &self.rows {
            println!("| {what} | {aim} | {value} |");
        }
    }
}

fn median(rounds: usize, mut measure: impl FnMut() -> Result<f64>) -> Result<f64> {
    let mut values: Vec<f64> = (0..rounds).map(|_| measure()).collect::<Result<_>>()?;
    values.sort_by(f64::total_cmp);
    Ok(values[rounds / 2])
}

fn floor(image: &Image, dir: &Path) -> Result<f64> {
    let spec = Spec {
        name: "floor".to_owned(),
        cpus: 1,
        memory_mib: 1024,
        boot: Boot::Kernel {
            kernel: image.kernel(),
            initrd: image.initramfs(),
            cmdline: format!("{} corten.init=poweroff", image.cmdline()?),
        },
        disks: vec![],
        links: vec![],
        user_net: None,
        fw_cfg: vec![],
        second_serial: false,
        accel: None,
    };
    Accel::best();
    let mut machine = Machine::new(spec, &std::path::absolute(dir)?.join("floor"))?;
    let start = Instant::now();
    machine.power_on()?;
    machine.wait_off(WITHIN)?;
    let seconds = start.elapsed().as_secs_f64();
    std::fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))?;
    Ok(seconds)
}

fn download(image: &Image) -> Result<String> {
    let path = image.manifest();
    let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let manifest: serde_json::Value = serde_json::from_slice(&text)?;
    let bytes = manifest["download_bytes"]
        .as_u64()
        .ok_or_else(|| anyhow!("{}: no download_bytes", path.display()))?;
    Ok(format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)))
}

fn alone(vm: &Path, image: &Image, dir: &Path) -> Result<f64> {
    let plan = Plan {
        machines: 1,
        ..Plan::default()
    };
    let mut cluster = Cluster::prepare(&plan, image, vm, dir)?;
    let start = Instant::now();
    cluster.power_on_all()?;
    let ready = cluster.wait_all_ready(|_, _| {});
    let seconds = start.elapsed().as_secs_f64();
    if ready.is_err() {
        cluster.save_journals();
    }
    ready?;
    cluster.down()?;
    Ok(seconds)
}

fn of_three(cluster: &mut Cluster, steps: &Steps, table: &mut Table) -> Result<()> {
    let (_, formed) = steps.step("three machines: power-on to a formed cluster", |_| {
        cluster.power_on_all()?;
        cluster.wait_all_ready(|_, _| {})
    })?;
    table.seconds("three machines to a formed cluster", "45 s", formed.as_secs_f64());
    steps.step("memory in use on an idle node", |_| {
        table.row(
            "memory in use, idle (MemTotal - MemAvailable)",
            "128 MiB",
            idle_memory(cluster)?,
        );
        Ok(())
    })?;
    steps.step("fleetctl start of a loaded unit", |_| {
        let seconds = median(5, || start_latency(cluster))?;
        table.row(
            "`fleetctl start` of a loaded plain service to active",
            "0.3 s",
            format!("{seconds:.2} s"),
        );
        Ok(())
    })?;
    for (who, leads) in [("that leads the store", true), ("that does not", false)] {
        steps.step(
            &format!("power cut of a machine {who} to its unit active elsewhere"),
            |_| {
                let seconds = move_latency(cluster, leads)?;
                let what = format!("loss of a machine {who}, TTL {TTL_S} s, to its unit active elsewhere");
                table.row(
                    &what,
                    &format!("TTL + 2 s = {} s", TTL_S + 2),
                    format!("{seconds:.1} s"),
                );
                cluster.power_on_all()?;
                cluster.wait_all_ready(|_, _| {})
            },
        )?;
    }
    steps.step(&format!("fleetctl start of {MANY} units at once"), |_| {
        let seconds = start_many(cluster)?;
        let what = format!("{MANY} units by one `fleetctl start` to all active");
        table.row(&what, "", format!("{seconds:.1} s"));
        Ok(())
    })?;
    Ok(())
}

/// The median node, once booting is over: no job is queued any more.
fn idle_memory(cluster: &Cluster) -> Result<String> {
    let command = "until [ -z \"$(systemctl list-jobs --no-legend)\" ]; do sleep 1; done; sleep 10; \
                   while read -r key value _; do case $key in MemTotal:) t=$value;; MemAvailable:) a=$value;; esac; done \
                   </proc/meminfo; echo $((t - a))";
    let mut used = Vec::new();
    for name in cluster.names() {
        let kib: f64 = cluster
            .ssh(&name)?
            .run(command, WITHIN)?
            .trim()
            .parse()
            .context("a number of KiB")?;
        used.push(kib / 1024.0);
    }
    used.sort_by(f64::total_cmp);
    Ok(format!("{:.0} MiB", used[used.len() / 2]))
}

/// Measured on a machine by its own clock, so that SSH's handshake is not in it.
fn start_latency(cluster: &Cluster) -> Result<f64> {
    let fleetctl = Fleetctl::by(cluster, "node1")?;
    let file = unit_file(cluster, "plain.service", PLAIN)?;
    fleetctl.run(&["load", &file])?;
    let timed = "read a _ </proc/uptime; fleetctl start plain.service >/dev/null || exit 1; read b _ </proc/uptime; echo $a $b";
    let times = cluster.run("node1", timed)?;
    let (from, to) = times.trim().split_once(' ').context("two times")?;
    fleetctl.run(&["destroy", "plain.service"])?;
    fleetctl.wait_units("the unit to be gone", WITHIN, |rows| rows.is_empty())?;
    Ok(to.parse::<f64>()? - from.parse::<f64>()?)
}

/// Through the tunnel, whose handshake is in it.
fn start_many(cluster: &Cluster) -> Result<f64> {
    let fleetctl = Fleetctl::by(cluster, "node1")?;
    let file = unit_file(cluster, "many@.service", PLAIN)?;
    fleetctl.run(&["submit", &file])?;
    let names: Vec<String> = (1..=MANY)
        .map(|number| format!("many@{number}.service"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let start = Instant::now();
    fleetctl.run(&[&["start"], &names[..]].concat())?;
    let seconds = start.elapsed().as_secs_f64();
    let active = |rows: &[UnitRow]| rows.iter().filter(|row| row.active == "active").count();
    let there = active(&fleetctl.units()?);
    ensure!(
        there == MANY,
        "{there} of {MANY} are active after fleetctl's success"
    );
    fleetctl.run(&[&["destroy", "many@.service"], &names[..]].concat())?;
    fleetctl.wait_units("the units to be gone", WITHIN, <[_]>::is_empty)?;
    Ok(seconds)
}

/// Every survivor waits inside for the unit to be active there; the first to say so ends the measurement.
fn move_latency(cluster: &mut Cluster, leads: bool) -> Result<f64> {
    let fleetctl = Fleetctl::by(cluster, "node1")?;
    let leader = cluster.run(
        "node1",
        "etcdctl member list | sed -n 's/.*name=\\(node[0-9]*\\).*isLeader=true.*/\\1/p'",
    )?;
    // One unit for each machine, as the scheduler spreads them.
    let units: Vec<String> = (1..=cluster.names().len())
        .map(|n| format!("moving-{n}.service"))
        .collect();
    let mut victim = None;
    for unit in &units {
        let file = unit_file(cluster, unit, PLAIN)?;
        fleetctl.run(&["start", &file])?;
        let at = name_of(cluster, &fleetctl.wait_active(unit, WITHIN)?)?;
        if (at == leader.trim()) == leads {
            victim.get_or_insert((at, unit.clone()));
        }
    }
    let (victim, unit) =
        victim.with_context(|| format!("{leader:?} leads, and no unit is where it should"))?;
    let survivors: Vec<String> = cluster.names().into_iter().filter(|n| *n != victim).collect();
    let (told, hears) = std::sync::mpsc::channel();
    for name in &survivors {
        let (ssh, told, unit) = (cluster.ssh(name)?, told.clone(), unit.clone());
        std::thread::spawn(move || {
            let wait = format!("until systemctl is-active -q {unit}; do sleep 0.1; done");
            if ssh.run(&wait, Duration::from_secs(90)).is_ok() {
                // The first to be told counts; later ones find nobody listening.
                let _ = told.send(Instant::now());
            }
        });
    }
    wait_for_watchers(cluster, &survivors)?;
    let cut = Instant::now();
    cluster.machine_mut(&victim)?.power_cut()?;
    let active = hears
        .recv_timeout(Duration::from_secs(90))
        .context("the unit was never active elsewhere")?;
    let other = Fleetctl::by(cluster, &survivors[0])?;
    let names: Vec<&str> = units.iter().map(String::as_str).collect();
    other.run(&[&["destroy"], &names[..]].concat())?;
    Ok(active.duration_since(cut).as_secs_f64())
}

/// The watchers' sessions must stand before the cut.
fn wait_for_watchers(cluster: &Cluster, names: &[String]) -> Result<()> {
    for name in names {
        let seen = "until pgrep -f 'is-active -q moving' >/dev/null || ps ax | grep -q '[i]s-active -q moving'; do sleep 0.2; done";
        cluster.run(name, seen)?;
    }
    Ok(())
}

/// The image built again from a program that differs in one byte, everything else in the builder's cache.
fn rebuild(vm: &Path, dir: &Path) -> Result<f64> {
    let folder = std::path::absolute(dir)?;
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let original = std::fs::read(vm.with_file_name("corten")).context("reading the product's program")?;
    let build = |ending: &[u8], name: &str| -> Result<f64> {
        let binary: PathBuf = folder.join(name);
        std::fs::write(&binary, [&original[..], ending].concat())?;
        let start = Instant::now();
        let status = Command::new(vm.with_file_name("corten-image"))
            .args(["build", "--out"])
            .arg(folder.join("image"))
            .arg("--binary")
            .arg(&binary)
            .stdout(Stdio::null())
            .status()
            .context("running corten-image")?;
        ensure!(status.success(), "corten-image ended with {status}");
        Ok(start.elapsed().as_secs_f64())
    };
    build(b"warm", "corten-warm")?;
    let seconds = build(b"changed", "corten-changed")?;
    std::fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    Ok(seconds)
}
