//! A container registry on the host's loopback for the machines to pull from: Debian's `docker-registry`, and the upload
//! of an image to it (distribution-spec: blobs, then the manifest). Never listens beyond 127.0.0.1.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, Result};
use corten_qemu::process::Process;

use crate::host;
use crate::service::Service;
use crate::web_image::{MANIFEST_TYPE, WebImage};

/// A running registry.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    service: Service,
}

impl Registry {
    /// Starts a registry that keeps its data in `dir` and its log at `log`, on `port` of 127.0.0.1 (0: a free one).
    ///
    /// # Errors
    /// When `docker-registry` is missing, the port is in use, or it does not answer.
    pub fn start(dir: &Path, log: &Path, port: u16) -> Result<Registry> {
        let program = host::find_program("docker-registry")?;
        fs::create_dir_all(dir.join("data")).with_context(|| format!("creating {}", dir.display()))?;
        let port = usable_port(port)?;
        let config = dir.join("config.yml");
        fs::write(&config, configuration(&dir.join("data"), port))
            .with_context(|| format!("writing {}", config.display()))?;
        let url = format!("http://127.0.0.1:{port}/v2/");
        let args = ["serve".as_ref(), config.as_os_str()];
        let service = Service::start(&program, &args, dir, log, || {
            ureq::get(&url)
                .call()
                .map(drop)
                .map_err(|error| error.to_string())
        })?;
        Ok(Registry { port, service })
    }

    /// Takes over a registry that was left running.
    pub fn adopt(port: u16, process: Process) -> Registry {
        Registry {
            port,
            service: Service::adopt(process),
        }
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the process cannot be signalled.
    pub fn stop(&mut self) -> Result<()> {
        self.service.stop()
    }

    /// Lets it live on after us.
    ///
    /// # Errors
    /// When its guard cannot be told.
    pub fn release(self) -> Result<Process> {
        self.service.release()
    }

    /// Uploads `image` as `name:tag`.
    ///
    /// # Errors
    /// The registry's answer where it refuses a part.
    pub fn push(&self, name: &str, tag: &str, image: &WebImage) -> Result<()> {
        let host = format!("http://127.0.0.1:{}", self.port);
        let base = format!("{host}/v2/{name}");
        for blob in &image.blobs {
            let begun = ureq::post(format!("{base}/blobs/uploads/"))
                .send_empty()
                .context("beginning a blob upload")?;
            let place = begun.headers().get("location").and_then(|v| v.to_str().ok());
            let place = place.context("the registry named no place for the upload")?;
            let place = if place.starts_with('/') {
                format!("{host}{place}")
            } else {
                place.into()
            };
            ureq::put(place)
                .query("digest", &blob.digest)
                .content_type("application/octet-stream")
                .send(&blob.bytes[..])
                .with_context(|| format!("uploading blob {}", blob.digest))?;
        }
        ureq::put(format!("{base}/manifests/{tag}"))
            .content_type(MANIFEST_TYPE)
            .send(&image.manifest[..])
            .with_context(|| format!("uploading the manifest of {name}:{tag}"))?;
        Ok(())
    }
}

/// `wanted` if nothing listens there, any free port for 0.
fn usable_port(wanted: u16) -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", wanted)).with_context(|| {
        format!("port {wanted} of 127.0.0.1 is in use: end what listens there, or choose another")
    })?;
    Ok(listener.local_addr()?.port())
}

fn configuration(data: &Path, port: u16) -> String {
    format!(
        "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
        data.display()
    )
}
