//! The index of images: which names mean which image, and which layers it has.
//!
//! Duty: one JSON file, changed under a lock and replaced atomically *after* everything it names is durable; so a power
//! cut leaves either the old index or one whose images are whole. Refusal: fetches nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::hex;
use super::layer::{LayerError, Layers};
use super::manifest::{ImageFile, chain_ids};
use crate::durable::{self, Lock};
use crate::engine::Engine;
use crate::reference::Reference;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk said no.
    #[error("image store: {path}: {source}")]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A configuration does not parse.
    #[error("configuration of image {id} does not parse: {source}")]
    Config {
        /// Image.
        id: String,
        /// Why.
        source: serde_json::Error,
    },
    /// Nothing of that name.
    #[error("No such image: {0}")]
    Unknown(String),
    /// A short id fits several images.
    #[error("image reference {0} is ambiguous: give more digits of the id")]
    Ambiguous(String),
    /// A container was made from it.
    #[error(
        "conflict: unable to remove repository reference \"{name}\" (must force) - container {container} is using its referenced image {id}"
    )]
    InUse {
        /// What was asked.
        name: String,
        /// Short id of a container.
        container: String,
        /// Short id of the image.
        id: String,
    },
    /// An id with several names.
    #[error("conflict: unable to delete {0} (must be forced) - image is referenced in multiple repositories")]
    SeveralNames(String),
    /// A layer could not be unpacked.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

/// What the index knows of an image besides its names.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    chain: Vec<String>,
    size: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Index {
    /// `docker.io/library/busybox:latest` -> image id (hex).
    tags: BTreeMap<String, String>,
    /// `docker.io/library/busybox@sha256:...` -> image id (hex).
    digests: BTreeMap<String, String>,
    /// Image id (hex) -> layers.
    images: BTreeMap<String, Known>,
}

/// One image of the store.
#[derive(Debug, Clone)]
pub struct Image {
    /// 64 hex digits: the digest of the configuration.
    pub id: String,
    /// Familiar `name:tag`s.
    pub tags: Vec<String>,
    /// Familiar `name@digest`s.
    pub digests: Vec<String>,
    /// Chain ids of its layers, lowest first.
    pub chain: Vec<String>,
    /// Bytes of all layers as unpacked.
    pub size: u64,
    /// The configuration.
    pub file: ImageFile,
}

/// The images of an engine.
#[derive(Debug, Clone)]
pub struct ImageStore {
    engine: Engine,
}

impl ImageStore {
    /// The images of `engine`.
    pub fn new(engine: &Engine) -> Self {
        Self {
            engine: engine.clone(),
        }
    }

    /// The layers.
    pub fn layers(&self) -> Layers {
        Layers::new(self.engine.layers())
    }

    /// Keeps what is being added from being collected before the index names it; held for the length of a pull or load.
    pub fn adding(&self) -> Result<Lock, StoreError> {
        let path = self.engine.collect_lock();
        Lock::share(&path).map_err(|source| StoreError::Disk { path, source })
    }

    /// Path of a blob by hex digest.
    pub fn blob_path(&self, hex_digest: &str) -> PathBuf {
        self.engine.blobs().join(hex_digest)
    }

