//! Leadership goes to the member that is asked for, while clients write.

use crate::common::{Cluster, now_ms, put, put_stubbornly, set_until, until, value};
use corten_raft::{MoveLeaderError, Node};
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

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_due_meanwhile_expires_by_the_next_leaders_clock() {
    // Long enough for the target to be out of reach for a while, and still to believe in its leader.
    let mut cluster = Cluster::started(3, |config| config.election_ms = 3000).await;
    put_stubbornly(cluster.node(0), "/k", "v").await;
    until("all members have published themselves", || {
        let published = |node: &Node| node.members().iter().all(|member| !member.name.is_empty());
        cluster.running().all(|(_, node)| published(node))
    })
    .await;
    let (old, next) = (cluster.leader().await, cluster.follower().await);
    let (from, to) = (cluster.id(old), cluster.id(next));
    cluster.links.forget();

    // The target lacks an entry, and the leader waits for it in silence; the key is due, and is looked at twice a second.
    cluster.deafen(next);
    let due_ms = now_ms() + 300;
    let short = set_until("/short", "v", Some(due_ms));
    cluster.node(old).propose(short).await.unwrap();
    let node = cluster.node(old).clone();
    let handing_over = tokio::spawn(async move { node.move_leader(to).await });
    until("the key has been looked at", || now_ms() > due_ms + 1000).await;
    assert!(!handing_over.is_finished() && value(cluster.node(old), "/short").is_some());
    cluster.links.heal();
    handing_over.await.unwrap().unwrap();
    until("the key is gone everywhere", || {
        cluster.running().all(|(_, node)| value(node, "/short").is_none())
    })
    .await;
    let propose = "/corten/raft/v1/propose";
    assert!(
        !cluster.links.has_carried(from, to, propose),
        "what time it was for the old leader"
    );
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_ends_hands_over_first() {
    // Nobody stands for election by itself while this runs.
    let mut cluster = Cluster::started(3, |config| config.election_ms = 20_000).await;
    let first = cluster.leader().await;
    put(cluster.node(first), "/k", "v").await;
    let old = cluster.id(first);
    cluster.node(first).hand_over().await;
    cluster.stop(first).await;
    let leads = |(_, node): (_, &Node)| {
        node.leader()
            .borrow()
            .as_ref()
            .is_some_and(|leader| leader.id != old)
    };
    assert!(
        cluster.running().any(leads),
        "it has ended well, and nobody leads"
    );
    let next = cluster.leader().await;
    put_stubbornly(cluster.node(next), "/k", "w").await;
    cluster.stop_all().await;
}
