//! `etcdutl`: what is done with a snapshot while no server runs. `etcdctl snapshot save` makes one.
//!
//! A snapshot file is what the server streams: the state, zeros up to a whole sector, and the SHA-256 of both. It is read
//! twice: first to its end, against the sum, and only then for what is in it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use corten_raft::Backup;
use sha2::{Digest, Sha256};

use super::ETCD_VERSION;
use crate::chain::chain;
use crate::member::founding_config;
use crate::settings::fragments::{Fragments, Given};
use crate::settings::{SettingsError, understand_alone};

/// A snapshot is as long as a number of these, and a sum.
const SECTOR: u64 = 512;

#[derive(Debug, Parser)]
#[command(name = "etcdutl", about = "Works on the store's files while no server runs.")]
struct Command {
    #[command(subcommand)]
    command: Program,
}

#[derive(Debug, Subcommand)]
enum Program {
    /// Snapshots, as `etcdctl snapshot save` makes them
    #[command(subcommand)]
    Snapshot(Snapshot),
    /// Print the version
    Version,
}

#[derive(Debug, Subcommand)]
enum Snapshot {
    /// Make a member's data directory from a snapshot; each member of the new cluster needs one from the same file
    Restore(Restore),
    /// Say what is in a snapshot
    Status {
        /// The snapshot
        file: PathBuf,
        /// In which form
        #[arg(short = 'w', long = "write-out", value_enum, default_value = "simple")]
        form: Form,
    },
}

#[derive(Debug, Args)]
struct Restore {
    /// The snapshot
    file: PathBuf,
    /// The new data directory [default: NAME.etcd]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// The member's name
    #[arg(long, default_value = "default")]
    name: String,
    /// All members of the new cluster, NAME=URL with commas
    #[arg(long, default_value = "default=http://localhost:2380")]
    initial_cluster: String,
    /// A word by which the new cluster is told from the old one
    #[arg(long, default_value = "etcd-cluster")]
    initial_cluster_token: String,
    /// Under which URLs the other members reach this one
    #[arg(long, default_value = "http://localhost:2380")]
    initial_advertise_peer_urls: String,
    /// Take a file without its sum, as a copy of a data directory has it
    #[arg(long)]
    skip_hash_check: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    Simple,
    Json,
    Table,
}

/// Runs it; `args[0]` is the name it was called under.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let command = match Command::try_parse_from(args) {
        Ok(command) => command,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Nobody to tell if this fails.
            let _ = error.print();
            return if asked {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(1)
            };
        }
    };
    let done = match command.command {
        Program::Version => {
            println!(
                "etcdutl version: {ETCD_VERSION}\nCorten: {}",
                env!("CARGO_PKG_VERSION")
            );
            Ok(())
        }
        Program::Snapshot(Snapshot::Status { file, form }) => status(&file, form),
        Program::Snapshot(Snapshot::Restore(restore)) => restored(&restore),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn status(path: &Path, form: Form) -> anyhow::Result<()> {
    let mut file = open(path)?;
    let size = file.metadata()?.len();
    if size % SECTOR != 0 {
        check_sum(&mut file)?;
    }
    let found = corten_raft::inspect(&mut BufReader::new(file))?;
    println!("{}", shown(&found, size, form));
    Ok(())
}

fn shown(found: &Backup, size: u64, form: Form) -> String {
    let Backup {
        hash, revision, rows, ..
    } = found;
    match form {
        Form::Simple => format!("{hash:x}, {revision}, {rows}, {}", human(size)),
        Form::Json => {
            format!("{{\"hash\":{hash},\"revision\":{revision},\"totalKey\":{rows},\"totalSize\":{size}}}")
        }
        Form::Table => {
            let heads = ["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE"];
            let cells = [
                format!("{hash:x}"),
                revision.to_string(),
                rows.to_string(),
                human(size),
            ];
            let widths: Vec<usize> = heads
                .iter()
                .zip(&cells)
                .map(|(h, c)| h.len().max(c.len()))
                .collect();
            let rule = widths
                .iter()
                .map(|w| "-".repeat(w + 2))
                .collect::<Vec<_>>()
                .join("+");
            let line = |texts: Vec<String>| format!("| {} |", texts.join(" | "));
            let heads = heads
                .iter()
                .zip(&widths)
                .map(|(h, w)| format!("{h:^w$}"))
                .collect();
            let cells = cells
                .iter()
                .zip(&widths)
                .map(|(c, w)| format!("{c:>w$}"))
                .collect();
            format!("+{rule}+\n{}\n+{rule}+\n{}\n+{rule}+", line(heads), line(cells))
        }
    }
}

/// Bytes as etcd prints them: thousands, one decimal below ten.
fn human(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if size < 1000.0 || unit == "TB" {
            let whole = unit == "B" || size >= 10.0;
            return if whole {
                format!("{size:.0} {unit}")
            } else {
                format!("{size:.1} {unit}")
            };
        }
        size /= 1000.0;
    }
    unreachable!("the last unit ends the loop")
}

