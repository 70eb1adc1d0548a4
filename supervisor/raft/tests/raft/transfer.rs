//! Leadership goes to the member that is asked for, while clients write.

use crate::common::{Cluster, put, until, value};
use corten_raft::MoveLeaderError;
use tokio::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn each_leads_in_turn_and_no_write_is_lost() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    let first = cluster.leader().await;
    put(cluster.node(first), "/k", "v").await;
    let id = |cluster: &Cluster, at: usize| cluster.node(at).member_id();
    let follower = cluster.follower().await;
    let from_follower = cluster.node(follower).move_leader(id(&cluster, first)).await;
    assert_eq!(from_follower, Err(MoveLeaderError::NotLeader));
    let nobody = cluster.node(first).move_leader(7).await;
    assert_eq!(nobody, Err(MoveLeaderError::BadTarget));
    let itself = cluster.node(first).move_leader(id(&cluster, first)).await;
    assert_eq!(itself, Ok(()));

    let mut now = first;
    for round in 0..3 {
        let next = (now + 1) % 3;
        let node = cluster.node(now).clone();
        let writing = tokio::spawn(async move { put(&node, &format!("/round-{round}"), "v").await });
        let begun = Instant::now();
        cluster.node(now).move_leader(id(&cluster, next)).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
        assert_eq!(cluster.leader().await, next);
        writing.await.unwrap();
        let key = format!("/round-{round}");
        until("all have the write", || {
            cluster.running().all(|(_, node)| value(node, &key).is_some())
        })
        .await;
        now = next;
    }
    cluster.stop_all().await;
}
