//! What one client may cost the others, and what a member that lags may say.

use std::sync::mpsc;

use corten_etcd_api::etcdserverpb::auth_server::Auth;
use corten_etcd_api::etcdserverpb::kv_client::KvClient;
use corten_etcd_api::etcdserverpb::lease_client::LeaseClient;
use corten_etcd_api::etcdserverpb::maintenance_client::MaintenanceClient;
use corten_etcd_api::etcdserverpb::maintenance_server::Maintenance;
use corten_etcd_api::etcdserverpb::{
    AuthEnableRequest, AuthUserAddRequest, AuthUserChangePasswordRequest, AuthenticateRequest, HashKvRequest,
    HashRequest, LeaseGrantRequest, LeaseRevokeRequest, SnapshotRequest,
};
use futures_util::FutureExt;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tonic::Request;
use tonic::transport::Channel;

use super::users::users;
use super::{TTL, connect, put, services};
use crate::testing::{self, Relay, within};

/// Writes `count` values of 200 kB.
async fn fill(channel: &Channel, count: u32) {
    let mut kv = KvClient::new(channel.clone());
    for at in 0..count {
        kv.put(put(&format!("k{at}"), &"v".repeat(200_000)))
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_no_password_hashed() {
    let mut machines = testing::cluster(1, TTL).await;
    let mut auth = users(&connect(machines[0].clients).await).await;
    auth.auth_enable(AuthEnableRequest {}).await.unwrap();
    let v3 = services(&machines[0]);
    let (name, password) = ("ann".to_owned(), "pw".to_owned());
    let add = AuthUserAddRequest {
        name: name.clone(),
        password: password.clone(),
        ..AuthUserAddRequest::default()
    };
    // What is refused at once has not waited for bcrypt.
    let refused = v3.user_add(Request::new(add)).now_or_never().unwrap();
    assert_eq!(refused.unwrap_err().message(), "etcdserver: user name is empty");
    let change = AuthUserChangePasswordRequest {
        name,
        password,
        ..AuthUserChangePasswordRequest::default()
    };
    let refused = v3.user_change_password(Request::new(change)).now_or_never();
    let refused = refused.unwrap().unwrap_err();
    assert_eq!(refused.message(), "etcdserver: user name is empty");
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_wrong_passwords_take_few_threads() {
    const ASKED: usize = 96;
    let mut machines = testing::cluster(1, TTL).await;
    let mut auth = users(&connect(machines[0].clients).await).await;
    auth.auth_enable(AuthEnableRequest {}).await.unwrap();
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let (before, v3) = (threads(), services(&machines[0]));
    let mut asked = JoinSet::new();
    for _ in 0..ASKED {
        let v3 = v3.clone();
        asked.spawn(async move {
            let wrong = AuthenticateRequest {
                name: "ann".into(),
                password: "wrong".into(),
            };
            v3.authenticate(Request::new(wrong)).await.unwrap_err()
        });
    }
    let mut most = before;
    while let Some(refused) = asked.join_next().await {
        let text = "etcdserver: authentication failed, invalid user ID or password";
        assert_eq!(refused.unwrap().message(), text);
        most = most.max(threads());
    }
    // Other tests have threads, too.
    assert!(most < before + ASKED / 2, "{before} threads became {most}");
    machines[0].stop().await;
}

/// Takes the only thread for what takes long, once all that was asked of it before is done; it is free when the answer is
/// dropped.
async fn take_the_slow_thread() -> mpsc::Sender<()> {
    let (free, taken) = mpsc::channel::<()>();
    let (says, begun) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        says.send(()).unwrap();
        taken.recv().unwrap_err();
    });
    within("the slow thread", begun).await.unwrap();
    free
}

#[test]
fn keys_are_hashed_beside_the_threads_that_answer() {
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build();
    runtime.unwrap().block_on(async {
        let mut machines = testing::cluster(1, TTL).await;
        fill(&connect(machines[0].clients).await, 20).await;
        let v3 = services(&machines[0]);
        let hash_kv = || v3.hash_kv(Request::new(HashKvRequest { revision: 0 }));
        let taken = take_the_slow_thread().await;
        assert!(v3.hash(Request::new(HashRequest {})).now_or_never().is_none());
        drop(taken);
        let taken = take_the_slow_thread().await;
        assert!(hash_kv().now_or_never().is_none());
        drop(taken);
        within("a hash", hash_kv()).await.unwrap();
        machines[0].stop().await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn one_copy_of_the_state_is_made_at_a_time() {
    let mut machines = testing::cluster(1, TTL).await;
    let to = machines[0].clients;
    fill(&connect(to).await, 40).await;
    let folder = machines[0].units().parent().unwrap().canonicalize().unwrap();
    let copies = move || {
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        let files = open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        let ours = files.filter(|file| file.starts_with(&folder));
        ours.filter(|file| file.to_string_lossy().contains("export-"))
            .count()
    };
    let mut readers = JoinSet::new();
    for _ in 0..6 {
        let (channel, copies) = (connect(to).await, copies.clone());
        readers.spawn(async move {
            let mut client = MaintenanceClient::new(channel);
            let asked = within("a snapshot", client.snapshot(SnapshotRequest {})).await;
            let mut chunks = asked.unwrap().into_inner();
            let mut most = 0;
            while within("a chunk", chunks.message()).await.unwrap().is_some() {
                most = most.max(copies());
            }
            most
        });
    }
    assert_eq!(readers.join_all().await.into_iter().max(), Some(1));
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_does_not_keep_the_next_from_a_snapshot() {
    let mut machines = testing::cluster(1, TTL).await;
    let to = machines[0].clients;
    fill(&connect(to).await, 40).await;
    let snapshot = async || {
        let mut client = MaintenanceClient::new(connect(to).await);
        let asked = within("a snapshot", client.snapshot(SnapshotRequest {})).await;
        asked.unwrap().into_inner()
    };
    let mut idle = snapshot().await;
    let mut next = snapshot().await;
    assert!(within("a chunk", next.message()).await.unwrap().is_some());
    // Who comes back then is told that this is not all.
    let ended = loop {
        match within("what was on its way", idle.message()).await {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert_eq!(ended.unwrap_err().message(), "snapshot: the client takes nothing");
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lags_locks_nothing_for_a_lease_that_has_ended() {
    let relay = Relay::new().await;
    let mut machines = testing::cluster_with(3, TTL, |etcd| relay.stands_before("n2", etcd)).await;
    let node = |at: usize| machines[at].supervisor.as_ref().unwrap().node.clone();
    let lagging = node(2);
    if lagging.leading_term().is_some() {
        lagging.move_leader(node(0).member_id()).await.unwrap();
    }
    let mut leases = LeaseClient::new(connect(machines[0].clients).await);
    let grant = LeaseGrantRequest { ttl: 600, id: 7 };
    leases.lease_grant(grant).await.unwrap();
    let v3 = services(&machines[2]);
    let place = v3.queue_up(&"l".into(), 7, "".into()).await.unwrap();

    relay.cut(true);
    leases.lease_revoke(LeaseRevokeRequest { id: 7 }).await.unwrap();
    let mut locking = Box::pin(v3.lock_at(place));
    let at_once = (&mut locking).now_or_never();
    assert!(at_once.is_none(), "by what it has, the lock is held: {at_once:?}");
    relay.cut(false);
    let refused = within("the lock is refused", locking).await.unwrap_err();
    assert_eq!(refused.message(), "mutex: session is expired");
    for machine in &mut machines {
        machine.stop().await;
    }
}
