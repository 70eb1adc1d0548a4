//! `snapshot save`: the member's store into a file, which appears under its name when it is whole and on disk.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use clap::ArgMatches;
use corten_etcd_api::etcdserverpb as pb;
use futures_util::stream;
use tonic::Status;

use super::connection::Etcd;
use super::fault::{BAD_FEATURE, Failure, INTERRUPTED, IO};
use super::settings::Settings;
use super::words;
use crate::terminal::say;

pub(super) async fn run(settings: &Settings, verb: &str, matches: &ArgMatches) -> Result<(), Failure> {
    if verb != "save" {
        return Err(Failure::new(
            BAD_FEATURE,
            format!("snapshot {verb} works on files, not on a member: use etcdutl snapshot {verb}"),
        ));
    }
    let [name] = words(matches)[..] else {
        return Err(Failure::args("snapshot save expects one argument"));
    };
    if let [_, _, ..] = settings.endpoints[..] {
        let urls: Vec<&str> = settings
            .endpoints
            .iter()
            .map(|endpoint| endpoint.url.as_str())
            .collect();
        return Err(Failure::new(
            INTERRUPTED,
            format!(
                "snapshot must be requested to one selected node, not multiple [{}]",
                urls.join(" ")
            ),
        ));
    }
    save(&Etcd::connect(settings).await?, Path::new(name)).await?;
    say(format!("Snapshot saved at {name}"));
    Ok(())
}

async fn save(etcd: &Etcd, path: &Path) -> Result<(), Failure> {
    let part = path.with_file_name(format!(
        "{}.part",
        path.file_name().unwrap_or_default().to_string_lossy()
    ));
    let io = |error: std::io::Error| Failure::new(IO, format!("{}: {error}", part.display()));
    let mut file = private(&part).map_err(io)?;
    let fetched = fetch(etcd, &mut file).await;
    let kept = match fetched {
        Ok(()) => file.sync_all().and_then(|()| fs::rename(&part, path)).map_err(io),
        Err(Fault::Etcd(status)) => Err(etcd.failure(&status)),
        Err(Fault::File(error)) => Err(io(error)),
    };
    if kept.is_err() {
        fs::remove_file(&part).ok(); // half a snapshot is none
    }
    kept
}

/// A new file that is nobody else's to read: all keys will be in it, and the users' passwords.
fn private(path: &Path) -> std::io::Result<File> {
    const OURS: u32 = 0o600;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(OURS)
        .open(path)?;
    // An earlier attempt may have left it.
    file.set_permissions(Permissions::from_mode(OURS))?;
    Ok(file)
}

enum Fault {
    Etcd(Status),
    File(std::io::Error),
}

async fn fetch(etcd: &Etcd, file: &mut File) -> Result<(), Fault> {
    let mut pieces = etcd
        .stream::<_, pb::SnapshotResponse>(
            "/etcdserverpb.Maintenance/Snapshot",
            stream::iter([pb::SnapshotRequest {}]),
        )
        .await
        .map_err(Fault::Etcd)?;
    while let Some(piece) = pieces.message().await.map_err(Fault::Etcd)? {
        file.write_all(&piece.blob).map_err(Fault::File)?;
    }
    Ok(())
}
