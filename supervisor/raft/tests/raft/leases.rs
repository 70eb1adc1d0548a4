//! v3's leases: what a leader says of them, and what becomes of those whose end is refused.

use std::time::Duration;

use corten_store::alarm::{Alarm, Change, Kind};
use corten_store::kv::{self, LeaseId};
use corten_store::{Command, Response};

use crate::common::{Cluster, PATIENCE, put_stubbornly, until};
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

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_does_not_say_that_its_successors_lease_is_none() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    put_stubbornly(cluster.node(0), "/k", "v").await;
    let old = cluster.leader().await;
    grant(cluster.node(old), 7, 60).await;
    assert!(matches!(cluster.lessor(old).left(7).await, Ok(Some(59..=60))));

    cluster.cut_off(old);
    let other = cluster.node((old + 1) % 3).clone();
    until("another one leads", || {
        let leader = other.status().leader_id;
        leader != 0 && leader != cluster.id(old)
    })
    .await;
    put_stubbornly(&other, "/of-the-new-leader", "v").await;
    grant(&other, 8, 60).await;
    assert_eq!(
        cluster.node(old).status().leader_id,
        cluster.id(old),
        "it still believes that it leads"
    );
    let lessor = cluster.lessor(old).clone();
    let mut asked = tokio::spawn(async move { lessor.left(8).await });
    let at_once = tokio::time::timeout(Duration::from_millis(500), &mut asked).await;
    assert!(at_once.is_err(), "{at_once:?}: whom has it asked?");

    cluster.links.heal();
    let left = tokio::time::timeout(PATIENCE, asked).await.unwrap().unwrap();
    assert!(matches!(left, Ok(Some(50..=60))), "{left:?}");
    cluster.stop_all().await;
}
