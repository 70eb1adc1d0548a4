//! The members: `member`, and what is asked of each endpoint by itself: `endpoint`, `defrag`; also `alarm`, `move-leader`.

use std::time::Instant;

use clap::ArgMatches;
use corten_etcd_api::etcdserverpb as pb;
use pb::alarm_request::AlarmAction;
use tonic::Code;

use super::connection::{Etcd, Refused, words as told};
use super::fault::{ERROR, Failure};
use super::print::{Format, json, table};
use super::settings::Settings;
use super::{number, switch, text, words};
use crate::etcdctl::settings::Endpoint;
use crate::terminal::{say, tell};

/// Runs `member <verb>`.
pub(super) async fn member(
    etcd: &Etcd,
    format: Format,
    verb: &str,
    matches: &ArgMatches,
) -> Result<(), Failure> {
    let words = words(matches);
    if verb == "list" {
        return list(etcd, format).await;
    }
    let urls = || -> Vec<String> {
        let urls = text(matches, "peer-urls").unwrap_or_default();
        urls.split(',')
            .filter(|url| !url.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let no_urls = || Failure::args("member peer urls not provided");
    if verb == "add" {
        let name = match words[..] {
            [name] => name,
            [] => return Err(Failure::args("member name not provided")),
            _ => return Err(Failure::args("too many arguments")),
        };
        if urls().is_empty() {
            return Err(no_urls());
        }
        return add(etcd, format, name, urls(), switch(matches, "learner")).await;
    }
    let [id] = words[..] else {
        return Err(Failure::args("member ID is not provided"));
    };
    let id = number::uint(id, 16)
        .map_err(|why| Failure::args(format!("bad member ID arg ({why}), expecting ID in Hex")))?;
    let done = |header: Option<&pb::ResponseHeader>, what: &str| {
        let cluster = header.map_or(0, |header| header.cluster_id);
        say(format!("Member {id:16x} {what} cluster {cluster:16x}"));
    };
    match verb {
        "remove" => {
            let request = pb::MemberRemoveRequest { id };
            let answer: pb::MemberRemoveResponse =
                etcd.call("/etcdserverpb.Cluster/MemberRemove", request).await?;
            format.show("etcdserverpb.MemberRemoveResponse", &answer, || {
                done(answer.header.as_ref(), "removed from");
            });
        }
        "update" => {
            if urls().is_empty() {
                return Err(no_urls());
            }
            let request = pb::MemberUpdateRequest {
                id,
                peer_ur_ls: urls(),
            };
            let answer: pb::MemberUpdateResponse =
                etcd.call("/etcdserverpb.Cluster/MemberUpdate", request).await?;
            format.show("etcdserverpb.MemberUpdateResponse", &answer, || {
                done(answer.header.as_ref(), "updated in");
            });
        }
        _ => {
            let request = pb::MemberPromoteRequest { id };
            let answer: pb::MemberPromoteResponse =
                etcd.call("/etcdserverpb.Cluster/MemberPromote", request).await?;
            format.show("etcdserverpb.MemberPromoteResponse", &answer, || {
                done(answer.header.as_ref(), "promoted in");
            });
        }
    }
    Ok(())
}

async fn members(etcd: &Etcd) -> Result<pb::MemberListResponse, Failure> {
    let request = pb::MemberListRequest { linearizable: true };
    etcd.call("/etcdserverpb.Cluster/MemberList", request).await
}

async fn list(etcd: &Etcd, format: Format) -> Result<(), Failure> {
    let answer = members(etcd).await?;
    let rows: Vec<Vec<String>> = answer
        .members
        .iter()
        .map(|member| {
            let status = if member.name.is_empty() {
                "unstarted"
            } else {
                "started"
            };
            vec![
                format!("{:x}", member.id),
                status.to_owned(),
                member.name.clone(),
                member.peer_ur_ls.join(","),
                member.client_ur_ls.join(","),
                member.is_learner.to_string(),
            ]
        })
        .collect();
    if format == Format::Table {
        table(
            &["ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"],
            &rows,
        );
        return Ok(());
    }
    format.show("etcdserverpb.MemberListResponse", &answer, || {
        rows.iter().for_each(|row| say(row.join(", ")));
    });
    Ok(())
}

async fn add(
    etcd: &Etcd,
    format: Format,
    name: &str,
    urls: Vec<String>,
    learner: bool,
) -> Result<(), Failure> {
    let request = pb::MemberAddRequest {
        peer_ur_ls: urls.clone(),
        is_learner: learner,
    };
    let answer: pb::MemberAddResponse = etcd.call("/etcdserverpb.Cluster/MemberAdd", request).await?;
    if format == Format::Json {
        say(json("etcdserverpb.MemberAddResponse", &answer));
        return Ok(());
    }
    let new = answer.member.clone().unwrap_or_default().id;
    let cluster = answer.header.as_ref().map_or(0, |header| header.cluster_id);
    say(format!("Member {new:16x} added to cluster {cluster:16x}"));
    let initial: Vec<String> = answer
        .members
        .iter()
        .flat_map(|member| {
            let name = if member.id == new { name } else { &member.name };
            member.peer_ur_ls.iter().map(move |url| format!("{name}={url}"))
        })
        .collect();
    say(format!(
        "\nETCD_NAME={name:?}\nETCD_INITIAL_CLUSTER={:?}\nETCD_INITIAL_ADVERTISE_PEER_URLS={:?}\n\
         ETCD_INITIAL_CLUSTER_STATE=\"existing\"",
        initial.join(","),
        urls.join(",")
    ));
    Ok(())
}

/// The endpoints named, or with `--cluster` those of all members.
async fn endpoints(settings: &Settings, matches: &ArgMatches) -> Result<Vec<Endpoint>, Failure> {
    if !switch(matches, "cluster") {
        return Ok(settings.endpoints.clone());
    }
    let answer = members(&Etcd::connect(settings).await?).await?;
    let urls = answer.members.iter().flat_map(|member| &member.client_ur_ls);
    Ok(urls.filter_map(|url| Endpoint::parse(url).ok()).collect())
}

/// Asks one endpoint; says in words why not.
async fn ask<Q, A>(
    settings: &Settings,
    endpoint: &Endpoint,
    path: &'static str,
    request: Q,
) -> Result<A, (Code, String)>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let etcd = match Etcd::connect_to(settings, std::slice::from_ref(endpoint)).await {
        Ok(etcd) => etcd,
        Err(Refused::Unreachable(unreached)) => return Err((Code::Unavailable, unreached.why())),
        Err(Refused::Login(status)) => return Err((status.code(), told(&status))),
    };
    let answer = etcd.ask(path, request).await;
    answer.map_err(|status| (status.code(), etcd.why(&status)))
}

/// Runs `endpoint <verb>`.
pub(super) async fn endpoint(settings: &Settings, verb: &str, matches: &ArgMatches) -> Result<(), Failure> {
    let endpoints = endpoints(settings, matches).await?;
    match verb {
        "health" => health(settings, &endpoints).await,
        "status" => status(settings, &endpoints).await,
        _ => hash_kv(settings, &endpoints, super::integer(matches, "rev")).await,
    }
}

/// What came of asking one endpoint.
struct Checked<'e> {
    url: &'e str,
    took: String,
    fault: Option<String>,
}

