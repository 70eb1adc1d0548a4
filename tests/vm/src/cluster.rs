//! A cluster of machines from one image: brought up, broken on purpose, left up or taken down. It ends with us, however
//! we end, unless it is left up on purpose ([`crate::state`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use corten_qemu::process::Sweep;
use corten_qemu::{Accel, Control, Machine, Port, Ssh, SwitchConfig, console, ssh};
use serde::{Deserialize, Serialize};

use crate::config::{Node, Shared};
use crate::host::{self, Image, Programs};
use crate::layout::Layout;
use crate::make::{self, Datasource};
use crate::registry::Registry;
use crate::service::Service;
use crate::web_image;

/// How long a machine may take from power to Ready, even when everything is emulated and busy.
pub const READY_WITHIN: Duration = Duration::from_secs(240);
/// How long an ordinary command on a machine may take.
pub const COMMAND_WITHIN: Duration = Duration::from_secs(60);
/// How long an SSH connection of a user may take to come about, in seconds: an emulated machine that is busy is slow.
pub const CONNECT_WITHIN_S: u16 = 30;
/// The web image's name in the registry.
pub const WEB_IMAGE: &str = "paas-monitor";

/// What a cluster is to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// How many machines; 1 to 200.
    pub machines: u8,
    /// Memory of each in MiB.
    pub memory_mib: u32,
    /// Virtual processors of each.
    pub cpus: u8,
    /// Size of each disk in bytes; `None` is the image's own.
    pub disk_bytes: Option<u64>,
    /// How long a silent machine counts as present, in seconds.
    pub agent_ttl_s: u32,
    /// How often the store's leader shows itself, and how long its members bear its silence, in ms.
    pub heartbeat_and_election_ms: (u32, u32),
    /// Boot through UEFI from the disk rather than by the kernel directly.
    pub firmware: bool,
    /// How the machines get their cloud-config.
    pub datasource: Datasource,
    /// Another cloud-config for some machines, by name; `KEY` in it becomes the cluster's public SSH key.
    pub user_data: BTreeMap<String, String>,
    /// Another disk for all machines than the image's.
    pub base_disk: Option<PathBuf>,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            machines: 3,
            memory_mib: 1024,
            cpus: 1,
            disk_bytes: Some(4 << 30),
            agent_ttl_s: 10,
            // More than by default: an emulated machine beside busy ones is slow.
            heartbeat_and_election_ms: (500, 2500),
            firmware: false,
            datasource: Datasource::ConfigDrive,
            user_data: BTreeMap::new(),
            base_disk: None,
        }
    }
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) layout: Layout,
    pub(crate) machines: Vec<Machine>,
    pub(crate) switch: Service,
    pub(crate) registry: Registry,
    pub(crate) sweep: Option<Sweep>,
}

impl Cluster {
    /// Whether a cluster can be made in `dir`, asked before anything takes long: the plan, the host's programs, and that
    /// no other cluster runs there.
    pub fn preflight(plan: &Plan, vm: &Path, dir: &Path) -> Result<()> {
        if plan.machines == 0 || plan.machines > 200 {
            bail!("a cluster has 1 to 200 machines, not {}", plan.machines);
        }
        crate::state::refuse_running(&Layout::new(dir)?)?;
        host::check_tools()?;
        Programs::beside(vm)?;
        if plan.firmware {
            host::firmware()?;
        }
        Ok(())
    }

