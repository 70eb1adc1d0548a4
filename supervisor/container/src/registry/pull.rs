//! A pull: manifest, configuration, layers, index.
//!
//! Duty: fetch what is missing, at most three layers at once, verified while written, resumed after a break; unpack in
//! order; enter the image last. Two pulls of one image share the work: each layer blob and each layer has its lock.
//! Danger: threads; they are joined here.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use super::client::{Client, RawManifest, RegistryError};
use super::config::RegistryConfig;
use crate::durable::{self, Lock};
use crate::image::hex;
use crate::image::manifest::{Descriptor, ImageFile, ImageManifest, Manifest, Platform, chain_ids};
use crate::image::store::{ImageStore, StoreError};
use crate::reference::{Reference, is_sha256_hex};

/// Layers fetched at once, as Docker does by default.
const AT_ONCE: usize = 3;
/// Times a broken transfer is resumed before it is given up.
const ATTEMPTS: u32 = 5;

/// Why a pull failed.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The registry did not give it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Writing a blob failed.
    #[error("{path}: {source}")]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A document of the image does not parse.
    #[error("{what} of {name} is not what a registry should hold: {reason}")]
    Malformed {
        /// Which document.
        what: &'static str,
        /// Which image.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// No image for this machine.
    #[error("no matching manifest for {os}/{architecture} in the manifest list entries of {name}")]
    Platform {
        /// Which image.
        name: String,
        /// Wanted.
        os: String,
        /// Wanted.
        architecture: String,
    },
    /// Another layer failed first.
    #[error("given up")]
    GivenUp,
}

/// Hears how a pull goes. Called from several threads.
pub trait Progress: Sync {
    /// Something happened to a layer (12 digits of its digest): `Pulling fs layer`, `Download complete`, ...
    fn layer(&self, id: &str, status: &str);
    /// Bytes of a layer so far, of how many.
    fn bytes(&self, id: &str, done: u64, total: u64);
}

/// What a pull brought.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// Image id (hex).
    pub id: String,
    /// Digest of the manifest or index that the name means.
    pub digest: String,
    /// Whether anything was new.
    pub fresh: bool,
}

/// Pulls `reference` for `platform` into `store`.
pub fn pull(
    store: &ImageStore,
    config: &RegistryConfig,
    reference: &Reference,
    platform: &Platform,
    progress: &dyn Progress,
) -> Result<Pulled, PullError> {
    let _adding = store.adding()?;
    let client = Client::connect(config, reference)?;
    let top = client.manifest(reference.wanted())?;
    let manifest = choose(&client, reference, platform, &top)?;
    let config_bytes = client.small_blob(&manifest.config.digest)?;
    let file: ImageFile = serde_json::from_slice(&config_bytes)
        .map_err(|error| malformed(reference, "the configuration", &error.to_string()))?;
    if file.rootfs.diff_ids.len() != manifest.layers.len() {
        return Err(malformed(
            reference,
            "the configuration",
            "it names another number of layers than the manifest",
        ));
    }
    let before = store.find(&reference.familiar()).ok().map(|image| image.id);
    let id = hex(&Sha256::digest(&config_bytes));
    let whole = store.has_layers(&file);
    fetch_and_unpack(store, &client, &manifest, &file, progress)?;
    let name = Reference {
        digest: Some(top.digest.clone()),
        ..reference.clone()
    };
    store.enter(&config_bytes, &[name])?;
    Ok(Pulled {
        fresh: !whole || before.as_ref() != Some(&id),
        id,
        digest: top.digest,
    })
}

fn malformed(reference: &Reference, what: &'static str, reason: &str) -> PullError {
    PullError::Malformed {
        what,
        name: reference.familiar(),
        reason: reason.to_owned(),
    }
}

