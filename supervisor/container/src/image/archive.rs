//! Images from tar archives: Docker's own (`docker save`) and OCI's (`oci-archive`).
//!
//! Duty: read the archive's documents, put its layers and configuration into the store, enter its names.
//! Refusal: an archive is read from a file, since layers may come in any order.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::layer::{LayerError, decompress};
use super::manifest::{ImageFile, Index, Manifest, Platform, chain_ids};
use super::store::{ImageStore, StoreError};
use crate::reference::Reference;

/// Why an archive was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Neither of the two forms.
    #[error(
        "not an image archive: it holds neither manifest.json (docker-archive) nor index.json (oci-archive)"
    )]
    NoImage,
    /// Something it names is not in it.
    #[error("the archive names {0:?} but does not hold it")]
    Missing(String),
    /// A document does not parse.
    #[error("{what} in the archive does not parse: {reason}")]
    Malformed {
        /// Which.
        what: String,
        /// Why.
        reason: String,
    },
    /// Reading failed.
    #[error("reading the archive: {0}")]
    Read(#[from] io::Error),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<LayerError> for LoadError {
    fn from(error: LayerError) -> Self {
        Self::Store(error.into())
    }
}

/// One image that was loaded: its id and names.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Image id (hex).
    pub id: String,
    /// Names it has now.
    pub names: Vec<Reference>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// One image of an archive, in either form.
struct Found {
    config: String,
    layers: Vec<String>,
    names: Vec<Reference>,
}

/// Loads every image of the archive at `path` (plain, gzip or zstd). `scratch` holds temporary files.
pub fn load(store: &ImageStore, path: &Path, scratch: &Path) -> Result<Vec<Loaded>, LoadError> {
    let _adding = store.adding()?;
    let plain = plain_copy(path, scratch)?;
    let result = Contents::read(plain.as_deref().unwrap_or(path)).and_then(|mut contents| {
        let found = contents.images()?;
        found
            .into_iter()
            .map(|image| take(store, &mut contents, image, scratch))
            .collect()
    });
    if let Some(plain) = plain {
        let _ = fs::remove_file(plain);
    }
    result
}

fn temp_name(scratch: &Path, what: &str) -> PathBuf {
    scratch.join(format!("load-{}-{what}.part", std::process::id()))
}

/// A decompressed copy, when the archive is compressed.
fn plain_copy(path: &Path, scratch: &Path) -> Result<Option<PathBuf>, LoadError> {
    let mut start = [0; 4];
    let n = File::open(path)?.read(&mut start)?;
    if !(start[..n].starts_with(&[0x1f, 0x8b]) || start[..n].starts_with(&[0x28, 0xb5, 0x2f, 0xfd])) {
        return Ok(None);
    }
    let copy = temp_name(scratch, "archive");
    let mut reader = decompress(io::BufReader::new(File::open(path)?))?;
    io::copy(&mut reader, &mut File::create(&copy)?)?;
    Ok(Some(copy))
}

/// Where each member of the archive lies.
struct Contents {
    file: File,
    members: BTreeMap<String, (u64, u64)>,
    links: BTreeMap<String, String>,
}