    /// Stores a small blob durably; returns its hex digest.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<String, StoreError> {
        let digest = hex(&Sha256::digest(bytes));
        let path = self.blob_path(&digest);
        if !path.exists() {
            durable::write(&path, bytes).map_err(|source| StoreError::Disk { path, source })?;
        }
        Ok(digest)
    }

    fn read(&self) -> Result<Index, StoreError> {
        let path = self.engine.image_index();
        let index = durable::read_json(&path).map_err(|source| StoreError::Disk { path, source })?;
        Ok(index.unwrap_or_default())
    }

    fn change<T>(&self, change: impl FnOnce(&mut Index) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let path = self.engine.image_lock();
        let _lock = Lock::wait(&path).map_err(|source| StoreError::Disk { path, source })?;
        let mut index = self.read()?;
        let value = change(&mut index)?;
        let path = self.engine.image_index();
        durable::write_json(&path, &index).map_err(|source| StoreError::Disk { path, source })?;
        Ok(value)
    }

    /// Enters an image whose configuration and layers are in the store already; `names` now mean it.
    pub fn enter(&self, config: &[u8], names: &[Reference]) -> Result<String, StoreError> {
        let id = self.put_blob(config)?;
        let file: ImageFile = serde_json::from_slice(config).map_err(|source| StoreError::Config {
            id: id.clone(),
            source,
        })?;
        let chain = chain_ids(&file.rootfs.diff_ids);
        let size = chain
            .iter()
            .map(|layer| tree_size(&self.layers().path(layer)))
            .sum();
        self.change(|index| {
            index.images.insert(id.clone(), Known { chain, size });
            for name in names {
                let plain = Reference {
                    tag: None,
                    digest: None,
                    ..name.clone()
                };
                if let Some(tag) = &name.tag {
                    index.tags.insert(format!("{plain}:{tag}"), id.clone());
                }
                if let Some(digest) = &name.digest {
                    index.digests.insert(format!("{plain}@{digest}"), id.clone());
                }
            }
            Ok(())
        })?;
        Ok(id)
    }

    /// Whether all layers of a configuration are unpacked.
    pub fn has_layers(&self, file: &ImageFile) -> bool {
        chain_ids(&file.rootfs.diff_ids)
            .iter()
            .all(|layer| self.layers().has(layer))
    }

    /// All images, by name then id.
    pub fn list(&self) -> Result<Vec<Image>, StoreError> {
        let index = self.read()?;
        index
            .images
            .iter()
            .map(|(id, known)| self.image(&index, id, known))
            .collect()
    }

    /// Finds an image by name, digest, id or unambiguous start of an id.
    pub fn find(&self, name: &str) -> Result<Image, StoreError> {
        let index = self.read()?;
        let id = resolve(&index, name)?;
        let known = index
            .images
            .get(&id)
            .ok_or_else(|| StoreError::Unknown(name.to_owned()))?;
        self.image(&index, &id, known)
    }

    fn image(&self, index: &Index, id: &str, known: &Known) -> Result<Image, StoreError> {
        let path = self.blob_path(id);
        let bytes = fs::read(&path).map_err(|source| StoreError::Disk { path, source })?;
        let file = serde_json::from_slice(&bytes).map_err(|source| StoreError::Config {
            id: id.to_owned(),
            source,
        })?;
        Ok(Image {
            id: id.to_owned(),
            tags: names_of(&index.tags, id),
            digests: names_of(&index.digests, id),
            chain: known.chain.clone(),
            size: known.size,
            file,
        })
    }

    /// Gives an image another name.
    pub fn tag(&self, source: &str, target: &Reference) -> Result<(), StoreError> {
        self.change(|index| {
            let id = resolve(index, source)?;
            index.tags.insert(
                Reference {
                    digest: None,
                    ..target.clone()
                }
                .to_string(),
                id,
            );
            Ok(())
        })
    }

    /// Takes a name away, and the image with its last one. `used_by` says which container (short id) uses an image.
    /// Returns what `docker rmi` prints.
    pub fn remove(
        &self,
        name: &str,
        force: bool,
        used_by: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<String>, StoreError> {
        let mut said = Vec::new();
        self.change(|index| {
            let id = resolve(index, name)?;
            let tag = Reference::parse(name)
                .ok()
                .map(|r| r.to_string())
                .filter(|key| index.tags.get(key) == Some(&id));
            let names = names_of(&index.tags, &id);
            if tag.is_none() && names.len() > 1 && !force {
                return Err(StoreError::SeveralNames(id[..12].to_owned()));
            }
            let last = tag.is_none() || names.len() == 1;
            if last
                && !force
                && let Some(container) = used_by(&id)
            {
                return Err(StoreError::InUse {
                    name: name.to_owned(),
                    container,
                    id: id[..12].to_owned(),
                });
            }
            index
                .tags
                .retain(|key, value| *value != id || tag.as_ref().is_some_and(|tag| tag != key));
            match tag.as_deref().and_then(|tag| Reference::parse(tag).ok()) {
                Some(reference) => said.push(format!("Untagged: {}", reference.familiar())),
                None => said.extend(names.iter().map(|name| format!("Untagged: {name}"))),
            }
            if last {
                said.extend(
                    names_of(&index.digests, &id)
                        .iter()
                        .map(|name| format!("Untagged: {name}")),
                );
                index.digests.retain(|_, value| *value != id);
                // A container made from it keeps its layers; the image goes when the container has gone.
                if used_by(&id).is_none() {
                    index.images.remove(&id);
                    said.push(format!("Deleted: sha256:{id}"));
                }
            }
            Ok(())
        })?;
        self.collect()?;
        Ok(said)
    }

    /// Removes blobs and layers nothing names; left for a later time while an image is being added.
    fn collect(&self) -> Result<(), StoreError> {
        let path = self.engine.collect_lock();
        let lock = Lock::attempt(&path).map_err(|source| StoreError::Disk { path, source })?;
        if lock.is_none() {
            return Ok(());
        }
        let index = self.read()?;
        let keep: BTreeSet<String> = index
            .images
            .values()
            .flat_map(|known| known.chain.iter().cloned())
            .collect();
        let layers = self.engine.layers();
        self.layers()
            .retain(&keep)
            .map_err(|source| StoreError::Disk { path: layers, source })?;
        let blobs = self.engine.blobs();
        let sweep = || -> io::Result<()> {
            for entry in fs::read_dir(&blobs)? {
                let path = entry?.path();
                let name = path
                    .file_name()
                    .and_then(|name| name.to_str())
                    .unwrap_or_default();
                if !index.images.contains_key(name) {
                    fs::remove_file(&path)?;
                }
            }
            Ok(())
        };
        sweep().map_err(|source| StoreError::Disk {
            path: blobs.clone(),
            source,
        })
    }
}

