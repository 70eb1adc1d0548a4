//! What lies around a node: the machine's disk, clock, chance, threads and network, or simulated ones (`tests/sim`).

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::{Request, Response};

use crate::disk::{Disk, RealDisk};
use crate::peer::client::AskError;

/// A peer's answer on its way.
pub type Carried = Pin<Box<dyn Future<Output = Result<Response<Bytes>, AskError>> + Send>>;

/// What a simulated machine offers in place of the real one. Everything of a node then runs in the runtime it was started
/// in, and without threads: what takes long on a real machine takes as long as this says.
pub trait Simulated: Debug + Send + Sync {
    /// The disk.
    fn disk(&self) -> Arc<dyn Disk>;

    /// The wall clock, in ms since the Unix epoch.
    fn now_ms(&self) -> u64;

    /// Differs from boot to boot.
    fn boot_id(&self) -> String;

    /// How long the next writes of the log take.
    fn log_delay(&self) -> Duration;

    /// Carries a request to a peer, and its answer back.
    fn carry(&self, request: Request<Bytes>) -> Carried;
}

/// The surroundings of a node.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub disk: Arc<dyn Disk>,
    pub simulated: Option<Arc<dyn Simulated>>,
}

impl World {
    /// The machine this process runs on.
    pub fn real() -> World {
        World {
            disk: Arc::new(RealDisk),
            simulated: None,
        }
    }

    /// A simulated machine.
    pub fn simulated(machine: Arc<dyn Simulated>) -> World {
        World {
            disk: machine.disk(),
            simulated: Some(machine),
        }
    }

    /// The wall clock, in ms since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        match &self.simulated {
            Some(machine) => machine.now_ms(),
            None => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }
        }
    }

    /// The running kernel's boot id; `None` where the kernel tells none.
    pub fn boot_id(&self) -> Option<String> {
        if let Some(machine) = &self.simulated {
            return Some(machine.boot_id());
        }
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim().to_owned()).filter(|id| !id.is_empty())
    }

    /// Runs what blocks where it may.
    ///
    /// # Errors
    /// When it panicked, or the runtime is going down.
    pub async fn blocking<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        match self.simulated {
            Some(_) => Ok(act()),
            None => tokio::task::spawn_blocking(act).await,
        }
    }
}