fn choose(
    client: &Client,
    reference: &Reference,
    platform: &Platform,
    top: &RawManifest,
) -> Result<ImageManifest, PullError> {
    let parse = |raw: &RawManifest| {
        serde_json::from_slice::<Manifest>(&raw.bytes).map_err(|error| {
            malformed(
                reference,
                "the manifest",
                &format!("{error} (media type {:?})", raw.media_type),
            )
        })
    };
    let image = match parse(top)? {
        Manifest::Image(image) => image,
        Manifest::Index(index) => {
            let entry = index.choose(platform).ok_or_else(|| PullError::Platform {
                name: reference.familiar(),
                os: platform.os.clone(),
                architecture: platform.architecture.clone(),
            })?;
            match parse(&client.manifest(&entry.digest)?)? {
                Manifest::Image(image) => image,
                Manifest::Index(_) => {
                    return Err(malformed(reference, "the index", "it names another index"));
                }
            }
        }
    };
    for descriptor in image.layers.iter().chain([&image.config]) {
        if !descriptor
            .digest
            .strip_prefix("sha256:")
            .is_some_and(is_sha256_hex)
        {
            let reason = format!("digest {:?} is not of sha256", descriptor.digest);
            return Err(malformed(reference, "the manifest", &reason));
        }
    }
    Ok(image)
}

/// Twelve digits of a digest, as progress shows a layer.
fn short(digest: &str) -> &str {
    let hex = digest.trim_start_matches("sha256:");
    hex.get(..12).unwrap_or(hex)
}

fn fetch_and_unpack(
    store: &ImageStore,
    client: &Client,
    manifest: &ImageManifest,
    file: &ImageFile,
    progress: &dyn Progress,
) -> Result<(), PullError> {
    let chain = chain_ids(&file.rootfs.diff_ids);
    let mut missing = Vec::new();
    for (index, layer) in manifest.layers.iter().enumerate() {
        if store.layers().has(&chain[index]) {
            progress.layer(short(&layer.digest), "Already exists");
        } else {
            progress.layer(short(&layer.digest), "Pulling fs layer");
            missing.push(index);
        }
    }
    let wanted: Vec<&Descriptor> = missing.iter().map(|&index| &manifest.layers[index]).collect();
    fetch_all(store, client, &wanted, progress)?;
    for &index in &missing {
        let layer = &manifest.layers[index];
        let blob = store.blob_path(layer.digest.trim_start_matches("sha256:"));
        let add = || {
            let added = store
                .layers()
                .add(&chain[index], &file.rootfs.diff_ids[index], &blob);
            added.map_err(|error| PullError::Store(error.into()))
        };
        // Another image's pull may share the blob and have removed it after its own use.
        if let Err(error) = add() {
            if blob.exists() {
                return Err(error);
            }
            fetch_all(store, client, &[layer], progress)?;
            add()?;
        }
        progress.layer(short(&layer.digest), "Pull complete");
    }
    for layer in wanted {
        let _ = fs::remove_file(store.blob_path(layer.digest.trim_start_matches("sha256:")));
    }
    Ok(())
}

