//! Users: what a token opens, until when, and what it does not. Each refusal is etcd's.

use corten_etcd_api::authpb::{Permission, permission};
use corten_etcd_api::etcdserverpb::auth_client::AuthClient;
use corten_etcd_api::etcdserverpb::cluster_client::ClusterClient;
use corten_etcd_api::etcdserverpb::kv_client::KvClient;
use corten_etcd_api::etcdserverpb::lease_client::LeaseClient;
use corten_etcd_api::etcdserverpb::maintenance_client::MaintenanceClient;
use corten_etcd_api::etcdserverpb::request_op::Request as Operation;
use corten_etcd_api::etcdserverpb::{
    AlarmRequest, AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest,
    AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserGrantRoleRequest, AuthUserRevokeRoleRequest,
    AuthenticateRequest, DefragmentRequest, HashKvRequest, HashRequest, LeaseGrantRequest,
    LeaseRevokeRequest, LeaseTimeToLiveRequest, MemberRemoveRequest, PutRequest, RangeRequest, RequestOp,
    SnapshotRequest, TxnRequest, WatchCreateRequest,
};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use super::watches::Stream;
use super::{TTL, connect, put};
use crate::testing;

/// A message with a token.
fn by<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !token.is_empty() {
        request.metadata_mut().insert("token", token.parse().unwrap());
    }
    request
}

fn refusal<T: std::fmt::Debug>(answer: Result<Response<T>, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status.message().to_owned())
}

fn invalid_token() -> (Code, String) {
    (Code::Unauthenticated, "etcdserver: invalid auth token".to_owned())
}

fn denied() -> (Code, String) {
    (Code::PermissionDenied, "etcdserver: permission denied".to_owned())
}

/// The users root and ann, who may read and write what is between `a` and `b`; auth is still off.
pub async fn users(channel: &Channel) -> AuthClient<Channel> {
    let mut auth = AuthClient::new(channel.clone());
    for name in ["root", "ann"] {
        let user = AuthUserAddRequest {
            name: name.into(),
            password: "pw".into(),
            ..AuthUserAddRequest::default()
        };
        auth.user_add(user).await.unwrap();
    }
    auth.role_add(AuthRoleAddRequest { name: "r".into() })
        .await
        .unwrap();
    let perm = Permission {
        perm_type: permission::Type::Readwrite.into(),
        key: "a".into(),
        range_end: "b".into(),
    };
    let grant = AuthRoleGrantPermissionRequest {
        name: "r".into(),
        perm: Some(perm),
    };
    auth.role_grant_permission(grant).await.unwrap();
    for (user, role) in [("root", "root"), ("ann", "r")] {
        let grant = AuthUserGrantRoleRequest {
            user: user.into(),
            role: role.into(),
        };
        auth.user_grant_role(grant).await.unwrap();
    }
    auth
}

async fn token(auth: &mut AuthClient<Channel>, name: &str) -> String {
    let asked = AuthenticateRequest {
        name: name.into(),
        password: "pw".into(),
    };
    auth.authenticate(asked).await.unwrap().into_inner().token
}

