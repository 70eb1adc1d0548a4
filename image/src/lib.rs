//! Building Corten's OS image from Debian packages and our own programs.
//!
//! ```text
//! host's apt sources -> tools (mmdebstrap) -> packages (apt) -> base (unpacked, pruned) -+
//!                                             cargo: corten --------- units/ ------------+-> stage -> usr (erofs, verity)
//!                                             cargo: /init -> initramfs -------------------> efi (UKI, ESP) -> disk
//! ```
//! Duty: the same inputs give the same bytes, a step whose inputs did not change is not done again, and what is missing
//! is named with the way to get it.
//!
//! Refuses: loop devices, mounts that outlive a command, and any knowledge of a mirror.

pub mod base;
pub mod boot;
pub mod compile;
pub mod cpio;
pub mod digest;
pub mod disk;
pub mod gpt;
pub mod host;
pub mod manifest;
pub mod mirror;
pub mod modules;
pub mod packages;
pub mod pattern;
pub mod rules;
pub mod stage;
pub mod steps;
pub mod tools;
pub mod usr;
pub mod verity;

use anyhow::{Context, Result, bail};
use digest::Digest;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use steps::Steps;
use tools::{Network, Tools};

/// What a build is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder for the results.
    pub out: PathBuf,
    /// Folder for cached steps.
    pub cache: PathBuf,
    /// The repository, for `units/` and cargo.
    pub repository: PathBuf,
    /// A prebuilt `corten`, else cargo builds it.
    pub binary: Option<PathBuf>,
    /// A prebuilt static `/init`, else cargo builds it.
    pub init: Option<PathBuf>,
    /// Mirror, else that of the host's apt.
    pub mirror: Option<mirror::Mirror>,
    /// Time of every file, else that of the repository's last commit.
    pub epoch: Option<u64>,
    /// Whether kernel modules keep their signatures.
    pub signatures: modules::Signatures,
    /// Resolve and fetch packages anew.
    pub refresh: bool,
}

/// What a build leaves in [`Options::out`].
pub const RESULTS: [&str; 5] = ["corten.raw", "vmlinuz", "initramfs", "cmdline", "corten.efi"];

/// Builds the image.
pub fn build(options: &Options) -> Result<()> {
    host::check()?;
    // Modes of files and folders that are made on the way end up in the image.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let steps = Steps::new(&options.cache)?;
    fs::create_dir_all(&options.out).with_context(|| format!("making {}", options.out.display()))?;
    let mirror = choose_mirror(options)?;
    let epoch = options
        .epoch
        .map_or_else(|| commit_time(&options.repository), Ok)?;
    let refresh = refresh_mark(options)?;
    let version = env!("CARGO_PKG_VERSION");

    let tools = Tools::make(&steps, &mirror, &refresh, epoch)?;
    let packages = packages::fetch(&steps, &tools, &mirror, &refresh)?;
    let base = base::make(&steps, &tools, &packages, options.signatures)?;
    let release = fs::read_to_string(base.join("release"))?;
    let binary = program(&steps, options.binary.as_ref(), "corten", || {
        compile::corten(&options.repository)
    })?;
    let init = program(&steps, options.init.as_ref(), "corten-init", || {
        compile::init(&options.repository)
    })?;

    let inputs = stage::Inputs {
        base: base.clone(),
        units: options.repository.join("units"),
        binary,
        version: version.to_owned(),
    };
    let stage = stage::make(&steps, &tools, &inputs)?;
    let usr = usr::make(&steps, &tools, &stage, epoch)?;
    let root_hash = usr::root_hash(&usr)?;
    let initramfs = make_initramfs(&steps, &tools, &base, &release, &init, epoch)?;
    let efi = boot::efi(
        &steps,
        &tools,
        &boot::Inputs {
            kernel: base.join("vmlinuz"),
            initramfs: initramfs.join("initramfs"),
            os_release: stage.join("usr/lib/os-release"),
            version: version.to_owned(),
            release: release.clone(),
            root_hash,
        },
    )?;
    let state = make_state(&steps, &tools, epoch)?;
    steps.always("disk", "writing corten.raw and the files for direct boot", || {
        let out = |name: &str| options.out.join(name);
        let contents = disk::Contents {
            esp: efi.join("esp"),
            usr: usr.join("usr.erofs"),
            verity: usr.join("usr.verity"),
            root_hash,
            state: state.join("state"),
        };
        write_then_rename(&out("corten.raw"), |path| disk::write(&contents, path))?;
        for (from, name) in [
            (base.join("vmlinuz"), "vmlinuz"),
            (initramfs.join("initramfs"), "initramfs"),
            (efi.join("corten.efi"), "corten.efi"),
        ] {
            write_then_rename(&out(name), |path| Ok(fs::copy(&from, path).map(drop)?))?;
        }
        write_then_rename(&out("cmdline"), |path| {
            Ok(fs::write(path, boot::command_line(&root_hash) + "\n")?)
        })
    })?;
    steps.always("manifest", "listing packages, files and digests", || {
        let artifacts: BTreeMap<_, _> = RESULTS
            .iter()
            .map(|name| Ok(((*name).to_owned(), manifest::artifact(&options.out.join(name))?)))
            .chain([Ok((
                "usr.erofs".to_owned(),
                manifest::artifact(&usr.join("usr.erofs"))?,
            ))])
            .collect::<Result<_>>()?;
        let download_bytes = ["vmlinuz", "initramfs", "usr.erofs"]
            .iter()
            .map(|n| artifacts[*n].bytes)
            .sum();
        let whole = manifest::Manifest {
            version,
            source_date_epoch: epoch,
            kernel: &release,
            usr_root_hash: manifest::root_hash(&root_hash),
            download_bytes,
            packages: &packages.list,
            files: manifest::our_files(&stage)?,
            artifacts,
        };
        let text = serde_json::to_string_pretty(&whole)? + "\n";
        write_then_rename(&options.out.join("manifest.json"), |path| {
            Ok(fs::write(path, &text)?)
        })?;
        steps.tell(
            "manifest",
            &format!(
                "kernel + initramfs + /usr: {:.1} MiB",
                download_bytes as f64 / 1048576.0
            ),
        );
        Ok(())
    })?;
    steps.tell(
        "image",
        &format!("{} is ready", options.out.join("corten.raw").display()),
    );
    Ok(())
}