    /// Makes everything a cluster needs, all machines still off. `vm` is the `corten-vm` program.
    pub fn prepare(plan: &Plan, image: &Image, vm: &Path, dir: &Path) -> Result<Cluster> {
        Cluster::preflight(plan, vm, dir)?;
        let programs = Programs::beside(vm)?;
        let layout = Layout::new(dir)?;
        layout.prepare()?;
        let nodes: Vec<Node> = (1..=plan.machines).map(Node::new).collect();
        let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
        let sweep = Sweep::over(layout.passing(&names)).context("watching over the cluster's files")?;
        link_programs(&layout, &programs)?;
        let ssh_key = ssh::make_key(&layout.key(), "cluster")?;
        let token = format!("cluster-{}", &web_image::digest(ssh_key.as_bytes())[7..19]);
        let shared = Shared {
            token,
            ssh_key,
            agent_ttl_s: plan.agent_ttl_s,
            heartbeat_and_election_ms: plan.heartbeat_and_election_ms,
            nodes,
        };

        let registry = Registry::start(&layout.registry(), &layout.dir().join("registry.log"), 0)?;
        registry.push(WEB_IMAGE, "latest", &web_image::build(&host::static_busybox()?)?)?;
        let mut machines = Vec::new();
        for node in &shared.nodes {
            let parts = make::Parts {
                plan,
                image,
                layout: &layout,
                programs: &programs,
                registry_port: registry.port(),
                shared: &shared,
            };
            machines.push(Machine::new(parts.spec(node)?, &layout.machine(&node.name))?);
        }
        let switch = start_switch(&layout, &programs, &machines)?;
        Ok(Cluster {
            layout,
            machines,
            switch,
            registry,
            sweep: Some(sweep),
        })
    }

    /// Turns on the power of all machines at once.
    pub fn power_on_all(&mut self) -> Result<()> {
        Accel::best(); // the trial, once, before the machines compete
        for machine in &mut self.machines {
            machine.power_on()?;
        }
        Ok(())
    }

    /// The machines' names, in order.
    pub fn names(&self) -> Vec<String> {
        self.machines
            .iter()
            .map(|machine| machine.name().to_owned())
            .collect()
    }

    /// Where everything of it lies.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The switch's control: cut, heal, delay and lose.
    pub fn network(&self) -> Control {
        Control::new(&self.layout.switch_control())
    }

    /// The host's registry.
    pub fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Starts the host's registry again, on its old port with its old data.
    pub fn restart_registry(&mut self) -> Result<()> {
        let port = self.registry.port();
        self.registry.stop()?;
        self.registry = Registry::start(
            &self.layout.registry(),
            &self.layout.dir().join("registry.log"),
            port,
        )?;
        Ok(())
    }

    /// One machine.
    pub fn machine(&self, name: &str) -> Result<&Machine> {
        let found = self.machines.iter().find(|machine| machine.name() == name);
        found.ok_or_else(|| anyhow!("no machine {name:?}; there are {}", self.names().join(", ")))
    }

    /// One machine, to change its power.
    pub fn machine_mut(&mut self, name: &str) -> Result<&mut Machine> {
        let names = self.names().join(", ");
        let found = self.machines.iter_mut().find(|machine| machine.name() == name);
        found.ok_or_else(|| anyhow!("no machine {name:?}; there are {names}"))
    }

    /// How to reach a machine by SSH.
    pub fn ssh(&self, name: &str) -> Result<Ssh> {
        let port = self
            .machine(name)?
            .ssh_port()
            .ok_or_else(|| anyhow!("{name} was never started"))?;
        let (key, known_hosts) = (self.layout.key(), self.layout.known_hosts());
        Ok(Ssh {
            user: "core".to_owned(),
            port,
            key,
            known_hosts,
        })
    }

    /// Runs a command on a machine; it must succeed. Returns its standard output.
    pub fn run(&self, name: &str, command: &str) -> Result<String> {
        self.ssh(name)?
            .run(command, COMMAND_WITHIN)
            .with_context(|| format!("on {name}"))
    }

    /// Waits until a machine answers over SSH at all.
    pub fn wait_reachable(&self, name: &str) -> Result<()> {
        self.ssh(name)?
            .wait_for(&format!("{name} to answer over SSH"), "true", READY_WITHIN)?;
        Ok(())
    }