impl Contents {
    fn read(path: &Path) -> Result<Self, LoadError> {
        let mut file = File::open(path)?;
        let (mut members, mut links) = (BTreeMap::new(), BTreeMap::new());
        let mut archive = tar::Archive::new(&mut file);
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            let name = clean(&entry.path()?);
            match entry.header().entry_type() {
                tar::EntryType::Regular => {
                    members.insert(name, (entry.raw_file_position(), entry.size()));
                }
                // Docker links layers that appear twice.
                tar::EntryType::Symlink | tar::EntryType::Link => {
                    let target = entry.link_name()?.unwrap_or_default().into_owned();
                    let base = Path::new(&name).parent().unwrap_or(Path::new("")).to_owned();
                    let joined = if entry.header().entry_type() == tar::EntryType::Link {
                        target
                    } else {
                        base.join(target)
                    };
                    links.insert(name, clean(&joined));
                }
                _ => {}
            }
        }
        Ok(Self { file, members, links })
    }

    fn member(&mut self, name: &str) -> Result<io::Take<&mut File>, LoadError> {
        let name = clean(Path::new(name));
        let name = self.links.get(&name).unwrap_or(&name).clone();
        let &(position, size) = self
            .members
            .get(&name)
            .ok_or_else(|| LoadError::Missing(name.clone()))?;
        self.file.seek(SeekFrom::Start(position))?;
        Ok((&mut self.file).take(size))
    }

    fn bytes(&mut self, name: &str) -> Result<Vec<u8>, LoadError> {
        let mut bytes = Vec::new();
        self.member(name)?
            .take(crate::registry::MANIFEST_LIMIT)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn json<T: for<'a> Deserialize<'a>>(&mut self, name: &str) -> Result<T, LoadError> {
        serde_json::from_slice(&self.bytes(name)?).map_err(|error| LoadError::Malformed {
            what: name.to_owned(),
            reason: error.to_string(),
        })
    }

    fn images(&mut self) -> Result<Vec<Found>, LoadError> {
        if self.members.contains_key("manifest.json") {
            return self.docker_images();
        }
        if self.members.contains_key("index.json") {
            return self.oci_images();
        }
        Err(LoadError::NoImage)
    }

    fn docker_images(&mut self) -> Result<Vec<Found>, LoadError> {
        let entries: Vec<DockerEntry> = self.json("manifest.json")?;
        let found = entries.into_iter().map(|entry| {
            let names = entry
                .repo_tags
                .unwrap_or_default()
                .iter()
                .filter_map(|name| Reference::parse(name).ok())
                .collect();
            Found {
                config: entry.config,
                layers: entry.layers,
                names,
            }
        });
        Ok(found.collect())
    }

    fn oci_images(&mut self) -> Result<Vec<Found>, LoadError> {
        let index: Index = self.json("index.json")?;
        let mut found = Vec::new();
        for entry in index.manifests {
            let name = ["io.containerd.image.name", "org.opencontainers.image.ref.name"]
                .iter()
                .find_map(|key| entry.annotations.get(*key));
            let names = name
                .and_then(|name| Reference::parse(name).ok())
                .into_iter()
                .collect();
            let mut manifest: Manifest = self.json(&blob_name(&entry.digest))?;
            if let Manifest::Index(index) = &manifest {
                let Some(chosen) = index.choose(&Platform::host()).map(|d| d.digest.clone()) else {
                    continue;
                };
                manifest = self.json(&blob_name(&chosen))?;
            }
            let Manifest::Image(image) = manifest else {
                continue;
            };
            let layers = image
                .layers
                .iter()
                .map(|layer| blob_name(&layer.digest))
                .collect();
            found.push(Found {
                config: blob_name(&image.config.digest),
                layers,
                names,
            });
        }
        Ok(found)
    }
}

fn clean(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.components() {
        match part {
            std::path::Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            std::path::Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    parts.join("/")
}

fn blob_name(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn take(
    store: &ImageStore,
    contents: &mut Contents,
    image: Found,
    scratch: &Path,
) -> Result<Loaded, LoadError> {
    let config = contents.bytes(&image.config)?;
    let file: ImageFile = serde_json::from_slice(&config).map_err(|error| LoadError::Malformed {
        what: image.config.clone(),
        reason: error.to_string(),
    })?;
    if file.rootfs.diff_ids.len() != image.layers.len() {
        let reason = "it names another number of layers than the manifest".to_owned();
        return Err(LoadError::Malformed {
            what: image.config,
            reason,
        });
    }
    let chain = chain_ids(&file.rootfs.diff_ids);
    for ((member, diff_id), chain_id) in image.layers.iter().zip(&file.rootfs.diff_ids).zip(&chain) {
        if store.layers().has(chain_id) {
            continue;
        }
        let blob = temp_name(scratch, "layer");
        io::copy(&mut contents.member(member)?, &mut File::create(&blob)?)?;
        let added = store.layers().add(chain_id, diff_id, &blob);
        let _ = fs::remove_file(&blob);
        added?;
    }
    let id = store.enter(&config, &image.names)?;
    Ok(Loaded {
        id,
        names: image.names,
    })
}