fn choose_mirror(options: &Options) -> Result<mirror::Mirror> {
    match &options.mirror {
        Some(given) => Ok(given.clone()),
        None => mirror::Mirror::of_host(Path::new("/etc/apt"))?.context(
            "the host's apt sources name no Debian archive; give one with --mirror (and --security-mirror)",
        ),
    }
}

/// `--refresh` must hold for later builds too, so its time is kept beside the cache.
fn refresh_mark(options: &Options) -> Result<String> {
    let path = options.cache.join("refreshed");
    if options.refresh {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)?
            .as_secs();
        fs::write(&path, now.to_string())?;
    }
    Ok(fs::read_to_string(&path).unwrap_or_default())
}

/// When the last commit was made, in seconds since 1970: the time of every file unless another is given.
pub fn commit_time(repository: &Path) -> Result<u64> {
    let mut git = Command::new("git");
    git.arg("-C")
        .arg(repository)
        .args(["-c", "safe.directory=*", "log", "-1", "--format=%ct"]);
    let text = host::run(&mut git).context(
        "asking git for the last commit's time; outside a repository give --source-date-epoch SECONDS",
    )?;
    text.trim()
        .parse()
        .with_context(|| format!("git said {text:?} for a time"))
}

fn program(
    steps: &Steps,
    given: Option<&PathBuf>,
    name: &str,
    build: impl FnOnce() -> Result<PathBuf>,
) -> Result<PathBuf> {
    match given {
        Some(path) if path.is_file() => Ok(path.clone()),
        Some(path) => bail!("there is no program {} (given for {name})", path.display()),
        None => steps.always("compile", &format!("cargo build {name}"), build),
    }
}

fn make_initramfs(
    steps: &Steps,
    tools: &Tools,
    base: &Path,
    release: &str,
    init: &Path,
    epoch: u64,
) -> Result<PathBuf> {
    let digest = Digest::of("initramfs", 1)
        .step(base)
        .text(&tools.identity())
        .file(init)?
        .text(&epoch.to_string())
        .list(rules::boot_modules())
        .list(rules::boot_modules_wanted())
        .list(rules::boot_modules_by_alias());
    steps.cached("initramfs", "packing /init and its modules", &digest, |dir| {
        fs::copy(init, dir.join("init"))?;
        tools.run("strip --strip-all /work/init", &[(dir, "/work")], Network::None)?;
        boot::initramfs(base, release, &dir.join("init"), epoch, &dir.join("initramfs"))?;
        Ok(fs::remove_file(dir.join("init"))?)
    })
}

/// An empty ext4 for the state.
fn make_state(steps: &Steps, tools: &Tools, epoch: u64) -> Result<PathBuf> {
    let digest = Digest::of("state", 1)
        .text(&tools.identity())
        .text(&epoch.to_string())
        .text(&disk::STATE_BYTES.to_string());
    let uuid = digest::uuid_text(digest.uuid());
    steps.cached("state", "making the empty state file system", &digest, |dir| {
        let script = format!(
            "truncate -s {} /work/state\n\
             mke2fs -q -t ext4 -L state -m 1 -U {uuid} -E hash_seed={uuid},nodiscard,lazy_itable_init=1,root_owner=0:0 /work/state",
            disk::STATE_BYTES
        );
        tools.run(&script, &[(dir, "/work")], Network::None).map(drop)
    })
}

/// Nobody sees a half-written result, and one in use (a running machine's disk) stays whole for its user.
fn write_then_rename(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let mut name = path.file_name().context("a path without a name")?.to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let _ = fs::remove_file(&new);
    write(&new)?;
    fs::rename(&new, path).with_context(|| format!("replacing {}", path.display()))
}
