//! v3's leases: what a leader says of them, and what becomes of those whose end is refused.

use corten_store::alarm::{Alarm, Change, Kind};
use corten_store::kv::{self, LeaseId};
use corten_store::{Command, Response};

use crate::common::{Cluster, put_stubbornly, until};
use corten_raft::Node;

async fn grant(node: &Node, id: LeaseId, ttl_s: i64) {
    let granted = node
        .propose(Command::Kv(kv::Command::LeaseGrant { id, ttl_s }))
        .await;
    assert!(matches!(granted.unwrap().response, Response::Kv(Ok(_))));
}

fn lives(node: &Node, id: LeaseId) -> bool {
    node.read(|tx| kv::lease(tx, id)).unwrap().is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_is_refused_is_tried_again_until_it_is_not() {
    let mut cluster = Cluster::started(1, |_| {}).await;
    let node = cluster.node(0).clone();
    put_stubbornly(&node, "/k", "v").await;
    let corrupt = Alarm {
        member: node.member_id(),
        kind: Kind::Corrupt,
    };
    grant(&node, 7, 1).await;
    node.propose(Command::Alarm(Change::Activate(corrupt)))
        .await
        .unwrap();
    let alarmed = node.raft_index();
    until("its end was refused, and tried again", || {
        node.raft_index() >= alarmed + 2
    })
    .await;
    assert!(lives(&node, 7));
    node.propose(Command::Alarm(Change::Deactivate(corrupt)))
        .await
        .unwrap();
    until("it has ended", || !lives(&node, 7)).await;
    cluster.stop_all().await;
}