fn restored(restore: &Restore) -> anyhow::Result<()> {
    let mut file = open(&restore.file)?;
    if !restore.skip_hash_check {
        check_sum(&mut file)?;
    }
    let mut given = Fragments::new();
    let mut give = |flag: &str, value: &str| {
        let name = format!("ETCD_{}", flag.to_ascii_uppercase().replace('-', "_"));
        let (value, source) = (value.to_owned(), format!("--{flag}"));
        given.insert(name, Given { value, source });
    };
    give("name", &restore.name);
    give("initial-cluster", &restore.initial_cluster);
    give("initial-cluster-token", &restore.initial_cluster_token);
    give(
        "initial-advertise-peer-urls",
        &restore.initial_advertise_peer_urls,
    );
    if let Some(dir) = &restore.data_dir {
        give("data-dir", dir.to_str().context("--data-dir is not UTF-8")?);
    }
    let (alone, _) = understand_alone(&given)
        .map_err(|SettingsError { problems }| anyhow::anyhow!("{}", problems.join("\n")))?;
    let config = founding_config(&alone.etcd);
    let (member, cluster) = corten_raft::restore(&mut BufReader::new(file), &config)?;
    println!(
        "restored {} to {}: member {member:x} of cluster {cluster:x}",
        restore.file.display(),
        alone.etcd.data_dir.display()
    );
    Ok(())
}

fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).context(format!("the snapshot {} cannot be opened", path.display()))
}

/// Reads a file from its begin to its end against the sum there; leaves it at its begin.
fn check_sum(file: &mut File) -> anyhow::Result<()> {
    let size = file.metadata()?.len();
    let sum_size = Sha256::output_size() as u64;
    ensure!(
        size % SECTOR == sum_size,
        "snapshot missing hash but --skip-hash-check=false: it is cut short, or no snapshot that was streamed"
    );
    let mut hash = Sha256::new();
    file.seek(SeekFrom::Start(0))?;
    let mut content = BufReader::new(&mut *file).take(size - sum_size);
    let mut chunk = vec![0; 256 << 10];
    loop {
        match content.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => hash.update(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("the snapshot cannot be read"),
        }
    }
    let mut expected = vec![0; Sha256::output_size()];
    file.seek(SeekFrom::Start(size - sum_size))?;
    file.read_exact(&mut expected)?;
    let found = hash.finalize();
    if found.as_slice() != expected {
        bail!(
            "expected sha256 {expected:02x?}, got {:02x?}: the snapshot is damaged",
            found.as_slice()
        );
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_is_held_against_its_sum() {
        let content = vec![7u8; 2 * SECTOR as usize];
        let whole = [content.clone(), Sha256::digest(&content).to_vec()].concat();
        let checked = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            check_sum(&mut file)
        };
        checked(&whole).unwrap();
        let mut flipped = whole.clone();
        flipped[100] ^= 1;
        let error = checked(&flipped).unwrap_err().to_string();
        assert!(error.starts_with("expected sha256 ["), "{error}");
        for torn in [&whole[..whole.len() - 1], &content, &[]] {
            let error = checked(torn).unwrap_err().to_string();
            assert!(error.starts_with("snapshot missing hash"), "{error}");
        }
    }

    #[test]
    fn a_status_is_printed_as_etcds() {
        let found = Backup {
            cluster_id: 1,
            revision: 10,
            etcd_index: 4,
            rows: 7,
            hash: 0xfe01_cf57,
        };
        let shown = |form| shown(&found, 2_101_280, form);
        assert_eq!(shown(Form::Simple), "fe01cf57, 10, 7, 2.1 MB");
        assert_eq!(
            shown(Form::Json),
            "{\"hash\":4261531479,\"revision\":10,\"totalKey\":7,\"totalSize\":2101280}"
        );
        assert_eq!(
            shown(Form::Table),
            "+----------+----------+------------+------------+\n\
             |   HASH   | REVISION | TOTAL KEYS | TOTAL SIZE |\n\
             +----------+----------+------------+------------+\n\
             | fe01cf57 |       10 |          7 |     2.1 MB |\n\
             +----------+----------+------------+------------+"
        );
        assert_eq!([human(0), human(999), human(20_480)], ["0 B", "999 B", "20 kB"]);
    }
}
