//! The JSON documents of images: index, manifest, configuration; OCI's and Docker's forms alike.
//!
//! Duty: parse what the engine needs, choose a platform, compute chain ids. Pure.
//! Source: OCI image-spec 1.1, Docker image manifest v2 schema 2.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::hex;
use crate::reference::is_sha256_hex;

/// Points at content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// What the content is.
    #[serde(rename = "mediaType", default)]
    pub media_type: String,
    /// `sha256:...` of its bytes.
    pub digest: String,
    /// Length in bytes.
    #[serde(default)]
    pub size: u64,
    /// For entries of an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Names of content in an OCI layout.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What an image runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`.
    pub architecture: String,
    /// `linux`.
    pub os: String,
    /// `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// This machine's.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            architecture: architecture.into(),
            os: "linux".into(),
            variant: None,
        }
    }

    /// Reads `linux/amd64[/variant]`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let (os, architecture) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        Some(Self {
            architecture,
            os,
            variant: parts.next().map(str::to_owned),
        })
    }
}

/// A manifest, or an index of manifests.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Manifest {
    /// One image.
    Image(ImageManifest),
    /// One per platform.
    Index(Index),
}

/// One image: configuration and layers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImageManifest {
    /// Always 2.
    #[serde(rename = "schemaVersion", default)]
    pub schema_version: u32,
    /// OCI's or Docker's type of manifest.
    #[serde(rename = "mediaType", default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The configuration.
    pub config: Descriptor,
    /// Layers, lowest first.
    pub layers: Vec<Descriptor>,
}

/// Manifests by platform.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Index {
    /// Entries in order of preference.
    pub manifests: Vec<Descriptor>,
}

impl Index {
    /// The entry for `wanted`.
    pub fn choose(&self, wanted: &Platform) -> Option<&Descriptor> {
        self.manifests.iter().find(|entry| match &entry.platform {
            Some(platform) => {
                platform.os == wanted.os
                    && platform.architecture == wanted.architecture
                    && (wanted.variant.is_none() || platform.variant == wanted.variant)
            }
            None => self.manifests.len() == 1,
        })
    }
}

/// The configuration file of an image.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageFile {
    /// `amd64`.
    pub architecture: String,
    /// `linux`.
    pub os: String,
    /// When it was built (RFC 3339).
    pub created: Option<String>,
    /// Who built it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// How containers of it run.
    pub config: ImageConfig,
    /// Its layers' content.
    pub rootfs: RootFs,
    /// How it was built.
    pub history: Vec<History>,
}

/// How containers of an image run. Field names are the wire's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageConfig {
    /// `user[:group]`.
    #[serde(deserialize_with = "null_as_default")]
    pub user: String,
    /// `80/tcp` to nothing.
    #[serde(deserialize_with = "null_as_default")]
    pub exposed_ports: BTreeMap<String, serde_json::Value>,
    /// `KEY=value`.
    #[serde(deserialize_with = "null_as_default")]
    pub env: Vec<String>,
    /// Program and fixed arguments.
    #[serde(deserialize_with = "null_as_default")]
    pub entrypoint: Vec<String>,
    /// Default arguments.
    #[serde(deserialize_with = "null_as_default")]
    pub cmd: Vec<String>,
    /// Paths that are volumes.
    #[serde(deserialize_with = "null_as_default")]
    pub volumes: BTreeMap<String, serde_json::Value>,
    /// Working directory.
    #[serde(deserialize_with = "null_as_default")]
    pub working_dir: String,
    /// Labels.
    #[serde(deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// Signal that asks the container to end.
    #[serde(deserialize_with = "null_as_default")]
    pub stop_signal: String,
}

fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// The layers' uncompressed digests.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `sha256:...` of each uncompressed layer, lowest first.
    #[serde(deserialize_with = "only_digests")]
    pub diff_ids: Vec<String>,
}

/// A diff id becomes the name of a layer's directory, so it must not be a path.
fn only_digests<'de, D>(deserializer: D) -> Result<Vec<String>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let ids = Vec::<String>::deserialize(deserializer)?;
    let sound = |id: &String| id.strip_prefix("sha256:").is_some_and(is_sha256_hex);
    match ids.iter().find(|id| !sound(id)) {
        Some(id) => Err(serde::de::Error::custom(format!(
            "diff id {id:?} is not of sha256"
        ))),
        None => Ok(ids),
    }
}

/// One step of a build.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When.
    pub created: Option<String>,
    /// What was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the step made no layer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// Chain ids (hex, without `sha256:`) of layers with these diff ids: the name of a layer *on top of* those below it.
pub fn chain_ids(diff_ids: &[String]) -> Vec<String> {
    let mut chain: Vec<String> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let id = match chain.last() {
            None => diff_id.trim_start_matches("sha256:").to_owned(),
            Some(parent) => hex(&Sha256::digest(format!("sha256:{parent} {diff_id}").as_bytes())),
        };
        chain.push(id);
    }
    chain
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn manifests_and_indexes_are_told_apart() {
        let image =
            r#"{"schemaVersion":2,"config":{"digest":"sha256:1","size":1,"mediaType":"x"},"layers":[]}"#;
        assert!(matches!(serde_json::from_str(image).unwrap(), Manifest::Image(_)));
        let index = r#"{"schemaVersion":2,"manifests":[
            {"digest":"sha256:a","size":1,"platform":{"architecture":"arm64","os":"linux"}},
            {"digest":"sha256:b","size":1,"platform":{"architecture":"amd64","os":"linux"}}]}"#;
        let Manifest::Index(index) = serde_json::from_str(index).unwrap() else {
            panic!("not an index")
        };
        assert_eq!(
            index
                .choose(&Platform::parse("linux/amd64").unwrap())
                .unwrap()
                .digest,
            "sha256:b"
        );
        assert!(index.choose(&Platform::parse("linux/s390x").unwrap()).is_none());
    }

    #[test]
    fn configurations_may_hold_nulls() {
        let file: ImageFile = serde_json::from_str(
            r#"{"architecture":"amd64","os":"linux","config":{"Env":["A=1"],"Cmd":null,"Volumes":null,"User":""}}"#,
        )
        .unwrap();
        assert_eq!(file.config.env, ["A=1"]);
        assert!(file.config.cmd.is_empty());
    }

    #[test]
    fn a_diff_id_is_a_digest_and_no_path() {
        let parse = |id: &str| {
            let text = serde_json::json!({"type": "layers", "diff_ids": [id]}).to_string();
            serde_json::from_str::<RootFs>(&text)
        };
        assert!(parse(&format!("sha256:{}", "a".repeat(64))).is_ok());
        for id in ["sha256:../../../home", "sha256:aa", "/home", ""] {
            assert!(parse(id).is_err(), "{id}");
        }
    }

    #[test]
    fn chain_ids_follow_the_specification() {
        let ids = chain_ids(&["sha256:aa".into(), "sha256:bb".into()]);
        assert_eq!(ids[0], "aa");
        assert_eq!(ids[1], hex(&Sha256::digest(b"sha256:aa sha256:bb")));
    }
}
