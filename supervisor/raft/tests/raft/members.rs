//! Members come, go, move and are promoted while clients write.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{Cluster, put, put_stubbornly, set, until, value};
use corten_raft::{MemberChange, MemberError, Node, new_member_id};

/// The id of the member at a place, once it runs.
fn id(cluster: &Cluster, at: usize) -> u64 {
    cluster.node(at).status().member_id
}

fn is_voter(cluster: &Cluster, by: usize, id: u64) -> bool {
    cluster
        .node(by)
        .members()
        .iter()
        .any(|member| member.id == id && !member.learner)
}

/// Adds the member at `at` through any node, and starts it.
async fn add(cluster: &mut Cluster, at: usize, learner: bool) -> u64 {
    let peer_urls = vec![format!("http://{}", cluster.addresses[at])];
    let id = new_member_id(&peer_urls, "etcd-cluster", at as u64);
    let change = MemberChange::Add {
        id,
        peer_urls,
        learner,
    };
    cluster.node(0).change_members(change).await.unwrap();
    cluster.join(at).await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_that_is_removed_before_it_was_reached_finds_out() {
    let mut cluster = Cluster::new(2, |_| {}).await;
    cluster.start_of(0, 1).await;
    put(cluster.node(0), "/before", "v").await;
    let peer_urls = vec![format!("http://{}", cluster.addresses[1])];
    let id = new_member_id(&peer_urls, "etcd-cluster", 1);
    let learner = true;
    let add = MemberChange::Add {
        id,
        peer_urls,
        learner,
    };
    cluster.node(0).change_members(add).await.unwrap();
    let mut config = cluster.config(1);
    config.existing = true;
    // Nobody serves its peers' routes.
    let unreached = Node::start(config).await.unwrap();
    let remove = MemberChange::Remove { id };
    cluster.node(0).change_members(remove).await.unwrap();
    let why = tokio::time::timeout(crate::common::PATIENCE, unreached.failed())
        .await
        .unwrap();
    assert!(why.contains("permanently removed"), "{why}");
    unreached.shutdown().await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_that_does_not_live_is_not_promoted() {
    let mut cluster = Cluster::new(2, |_| {}).await;
    cluster.start_of(0, 1).await;
    put(cluster.node(0), "/before", "v").await;
    let id = add(&mut cluster, 1, true).await;
    until("the learner has caught up", || {
        value(cluster.node(1), "/before").is_some()
    })
    .await;
    cluster.stop(1).await;
    let promote = MemberChange::Promote { id };
    assert_eq!(
        cluster.node(0).change_members(promote).await,
        Err(MemberError::NotReady)
    );
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_becomes_three_without_a_pause_and_two_again() {
    let mut cluster = Cluster::new(3, |_| {}).await;
    cluster.start_of(0, 1).await;
    put(cluster.node(0), "/before", "v").await;
    let peer_urls = vec![format!("http://{}", cluster.addresses[1])];
    let second = new_member_id(&peer_urls, "etcd-cluster", 1);
    let change = MemberChange::Add {
        id: second,
        peer_urls,
        learner: false,
    };
    cluster.node(0).change_members(change.clone()).await.unwrap();
    put(cluster.node(0), "/not-started-yet", "v").await;
    assert_eq!(
        cluster.node(0).change_members(change).await,
        Err(MemberError::IdExists)
    );
    cluster.join(1).await;
    until("the second votes", || is_voter(&cluster, 0, second)).await;
    let third = add(&mut cluster, 2, false).await;
    until("the third votes", || is_voter(&cluster, 0, third)).await;
    for at in 0..3 {
        put_stubbornly(cluster.node(at), &format!("/by-{at}"), "v").await;
    }
    until("the third has what was there before it", || {
        value(cluster.node(2), "/before").is_some() && value(cluster.node(2), "/by-1").is_some()
    })
    .await;
    let gone = cluster.node(2).clone();
    let remove = MemberChange::Remove { id: third };
    cluster.node(1).change_members(remove.clone()).await.unwrap();
    assert_eq!(
        cluster.node(0).change_members(remove).await,
        Err(MemberError::Removed)
    );
    let why = tokio::time::timeout(crate::common::PATIENCE, gone.failed())
        .await
        .unwrap();
    assert!(why.contains("permanently removed"), "{why}");
    assert_eq!(cluster.node(0).members().len(), 2);
    put_stubbornly(cluster.node(0), "/after", "v").await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_stays_one_until_it_is_promoted() {
    let mut cluster = Cluster::new(2, |_| {}).await;
    cluster.start_of(0, 1).await;
    put(cluster.node(0), "/k", "v").await;
    let learner = add(&mut cluster, 1, true).await;
    until("the learner follows", || value(cluster.node(1), "/k").is_some()).await;
    assert!(!is_voter(&cluster, 0, learner));
    let promote = MemberChange::Promote { id: learner };
    cluster.node(1).change_members(promote.clone()).await.unwrap();
    until("it votes", || is_voter(&cluster, 0, learner)).await;
    assert_eq!(
        cluster.node(0).change_members(promote).await,
        Err(MemberError::NotLearner)
    );
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_can_be_removed_and_the_living_not_below_a_majority() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    put(cluster.node(0), "/k", "v").await;
    let leader = cluster.leader().await;
    let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
    let asks = cluster.node(others[0]).clone();
    let unknown = asks.change_members(MemberChange::Remove { id: 77 }).await;
    assert_eq!(unknown, Err(MemberError::NotFound));
    let taken = MemberChange::Update {
        id: id(&cluster, others[0]),
        peer_urls: vec![format!("http://{}", cluster.addresses[others[1]])],
    };
    assert_eq!(asks.change_members(taken).await, Err(MemberError::PeerUrlExists));

    let down = id(&cluster, others[1]);
    cluster.stop(others[1]).await;
    let alive = id(&cluster, others[0]);
    assert_eq!(
        asks.change_members(MemberChange::Remove { id: alive }).await,
        Err(MemberError::TooFewAlive)
    );
    asks.change_members(MemberChange::Remove { id: down })
        .await
        .unwrap();
    put_stubbornly(&asks, "/two-left", "v").await;

    let remove = MemberChange::Remove {
        id: id(&cluster, leader),
    };
    asks.change_members(remove).await.unwrap();
    until("the last one leads alone", || {
        asks.status().leader_id == alive && asks.members().len() == 1
    })
    .await;
    put_stubbornly(&asks, "/one-left", "v").await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_asked_for_a_change_shows_it_once_it_is_made() {
    // Long enough for a member to be out of reach for a while, and still to believe in its leader.
    let mut cluster = Cluster::started(3, |config| config.election_ms = 3000).await;
    put_stubbornly(cluster.node(0), "/k", "v").await;
    let (asked, leader) = (cluster.follower().await, cluster.leader().await);
    until("it has caught up", || value(cluster.node(asked), "/k").is_some()).await;
    cluster.deafen(asked);
    let new = 77;
    let add = MemberChange::Add {
        id: new,
        peer_urls: vec!["http://127.0.0.1:1".to_owned()],
        learner: true,
    };
    let shows = |at: usize| cluster.node(at).members().iter().any(|member| member.id == new);
    let node = cluster.node(asked).clone();
    let changing = tokio::spawn(async move {
        node.change_members(add).await.unwrap();
        node.members().iter().any(|member| member.id == new)
    });
    until("the change is made", || shows(leader)).await;
    assert!(!shows(asked), "it has not heard of it");
    cluster.links.heal();
    assert!(
        changing.await.unwrap(),
        "it was told that the change is made, and shows the old members"
    );
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_members_come_and_go_and_no_acknowledged_write_is_lost() {
    let mut cluster = Cluster::new(4, |_| {}).await;
    cluster.start_of(0, 1).await;
    put(cluster.node(0), "/first", "v").await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8)
        .map(|lane| {
            let (node, stop) = (cluster.node(0).clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for n in 0.. {
                    let key = format!("/load/{lane}/{n}");
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    if node.propose(set(&key, "v")).await.is_ok() {
                        acknowledged.push(key);
                    }
                }
                acknowledged
            })
        })
        .collect();

    let second = add(&mut cluster, 1, false).await;
    until("the second votes", || is_voter(&cluster, 0, second)).await;
    let third = add(&mut cluster, 2, true).await;
    let promote = MemberChange::Promote { id: third };
    until_ok("the third can be promoted", async || {
        cluster.node(0).change_members(promote.clone()).await
    })
    .await;
    let fourth = add(&mut cluster, 3, false).await;
    until("the fourth votes", || is_voter(&cluster, 0, fourth)).await;
    // The same place by another name.
    let SocketAddr::V4(place) = cluster.addresses[2] else {
        panic!("members are on IPv4")
    };
    let moved = MemberChange::Update {
        id: third,
        peer_urls: vec![format!(
            "http://[{}]:{}",
            place.ip().to_ipv6_mapped(),
            place.port()
        )],
    };
    cluster.node(1).change_members(moved).await.unwrap();
    let remove = MemberChange::Remove { id: second };
    cluster.node(0).change_members(remove).await.unwrap();
    cluster.stop(1).await;

    stop.store(true, Ordering::Relaxed);
    let mut count = 0;
    for writer in writers {
        for key in writer.await.unwrap() {
            count += 1;
            until("every acknowledged write is on those who are left", || {
                [0, 2, 3]
                    .iter()
                    .all(|at| value(cluster.node(*at), &key).is_some())
            })
            .await;
        }
    }
    assert!(count > 100, "only {count} writes");
    assert_eq!(cluster.node(0).members().len(), 3);
    cluster.stop_all().await;
}

/// Tries until it works.
async fn until_ok(what: &str, mut act: impl AsyncFnMut() -> Result<(), MemberError>) {
    let deadline = tokio::time::Instant::now() + crate::common::PATIENCE;
    while let Err(why) = act().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}: {why}");
    }
}
