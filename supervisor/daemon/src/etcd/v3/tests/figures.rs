//! /metrics, the quota and its alarm, the length of the v2 history: by a real member over sockets.

use std::collections::BTreeMap;
use std::time::Duration;

use corten_etcd_api::etcdserverpb::alarm_request::AlarmAction;
use corten_etcd_api::etcdserverpb::kv_client::KvClient;
use corten_etcd_api::etcdserverpb::maintenance_client::MaintenanceClient;
use corten_etcd_api::etcdserverpb::{
    AlarmRequest, AlarmType, CompactionRequest, DeleteRangeRequest, RangeRequest,
};
use tonic::Code;

use super::{TTL, connect, is_there, put};
use crate::settings::AutoCompaction;
use crate::testing::{self, ask, form, until};

/// The figures without buckets, by name and labels.
fn read(text: &str) -> BTreeMap<&str, f64> {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains("_bucket{"));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_have_etcds_names() {
    let mut machines = testing::cluster(1, TTL).await;
    let to = machines[0].clients;
    let mut kv = KvClient::new(connect(to).await);
    for at in 0..5 {
        kv.put(put(&format!("k{at}"), "v")).await.unwrap();
    }
    kv.range(RangeRequest::default()).await.unwrap_err();
    form(to, "PUT", "/v2/keys/a", "value=1").await;
    form(to, "GET", "/v2/keys/none", "").await;
    ask(to, "GET", "/health", "", "").await;
    let answer = ask(to, "GET", "/metrics", "", "").await;
    assert_eq!(
        answer.header("Content-Type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = &answer.body;
    assert!(
        text.contains("# TYPE etcd_disk_wal_fsync_duration_seconds histogram"),
        "{text}"
    );
    assert!(
        text.contains("etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.001\"}"),
        "{text}"
    );
    let figures = read(text);
    let of_put =
        |name| format!("{name}{{grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"}}");
    let handled = |code, method| {
        format!(
            "grpc_server_handled_total{{grpc_code=\"{code}\",grpc_method=\"{method}\",grpc_service=\"etcdserverpb.KV\",\
             grpc_type=\"unary\"}}"
        )
    };
    for (name, expected) in [
        ("etcd_server_has_leader", 1.0),
        ("etcd_server_is_leader", 1.0),
        ("etcd_server_is_learner", 0.0),
        ("etcd_server_version{server_version=\"3.4.23\"}", 1.0),
        ("etcd_cluster_version{cluster_version=\"3.4\"}", 1.0),
        ("etcd_server_leader_changes_seen_total", 1.0),
        ("etcd_server_proposals_pending", 0.0),
        ("etcd_server_proposals_failed_total", 0.0),
        ("etcd_server_quota_backend_bytes", 2_147_483_648.0),
        ("etcd_debugging_mvcc_keys_total", 5.0),
        ("etcd_debugging_mvcc_current_revision", 6.0),
        // Two of them are the member's own and the cluster's version, as in etcd.
        ("etcd_debugging_store_writes_total{action=\"set\"}", 3.0),
        ("etcd_http_received_total{method=\"PUT\"}", 1.0),
        ("etcd_http_failed_total{code=\"404\",method=\"GET\"}", 1.0),
        ("etcd_mvcc_put_total", 5.0),
        ("etcd_debugging_mvcc_put_total", 5.0),
        ("etcd_debugging_mvcc_total_put_size_in_bytes", 15.0),
        ("etcd_mvcc_range_total", 0.0),
        ("etcd_server_health_success", 1.0),
        ("etcd_server_health_failures", 0.0),
        ("etcd_debugging_auth_revision", 1.0),
        ("etcd_server_snapshot_apply_in_progress_total", 0.0),
        (
            "etcd_server_client_requests_total{client_api_version=\"unknown\",type=\"unary\"}",
            6.0,
        ),
        (&of_put("grpc_server_started_total"), 5.0),
        (&handled("OK", "Put"), 5.0),
        (&handled("InvalidArgument", "Range"), 1.0),
    ] {
        assert_eq!(figures.get(name), Some(&expected), "{name}\n{text}");
    }
    for name in [
        "etcd_disk_wal_fsync_duration_seconds_count",
        "etcd_disk_wal_write_bytes_total",
        "etcd_disk_backend_commit_duration_seconds_count",
        "corten_store_apply_duration_seconds_count",
        "corten_store_proposal_duration_seconds_count",
        "etcd_server_proposals_committed_total",
        "etcd_server_proposals_applied_total",
        "etcd_mvcc_db_total_size_in_bytes",
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_max_fds",
    ] {
        assert!(
            figures.get(name).is_some_and(|figure| *figure > 0.0),
            "{name}\n{text}"
        );
    }
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_quota_refuses_what_needs_room_until_there_is_some() {
    let quota = |etcd: &mut crate::settings::Etcd| etcd.limits.quota_backend_bytes = 2 << 20;
    let mut machines = testing::cluster_with(1, TTL, quota).await;
    let channel = connect(machines[0].clients).await;
    let mut kv = KvClient::new(channel.clone());
    let mut maintenance = MaintenanceClient::new(channel);
    let refused = until("the quota is full", || {
        let mut kv = kv.clone();
        async move { kv.put(put("k", &"v".repeat(100_000))).await.err() }
    })
    .await;
    let no_space = (
        Code::ResourceExhausted,
        "etcdserver: mvcc: database space exceeded",
    );
    assert_eq!((refused.code(), refused.message()), no_space);
    let alarms = async |action: AlarmAction, maintenance: &mut MaintenanceClient<_>| {
        let request = AlarmRequest {
            action: action.into(),
            alarm: AlarmType::Nospace.into(),
            member_id: 0,
        };
        maintenance.alarm(request).await.unwrap().into_inner().alarms
    };
    let raised = alarms(AlarmAction::Get, &mut maintenance).await;
    assert_eq!((raised.len(), raised[0].alarm()), (1, AlarmType::Nospace));
    assert!(is_there(&mut kv, "k").await, "reads go on");
    let delete = DeleteRangeRequest {
        key: "k".into(),
        ..Default::default()
    };
    let deleted = kv.delete_range(delete).await.unwrap().into_inner();
    let revision = deleted.header.unwrap().revision;
    let compact = CompactionRequest {
        revision,
        physical: true,
    };
    kv.compact(compact).await.unwrap();
    let still = kv.put(put("k", "v")).await.unwrap_err();
    assert_eq!((still.code(), still.message()), no_space, "until it is disarmed");
    let disarm = AlarmRequest {
        action: AlarmAction::Deactivate.into(),
        alarm: AlarmType::Nospace.into(),
        member_id: raised[0].member_id,
    };
    maintenance.alarm(disarm).await.unwrap();
    kv.put(put("k", "v")).await.unwrap();
    assert!(alarms(AlarmAction::Get, &mut maintenance).await.is_empty());
    machines[0].stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_revisions_go_and_the_v2_history_is_as_long_as_told() {
    let told = |etcd: &mut crate::settings::Etcd| {
        etcd.limits.auto_compaction = AutoCompaction::Periodic(Duration::from_millis(500));
        etcd.v2_history = Some(10);
    };
    let mut machines = testing::cluster_with(1, TTL, told).await;
    let to = machines[0].clients;
    let kv = KvClient::new(connect(to).await);
    kv.clone().put(put("k", "1")).await.unwrap();
    kv.clone().put(put("k", "2")).await.unwrap();
    let refused = until("the first revision is compacted", || {
        let mut kv = kv.clone();
        async move {
            let range = RangeRequest {
                key: "k".into(),
                revision: 2,
                ..RangeRequest::default()
            };
            kv.range(range).await.err()
        }
    })
    .await;
    assert_eq!(
        refused.message(),
        "etcdserver: mvcc: required revision has been compacted"
    );
    until("the window is shorter", async || {
        for _ in 0..12 {
            form(to, "PUT", "/v2/keys/a", "value=1").await;
        }
        let old = ask(to, "GET", "/v2/keys/a?wait=true&waitIndex=4", "", "").await;
        old.body.contains("\"errorCode\":401").then_some(())
    })
    .await;
    machines[0].stop().await;
}
