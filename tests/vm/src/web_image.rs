//! The small web image of the demonstration: a static busybox whose httpd serves one page that names its container.
//!
//! Makes the bytes of an OCI image (image-spec v1.1: one gzip layer, a config, a manifest); where they go is
//! [`crate::registry`]'s subject. Equal inputs give equal bytes.

use std::io::Write;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use serde_json::json;
use sha2::{Digest, Sha256};

/// The port the page is served on inside the container.
pub const PORT: u16 = 1337;

const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of [`WebImage::manifest`].
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// The programs the page and a curious operator use, all busybox.
const APPLETS: &[&str] = &[
    "sh", "httpd", "hostname", "cat", "ls", "ps", "env", "sleep", "wget", "true", "false", "id", "kill",
    "echo",
];

/// One content-addressed part of an image.
pub struct Blob {
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// The content.
    pub bytes: Vec<u8>,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Blob {
        Blob {
            digest: digest(&bytes),
            bytes,
        }
    }
}

/// A whole image: its blobs, and the manifest that names them.
pub struct WebImage {
    /// Layer and config.
    pub blobs: Vec<Blob>,
    /// The manifest, JSON of [`MANIFEST_TYPE`].
    pub manifest: Vec<u8>,
}

/// `sha256:<hex>` of `bytes`.
pub fn digest(bytes: &[u8]) -> String {
    let sum = Sha256::digest(bytes);
    let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Builds the image around the static `busybox`.
///
/// # Errors
/// Only when memory cannot be written to, which the tar and gzip writers report as I/O errors.
pub fn build(busybox: &[u8]) -> Result<WebImage> {
    let tar = layer(busybox).context("writing the layer of the web image")?;
    let diff_id = digest(&tar);
    let mut gzip = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::default());
    gzip.write_all(&tar)?;
    let layer = Blob::new(gzip.finish()?);
    let config = Blob::new(serde_json::to_vec(&config(&diff_id))?);
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor(CONFIG_TYPE, &config),
        "layers": [descriptor(LAYER_TYPE, &layer)],
    }))?;
    Ok(WebImage {
        blobs: vec![layer, config],
        manifest,
    })
}

fn descriptor(media_type: &str, blob: &Blob) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": blob.digest, "size": blob.bytes.len()})
}

fn config(diff_id: &str) -> serde_json::Value {
    json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Env": ["PATH=/bin"],
            "Cmd": ["httpd", "-f", "-p", PORT.to_string(), "-h", "/srv"],
            "WorkingDir": "/",
            "ExposedPorts": {format!("{PORT}/tcp"): {}},
            "StopSignal": "SIGKILL",
        },
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    })
}

fn layer(busybox: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for folder in ["bin/", "etc/", "srv/", "srv/cgi-bin/", "tmp/"] {
        let mode = if folder == "tmp/" { 0o1777 } else { 0o755 };
        append(&mut tar, folder, tar::EntryType::Directory, mode, &[])?;
    }
    append(&mut tar, "bin/busybox", tar::EntryType::Regular, 0o755, busybox)?;
    for applet in APPLETS {
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    append(
        &mut tar,
        "etc/passwd",
        tar::EntryType::Regular,
        0o644,
        b"root:x:0:0:root:/:/bin/sh\n",
    )?;
    let page = include_bytes!("../assets/index.cgi");
    append(
        &mut tar,
        "srv/cgi-bin/index.cgi",
        tar::EntryType::Regular,
        0o755,
        page,
    )?;
    tar.into_inner()
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    path: &str,
    kind: tar::EntryType,
    mode: u32,
    content: &[u8],
) -> std::io::Result<()> {
    let mut header = header(kind, mode, content.len() as u64);
    tar.append_data(&mut header, path, content)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn equal_inputs_give_equal_images_and_the_manifest_names_the_blobs() {
        let (a, b) = (build(b"elf").unwrap(), build(b"elf").unwrap());
        assert_eq!(a.manifest, b.manifest);
        let manifest: serde_json::Value = serde_json::from_slice(&a.manifest).unwrap();
        assert_eq!(manifest["layers"][0]["digest"], a.blobs[0].digest.as_str());
        assert_eq!(manifest["config"]["digest"], a.blobs[1].digest.as_str());
        let config: serde_json::Value = serde_json::from_slice(&a.blobs[1].bytes).unwrap();
        let mut tar = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&a.blobs[0].bytes[..]), &mut tar)
            .unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], digest(&tar).as_str());
    }

    #[test]
    fn a_changed_program_changes_the_image() {
        assert_ne!(build(b"one").unwrap().manifest, build(b"two").unwrap().manifest);
    }
}
