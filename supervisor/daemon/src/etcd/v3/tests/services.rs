//! What JSON cannot show: limits, health, locks that wait, snapshots, what is not there.

use corten_etcd_api::etcdserverpb::cluster_client::ClusterClient;
use corten_etcd_api::etcdserverpb::kv_client::KvClient;
use corten_etcd_api::etcdserverpb::maintenance_client::MaintenanceClient;
use corten_etcd_api::etcdserverpb::{
    HashKvRequest, MemberAddRequest, MemberListRequest, MoveLeaderRequest, SnapshotRequest, StatusRequest,
};
use corten_etcd_api::v3lockpb::lock_client::LockClient;
use corten_etcd_api::v3lockpb::{LockRequest, UnlockRequest};
use sha2::{Digest, Sha256};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::{TTL, connect, is_there, put};
use crate::testing::{self, form, until, within};

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_answer_on_one_port() {
    let mut machines = testing::cluster(1, TTL).await;
    let to = machines[0].clients;
    let channel = connect(to).await;
    let mut kv = KvClient::new(channel.clone());
    kv.put(put("k", "v")).await.unwrap();
    assert!(is_there(&mut kv, "k").await);
    let v2 = form(to, "PUT", "/v2/keys/k", "value=2").await;
    assert_eq!(
        (v2.status, v2.header("X-Etcd-Index")),
        (201, Some("4")),
        "v3 does not touch v2"
    );

    let too_large = put("k", &"v".repeat(1536 * 1024));
    let refused = kv.put(too_large).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::InvalidArgument, "etcdserver: request is too large")
    );
    let huge = kv.put(put("k", &"v".repeat(3 << 20))).await.unwrap_err();
    // The key, the value, their tags and lengths.
    let length = (1 + 1 + 1) + (1 + 4 + (3 << 20));
    let etcds = format!("grpc: received message larger than max ({length} vs. 2097152)");
    assert_eq!(
        (huge.code(), huge.message()),
        (Code::ResourceExhausted, etcds.as_str())
    );
    assert!(is_there(&mut kv, "k").await, "the connection goes on");

    let mut health = HealthClient::new(channel.clone());
    let check = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    assert_eq!(health.check(check("")).await.unwrap().into_inner().status, 1);
    assert_eq!(
        health.check(check("nosuch")).await.unwrap_err().code(),
        Code::NotFound
    );
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_and_maintenance() {
    let mut machines = testing::cluster(1, TTL).await;
    let to = machines[0].clients;
    let channel = connect(to).await;
    let mut cluster = ClusterClient::new(channel.clone());
    let members = cluster
        .member_list(MemberListRequest::default())
        .await
        .unwrap()
        .into_inner();
    let member = &members.members[0];
    assert_eq!(
        (member.name.as_str(), member.client_ur_ls.clone()),
        ("n0", vec![format!("http://{to}")])
    );
    let add = MemberAddRequest {
        peer_ur_ls: member.peer_ur_ls.clone(),
        is_learner: false,
    };
    assert_eq!(
        cluster.member_add(add).await.unwrap_err().message(),
        "etcdserver: Peer URLs already exists"
    );
    for url in [
        "http://",
        "http://a",
        "http://a:1,http://b:1",
        "http://a:1/b",
        "unix://a:1",
    ] {
        let add = MemberAddRequest {
            peer_ur_ls: vec![url.to_owned()],
            is_learner: true,
        };
        assert_eq!(
            cluster.member_add(add).await.unwrap_err().message(),
            "etcdserver: given member URLs are invalid",
            "{url}"
        );
    }

    let mut kv = KvClient::new(channel.clone());
    for at in 0..50 {
        kv.put(put(&format!("k{at}"), &"v".repeat(20_000))).await.unwrap();
    }
    let mut maintenance = MaintenanceClient::new(channel);
    let status = maintenance.status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.version.as_str(), status.leader), ("3.4.23", member.id));
    assert!(
        status.db_size >= status.db_size_in_use && status.db_size_in_use > 1_000_000,
        "{status:?}"
    );
    assert!(status.raft_applied_index > 0 && status.raft_index >= status.raft_applied_index);
    assert_eq!(status.header.unwrap().revision, 51);
    let hash = async |maintenance: &mut MaintenanceClient<_>, revision| {
        let asked = maintenance.hash_kv(HashKvRequest { revision }).await;
        asked.unwrap().into_inner().hash
    };
    let (early, late) = (hash(&mut maintenance, 20).await, hash(&mut maintenance, 0).await);
    assert!(early != late && early == hash(&mut maintenance, 20).await);
    let me = MoveLeaderRequest { target_id: member.id };
    maintenance.move_leader(me).await.unwrap();

    let mut chunks = maintenance
        .snapshot(SnapshotRequest {})
        .await
        .unwrap()
        .into_inner();
    let mut file = Vec::new();
    loop {
        let chunk = within("a chunk", chunks.message()).await.unwrap().unwrap();
        file.extend_from_slice(&chunk.blob);
        if chunk.remaining_bytes == 0 {
            break;
        }
    }
    let (content, hash) = file.split_at(file.len() - 32);
    assert_eq!(content.len() % 512, 0);
    assert!(content.len() > 1_000_000 && content.starts_with(b"CORTSNP1"));
    assert_eq!(Sha256::digest(content).as_slice(), hash);
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_passed_on_and_who_goes_leaves_the_queue() {
    let mut machines = testing::cluster(1, TTL).await;
    let channel = connect(machines[0].clients).await;
    let lock = |lease| {
        let mut client = LockClient::new(channel.clone());
        async move {
            let request = LockRequest {
                name: "l".into(),
                lease,
            };
            client.lock(request).await.unwrap().into_inner().key
        }
    };
    let first = within("a free lock", lock(0)).await;
    let (second, third) = (tokio::spawn(lock(0)), tokio::spawn(lock(0)));
    let queued = async |count| {
        let kv = KvClient::new(channel.clone());
        until("all queue up", || {
            let mut kv = kv.clone();
            async move {
                let range = corten_etcd_api::etcdserverpb::RangeRequest {
                    key: "l/".into(),
                    range_end: "l0".into(),
                    ..Default::default()
                };
                (kv.range(range).await.unwrap().into_inner().count == count).then_some(())
            }
        })
        .await;
    };
    queued(3).await;
    assert!(!second.is_finished() && !third.is_finished());
    second.abort();
    queued(2).await;
    let mut client = LockClient::new(channel.clone());
    client.unlock(UnlockRequest { key: first }).await.unwrap();
    within("the lock is passed on", third).await.unwrap();
    machines[0].stop().await;
}
