//! `lease grant`, `revoke`, `timetolive`, `list`, `keep-alive`.

use std::time::{Duration, Instant};

use clap::ArgMatches;
use corten_etcd_api::etcdserverpb as pb;
use futures_util::stream;
use tonic::Status;

use super::connection::{Etcd, is_lost};
use super::fault::{BAD_CONNECTION, ERROR, Failure};
use super::print::{Format, header_fields};
use super::{number, switch, words};
use crate::terminal::say;

/// The least time between two signs of life, and before a lost member's place is taken by another.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn run(
    etcd: &Etcd,
    format: Format,
    verb: &str,
    matches: &ArgMatches,
) -> Result<(), Failure> {
    let words = words(matches);
    if verb == "list" {
        return list(etcd, format).await;
    }
    let [word] = words[..] else {
        return Err(Failure::args(match verb {
            "grant" => "lease grant command needs TTL argument",
            "revoke" => "lease revoke command needs 1 argument",
            "timetolive" => "lease timetolive command needs lease ID as argument",
            _ => "lease keep-alive command needs lease ID as argument",
        }));
    };
    if verb == "grant" {
        let ttl = number::int(word, 10).map_err(|why| Failure::args(format!("bad TTL ({why})")))?;
        let lease = grant(etcd, ttl).await?;
        match format {
            Format::Json => say(format!(
                "{{{}\"ID\":{},\"TTL\":{},\"Error\":\"\"}}",
                header_fields(lease.header.as_ref()),
                lease.id,
                lease.ttl
            )),
            _ => say(format!(
                "lease {:016x} granted with TTL({}s)",
                lease.id, lease.ttl
            )),
        }
        return Ok(());
    }
    let id = number::int(word, 16)
        .map_err(|why| Failure::args(format!("bad lease ID arg ({why}), expecting ID in Hex")))?;
    match verb {
        "revoke" => {
            let request = pb::LeaseRevokeRequest { id };
            let done: Result<pb::LeaseRevokeResponse, _> =
                etcd.call("/etcdserverpb.Lease/LeaseRevoke", request).await;
            let answer = done.map_err(|failure| {
                Failure::new(ERROR, format!("failed to revoke lease ({})", failure.text))
            })?;
            format.show("etcdserverpb.LeaseRevokeResponse", &answer, || {
                say(format!("lease {id:016x} revoked"));
            });
            Ok(())
        }
        "timetolive" => time_to_live(etcd, format, id, switch(matches, "keys")).await,
        _ => keep_alive(etcd, format, id, switch(matches, "once")).await,
    }
}

/// Makes a lease.
pub(super) async fn grant(etcd: &Etcd, ttl: i64) -> Result<pb::LeaseGrantResponse, Failure> {
    let request = pb::LeaseGrantRequest { ttl, id: 0 };
    let granted = etcd.call("/etcdserverpb.Lease/LeaseGrant", request).await;
    granted.map_err(|failure| Failure::new(ERROR, format!("failed to grant lease ({})", failure.text)))
}

async fn list(etcd: &Etcd, format: Format) -> Result<(), Failure> {
    let answer: pb::LeaseLeasesResponse = etcd
        .call("/etcdserverpb.Lease/LeaseLeases", pb::LeaseLeasesRequest {})
        .await?;
    let ids = answer.leases.iter().map(|lease| lease.id);
    if format == Format::Json {
        let ids: Vec<String> = ids.map(|id| format!("{{\"id\":{id}}}")).collect();
        say(format!(
            "{{{}\"leases\":[{}]}}",
            header_fields(answer.header.as_ref()),
            ids.join(",")
        ));
        return Ok(());
    }
    say(format!("found {} leases", answer.leases.len()));
    ids.for_each(|id| say(format!("{id:016x}")));
    Ok(())
}

