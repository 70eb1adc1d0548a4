//! `lock` and `elect`: held while this program runs, or while the program it runs does.

use clap::ArgMatches;
use corten_etcd_api::etcdserverpb as pb;
use corten_etcd_api::{v3electionpb, v3lockpb};
use futures_util::stream;
use tonic::{Status, Streaming};

use super::connection::{Etcd, is_lost};
use super::fault::{ERROR, Failure};
use super::print::Format;
use super::{lease, switch, words};

/// How long an elected one may be silent, in seconds.
const ELECTION_TTL: i64 = 60;

/// Runs `lock`.
pub(super) async fn lock(etcd: &Etcd, format: Format, matches: &ArgMatches) -> Result<(), Failure> {
    let words = words(matches);
    let Some((name, command)) = words.split_first() else {
        return Err(Failure::args(
            "lock takes one lock name argument and an optional command to execute",
        ));
    };
    let ttl = super::integer(matches, "ttl");
    let session = lease::grant(etcd, ttl).await?.id;
    let held = async {
        let request = v3lockpb::LockRequest {
            name: name.as_bytes().to_vec().into(),
            lease: session,
        };
        // Waits as long as another holds it.
        let answer: v3lockpb::LockResponse = wait(etcd, "/v3lockpb.Lock/Lock", request).await?;
        let Some((program, arguments)) = command.split_first() else {
            show(etcd, format, &answer.key).await?;
            return std::future::pending().await;
        };
        let revision = answer.header.as_ref().map_or(0, |header| header.revision);
        let status = tokio::process::Command::new(program)
            .args(arguments)
            .env("ETCD_LOCK_KEY", String::from_utf8_lossy(&answer.key).as_ref())
            .env("ETCD_LOCK_REV", revision.to_string())
            .status()
            .await
            .map_err(|error| Failure::new(ERROR, format!("exec: {program:?}: {error}")))?;
        match status.code() {
            Some(0) => Ok(()),
            code => {
                let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(ERROR);
                Err(Failure::new(code, format!("exit status {code}")))
            }
        }
    };
    in_session(etcd, session, ttl, held).await
}

/// Runs `elect`.
pub(super) async fn elect(etcd: &Etcd, format: Format, matches: &ArgMatches) -> Result<(), Failure> {
    let words = words(matches);
    let listens = switch(matches, "listen");
    let (name, proposal) = match (listens, &words[..]) {
        (true, [name]) => (name, ""),
        (false, [name, proposal]) => (name, *proposal),
        _ => {
            return Err(Failure::args(
                "elect takes one election name argument and an optional proposal argument",
            ));
        }
    };
    let name = bytes::Bytes::from(name.as_bytes().to_vec());
    if listens {
        return tokio::select! {
            ended = observe(etcd, format, name) => ended,
            _ = tokio::signal::ctrl_c() => Ok(()),
        };
    }
    let session = lease::grant(etcd, ELECTION_TTL).await?.id;
    let elected = async {
        let request = v3electionpb::CampaignRequest {
            name,
            lease: session,
            value: proposal.as_bytes().to_vec().into(),
        };
        let answer: v3electionpb::CampaignResponse =
            wait(etcd, "/v3electionpb.Election/Campaign", request).await?;
        show(etcd, format, &answer.leader.unwrap_or_default().key).await?;
        std::future::pending().await
    };
    in_session(etcd, session, ELECTION_TTL, elected).await
}

/// Prints who is elected, and who is next; goes on at another member when its own is lost.
async fn observe(etcd: &Etcd, format: Format, name: bytes::Bytes) -> Result<(), Failure> {
    let mut shown = None;
    loop {
        let request = v3electionpb::LeaderRequest { name: name.clone() };
        let path = "/v3electionpb.Election/Observe";
        let observing = etcd.stream::<_, v3electionpb::LeaderResponse>(path, stream::iter([request]));
        let end = match observing.await {
            Ok(leaders) => show_leaders(leaders, format, &mut shown).await,
            Err(status) => status,
        };
        if shown.is_none() || !is_lost(&end) {
            return Err(etcd.failure(&end));
        }
        tokio::time::sleep(lease::PAUSE).await;
    }
}

/// Prints those that were not the last to be shown, until the stream ends.
async fn show_leaders(
    mut leaders: Streaming<v3electionpb::LeaderResponse>,
    format: Format,
    shown: &mut Option<(bytes::Bytes, i64)>,
) -> Status {
    loop {
        let pair = match leaders.message().await {
            Ok(Some(leader)) => leader.kv.unwrap_or_default(),
            Ok(None) => return Status::unknown("election lost"),
            Err(status) => return status,
        };
        let now = Some((pair.key.clone(), pair.mod_revision));
        if *shown != now {
            format.pair(&pair, false);
            *shown = now;
        }
    }
}

/// Does something while a lease is kept; ends the lease, and with it what hangs on it.
async fn in_session(
    etcd: &Etcd,
    session: i64,
    ttl: i64,
    doing: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|error| Failure::new(ERROR, error.to_string()))?;
    let ended = tokio::select! {
        ended = doing => ended,
        () = lease::keep(etcd, session, ttl) => Err(Failure::new(ERROR, "session expired")),
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = terminated.recv() => Ok(()),
    };
    let revoked = match revoke(etcd, session).await {
        // The first call finds out that a member is gone, the second goes to another.
        Err(status) if is_lost(&status) => revoke(etcd, session).await,
        other => other,
    };
    ended.and(revoked.map(|_| ()).map_err(|status| etcd.failure(&status)))
}

async fn revoke(etcd: &Etcd, id: i64) -> Result<pb::LeaseRevokeResponse, Status> {
    etcd.ask("/etcdserverpb.Lease/LeaseRevoke", pb::LeaseRevokeRequest { id })
        .await
}

/// A call that has one answer and any time for it. What it does is bound to a lease and done once, so it is repeated at
/// another member when its own is lost.
async fn wait<Q, A>(etcd: &Etcd, path: &'static str, request: Q) -> Result<A, Failure>
where
    Q: prost::Message + Clone + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    loop {
        let asked = match etcd.stream::<Q, A>(path, stream::iter([request.clone()])).await {
            Ok(mut answers) => answers.message().await,
            Err(status) => Err(status),
        };
        match asked {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => return Err(Failure::new(ERROR, "the server ended the call without an answer")),
            Err(status) if is_lost(&status) => tokio::time::sleep(lease::PAUSE).await,
            Err(status) => return Err(etcd.failure(&status)),
        }
    }
}

async fn show(etcd: &Etcd, format: Format, key: &bytes::Bytes) -> Result<(), Failure> {
    let request = pb::RangeRequest {
        key: key.clone(),
        ..pb::RangeRequest::default()
    };
    let answer: pb::RangeResponse = etcd.call("/etcdserverpb.KV/Range", request).await?;
    format.show("etcdserverpb.RangeResponse", &answer, || {
        super::key_value::show_range(format, &answer, false);
    });
    Ok(())
}
