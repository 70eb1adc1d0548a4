//! The v3 face over sockets, a real store behind it: held against a real etcd's answers, and driven by Debian's etcdctl.
#![allow(clippy::unwrap_used)]

mod bounds;
mod etcdctl;
mod figures;
mod leases;
mod services;
mod transcript;
mod users;
mod watches;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use corten_etcd_api::etcdserverpb::kv_client::KvClient;
use corten_etcd_api::etcdserverpb::{PutRequest, RangeRequest};
use corten_raft::lessor::Lessor;
use corten_watch::v3::Hub;
use tonic::transport::Channel;

use super::V3;
use crate::metrics::Metrics;
use crate::settings::Limits;
use crate::testing::Machine;

/// The machines' TTL.
const TTL: Duration = Duration::from_secs(30);

/// The services of a machine's node, without a wire in between.
fn services(machine: &Machine) -> V3 {
    let node = machine.supervisor.as_ref().unwrap().node.clone();
    let (watches, _) = Hub::begin(&node).unwrap();
    let (lessor, _) = Lessor::new(node.clone());
    let metrics = Metrics::new(0).unwrap();
    V3::new(node, watches, lessor, Limits::default(), Arc::default(), metrics)
}

/// An HTTP/2 connection of its own.
pub async fn connect(to: SocketAddr) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{to}")).unwrap();
    endpoint.connect().await.unwrap()
}

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..PutRequest::default()
    }
}

/// Whether a key is there, by a linearizable read.
async fn is_there(kv: &mut KvClient<Channel>, key: &str) -> bool {
    let range = RangeRequest {
        key: key.to_owned().into(),
        count_only: true,
        ..RangeRequest::default()
    };
    kv.range(range).await.unwrap().into_inner().count == 1
}