/// Healthy is who reads a key through the log, or refuses to because it does not know us.
async fn health(settings: &Settings, endpoints: &[Endpoint]) -> Result<(), Failure> {
    let mut checked = Vec::new();
    for endpoint in endpoints {
        let begun = Instant::now();
        let request = pb::RangeRequest {
            key: bytes::Bytes::from_static(b"health"),
            ..pb::RangeRequest::default()
        };
        let asked = ask::<_, pb::RangeResponse>(settings, endpoint, "/etcdserverpb.KV/Range", request).await;
        let one = Checked {
            url: &endpoint.url,
            took: number::duration(begun.elapsed()),
            fault: match asked {
                Ok(_) | Err((Code::PermissionDenied, _)) => None,
                Err((_, why)) => Some(why),
            },
        };
        if matches!(settings.format, Format::Simple { .. }) {
            one.tell();
        }
        checked.push(one);
    }
    match settings.format {
        Format::Simple { .. } => {}
        Format::Json => {
            let all: Vec<String> = checked.iter().map(Checked::json).collect();
            say(format!("[{}]", all.join(",")));
        }
        Format::Table => {
            let rows: Vec<Vec<String>> = checked.iter().map(Checked::row).collect();
            table(&["ENDPOINT", "HEALTH", "TOOK", "ERROR"], &rows);
        }
    }
    if checked.iter().all(|one| one.fault.is_none()) {
        Ok(())
    } else {
        Err(Failure::new(ERROR, "unhealthy cluster"))
    }
}

