//! A formed cluster of three, used and broken: its stores, its clients, its losses. The tests share the machines.

mod docker;
mod faults;
mod finding;
mod fleet;
mod store;

use std::time::Duration;

use anyhow::Result;
use corten_vm::Cluster;
use corten_vm::rig::SharedCluster;

const VM: &str = env!("CARGO_BIN_EXE_corten-vm");
const NODES: [&str; 3] = ["node1", "node2", "node3"];
const SOON: Duration = Duration::from_secs(90);

static CLUSTER: SharedCluster = SharedCluster::new("cluster");

fn cluster(test: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    CLUSTER.test(VM, test)
}