fn watch(key: &str) -> WatchCreateRequest {
    WatchCreateRequest {
        key: key.to_owned().into(),
        ..WatchCreateRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_with_its_password_and_with_auth() {
    let mut machines = testing::cluster(1, TTL).await;
    let channel = connect(machines[0].clients).await;
    let mut kv = KvClient::new(channel.clone());
    let mut maintenance = MaintenanceClient::new(channel.clone());
    assert_eq!(refusal(kv.put(by("x", put("a", "1"))).await), invalid_token());
    let range = || RangeRequest {
        key: "a".into(),
        ..RangeRequest::default()
    };
    assert_eq!(refusal(kv.range(by("x", range())).await), invalid_token());
    let alarms = maintenance.alarm(by("x", AlarmRequest::default())).await;
    assert_eq!(refusal(alarms), invalid_token());

    let mut early = Stream::open(channel.clone(), "").await;
    early.create(watch("a")).await;
    let mut auth = users(&channel).await;
    auth.auth_enable(AuthEnableRequest {}).await.unwrap();
    // Who has shown no token when auth was still off is nobody now.
    let refused = early.ask_for(watch("a")).await;
    let reason = "rpc error: code = InvalidArgument desc = etcdserver: user name is empty";
    assert!(refused.canceled && refused.cancel_reason == reason, "{refused:?}");

    let (root, ann) = (token(&mut auth, "root").await, token(&mut auth, "ann").await);
    kv.put(by(&ann, put("a", "1"))).await.unwrap();
    let mut open = Stream::open(channel.clone(), &ann).await;
    open.create(watch("a")).await;
    let reason = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    assert_eq!(open.ask_for(watch("c")).await.cancel_reason, reason);

    let other = AuthUserChangePasswordRequest {
        name: "ann".into(),
        password: "pw".into(),
        ..AuthUserChangePasswordRequest::default()
    };
    auth.user_change_password(by(&root, other)).await.unwrap();
    assert_eq!(refusal(kv.put(by(&ann, put("a", "2"))).await), invalid_token());
    assert_eq!(refusal(kv.range(by(&ann, range())).await), invalid_token());
    // The stream is open, its token is none any more.
    let reason = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token";
    assert_eq!(open.ask_for(watch("a")).await.cancel_reason, reason);

    let ann = token(&mut auth, "ann").await;
    let revoke = AuthUserRevokeRoleRequest {
        name: "ann".into(),
        role: "r".into(),
    };
    auth.user_revoke_role(by(&root, revoke)).await.unwrap();
    assert_eq!(refusal(kv.put(by(&ann, put("a", "2"))).await), denied());

    auth.auth_disable(by(&root, AuthDisableRequest {})).await.unwrap();
    assert_eq!(refusal(kv.put(by(&root, put("a", "3"))).await), invalid_token());
    kv.put(put("a", "3")).await.unwrap();
    auth.auth_enable(AuthEnableRequest {}).await.unwrap();
    assert_eq!(refusal(kv.put(by(&root, put("a", "4"))).await), invalid_token());
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_known_to_every_member_and_after_a_restart() {
    let mut machines = testing::cluster(3, TTL).await;
    let channel = connect(machines[0].clients).await;
    let mut auth = users(&channel).await;
    auth.auth_enable(AuthEnableRequest {}).await.unwrap();
    let ann = token(&mut auth, "ann").await;
    for machine in &machines {
        let mut kv = KvClient::new(connect(machine.clients).await);
        kv.put(by(&ann, put("a", "1"))).await.unwrap();
    }
    let mut last = machines.pop().unwrap();
    last.stop().await;
    machines.push(last.restart().await);
    let mut kv = KvClient::new(connect(machines[2].clients).await);
    kv.put(by(&ann, put("a", "2"))).await.unwrap();
    for machine in &mut machines {
        machine.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_way_round_a_permission() {
    let mut machines = testing::cluster(1, TTL).await;
    let channel = connect(machines[0].clients).await;
    let mut auth = users(&channel).await;
    auth.auth_enable(AuthEnableRequest {}).await.unwrap();
    let (root, ann) = (token(&mut auth, "root").await, token(&mut auth, "ann").await);

    // Keys: beyond the range, on both sides, all of them, and inside of nested transactions.
    let mut kv = KvClient::new(channel.clone());
    for (key, end) in [("a", "c"), ("a", "\0"), ("\0", "\0"), ("b", ""), ("b", "a")] {
        let range = RangeRequest {
            key: key.into(),
            range_end: end.into(),
            ..RangeRequest::default()
        };
        assert_eq!(
            refusal(kv.range(by(&ann, range)).await),
            denied(),
            "{key:?} {end:?}"
        );
    }
    kv.put(by(&ann, put("az", "1"))).await.unwrap();
    let op = |operation| RequestOp {
        request: Some(operation),
    };
    let nested = |operation| TxnRequest {
        failure: vec![op(Operation::RequestTxn(TxnRequest {
            failure: vec![op(operation)],
            ..TxnRequest::default()
        }))],
        ..TxnRequest::default()
    };
    kv.txn(TxnRequest::default()).await.unwrap();
    let mine = nested(Operation::RequestPut(put("ab", "1")));
    kv.txn(by(&ann, mine)).await.unwrap();
    let theirs = nested(Operation::RequestPut(put("c", "1")));
    assert_eq!(refusal(kv.txn(by(&ann, theirs)).await), denied());
    let looks = nested(Operation::RequestRange(RangeRequest {
        key: "c".into(),
        ..RangeRequest::default()
    }));
    assert_eq!(refusal(kv.txn(by(&ann, looks)).await), denied());

    // Leases with the keys of others: neither ended, nor added to, nor looked into.
    let mut lease = LeaseClient::new(channel.clone());
    let grant = LeaseGrantRequest { ttl: 600, id: 7 };
    lease.lease_grant(by(&root, grant)).await.unwrap();
    let on_lease = |key: &str| PutRequest {
        lease: 7,
        ..put(key, "1")
    };
    kv.put(by(&root, on_lease("secret"))).await.unwrap();
    assert_eq!(refusal(kv.put(by(&ann, on_lease("a"))).await), denied());
    let hidden = nested(Operation::RequestPut(on_lease("a")));
    assert_eq!(refusal(kv.txn(by(&ann, hidden)).await), denied());
    let revoke = LeaseRevokeRequest { id: 7 };
    assert_eq!(refusal(lease.lease_revoke(by(&ann, revoke)).await), denied());
    let keys = LeaseTimeToLiveRequest { id: 7, keys: true };
    assert_eq!(refusal(lease.lease_time_to_live(by(&ann, keys)).await), denied());
    let nobody = (Code::InvalidArgument, "etcdserver: user name is empty".to_owned());
    assert_eq!(refusal(lease.lease_time_to_live(keys).await), nobody);
    let seen = lease.lease_time_to_live(by(&root, keys)).await.unwrap();
    assert_eq!(seen.into_inner().keys, ["secret"]);

    // What is an administrator's; etcd gives the refusals of Maintenance another form.
    let mut maintenance = MaintenanceClient::new(channel.clone());
    let odd = (Code::Unknown, "auth: permission denied".to_owned());
    let ask = |message| by(&ann, message);
    assert_eq!(
        refusal(maintenance.defragment(by(&ann, DefragmentRequest {})).await),
        odd
    );
    assert_eq!(refusal(maintenance.hash(by(&ann, HashRequest {})).await), odd);
    assert_eq!(
        refusal(maintenance.hash_kv(ask(HashKvRequest { revision: 0 })).await),
        odd
    );
    let snapshot = maintenance.snapshot(by(&ann, SnapshotRequest {})).await;
    assert_eq!(snapshot.unwrap_err().message(), odd.1);
    let mut cluster = ClusterClient::new(channel);
    let remove = MemberRemoveRequest { id: 1 };
    assert_eq!(refusal(cluster.member_remove(by(&ann, remove)).await), denied());
    let enable = auth.auth_disable(by(&ann, AuthDisableRequest {})).await;
    assert_eq!(refusal(enable), denied());
    machines[0].stop().await;
}
