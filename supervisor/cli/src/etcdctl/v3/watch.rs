//! `watch`: changes as they come, printed, or given to a program.
//!
//! When the member is lost, the watch goes on at another from the revision behind the last it has seen: without a change
//! twice, and without one left out.

use std::time::Duration;

use clap::ArgMatches;
use corten_etcd_api::etcdserverpb as pb;
use corten_etcd_api::mvccpb;
use mvccpb::event::EventType;
use pb::watch_request::RequestUnion;
use tonic::{Code, Status};

use super::connection::{Etcd, NO_LEADER, is_lost};
use super::fault::{BAD_FEATURE, Failure, INTERRUPTED};
use super::key_value::Span;
use super::print::{Format, json};
use super::settings::Settings;
use super::{switch, words};
use crate::terminal::{say, tell};

/// Between the loss of a member and the next try.
const PAUSE: Duration = Duration::from_millis(100);

/// How a stream of changes ended.
enum End {
    /// The server wants no more of it.
    Cancelled,
    /// With the member; another has the rest.
    Lost(Status),
    /// The server does not want it at all.
    Refused(Status),
}

/// A watch and how far it is.
struct Watch {
    /// Asks for what is still to come.
    create: pb::WatchCreateRequest,
    format: Format,
    command: Vec<String>,
    /// Whether a member has taken it yet.
    taken: bool,
}

pub(super) async fn run(settings: &Settings, matches: &ArgMatches) -> Result<(), Failure> {
    if switch(matches, "interactive") {
        return Err(Failure::new(
            BAD_FEATURE,
            "watch --interactive is not there: start a watch for each key",
        ));
    }
    let prefix = switch(matches, "prefix");
    let span = match words(matches)[..] {
        [key] => Span::of(key, None, prefix, false),
        [key, end] if !prefix => Span::of(key, Some(end), false, false),
        _ => return Err(Failure::args("bad number of arguments")),
    };
    let watch = Watch {
        create: pb::WatchCreateRequest {
            key: span.key.into(),
            range_end: span.end.into(),
            start_revision: super::integer(matches, "rev"),
            prev_kv: switch(matches, "prev-kv"),
            progress_notify: switch(matches, "progress-notify"),
            ..pb::WatchCreateRequest::default()
        },
        format: settings.format,
        command: matches
            .get_many::<String>("command")
            .unwrap_or_default()
            .cloned()
            .collect(),
        taken: false,
    };
    let etcd = Etcd::connect(settings).await?;
    tokio::select! {
        ended = watch.follow(etcd) => Err(ended),
        _ = tokio::signal::ctrl_c() => Err(Failure::new(INTERRUPTED, "")),
    }
}

impl Watch {
    /// Goes on at another member as often as one is lost.
    async fn follow(mut self, mut etcd: Etcd) -> Failure {
        loop {
            match self.read(&etcd).await {
                End::Cancelled => {}
                End::Lost(status) if !self.taken => return etcd.failure(&status),
                End::Lost(_) => {
                    tokio::time::sleep(PAUSE).await;
                    // The token may be one member's. Who cannot be asked now is asked again at the next turn.
                    match etcd.log_in().await {
                        Err(status) if !may_pass(&status) => return etcd.failure(&status),
                        _ => continue,
                    }
                }
                End::Refused(status) => tell(format!("watch was canceled ({})", etcd.why(&status))),
            }
            return Failure::new(INTERRUPTED, "watch is canceled by the server");
        }
    }

    /// Prints what one member has to tell.
    async fn read(&mut self, etcd: &Etcd) -> End {
        let request = pb::WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(self.create.clone())),
        };
        // The server ends a watch whose client has no more to say.
        let requests = futures_util::StreamExt::chain(
            futures_util::stream::iter([request]),
            futures_util::stream::pending(),
        );
        let path = "/etcdserverpb.Watch/Watch";
        // As etcdctl: a member cut off from the others would be silent for ever, and says so instead.
        let ended = |status: Status| match may_pass(&status) && status.message() != NO_LEADER {
            true => End::Lost(status),
            false => End::Refused(status),
        };
        let asked = etcd.stream_under_leader::<_, pb::WatchResponse>(path, requests);
        let mut answers = match asked.await {
            Ok(answers) => answers,
            Err(status) => return ended(status),
        };
        loop {
            let answer = match answers.message().await {
                Ok(Some(answer)) => answer,
                Ok(None) => return End::Lost(Status::unavailable("the server ended the watch")),
                Err(status) => return ended(status),
            };
            self.taken = true;
            if !answer.created || answer.canceled {
                show(self.format, &answer);
            }
            for event in &answer.events {
                run_program(&self.command, &answer, event).await;
            }
            if answer.canceled {
                return End::Cancelled;
            }
            self.pass(&answer);
        }
    }

    /// Leaves out what has been told when the rest is asked for. All changes of a revision come in one answer.
    fn pass(&mut self, answer: &pb::WatchResponse) {
        let now = answer.header.as_ref().map_or(0, |header| header.revision);
        let next = match answer.events.last() {
            Some(event) => event.kv.as_ref().map_or(0, |pair| pair.mod_revision) + 1,
            // It begins behind the present, unless it was to begin elsewhere.
            None if answer.created && self.create.start_revision != 0 => 0,
            // Nothing has happened up to here.
            None => now + 1,
        };
        self.create.start_revision = self.create.start_revision.max(next);
    }
}

/// Whether another member, or the same a little later, may say otherwise.
fn may_pass(status: &Status) -> bool {
    is_lost(status)
        || matches!(
            status.code(),
            Code::Unavailable | Code::Internal | Code::DeadlineExceeded
        )
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
async fn run_program(command: &[String], answer: &pb::WatchResponse, event: &mvccpb::Event) {
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
