//! `corten-image`: the command that builds the OS image.

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use corten_image::{Options, compile, mirror::Mirror, modules::Signatures};
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Builds Corten's OS image
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build the disk image, the files for direct boot and the manifest
    ///
    /// Leaves in DIR: corten.raw (GPT disk, sparse), vmlinuz, initramfs and cmdline for direct boot, corten.efi (unified
    /// kernel image), manifest.json. Needs root, mmdebstrap and the host's Debian mirror; the first build fetches about
    /// 150 MB and takes a few minutes, later ones do again only what changed.
    Build(Build),
}

#[derive(Debug, clap::Args)]
struct Build {
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = "out/image")]
    out: PathBuf,
    /// Folder for fetched packages and unchanged steps [default: `cache` beside DIR]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// A prebuilt `corten` to put in, instead of compiling it
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// A prebuilt static /init to put in, instead of compiling it
    #[arg(long, value_name = "PATH")]
    init: Option<PathBuf>,
    /// Debian archive to use instead of the host's
    #[arg(long, value_name = "URI")]
    mirror: Option<String>,
    /// Debian security archive to use with --mirror
    #[arg(long, value_name = "URI", requires = "mirror")]
    security_mirror: Option<String>,
    /// Time of every file in the image [default: of the last commit]
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH")]
    source_date_epoch: Option<u64>,
    /// Keep the kernel modules' signatures, which a kernel under Secure Boot asks for and a slow machine boots slower with
    #[arg(long)]
    signed_modules: bool,
    /// Make the tool tree and fetch packages anew, to take up what Debian has fixed since
    #[arg(long)]
    refresh: bool,
}

fn main() -> ExitCode {
    let Verb::Build(build) = Arguments::parse().command;
    let built = options(build).and_then(|options| {
        if nix::unistd::geteuid().is_root() {
            corten_image::build(&options)
        } else {
            through_sudo(&options)
        }
    });
    match built {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("corten-image: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Compiles as who we are, so that cargo's files stay ours, and asks sudo for the rest, which needs root.
fn through_sudo(options: &Options) -> Result<()> {
    let mut sudo = Command::new("sudo");
    let time = options
        .epoch
        .map_or_else(|| corten_image::commit_time(&options.repository), Ok)?;
    sudo.args(["env", &format!("SOURCE_DATE_EPOCH={time}")]);
    sudo.arg(env::current_exe()?).args(env::args_os().skip(1));
    if options.binary.is_none() {
        sudo.arg("--binary").arg(compile::corten(&options.repository)?);
    }
    if options.init.is_none() {
        sudo.arg("--init").arg(compile::init(&options.repository)?);
    }
    eprintln!(
        "corten-image: the rest needs root, to keep the owners of files and to enter the tool tree: asking sudo"
    );
    let status = sudo.status().context(
        "building the image needs root, and sudo cannot be run: run this as root, or install sudo",
    )?;
    ensure!(status.success(), "the part under sudo ended with {status}");
    Ok(())
}

fn options(build: Build) -> Result<Options> {
    let cache = build
        .cache
        .unwrap_or_else(|| build.out.parent().unwrap_or(Path::new("")).join("cache"));
    Ok(Options {
        cache,
        repository: repository()?,
        binary: build.binary,
        init: build.init,
        mirror: build.mirror.map(|main| Mirror {
            main,
            security: build.security_mirror,
        }),
        epoch: build.source_date_epoch,
        signatures: if build.signed_modules {
            Signatures::Kept
        } else {
            Signatures::Removed
        },
        refresh: build.refresh,
        out: build.out,
    })
}

/// The nearest folder upwards that holds `units` and the workspace.
fn repository() -> Result<PathBuf> {
    let here = env::current_dir()?;
    here.ancestors()
        .find(|dir| dir.join("units").is_dir() && dir.join("Cargo.toml").is_file())
        .map(Path::to_path_buf)
        .with_context(|| {
            format!(
                "{} is not inside Corten's repository; change to it first",
                here.display()
            )
        })
}
