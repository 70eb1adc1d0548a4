//! `snapshot save`: the member's store into a file, which appears under its name when it is whole and on disk.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use clap::ArgMatches;
use corten_etcd_api::etcdserverpb as pb;
use futures_util::stream;

use super::connection::{Etcd, words as told};
use super::fault::{BAD_FEATURE, ERROR, Failure, IO};
use super::words;
use crate::terminal::say;

pub(super) async fn run(etcd: &Etcd, verb: &str, matches: &ArgMatches) -> Result<(), Failure> {
    if verb != "save" {
        return Err(Failure::new(
            BAD_FEATURE,
            format!("snapshot {verb} works on files, not on a member: use etcdutl snapshot {verb}"),
        ));
    }
    let [name] = words(matches)[..] else {
        return Err(Failure::args("snapshot save expects one argument"));
    };
    let path = Path::new(name);
    let part = path.with_file_name(format!(
        "{}.part",
        path.file_name().unwrap_or_default().to_string_lossy()
    ));
    let io = |error: std::io::Error| Failure::new(IO, format!("{}: {error}", part.display()));
    let mut file = File::create(&part).map_err(io)?;
    let mut pieces = etcd
        .stream::<_, pb::SnapshotResponse>(
            "/etcdserverpb.Maintenance/Snapshot",
            stream::iter([pb::SnapshotRequest {}]),
        )
        .await?;
    loop {
        match pieces.message().await {
            Ok(Some(piece)) => file.write_all(&piece.blob).map_err(io)?,
            Ok(None) => break,
            Err(status) => {
                fs::remove_file(&part).ok(); // half a snapshot is none
                return Err(Failure::new(ERROR, told(&status)));
            }
        }
    }
    file.sync_all().map_err(io)?;
    fs::rename(&part, path).map_err(io)?;
    say(format!("Snapshot saved at {name}"));
    Ok(())
}
