//! `watch`: changes as they come, printed, or given to a program.

use clap::ArgMatches;
use corten_etcd_api::etcdserverpb as pb;
use corten_etcd_api::mvccpb;
use mvccpb::event::EventType;
use pb::watch_request::RequestUnion;

use super::connection::Etcd;
use super::fault::{BAD_FEATURE, Failure, INTERRUPTED};
use super::key_value::Span;
use super::print::{Format, json};
use super::{switch, words};
use crate::terminal::{say, tell};

pub(super) async fn run(etcd: &Etcd, format: Format, matches: &ArgMatches) -> Result<(), Failure> {
    if switch(matches, "interactive") {
        return Err(Failure::new(
            BAD_FEATURE,
            "watch --interactive is not there: start a watch for each key",
        ));
    }
    let command: Vec<&String> = matches.get_many("command").unwrap_or_default().collect();
    let prefix = switch(matches, "prefix");
    let span = match words(matches)[..] {
        [key] => Span::of(key, None, prefix, false),
        [key, end] if !prefix => Span::of(key, Some(end), false, false),
        _ => return Err(Failure::args("bad number of arguments")),
    };
    let create = pb::WatchCreateRequest {
        key: span.key.into(),
        range_end: span.end.into(),
        start_revision: super::integer(matches, "rev"),
        prev_kv: switch(matches, "prev-kv"),
        progress_notify: switch(matches, "progress-notify"),
        ..pb::WatchCreateRequest::default()
    };
    let request = pb::WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    };
    // The server ends a watch whose client has no more to say.
    let requests = futures_util::StreamExt::chain(
        futures_util::stream::iter([request]),
        futures_util::stream::pending(),
    );
    let mut answers = etcd
        .stream::<_, pb::WatchResponse>("/etcdserverpb.Watch/Watch", requests)
        .await?;
    let watching = async {
        while let Ok(Some(answer)) = answers.message().await {
            if answer.created && !answer.canceled {
                continue;
            }
            show(format, &answer);
            for event in &answer.events {
                run_program(&command, &answer, event).await;
            }
            if answer.canceled {
                break;
            }
        }
        Err(Failure::new(INTERRUPTED, "watch is canceled by the server"))
    };
    tokio::select! {
        ended = watching => ended,
        _ = tokio::signal::ctrl_c() => Err(Failure::new(INTERRUPTED, "")),
    }
}

fn show(format: Format, answer: &pb::WatchResponse) {
    if answer.canceled {
        let why = match answer.compact_revision {
            0 => format!("etcdserver: {}", answer.cancel_reason),
            _ => "etcdserver: mvcc: required revision has been compacted".to_owned(),
        };
        tell(format!("watch was canceled ({why})"));
    } else if answer.events.is_empty() {
        let revision = answer.header.as_ref().map_or(0, |header| header.revision);
        say(format!("progress notify: {revision}"));
    }
    if format == Format::Json {
        let events: Vec<String> = answer
            .events
            .iter()
            .map(|event| json("mvccpb.Event", event))
            .collect();
        let header = json("etcdserverpb.ResponseHeader", &answer.header.unwrap_or_default());
        say(format!(
            "{{\"Header\":{header},\"Events\":[{}],\"CompactRevision\":{},\"Canceled\":{},\"Created\":{}}}",
            events.join(","),
            answer.compact_revision,
            answer.canceled,
            answer.created
        ));
        return;
    }
    for event in &answer.events {
        say(kind(event));
        for pair in event.prev_kv.iter().chain(&event.kv) {
            format.pair(pair, false);
        }
    }
}

fn kind(event: &mvccpb::Event) -> &'static str {
    match event.r#type() {
        EventType::Put => "PUT",
        EventType::Delete => "DELETE",
    }
}

/// Runs the program for a change, and waits for it.
async fn run_program(command: &[&String], answer: &pb::WatchResponse, event: &mvccpb::Event) {
    let Some((program, arguments)) = command.split_first() else {
        return;
    };
    let pair = event.kv.clone().unwrap_or_default();
    let quoted = |bytes: &[u8]| format!("{:?}", String::from_utf8_lossy(bytes));
    let revision = answer.header.as_ref().map_or(0, |header| header.revision);
    let ran = tokio::process::Command::new(program)
        .args(arguments)
        .env("ETCD_WATCH_REVISION", revision.to_string())
        .env("ETCD_WATCH_EVENT_TYPE", format!("{:?}", kind(event)))
        .env("ETCD_WATCH_KEY", quoted(&pair.key))
        .env("ETCD_WATCH_VALUE", quoted(&pair.value))
        .status()
        .await;
    match ran {
        Ok(status) if status.success() => {}
        Ok(status) => tell(format!("command {program:?} error ({status})")),
        Err(error) => tell(format!("command {program:?} error ({error})")),
    }
}
