//! Whole clusters in one process: forming, forwarding, restarts, snapshots, refusals.

use std::time::Duration;

use crate::common::{Cluster, PATIENCE, put, put_stubbornly, set, until, value};
use corten_raft::{ProposeError, StartError};
use corten_store::keys::{Op, Write};
use corten_store::{Command, Event, Response};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread")]
async fn the_first_user_write_on_a_fresh_node_has_index_4() {
    let mut cluster = Cluster::started(1, |_| {}).await;
    let applied = put(cluster.node(0), "/message", "Hello").await;
    assert_eq!(applied.etcd_index, 4);
    let members = cluster.node(0).members();
    assert_eq!(members.len(), 1);
    assert_eq!(members[0].name, "n0");
    assert_eq!(members[0].client_urls, ["http://client-0:2379"]);
    assert_eq!(members[0].id, cluster.node(0).status().member_id);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_node_takes_writes_and_sees_its_own() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    for at in 0..3 {
        let key = format!("/k{at}");
        put(cluster.node(at), &key, "v").await;
        assert_eq!(
            value(cluster.node(at), &key).as_deref(),
            Some("v"),
            "on the node that took it"
        );
    }
    for at in 0..3 {
        cluster.node(at).linearize().await.unwrap();
        for key in ["/k0", "/k1", "/k2"] {
            assert_eq!(
                value(cluster.node(at), key).as_deref(),
                Some("v"),
                "{key} on node {at}"
            );
        }
    }
    until("all members have published themselves", || {
        cluster
            .node(0)
            .members()
            .iter()
            .filter(|member| !member.name.is_empty())
            .count()
            == 3
    })
    .await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_leader_decided_counts_in_its_term_only() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let node = cluster.node(leader);
    let term = node.leading_term().unwrap();
    node.propose_leading(term, &set("/k", "now")).await.unwrap();
    for other in [term - 1, term + 1] {
        let refused = node.propose_leading(other, &set("/k", "then")).await;
        assert_eq!(refused, Err(ProposeError::NoLeader));
    }
    assert_eq!(value(node, "/k").as_deref(), Some("now"));
    assert_eq!(cluster.node(follower).leading_term(), None);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_proposals_share_log_entries_and_keep_their_answers() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    let node = cluster.node(cluster.follower().await).clone();
    let before = node.status().raft_index;
    let writers: Vec<_> = (0..500)
        .map(|n| {
            let node = node.clone();
            tokio::spawn(async move {
                let applied = put(&node, &format!("/many/{n}"), &n.to_string()).await;
                let Response::Keys(Ok(event)) = applied.response else {
                    panic!()
                };
                assert_eq!(event.node.key, format!("/many/{n}"));
                assert_eq!(event.etcd_index, applied.etcd_index);
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let entries = node.status().raft_index - before;
    assert!(entries < 250, "500 proposals took {entries} entries");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_catches_up_and_all_restart_with_everything() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    let away = cluster.follower().await;
    put(cluster.node(away), "/before", "1").await;
    cluster.stop(away).await;
    let here = cluster.follower().await;
    put_stubbornly(cluster.node(here), "/meanwhile", "2").await;
    cluster.start(away).await.unwrap();
    until("the node that was away has what was written meanwhile", || {
        value(cluster.node(away), "/meanwhile").as_deref() == Some("2")
    })
    .await;
    let index = cluster.node(here).status().etcd_index;
    cluster.stop_all().await;
    for at in 0..3 {
        cluster.start(at).await.unwrap();
    }
    for at in 0..3 {
        cluster.node(at).linearize().await.unwrap();
        assert_eq!(value(cluster.node(at), "/before").as_deref(), Some("1"));
        assert_eq!(value(cluster.node(at), "/meanwhile").as_deref(), Some("2"));
        assert_eq!(
            cluster.node(at).status().etcd_index,
            index,
            "a restart writes nothing of its own"
        );
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leaders_death_loses_nothing() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    let leader = cluster.leader().await;
    for n in 0..20 {
        put(cluster.node(leader), &format!("/n{n}"), "v").await;
    }
    cluster.stop(leader).await;
    let other = cluster.follower().await;
    put_stubbornly(cluster.node(other), "/after", "v").await;
    for n in 0..20 {
        assert_eq!(
            value(cluster.node(other), &format!("/n{n}")).as_deref(),
            Some("v"),
            "/n{n}"
        );
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_far_behind_gets_a_snapshot() {
    let mut cluster = Cluster::started(3, |config| {
        (config.snapshot_count, config.keep_entries, config.segment_bytes) = (20, 5, 4096);
    })
    .await;
    let away = cluster.follower().await;
    cluster.stop(away).await;
    let here = cluster.follower().await;
    for n in 0..120 {
        put_stubbornly(
            cluster.node(here),
            &format!("/dir/{n}"),
            &n.to_string().repeat(100),
        )
        .await;
    }
    let leader = cluster.leader().await;
    let snap = cluster.data_dir(leader).join("snap");
    until("the leader has a snapshot", || {
        std::fs::read_dir(&snap)
            .unwrap()
            .flatten()
            .any(|e| e.file_name().to_string_lossy().ends_with(".snap"))
    })
    .await;
    let segments = || {
        let mut names: Vec<_> = std::fs::read_dir(cluster.data_dir(leader).join("log"))
            .unwrap()
            .flatten()
            .map(|e| e.file_name())
            .collect();
        names.sort();
        names
    };
    until("the leader has purged its first log segments", || {
        !segments()[0].to_string_lossy().ends_with("0001.log")
    })
    .await;
    cluster.start(away).await.unwrap();
    let mut events = cluster.node(away).events();
    until("the node that was away has the last key", || {
        value(cluster.node(away), "/dir/119").is_some()
    })
    .await;
    let mut reset = false;
    while let Ok(batch) = events.try_recv() {
        reset |= batch.reset;
    }
    assert!(reset, "it came by snapshot, and watchers were told");
    assert_eq!(
        cluster.node(away).status().etcd_index,
        cluster.node(leader).status().etcd_index
    );
    // The log now begins behind the snapshot; so it must after a restart.
    cluster.stop(away).await;
    cluster.start(away).await.unwrap();
    put_stubbornly(cluster.node(away), "/last", "v").await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_another_boot_is_made_anew_from_snapshot_and_log() {
    let mut cluster =
        Cluster::started(1, |config| (config.snapshot_count, config.keep_entries) = (30, 5)).await;
    for n in 0..100 {
        put(cluster.node(0), &format!("/k{n}"), "v").await;
    }
    let index = cluster.node(0).status().etcd_index;
    cluster.stop_all().await;
    std::fs::write(cluster.data_dir(0).join("state.mark"), "another-boot\n").unwrap();
    std::fs::write(cluster.data_dir(0).join("state/data.mdb"), [0xa5; 20_000]).unwrap();
    cluster.start(0).await.unwrap();
    cluster.node(0).linearize().await.unwrap();
    assert_eq!(cluster.node(0).status().etcd_index, index);
    for n in 0..100 {
        assert_eq!(
            value(cluster.node(0), &format!("/k{n}")).as_deref(),
            Some("v"),
            "/k{n}"
        );
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_writes_and_linearizable_reads_fail_and_local_reads_go_on() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    put(cluster.node(0), "/k", "v").await;
    let kept = cluster.leader().await;
    for at in (0..3).filter(|at| *at != kept) {
        cluster.stop(at).await;
    }
    let refused = cluster.node(kept).propose(set("/k", "w")).await.unwrap_err();
    assert!(
        matches!(refused, ProposeError::Timeout | ProposeError::NoLeader),
        "{refused}"
    );
    let refused = cluster.node(kept).linearize().await.unwrap_err();
    assert!(
        matches!(refused, ProposeError::Timeout | ProposeError::NoLeader),
        "{refused}"
    );
    assert!(value(cluster.node(kept), "/k").is_some());
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_expire_on_every_node_and_watchers_are_told_in_order() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    put(cluster.node(0), "/first", "v").await;
    let follower = cluster.follower().await;
    // The leader acknowledged it; the follower may still be about to apply it.
    until("the follower has the first key", || {
        value(cluster.node(follower), "/first").is_some()
    })
    .await;
    let mut events = cluster.node(follower).events();
    let now_ms = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64;
    let op = Op::Set {
        dir: false,
        value: "v".to_owned(),
        expire_ms: Some(now_ms + 300),
        refresh: false,
    };
    let write = Command::Keys(Write {
        key: "/short".to_owned(),
        op,
        now_ms,
    });
    cluster.node(follower).propose(write).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let batch = tokio::time::timeout(PATIENCE, events.recv())
            .await
            .expect("the key expires")
            .unwrap();
        for event in &batch.events {
            if let Event::Key(notice) = event {
                seen.push((notice.event.action.as_str(), notice.event.node.key.clone()));
            }
        }
    }
    assert_eq!(
        seen,
        [("set", "/short".to_owned()), ("expire", "/short".to_owned())]
    );
    for at in 0..3 {
        until("the key is gone on every node", || {
            value(cluster.node(at), "/short").is_none()
        })
        .await;
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_belong_together_is_refused() {
    let mut cluster = Cluster::started(1, |_| {}).await;
    let in_use = cluster.start(0).await.unwrap_err();
    assert!(matches!(in_use, StartError::InUse(_)), "{in_use}");
    put(cluster.node(0), "/k", "v").await;
    let big = cluster
        .node(0)
        .propose(set("/big", &"x".repeat(11 << 20)))
        .await
        .unwrap_err();
    assert!(matches!(big, ProposeError::TooLarge { .. }), "{big}");
    let node = cluster.node(0).clone();
    cluster.stop_all().await;
    assert!(matches!(
        node.propose(set("/k", "w")).await.unwrap_err(),
        ProposeError::Stopped(_)
    ));
    let mut config = cluster.config(0);
    config.initial_cluster_token = "another".to_owned();
    let other = corten_raft::Node::start(config)
        .await
        .err()
        .expect("another cluster's data directory");
    assert!(matches!(other, StartError::OtherCluster { .. }), "{other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_bounded_in_bytes() {
    let mut cluster = Cluster::started(3, |config| config.waiting_bytes = 4 << 20).await;
    put_stubbornly(cluster.node(0), "/k", "v").await;
    let leader = cluster.leader().await;
    let node = cluster.node(leader).clone();
    cluster.cut_off(leader);
    let (text, key) = ("x".repeat(1 << 20), |n: usize| format!("/big/{n}"));
    let mut proposing = JoinSet::new();
    for n in 0..32 {
        let (node, write) = (node.clone(), set(&key(n), &text));
        proposing.spawn(async move { node.propose(write).await });
    }
    // Three fit, with what is around them; the others are told at once, and not after the time a request has.
    for _ in 0..29 {
        let refused = tokio::time::timeout(Duration::from_secs(4), proposing.join_next()).await;
        let refused = refused.expect("told at once").unwrap().unwrap();
        assert_eq!(refused, Err(ProposeError::TooMany));
    }
    let small = node.propose(set("/small", "v"));
    assert!(
        tokio::time::timeout(Duration::from_millis(100), small)
            .await
            .is_err(),
        "there is room for it"
    );
    cluster.links.heal();
    while let Some(ended) = proposing.join_next().await {
        let ended = ended.unwrap();
        assert!(!matches!(ended, Err(ProposeError::TooMany)), "{ended:?}");
    }
    for n in 32..36 {
        put_stubbornly(&node, &key(n), &text).await;
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_reaches_the_leader_from_any_node() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    let follower = cluster.follower().await;
    let leader = cluster.leader().await;
    let answer = cluster
        .node(follower)
        .post_to_leader("/corten/raft/v1/read-index", Vec::new())
        .await
        .unwrap();
    assert!(!answer.is_empty());
    let me = cluster
        .node(leader)
        .post_to_leader("/x", Vec::new())
        .await
        .unwrap_err();
    assert_eq!(me, corten_raft::PeerError::IsMe);
    let missing = cluster
        .node(follower)
        .post_to_leader("/missing", Vec::new())
        .await
        .unwrap_err();
    assert!(
        matches!(
            missing,
            corten_raft::PeerError::Asked(corten_raft::AskError::Status { status: 404, .. })
        ),
        "{missing}"
    );
    tokio::time::timeout(Duration::from_secs(60), cluster.stop_all())
        .await
        .expect("nodes stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_is_none() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    put_stubbornly(cluster.node(0), "/k", "v").await;
    let old = cluster.leader().await;
    let has_leader = |at: usize| *cluster.node(at).has_leader().borrow();
    until("all have a leader", || (0..3).all(has_leader)).await;
    cluster.cut_off(old);
    until("the one that is cut off has none", || !has_leader(old)).await;
    assert_eq!(cluster.node(old).status().leader_id, 0, "though Raft says so");
    let others = [(old + 1) % 3, (old + 2) % 3];
    until("the others have another one", || {
        let led = |at: usize| has_leader(at) && cluster.node(at).status().leader_id != cluster.id(old);
        others.into_iter().all(led)
    })
    .await;
    cluster.links.heal();
    until("all have a leader again", || (0..3).all(has_leader)).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_a_majority_knows_since_when() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    let leader = cluster.leader().await;
    put(cluster.node(leader), "/k", "v").await;
    let led_ago = |cluster: &Cluster| cluster.node(leader).led_ago();
    until("it is followed", || {
        led_ago(&cluster).is_some_and(|ago| ago < Duration::from_millis(500))
    })
    .await;
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    for other in others {
        assert_eq!(cluster.node(other).led_ago(), None);
        cluster.stop(other).await;
    }
    until("it was followed long ago, or leads no more", || {
        led_ago(&cluster).is_none_or(|ago| ago > Duration::from_secs(2))
    })
    .await;
    cluster.stop_all().await;
}