fn fetch_all(
    store: &ImageStore,
    client: &Client,
    wanted: &[&Descriptor],
    progress: &dyn Progress,
) -> Result<(), PullError> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let failure: Mutex<Option<PullError>> = Mutex::new(None);
    let work = |client: Client| {
        while !stop.load(Ordering::Relaxed)
            && let Some(layer) = wanted.get(next.fetch_add(1, Ordering::Relaxed))
        {
            if let Err(error) = fetch(store, &client, layer, &stop, progress) {
                stop.store(true, Ordering::Relaxed);
                if let Ok(mut first) = failure.lock() {
                    first.get_or_insert(error);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = AT_ONCE.min(wanted.len());
        for _ in 1..threads {
            let own = client.fork();
            let work = &work;
            scope.spawn(move || work(own));
        }
        work(client.fork());
    });
    match failure.into_inner() {
        Ok(Some(error)) => Err(error),
        _ => Ok(()),
    }
}

/// Fetches one layer's blob to its place, resuming what an earlier attempt or process has left.
fn fetch(
    store: &ImageStore,
    client: &Client,
    layer: &Descriptor,
    stop: &AtomicBool,
    progress: &dyn Progress,
) -> Result<(), PullError> {
    let digest = layer.digest.trim_start_matches("sha256:");
    let target = store.blob_path(digest);
    let part = target.with_extension("part");
    let disk = |source| PullError::Disk {
        path: part.clone(),
        source,
    };
    let lock_path = target.with_extension("lock");
    let _lock = Lock::wait(&lock_path).map_err(disk)?;
    if !target.exists() {
        let mut attempt = 1;
        while let Err(error) = transfer(client, layer, &part, stop, progress) {
            let passing = matches!(
                &error,
                PullError::Registry(RegistryError::Transport { .. } | RegistryError::Read { .. })
                    | PullError::Disk { .. }
            ) && !is_full(&error);
            if attempt >= ATTEMPTS || !passing || stop.load(Ordering::Relaxed) {
                return Err(error);
            }
            attempt += 1;
            progress.layer(short(&layer.digest), "Retrying");
        }
        fs::rename(&part, &target).map_err(disk)?;
    }
    let _ = fs::remove_file(&lock_path);
    progress.layer(short(&layer.digest), "Download complete");
    Ok(())
}

fn is_full(error: &PullError) -> bool {
    matches!(error, PullError::Disk { source, .. } if source.kind() == io::ErrorKind::StorageFull)
}

fn transfer(
    client: &Client,
    layer: &Descriptor,
    part: &Path,
    stop: &AtomicBool,
    progress: &dyn Progress,
) -> Result<(), PullError> {
    let disk = |source| PullError::Disk {
        path: part.to_owned(),
        source,
    };
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(part)
        .map_err(disk)?;
    let Some((mut hash, mut done)) = left_over(&mut file, layer).map_err(disk)? else {
        return keep(&file, part).map_err(disk);
    };
    let (mut body, resumed) = client.blob(&layer.digest, done)?;
    if !resumed && done > 0 {
        file.set_len(0).and_then(|()| file.rewind()).map_err(disk)?;
        (hash, done) = (Sha256::new(), 0);
    }
    let mut buffer = vec![0; 256 << 10];
    let mut shown = 0;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(PullError::GivenUp);
        }
        let n = body.read(&mut buffer).map_err(|source| RegistryError::Read {
            url: layer.digest.clone(),
            source,
        })?;
        if n == 0 {
            break;
        }
        file.write_all(&buffer[..n]).map_err(disk)?;
        hash.update(&buffer[..n]);
        done += n as u64;
        if done - shown >= 512 << 10 {
            progress.bytes(short(&layer.digest), done, layer.size);
            shown = done;
        }
    }
    let got = format!("sha256:{}", hex(&hash.finalize()));
    if got == layer.digest {
        return keep(&file, part).map_err(disk);
    }
    if done < layer.size {
        let source = io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("{done} of {} bytes came", layer.size),
        );
        return Err(RegistryError::Read {
            url: layer.digest.clone(),
            source,
        }
        .into());
    }
    // Wrong bytes must not be resumed.
    let _ = fs::remove_file(part);
    let what = format!("layer {}", short(&layer.digest));
    Err(RegistryError::Digest {
        what,
        wanted: layer.digest.clone(),
        got,
    }
    .into())
}

/// Makes a whole part durable before it gets the blob's name.
fn keep(file: &File, part: &Path) -> io::Result<()> {
    file.sync_all()?;
    durable::sync_dir(part.parent().unwrap_or(part))
}

/// Hash and length of what an earlier attempt left, to go on behind it; `None` when that is the whole layer. A part as
/// long as the layer but with other bytes is emptied: a registry refuses to send what lies behind the end.
fn left_over(file: &mut File, layer: &Descriptor) -> io::Result<Option<(Sha256, u64)>> {
    let (hash, done) = hash_of(file)?;
    if done < layer.size {
        return Ok(Some((hash, done)));
    }
    if format!("sha256:{}", hex(&hash.finalize())) == layer.digest {
        return Ok(None);
    }
    file.set_len(0)?;
    file.rewind()?;
    Ok(Some((Sha256::new(), 0)))
}

fn hash_of(file: &mut File) -> io::Result<(Sha256, u64)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut length = 0;
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok((hash, length));
        }
        hash.update(&buffer[..n]);
        length += n as u64;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_resumed_taken_whole_or_begun_anew() {
        let layer = Descriptor {
            media_type: String::new(),
            digest: format!("sha256:{}", hex(&Sha256::digest(b"layer"))),
            size: 5,
            platform: None,
            annotations: Default::default(),
        };
        for (left, wanted) in [
            ("", Some(0)),
            ("lay", Some(3)),
            ("layer", None),
            ("wrong", Some(0)),
        ] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(left.as_bytes()).unwrap();
            file.rewind().unwrap();
            let found = left_over(&mut file, &layer).unwrap().map(|(_, done)| done);
            assert_eq!(found, wanted, "{left}");
            if let Some(done) = wanted {
                assert_eq!(file.metadata().unwrap().len(), done, "{left}");
            }
        }
    }
}
