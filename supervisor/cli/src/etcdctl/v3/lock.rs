//! `lock` and `elect`: held while this program runs, or while the program it runs does.

use clap::ArgMatches;
use corten_etcd_api::etcdserverpb as pb;
use corten_etcd_api::{v3electionpb, v3lockpb};
use futures_util::stream;

use super::connection::{Etcd, words as told};
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
        let observing = async {
            let request = v3electionpb::LeaderRequest { name };
            let mut leaders = etcd
                .stream::<_, v3electionpb::LeaderResponse>(
                    "/v3electionpb.Election/Observe",
                    stream::iter([request]),
                )
                .await?;
            loop {
                match leaders.message().await {
                    Ok(Some(leader)) => {
                        leader.kv.iter().for_each(|pair| format.pair(pair, false));
                    }
                    Ok(None) => return Err(Failure::new(ERROR, "election lost")),
                    Err(status) => return Err(Failure::new(ERROR, told(&status))),
                }
            }
        };
        return tokio::select! {
            ended = observing => ended,
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
    let request = pb::LeaseRevokeRequest { id: session };
    let revoked: Result<pb::LeaseRevokeResponse, _> =
        etcd.call("/etcdserverpb.Lease/LeaseRevoke", request).await;
    ended.and(revoked.map(|_| ()))
}

/// A call that has one answer and any time for it.
async fn wait<Q, A>(etcd: &Etcd, path: &'static str, request: Q) -> Result<A, Failure>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let mut answers = etcd.stream::<Q, A>(path, stream::iter([request])).await?;
    match answers.message().await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(Failure::new(ERROR, "the server ended the call without an answer")),
        Err(status) => Err(Failure::new(ERROR, told(&status))),
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