impl Checked<'_> {
    fn tell(&self) {
        let Checked { url, took, fault } = self;
        tell(match fault {
            None => format!("{url} is healthy: successfully committed proposal: took = {took}"),
            Some(why) => format!("{url} is unhealthy: failed to commit proposal: {why}"),
        });
    }

    fn json(&self) -> String {
        let (url, took) = (crate::go::to_json(&self.url), &self.took);
        let error = self.fault.as_ref().map_or(String::new(), |why| {
            format!(",\"error\":{}", crate::go::to_json(why))
        });
        let healthy = self.fault.is_none();
        format!("{{\"endpoint\":{url},\"health\":{healthy},\"took\":\"{took}\"{error}}}")
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.url.to_owned(),
            self.fault.is_none().to_string(),
            self.took.clone(),
            self.fault.clone().unwrap_or_default(),
        ]
    }
}

async fn status(settings: &Settings, endpoints: &[Endpoint]) -> Result<(), Failure> {
    let (mut rows, mut shown, mut failed) = (Vec::new(), Vec::new(), false);
    for endpoint in endpoints {
        let url = &endpoint.url;
        let path = "/etcdserverpb.Maintenance/Status";
        let status: pb::StatusResponse = match ask(settings, endpoint, path, pb::StatusRequest {}).await {
            Ok(status) => status,
            Err((_, why)) => {
                tell(format!("Failed to get the status of endpoint {url} ({why})"));
                failed = true;
                continue;
            }
        };
        let member = status.header.as_ref().map_or(0, |header| header.member_id);
        shown.push(format!(
            "{{\"Endpoint\":{},\"Status\":{}}}",
            crate::go::to_json(url),
            json("etcdserverpb.StatusResponse", &status)
        ));
        rows.push(vec![
            url.clone(),
            format!("{member:x}"),
            status.version.clone(),
            number::size(status.db_size),
            (status.leader == member).to_string(),
            status.is_learner.to_string(),
            status.raft_term.to_string(),
            status.raft_index.to_string(),
            status.raft_applied_index.to_string(),
            status.errors.join(", "),
        ]);
    }
    match settings.format {
        Format::Json => say(format!("[{}]", shown.join(","))),
        Format::Table => table(
            &[
                "ENDPOINT",
                "ID",
                "VERSION",
                "DB SIZE",
                "IS LEADER",
                "IS LEARNER",
                "RAFT TERM",
                "RAFT INDEX",
                "RAFT APPLIED INDEX",
                "ERRORS",
            ],
            &rows,
        ),
        Format::Simple { .. } => rows.iter().for_each(|row| say(row.join(", "))),
    }
    ended(failed)
}

async fn hash_kv(settings: &Settings, endpoints: &[Endpoint], revision: i64) -> Result<(), Failure> {
    let (mut rows, mut shown, mut failed) = (Vec::new(), Vec::new(), false);
    for endpoint in endpoints {
        let url = &endpoint.url;
        let request = pb::HashKvRequest { revision };
        let asked =
            ask::<_, pb::HashKvResponse>(settings, endpoint, "/etcdserverpb.Maintenance/HashKV", request)
                .await;
        match asked {
            Ok(answer) => {
                rows.push(vec![url.clone(), answer.hash.to_string()]);
                shown.push(format!(
                    "{{\"Endpoint\":{},\"HashKV\":{}}}",
                    crate::go::to_json(url),
                    json("etcdserverpb.HashKVResponse", &answer)
                ));
            }
            Err((_, why)) => {
                tell(format!("Failed to get the hash of endpoint {url} ({why})"));
                failed = true;
            }
        }
    }
    match settings.format {
        Format::Json => say(format!("[{}]", shown.join(","))),
        Format::Table => table(&["ENDPOINT", "HASH"], &rows),
        Format::Simple { .. } => rows.iter().for_each(|row| say(row.join(", "))),
    }
    ended(failed)
}

