//! Leases: never early, surely at last, wherever the leader is.

use std::time::{Duration, Instant};

use corten_etcd_api::etcdserverpb::kv_client::KvClient;
use corten_etcd_api::etcdserverpb::lease_client::LeaseClient;
use corten_etcd_api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest, PutRequest,
};
use futures_util::stream;
use tonic::transport::Channel;

use super::{TTL, connect, is_there, put};
use crate::testing::{self, until};

async fn grant(channel: Channel, ttl: i64) -> i64 {
    let grant = LeaseGrantRequest { ttl, id: 0 };
    let granted = LeaseClient::new(channel)
        .lease_grant(grant)
        .await
        .unwrap()
        .into_inner();
    assert!(granted.id > 0 && granted.ttl == ttl.max(2));
    granted.id
}

async fn keep_alive(channel: Channel, id: i64) -> i64 {
    let requests = stream::iter([LeaseKeepAliveRequest { id }]);
    let answers = LeaseClient::new(channel)
        .lease_keep_alive(requests)
        .await
        .unwrap();
    answers.into_inner().message().await.unwrap().unwrap().ttl
}

/// Waits until a key is gone.
async fn gone(kv: &KvClient<Channel>, key: &str) {
    until("the key goes with its lease", || {
        let mut kv = kv.clone();
        async move { (!is_there(&mut kv, key).await).then_some(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_lives_as_long_as_its_owner() {
    let mut machines = testing::cluster(1, TTL).await;
    let channel = connect(machines[0].clients).await;
    let mut kv = KvClient::new(channel.clone());
    let begun = Instant::now();
    let (kept, lost) = (grant(channel.clone(), 2).await, grant(channel.clone(), 1).await);
    for (key, lease) in [("kept", kept), ("lost", lost)] {
        let put = PutRequest {
            lease,
            ..put(key, "v")
        };
        kv.put(put).await.unwrap();
    }
    let keeping = {
        let channel = channel.clone();
        tokio::spawn(async move {
            loop {
                assert_eq!(keep_alive(channel.clone(), kept).await, 2);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        })
    };
    gone(&kv, "lost").await;
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(is_there(&mut kv, "kept").await);
    assert_eq!(keep_alive(channel.clone(), lost).await, 0);
    let ask = LeaseTimeToLiveRequest { id: kept, keys: true };
    let left = LeaseClient::new(channel.clone())
        .lease_time_to_live(ask)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((left.granted_ttl, left.keys), (2, vec!["kept".into()]));
    assert!(!keeping.is_finished(), "it was kept alive all the time");
    keeping.abort();
    gone(&kv, "kept").await;
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_pass_on_and_a_new_leader_begins_anew() {
    const SECONDS: i64 = 4;
    let mut machines = testing::cluster(3, TTL).await;
    let leads = |machine: &testing::Machine| {
        let node = &machine.supervisor.as_ref().unwrap().node;
        node.status().leader_id == node.member_id()
    };
    let leader = until("a leader", async || machines.iter().position(leads)).await;
    let follower = connect(machines[(leader + 1) % 3].clients).await;
    let mut kv = KvClient::new(follower.clone());
    let lease = grant(follower.clone(), SECONDS).await;
    let put = PutRequest {
        lease,
        ..put("k", "v")
    };
    kv.put(put).await.unwrap();
    assert_eq!(keep_alive(follower.clone(), lease).await, SECONDS);
    let ask = LeaseTimeToLiveRequest {
        id: lease,
        keys: false,
    };
    let left = LeaseClient::new(follower.clone())
        .lease_time_to_live(ask)
        .await
        .unwrap()
        .into_inner();
    assert!((1..=SECONDS).contains(&left.ttl), "{left:?}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Who stops hands over first: the other may lead before it has ended.
    let stopped = Instant::now();
    machines[leader].stop().await;
    gone(&kv, "k").await;
    assert!(
        stopped.elapsed() >= Duration::from_secs(SECONDS.unsigned_abs()),
        "a new leader gives the full TTL: {:?}",
        stopped.elapsed()
    );
    for at in [(leader + 1) % 3, (leader + 2) % 3] {
        machines[at].stop().await;
    }
}
