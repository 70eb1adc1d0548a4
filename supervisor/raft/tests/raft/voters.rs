//! A cluster keeps its voters by itself: standbys take the place of those that stay away, and wiped machines join anew.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use crate::common::{Cluster, put, put_stubbornly, until, value};
use corten_raft::{Config, MemberChange, Observation, Observer};

fn soon(config: &mut Config) {
    config.remove_delay_ms = Some(2_000);
}

/// Three founders, and one more that stands by.
async fn three_and_one(adjust: fn(&mut Config)) -> Cluster {
    let mut cluster = Cluster::new(4, adjust).await;
    for at in 0..3 {
        cluster.start_of(at, 3).await;
    }
    put_stubbornly(cluster.node(0), "/first", "v").await;
    cluster.stand_by(3, 3).await;
    until("the standby has what was there before it", || {
        value(cluster.node(3), "/first").is_some()
    })
    .await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_the_place_of_a_voter_that_stays_away() {
    let mut cluster = three_and_one(soon).await;
    let standby = cluster.id(3);
    assert!(!cluster.voters(0).contains(&standby));

    let away = cluster.leader().await;
    let gone = cluster.id(away);
    cluster.stop(away).await;
    let here = (0..3).find(|at| *at != away).unwrap();
    put_stubbornly(cluster.node(here), "/meanwhile", "v").await;
    until("the standby votes in its place", || {
        let voters = cluster.voters(here);
        voters.contains(&standby) && !voters.contains(&gone) && voters.len() == 3
    })
    .await;

    // It is a whole voter: with it, the loss of a second one is borne.
    let second = (0..3).find(|at| *at != away && *at != here).unwrap();
    cluster.stop(second).await;
    put_stubbornly(cluster.node(here), "/with-the-new-one", "v").await;
    cluster.start_of(second, 3).await;

    // Who comes back keeps its data and stands by, and nothing moves because of it.
    cluster.start_of(away, 3).await;
    until("it catches up", || {
        value(cluster.node(away), "/with-the-new-one").is_some()
    })
    .await;
    put_stubbornly(cluster.node(away), "/through-the-one-that-is-back", "v").await;
    assert!(!cluster.voters(here).contains(&gone));
    assert_eq!(cluster.voters(here).len(), 3);
    cluster.stop_all().await;
}

/// How long members have left messages unanswered: of each, the first and the last of them.
#[derive(Debug, Default)]
struct Unanswered(Mutex<BTreeMap<u64, (Instant, Instant)>>);

impl Observer for Unanswered {
    fn observe(&self, seen: Observation) {
        let (mut silent, now) = (self.0.lock().unwrap(), Instant::now());
        match seen {
            Observation::PeerFailed { to } => silent.entry(to).or_insert((now, now)).1 = now,
            Observation::PeerAnswered { to, .. } => drop(silent.remove(&to)),
            _ => {}
        }
    }
}

impl Unanswered {
    fn silent_for(&self, member: u64) -> Duration {
        let silent = self.0.lock().unwrap();
        silent
            .get(&member)
            .map_or(Duration::ZERO, |(first, last)| *last - *first)
    }
}

static UNANSWERED: LazyLock<Arc<Unanswered>> = LazyLock::new(Arc::default);

#[tokio::test(flavor = "multi_thread")]
async fn without_a_standby_a_voter_that_stays_away_keeps_its_place() {
    let watched = |config: &mut Config| {
        config.remove_delay_ms = Some(1);
        config.observer = UNANSWERED.clone();
    };
    let mut cluster = Cluster::started(3, watched).await;
    put_stubbornly(cluster.node(0), "/k", "v").await;
    let away = cluster.follower().await;
    let gone = cluster.id(away);
    cluster.stop(away).await;
    let here = cluster.leader().await;
    // Whoever is silent for three elections is away; the leader looks five times a second.
    let away_for = 6 * Duration::from_millis(cluster.config(here).election_ms);
    until("it has been away for long, and nothing came of that", || {
        assert!(cluster.voters(here).contains(&gone));
        UNANSWERED.silent_for(gone) > away_for
    })
    .await;
    cluster.start(away).await.unwrap();
    put_stubbornly(cluster.node(away), "/back", "v").await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_grows_to_the_size_it_is_told_and_no_further() {
    let mut cluster = Cluster::new(4, |config| config.active_size = Some(3)).await;
    cluster.start_of(0, 1).await;
    put_stubbornly(cluster.node(0), "/k", "v").await;
    for at in 1..4 {
        cluster.stand_by(at, 1).await;
        until("it follows", || value(cluster.node(at), "/k").is_some()).await;
    }
    until("three vote", || cluster.voters(0).len() == 3).await;
    // One that is removed by hand makes room for the one that stood by.
    let removed = *cluster.voters(0).iter().find(|id| **id != cluster.id(0)).unwrap();
    let change = MemberChange::Remove { id: removed };
    cluster.node(0).change_members(change).await.unwrap();
    until("three others vote", || {
        let voters = cluster.voters(0);
        voters.len() == 3 && !voters.contains(&removed)
    })
    .await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_lost_its_data_never_votes_as_the_same_again_but_joins_anew_in_its_place() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    let wiped = cluster.follower().await;
    let leader = cluster.leader().await;
    until("all members have published themselves", || {
        cluster
            .node(leader)
            .members()
            .iter()
            .all(|member| !member.name.is_empty())
    })
    .await;
    put(cluster.node(leader), "/before", "v").await;
    let old = cluster.id(wiped);
    cluster.stop(wiped).await;
    std::fs::remove_dir_all(cluster.data_dir(wiped)).unwrap();
    cluster.start(wiped).await.unwrap();
    let new = cluster.id(wiped);
    assert_ne!(new, old);
    until("it votes in its old place, and what it was is gone", || {
        let members = cluster.node(leader).members();
        cluster.voters(leader).contains(&new)
            && members.len() == 3
            && members.iter().all(|member| member.id != old)
    })
    .await;
    assert!(value(cluster.node(wiped), "/before").is_some());
    // It is a whole voter: one of the others may go.
    let third = (0..3).find(|at| *at != wiped && *at != leader).unwrap();
    cluster.stop(third).await;
    put_stubbornly(cluster.node(wiped), "/with-the-new-one", "v").await;
    // Its configuration still names it as a founder; its directory knows better.
    cluster.stop(wiped).await;
    cluster.start(wiped).await.unwrap();
    assert_eq!(cluster.id(wiped), new);
    put_stubbornly(cluster.node(wiped), "/after-a-restart", "v").await;

    // And once more, now that what it was has been removed for good.
    cluster.start(third).await.unwrap();
    put_stubbornly(cluster.node(third), "/all-there", "v").await;
    cluster.stop(wiped).await;
    std::fs::remove_dir_all(cluster.data_dir(wiped)).unwrap();
    cluster.start(wiped).await.unwrap();
    let newest = cluster.id(wiped);
    assert!(![old, new].contains(&newest));
    until("it votes again", || cluster.voters(leader).contains(&newest)).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lost_its_data_is_not_taken_in_without_a_majority_of_the_others() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    let leader = cluster.leader().await;
    until("all members have published themselves", || {
        cluster.node(leader).members().iter().all(|m| !m.name.is_empty())
    })
    .await;
    let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
    for at in &others {
        cluster.stop(*at).await;
        std::fs::remove_dir_all(cluster.data_dir(*at)).unwrap();
    }
    let config = cluster.config(others[0]);
    let joining = corten_raft::Node::start(config);
    let joined = tokio::time::timeout(Duration::from_secs(10), joining).await;
    match joined {
        Err(_) => {} // it asks on
        // The one that knows it answered late; it takes no part meanwhile.
        Ok(Ok(node)) => assert!(node.failed().await.contains("joins as a new member")),
        Ok(Err(error)) => panic!("{error}"),
    }
    assert!(!corten_raft::has_data(&cluster.data_dir(others[0])));
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_empty_directory_nobody_takes_part_before_a_majority_does_not_know_it() {
    let mut cluster = Cluster::new(3, |_| {}).await;
    // Where the second one will be somebody lets every question go unanswered.
    let silent = TcpListener::bind(cluster.addresses[1]).await.unwrap();
    cluster.start(0).await.unwrap();
    for _ in 0..20 {
        let asked = tokio::time::timeout(crate::common::PATIENCE, silent.accept()).await;
        drop(asked.expect("it asks on").unwrap());
    }
    drop(silent);
    let first = cluster.node(0).status();
    assert_eq!(
        (first.term, first.leader_id),
        (0, 0),
        "it has not even stood for election"
    );
    cluster.start(1).await.unwrap();
    put_stubbornly(cluster.node(1), "/two", "v").await;
    cluster.start(2).await.unwrap();
    put_stubbornly(cluster.node(2), "/three", "v").await;
    until("all members have published themselves", || {
        cluster.node(0).members().iter().all(|m| !m.name.is_empty())
    })
    .await;

    // One loses its data while it sees nobody, and meets the others only later.
    let wiped = cluster.follower().await;
    let old = cluster.id(wiped);
    cluster.stop_all().await;
    std::fs::remove_dir_all(cluster.data_dir(wiped)).unwrap();
    cluster.start(wiped).await.unwrap();
    let lonely = cluster.node(wiped).clone();
    for at in (0..3).filter(|at| *at != wiped) {
        cluster.start(at).await.unwrap();
    }
    let why = tokio::time::timeout(crate::common::PATIENCE, lonely.failed())
        .await
        .unwrap();
    assert!(why.contains("joins as a new member"), "{why}");
    assert_eq!(lonely.status().term, 0);
    cluster.stop(wiped).await;
    cluster.start(wiped).await.unwrap();
    assert_ne!(cluster.id(wiped), old);
    put_stubbornly(cluster.node(wiped), "/again", "v").await;
    cluster.stop_all().await;
}
