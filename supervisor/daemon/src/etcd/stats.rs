//! /v2/stats, /version and /health: what this node can truly say of itself. Counters nobody keeps are left out.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use corten_store::keys::json;
use corten_store::keys::time::rfc3339;
use corten_store::meta;

use super::v3::alarms;
use super::{Face, answer};

/// The etcd release whose v2 API this is.
pub const ETCD_VERSION: &str = "3.4.23";
/// How long the cluster may take to show that it has a quorum; etcd's limit.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(1);

/// /v2/stats/self
pub fn own(face: &Face) -> Response<Body> {
    let status = face.node.status();
    let leads = status.leader_id == status.member_id;
    let members = face.node.members();
    let name = members
        .iter()
        .find(|member| member.id == status.member_id)
        .map_or("", |member| member.name.as_str());
    let mut body = b"{\"name\":".to_vec();
    json::string(&mut body, name);
    let (leader, since_ms) = (status.leader_id, face.leader_since_ms());
    let uptime = Duration::from_millis(face.now_ms().saturating_sub(since_ms));
    let state = if leads { "StateLeader" } else { "StateFollower" };
    let rest = format!(
        ",\"id\":\"{:x}\",\"state\":\"{state}\",\"startTime\":\"{}\",\"leaderInfo\":{{\"leader\":\"{leader:x}\",\
         \"uptime\":\"{}\",\"startTime\":\"{}\"}}",
        status.member_id,
        rfc3339(face.started_ms),
        go_duration(uptime),
        rfc3339(since_ms),
    );
    body.extend_from_slice(rest.as_bytes());
    if members.len() == 1 {
        body.extend_from_slice(b",\"recvAppendRequestCnt\":0,\"sendAppendRequestCnt\":0");
    }
    body.push(b'}');
    answer::json(StatusCode::OK, body)
}

/// /v2/stats/leader
pub fn leader(face: &Face) -> Response<Body> {
    let status = face.node.status();
    if status.leader_id != status.member_id {
        return answer::json(StatusCode::FORBIDDEN, "{\"message\":\"not current leader\"}");
    }
    answer::json(
        StatusCode::OK,
        format!("{{\"leader\":\"{:x}\",\"followers\":{{}}}}", status.leader_id),
    )
}

/// /v2/stats/store
pub fn store(face: &Face) -> Response<Body> {
    match face.node.read(|tx| meta::read(tx)) {
        Ok(meta) => answer::json(StatusCode::OK, meta.stats.to_json(face.serving_stats())),
        Err(fault) => answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{fault}\n")),
    }
}

/// /version
pub fn version(face: &Face) -> Response<Body> {
    let decided = face
        .node
        .read(|tx| meta::read(tx))
        .ok()
        .and_then(|meta| meta.version);
    let cluster = decided.unwrap_or_else(|| "not_decided".to_owned());
    answer::json(
        StatusCode::OK,
        format!("{{\"etcdserver\":\"{ETCD_VERSION}\",\"etcdcluster\":\"{cluster}\"}}"),
    )
}

/// /health: healthy is who knows of no alarm and can prove within a second that a quorum stands behind it, once the cluster
/// knows its clients' URLs: clients ask for those next.
pub async fn health(face: &Face) -> Response<Body> {
    let own = face.node.member_id();
    let is_known = || {
        let members = face.node.members();
        members
            .iter()
            .any(|member| member.id == own && !member.client_urls.is_empty())
    };
    let calm = || alarms(&face.node).is_ok_and(|alarms| alarms.is_empty());
    let proof = tokio::time::timeout(HEALTH_TIMEOUT, face.node.linearize()).await;
    let healthy = matches!(proof, Ok(Ok(()))) && is_known() && calm();
    face.metrics.health_asked(healthy);
    match healthy {
        true => answer::text(StatusCode::OK, "{\"health\":\"true\"}"),
        false => answer::plain_error(StatusCode::SERVICE_UNAVAILABLE, "{\"health\":\"false\"}\n"),
    }
}

/// A duration as Go prints it, down to milliseconds: `1h2m3.004s`.
fn go_duration(duration: Duration) -> String {
    let (hours, minutes) = (duration.as_secs() / 3600, duration.as_secs() / 60 % 60);
    let seconds = format!("{}.{:03}", duration.as_secs() % 60, duration.subsec_millis());
    let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_prints_them() {
        for (ms, text) in [
            (0, "0s"),
            (3_447, "3.447s"),
            (60_000, "1m0s"),
            (3_723_500, "1h2m3.5s"),
            (10_000, "10s"),
        ] {
            assert_eq!(go_duration(Duration::from_millis(ms)), text);
        }
    }
}
