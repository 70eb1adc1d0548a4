//! What one machine of a cluster is made of: its boot, its disks, its cards, and the way its cloud-config reaches it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use corten_qemu::{Boot, Disk, FwCfg, GuestForward, Link, Spec, UserNet, disk, volume};
use serde::{Deserialize, Serialize};

use crate::cluster::Plan;
use crate::config::{self, Node, REGISTRY, Shared};
use crate::host::{self, Image, Programs};
use crate::layout::Layout;

/// Where the machines find the host's server of cloud-configs, on QEMU's user network.
const USER_DATA_SERVER: &str = "10.0.2.101:80";

/// How a machine gets its cloud-config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Datasource {
    /// A volume labelled `config-2`, with the machine's network beside it.
    ConfigDrive,
    /// QEMU's firmware configuration device.
    FwCfg,
    /// `cloud-config-url=` on the kernel's command line.
    Url {
        /// The port on 127.0.0.1 that serves `/NAME`.
        port: u16,
    },
}

/// What the machines of a cluster have in common.
#[derive(Debug)]
pub struct Parts<'a> {
    /// What the cluster is to be.
    pub plan: &'a Plan,
    /// What they boot.
    pub image: &'a Image,
    /// Where their files lie.
    pub layout: &'a Layout,
    /// The programs of the host.
    pub programs: &'a Programs,
    /// Where the registry listens on 127.0.0.1.
    pub registry_port: u16,
    /// What their cloud-configs share.
    pub shared: &'a Shared,
}

impl Parts<'_> {
    /// One machine; its disks are made.
    pub fn spec(&self, node: &Node) -> Result<Spec> {
        let base = self.plan.base_disk.clone().unwrap_or_else(|| self.image.disk());
        let root = disk::overlay(&base, &self.own(node, "qcow2"), self.plan.disk_bytes)?;
        let disks = std::iter::once(root).chain(self.config_drive(node)?);
        Ok(Spec {
            name: node.name.clone(),
            cpus: self.plan.cpus,
            memory_mib: self.plan.memory_mib,
            boot: self.boot(node)?,
            disks: disks.collect(),
            links: vec![Link { mac: node.link_mac() }],
            user_net: Some(UserNet {
                mac: node.user_mac(),
                ssh_port: 0,
                forwards: self.forwards(),
            }),
            fw_cfg: self.fw_cfg(node)?,
            second_serial: false,
            accel: None,
        })
    }

    fn own(&self, node: &Node, suffix: &str) -> PathBuf {
        self.layout.disks().join(format!("{}.{suffix}", node.name))
    }

    fn user_data(&self, node: &Node) -> String {
        match self.plan.user_data.get(&node.name) {
            Some(text) => text.replace("KEY", &self.shared.ssh_key),
            None => config::cloud_config(self.shared, node),
        }
    }

    fn config_drive(&self, node: &Node) -> Result<Option<Disk>> {
        if self.plan.datasource != Datasource::ConfigDrive {
            return Ok(None);
        }
        let file = |name: &str, text: String| (format!("openstack/latest/{name}"), text.into_bytes());
        let files = BTreeMap::from([
            file("user_data", self.user_data(node)),
            file("network_data.json", config::network_data(node)),
        ]);
        Ok(Some(volume::fat(&self.own(node, "config"), "config-2", &files)?))
    }

    fn fw_cfg(&self, node: &Node) -> Result<Vec<FwCfg>> {
        if self.plan.datasource != Datasource::FwCfg {
            return Ok(vec![]);
        }
        let file = self.own(node, "user_data");
        std::fs::write(&file, self.user_data(node)).with_context(|| format!("writing {}", file.display()))?;
        let name = "opt/org.corten/user_data".to_owned();
        Ok(vec![FwCfg { name, file }])
    }

    fn forwards(&self) -> Vec<GuestForward> {
        let forward = |guest: &str, port: u16| GuestForward {
            guest: guest.to_owned(),
            command: vec![
                self.programs.vm.display().to_string(),
                "forward".to_owned(),
                format!("127.0.0.1:{port}"),
            ],
        };
        let mut forwards = vec![forward(REGISTRY, self.registry_port)];
        if let Datasource::Url { port } = self.plan.datasource {
            forwards.push(forward(USER_DATA_SERVER, port));
        }
        forwards
    }

    fn boot(&self, node: &Node) -> Result<Boot> {
        let asks = matches!(self.plan.datasource, Datasource::Url { .. });
        if self.plan.firmware {
            if asks {
                bail!("the unified kernel image has its command line built in: a URL needs a direct boot");
            }
            let (code, template) = host::firmware()?;
            let vars = self.own(node, "vars.fd");
            std::fs::copy(&template, &vars).with_context(|| format!("copying {}", template.display()))?;
            return Ok(Boot::Firmware { code, vars });
        }
        let mut cmdline = self.image.cmdline()?;
        if asks {
            cmdline += &format!(" cloud-config-url=http://{USER_DATA_SERVER}/{}", node.name);
        }
        Ok(Boot::Kernel {
            kernel: self.image.kernel(),
            initrd: self.image.initramfs(),
            cmdline,
        })
    }
}