    /// Waits until a machine is Ready: its supervisor has joined a formed cluster and registered.
    pub fn wait_ready(&self, name: &str) -> Result<()> {
        // One session that waits inside the machine: under emulation each new session costs it a second.
        let wait = "until systemctl is-active --quiet corten.service; do sleep 0.2; done";
        self.ssh(name)?
            .wait_for(&format!("{name} to be Ready"), wait, READY_WITHIN)?;
        Ok(())
    }

    /// Waits until all machines are Ready; tells each one's time as it comes.
    pub fn wait_all_ready(&self, told: impl Fn(&str, Duration) + Sync) -> Result<()> {
        let start = Instant::now();
        let names = self.names();
        std::thread::scope(|scope| {
            let waiting: Vec<_> = names
                .iter()
                .map(|name| {
                    let told = &told;
                    scope.spawn(move || self.wait_ready(name).map(|()| told(name, start.elapsed())))
                })
                .collect();
            waiting.into_iter().try_for_each(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(anyhow!("waiting for a machine panicked")))
            })
        })
    }

    /// What no healthy machine says on its console, by machine.
    pub fn findings(&self) -> Vec<(String, console::Finding)> {
        let of = |machine: &Machine| {
            let name = machine.name().to_owned();
            console::check(&machine.console())
                .into_iter()
                .map(move |finding| (name.clone(), finding))
        };
        self.machines.iter().flat_map(of).collect()
    }

    /// Writes each reachable machine's journal beside its console's log, for whoever asks what happened.
    pub fn save_journals(&self) {
        for machine in self.machines.iter().filter(|machine| machine.is_running()) {
            let path = self.layout.journals().join(format!("{}.txt", machine.name()));
            let journal = self.ssh(machine.name()).and_then(|ssh| {
                Ok(ssh.run("sudo journalctl --no-pager -o short-monotonic", COMMAND_WITHIN)?)
            });
            let text = journal.unwrap_or_else(|error| format!("no journal: {error:#}\n"));
            if let Err(error) = std::fs::write(&path, text) {
                eprintln!("cannot write {}: {error}", path.display());
            }
        }
    }

    /// Ends every machine and helper, and removes what passes.
    pub fn down(mut self) -> Result<()> {
        let mut result = Ok(());
        for machine in &mut self.machines {
            result = result.and(
                machine
                    .power_cut()
                    .with_context(|| format!("ending {}", machine.name())),
            );
        }
        result = result.and(self.switch.stop()).and(self.registry.stop());
        let names = self.names();
        match self.sweep.take() {
            Some(sweep) => drop(sweep),
            None => drop(Sweep::over(self.layout.passing(&names))?),
        }
        result
    }
}

/// The product's clients under the names they answer to.
fn link_programs(layout: &Layout, programs: &Programs) -> Result<()> {
    for name in ["fleetctl", "etcdctl"] {
        std::os::unix::fs::symlink(&programs.corten, layout.bin().join(name))
            .with_context(|| format!("linking {name} in {}", layout.bin().display()))?;
    }
    Ok(())
}

fn start_switch(layout: &Layout, programs: &Programs, machines: &[Machine]) -> Result<Service> {
    let port = |machine: &Machine| Port {
        name: machine.name().to_owned(),
        socket: machine.folder().join(corten_qemu::args::link_socket(0)),
    };
    let config = SwitchConfig {
        ports: machines.iter().map(port).collect(),
        control: layout.switch_control(),
        seed: 1,
    };
    let path = layout.switch_config();
    std::fs::write(&path, serde_json::to_vec_pretty(&config)?)
        .with_context(|| format!("writing {}", path.display()))?;
    let control = Control::new(&layout.switch_control());
    let args = ["switch".as_ref(), path.as_os_str()];
    Service::start(
        &programs.vm,
        &args,
        layout.dir(),
        &layout.dir().join("switch.log"),
        || control.counts().map(drop).map_err(|error| error.to_string()),
    )
}