/// Runs `defrag`.
pub(super) async fn defragment(settings: &Settings, matches: &ArgMatches) -> Result<(), Failure> {
    let mut failed = false;
    for endpoint in endpoints(settings, matches).await? {
        let path = "/etcdserverpb.Maintenance/Defragment";
        let asked: Result<pb::DefragmentResponse, _> =
            ask(settings, &endpoint, path, pb::DefragmentRequest {}).await;
        let url = &endpoint.url;
        match asked {
            Ok(_) => say(format!("Finished defragmenting etcd member[{url}]")),
            Err((_, why)) => {
                tell(format!("Failed to defragment etcd member[{url}] ({why})"));
                failed = true;
            }
        }
    }
    ended(failed)
}

/// What failed has been said.
fn ended(failed: bool) -> Result<(), Failure> {
    if failed {
        Err(Failure::new(ERROR, ""))
    } else {
        Ok(())
    }
}

/// Runs `alarm <verb>`.
pub(super) async fn alarm(etcd: &Etcd, format: Format, verb: &str) -> Result<(), Failure> {
    let call = |action: AlarmAction, member_id, alarm| pb::AlarmRequest {
        action: action.into(),
        member_id,
        alarm,
    };
    let path = "/etcdserverpb.Maintenance/Alarm";
    let mut answer: pb::AlarmResponse = etcd.call(path, call(AlarmAction::Get, 0, 0)).await?;
    if verb == "disarm" {
        for alarm in std::mem::take(&mut answer.alarms) {
            let request = call(AlarmAction::Deactivate, alarm.member_id, alarm.alarm);
            let done: pb::AlarmResponse = etcd.call(path, request).await?;
            answer.alarms.extend(done.alarms);
        }
    }
    format.show("etcdserverpb.AlarmResponse", &answer, || {
        for alarm in &answer.alarms {
            let name = alarm.alarm().as_str_name();
            say(format!("memberID:{} alarm:{name} ", alarm.member_id));
        }
    });
    Ok(())
}

/// Runs `move-leader`: asks the leader, which must be among the endpoints.
pub(super) async fn move_leader(settings: &Settings, matches: &ArgMatches) -> Result<(), Failure> {
    let [target] = words(matches)[..] else {
        return Err(Failure::args("move-leader command needs 1 argument"));
    };
    let target_id = number::uint(target, 16).map_err(Failure::args)?;
    for endpoint in &settings.endpoints {
        let path = "/etcdserverpb.Maintenance/Status";
        let asked: Result<pb::StatusResponse, _> = ask(settings, endpoint, path, pb::StatusRequest {}).await;
        let status = asked.map_err(|(_, why)| Failure::new(ERROR, why))?;
        let member = status.header.as_ref().map_or(0, |header| header.member_id);
        if member != status.leader {
            continue;
        }
        let request = pb::MoveLeaderRequest { target_id };
        let path = "/etcdserverpb.Maintenance/MoveLeader";
        let moved = ask::<_, pb::MoveLeaderResponse>(settings, endpoint, path, request).await;
        let answer = moved.map_err(|(_, why)| Failure::new(ERROR, why))?;
        settings
            .format
            .show("etcdserverpb.MoveLeaderResponse", &answer, || {
                say(format!("Leadership transferred from {member:x} to {target_id:x}"));
            });
        return Ok(());
    }
    let urls: Vec<&str> = settings
        .endpoints
        .iter()
        .map(|endpoint| endpoint.url.as_str())
        .collect();
    Err(Failure::args(format!(
        "no leader endpoint given at [{}]",
        urls.join(" ")
    )))
}
