//! `watch` and `exec-watch`: long polls, one change each, the next one asked for from the index after it.
//!
//! The danger: a change between two polls is not lost, as the server keeps the last thousand; who falls further
//! behind gets error 401 and has to read the keys anew.

use std::process::Stdio;

use clap::ArgMatches;

use super::cluster::Cluster;
use super::fault::{CallFault, Failure, SERVER_ERROR};
use super::keys::{self, Answer};
use super::settings::Settings;
use super::{print, switch};
use crate::terminal::{say, tell};

/// Prints one change, or all of them with `--forever`.
pub(super) async fn watch(settings: &Settings, matches: &ArgMatches) -> Result<(), Failure> {
    let Some(key) = matches.get_one::<String>("key") else {
        return Err(Failure::arguments("Error:  key required"));
    };
    let mut watcher = Watcher::start(settings, key, matches).await?;
    or_interrupted(async {
        loop {
            let change = watcher.next().await?;
            if change.node.dir {
                continue;
            }
            if watcher.recursive {
                say(format!("[{}] {}", change.action, change.node.key));
            }
            match print::answer(&change, &settings.output) {
                Ok(text) => say(text),
                Err(complaint) => tell(complaint),
            }
            if !switch(matches, "forever") {
                return Ok(());
            }
        }
    })
    .await
}

/// Runs a program at each change, without waiting for the one before.
pub(super) async fn exec_watch(settings: &Settings, matches: &ArgMatches) -> Result<(), Failure> {
    let command: Vec<&String> = matches.get_many("command").unwrap_or_default().collect();
    let (Some(key), Some((program, arguments))) = (matches.get_one::<String>("key"), command.split_first())
    else {
        return Err(Failure::arguments("Error:  key and command to exec required"));
    };
    let mut watcher = Watcher::start(settings, key, matches).await?;
    or_interrupted(async {
        loop {
            let change = watcher.next().await?;
            if change.node.dir {
                tell(format!("Ignored dir {} change", change.node.key));
                continue;
            }
            let mut child = tokio::process::Command::new(program)
                .args(arguments)
                .envs(environment(&change))
                .stdin(Stdio::null())
                .spawn()
                .map_err(|error| Failure::arguments(format!("cannot run {program}: {error}")))?;
            // Its exit status is its own affair; it is only kept from becoming a zombie.
            tokio::spawn(async move { child.wait().await.ok() });
        }
    })
    .await
}

fn environment(change: &Answer) -> [(&'static str, String); 4] {
    [
        ("ETCD_WATCH_ACTION", change.action.clone()),
        (
            "ETCD_WATCH_MODIFIED_INDEX",
            change.node.modified_index.to_string(),
        ),
        ("ETCD_WATCH_KEY", change.node.key.clone()),
        ("ETCD_WATCH_VALUE", change.node.value.clone()),
    ]
}

/// CTRL+C is the way to end a watch, and no failure.
async fn or_interrupted(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::select! {
        outcome = work => outcome,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

struct Watcher {
    cluster: Cluster,
    key: String,
    recursive: bool,
    /// 0: the next change, whatever its index.
    wait_index: u64,
}

impl Watcher {
    async fn start(settings: &Settings, key: &str, matches: &ArgMatches) -> Result<Watcher, Failure> {
        let after = matches
            .get_one::<i64>("after-index")
            .copied()
            .unwrap_or_default()
            .cast_unsigned();
        let wait_index = if after == 0 { 0 } else { after.wrapping_add(1) };
        let cluster = Cluster::synced(settings).await?;
        Ok(Watcher {
            cluster,
            key: key.to_owned(),
            recursive: switch(matches, "recursive"),
            wait_index,
        })
    }

    async fn next(&mut self) -> Result<Answer, Failure> {
        loop {
            let request = keys::wait(&self.key, self.wait_index, self.recursive);
            let outcome = self.cluster.wait(&request).await;
            // A server that shuts down ends the wait with an empty body; another one will go on with it.
            if outcome
                .as_ref()
                .is_ok_and(|response| response.status.is_success() && response.body.is_empty())
            {
                continue;
            }
            let change = outcome
                .and_then(|response| keys::read(&response))
                .map_err(failure)?;
            self.wait_index = change.node.modified_index + 1;
            return Ok(change);
        }
    }
}

#[allow(clippy::needless_pass_by_value)] // the shape that map_err wants
fn failure(fault: CallFault) -> Failure {
    Failure::of(&fault, SERVER_ERROR)
}