async fn time_to_live(etcd: &Etcd, format: Format, id: i64, keys: bool) -> Result<(), Failure> {
    let request = pb::LeaseTimeToLiveRequest { id, keys };
    let answer: pb::LeaseTimeToLiveResponse =
        etcd.call("/etcdserverpb.Lease/LeaseTimeToLive", request).await?;
    let (ttl, granted) = (answer.ttl, answer.granted_ttl);
    if format == Format::Json {
        use base64::Engine;
        let encode =
            |key: &bytes::Bytes| format!("\"{}\"", base64::engine::general_purpose::STANDARD.encode(key));
        let keys: Vec<String> = answer.keys.iter().map(encode).collect();
        let keys = if keys.is_empty() {
            "null".to_owned()
        } else {
            format!("[{}]", keys.join(","))
        };
        say(format!(
            "{{{}\"id\":{id},\"ttl\":{ttl},\"granted-ttl\":{granted},\"keys\":{keys}}}",
            header_fields(answer.header.as_ref())
        ));
        return Ok(());
    }
    if granted == 0 && ttl == -1 {
        say(format!("lease {id:016x} already expired"));
        return Ok(());
    }
    let mut line = format!("lease {id:016x} granted with TTL({granted}s), remaining({ttl}s)");
    if keys {
        let keys: Vec<_> = answer
            .keys
            .iter()
            .map(|key| String::from_utf8_lossy(key))
            .collect();
        line += &format!(", attached keys([{}])", keys.join(" "));
    }
    say(line);
    Ok(())
}

async fn keep_alive(etcd: &Etcd, format: Format, id: i64, once: bool) -> Result<(), Failure> {
    let mut kept_until = Instant::now();
    loop {
        let answer = match live(etcd, id).await {
            Ok(answer) => answer,
            // Another member may be there before the lease ends.
            Err(status) if is_lost(&status) && Instant::now() < kept_until => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(status) => return Err(etcd.failure(&status)),
        };
        let ttl = match answer {
            Some(answer) => {
                match format {
                    Format::Json => say(format!(
                        "{{{}\"ID\":{id},\"TTL\":{}}}",
                        header_fields(answer.header.as_ref()),
                        answer.ttl
                    )),
                    _ => say(format!("lease {id:016x} keepalived with TTL({})", answer.ttl)),
                }
                Duration::from_secs(answer.ttl.unsigned_abs())
            }
            None if once => {
                return Err(Failure::new(
                    BAD_CONNECTION,
                    "etcdserver: requested lease not found",
                ));
            }
            None => {
                say(format!("lease {id:016x} expired or revoked."));
                return Ok(());
            }
        };
        if once {
            return Ok(());
        }
        kept_until = Instant::now() + ttl;
        tokio::select! {
            () = tokio::time::sleep((ttl / 3).max(PAUSE)) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

/// One sign of life; `None` if the lease is gone.
async fn live(etcd: &Etcd, id: i64) -> Result<Option<pb::LeaseKeepAliveResponse>, Status> {
    let requests = stream::iter([pb::LeaseKeepAliveRequest { id }]);
    let mut answers = etcd
        .stream::<_, pb::LeaseKeepAliveResponse>("/etcdserverpb.Lease/LeaseKeepAlive", requests)
        .await?;
    let answer = answers.message().await?;
    Ok(answer.filter(|answer| answer.ttl > 0))
}

/// Keeps a lease until dropped or gone; ends when it is gone, or must be as no member was heard of for its time.
pub(super) async fn keep(etcd: &Etcd, id: i64, ttl: i64) {
    let ttl = Duration::from_secs(ttl.unsigned_abs()).max(PAUSE * 2);
    let pause = (ttl / 3).max(PAUSE);
    let (mut kept, mut next) = (Instant::now(), pause);
    while kept.elapsed() < ttl {
        tokio::time::sleep(next).await;
        match tokio::time::timeout(pause, live(etcd, id)).await {
            Ok(Ok(Some(_))) => (kept, next) = (Instant::now(), pause),
            Ok(Ok(None)) => return,
            Ok(Err(_)) | Err(_) => next = PAUSE,
        }
    }
}