fn names_of(names: &BTreeMap<String, String>, id: &str) -> Vec<String> {
    let of_id = names.iter().filter(|(_, value)| *value == id);
    of_id
        .filter_map(|(name, _)| Some(Reference::parse(name).ok()?.familiar()))
        .collect()
}

fn resolve(index: &Index, name: &str) -> Result<String, StoreError> {
    if let Ok(reference) = Reference::parse(name) {
        let tags = index.tags.get(&reference.to_string());
        let plain = Reference {
            tag: None,
            ..reference.clone()
        };
        let by_digest = reference
            .digest
            .as_ref()
            .and_then(|_| index.digests.get(&plain.to_string()));
        if let Some(id) = tags.or(by_digest) {
            return Ok(id.clone());
        }
    }
    let start = name.strip_prefix("sha256:").unwrap_or(name);
    if start.is_empty() || !start.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(StoreError::Unknown(shown(name)));
    }
    let mut fits = index.images.keys().filter(|id| id.starts_with(start));
    match (fits.next(), fits.next()) {
        (Some(id), None) => Ok(id.clone()),
        (Some(_), Some(_)) => Err(StoreError::Ambiguous(name.to_owned())),
        (None, _) => Err(StoreError::Unknown(shown(name))),
    }
}

/// A name as Docker shows one it does not know: with its tag.
fn shown(name: &str) -> String {
    Reference::parse(name).map_or_else(|_| name.to_owned(), |reference| reference.familiar())
}

/// Bytes of the regular files below `dir`.
fn tree_size(dir: &std::path::Path) -> u64 {
    let mut sum = 0;
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            sum += tree_size(&entry.path());
        } else if kind.is_file() {
            sum += entry.metadata().map_or(0, |metadata| metadata.len());
        }
    }
    sum
}
