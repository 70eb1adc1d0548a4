//! A container registry on the host's loopback for the machines to pull from: Debian's `docker-registry`, started here
//! and ended with [`Registry::stop`], and the upload of an image to it (distribution-spec: blobs, then the manifest).
//!
//! Never listens beyond 127.0.0.1.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::web_image::{MANIFEST_TYPE, WebImage};

const START_DEADLINE: Duration = Duration::from_secs(20);

/// A running registry.
pub struct Registry {
    /// The port on 127.0.0.1.
    pub port: u16,
    child: Child,
}

impl Registry {
    /// Starts a registry that keeps its blobs, configuration and log in `dir`, on `port` of 127.0.0.1 (0: a free one).
    ///
    /// # Errors
    /// When `docker-registry` is not on the PATH, the port is in use, or it does not answer within 20 s.
    pub fn start(dir: &Path, port: u16) -> Result<Registry> {
        fs::create_dir_all(dir.join("data")).with_context(|| format!("creating {}", dir.display()))?;
        let port = free_port(port)?;
        let config = dir.join("config.yml");
        fs::write(&config, configuration(&dir.join("data"), port))
            .with_context(|| format!("writing {}", config.display()))?;
        let log_path = dir.join("registry.log");
        let log = File::create(&log_path).with_context(|| format!("writing {}", log_path.display()))?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context(
                "starting docker-registry (Debian's package of that name must be installed or on the PATH)",
            )?;
        let mut registry = Registry { port, child };
        registry.wait_until_it_answers(&log_path)?;
        Ok(registry)
    }

    /// The process id, for a later `down`.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the registry.
    ///
    /// # Errors
    /// When the process cannot be signalled or waited for.
    pub fn stop(mut self) -> Result<()> {
        self.child.kill().context("ending docker-registry")?;
        self.child.wait().context("waiting for docker-registry to end")?;
        Ok(())
    }

    /// Uploads `image` as `name:tag`.
    ///
    /// # Errors
    /// The registry's answer where it refuses a part.
    pub fn push(&self, name: &str, tag: &str, image: &WebImage) -> Result<()> {
        let base = format!("http://127.0.0.1:{}/v2/{name}", self.port);
        for blob in &image.blobs {
            let begun = ureq::post(format!("{base}/blobs/uploads/"))
                .send_empty()
                .context("beginning a blob upload")?;
            let place = begun.headers().get("location").and_then(|v| v.to_str().ok());
            let place = place.context("the registry named no place for the upload")?;
            let place = if place.starts_with('/') {
                format!("http://127.0.0.1:{}{place}", self.port)
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

    fn wait_until_it_answers(&mut self, log: &Path) -> Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        let url = format!("http://127.0.0.1:{}/v2/", self.port);
        loop {
            if ureq::get(&url).call().is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("docker-registry ended with {status}; its log: {}", log.display());
            }
            if Instant::now() > deadline {
                bail!(
                    "docker-registry did not answer {url} within {START_DEADLINE:?}; its log: {}",
                    log.display()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// `wanted` if nothing listens there, any free port for 0.
fn free_port(wanted: u16) -> Result<u16> {
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
