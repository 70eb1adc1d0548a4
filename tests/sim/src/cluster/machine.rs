//! One simulated machine: what a node sees of it ([`Around`]), and the node's runtime while it runs.
//!
//! Every node has a tokio runtime of its own, whose clock stands still between the steps of the world. A kill drops the
//! runtime, and with it everything the node was doing, at once.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use corten_raft::lessor::{self, Lessor};
use corten_raft::{AskError, Carried, Config, Disk, Node, Simulated};
use hyper::{Request, Response};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::disk::SimDisk;
use super::hubs::Hubs;
use crate::rng::Rng;

/// The wall clock at the beginning of every run, in ms since the Unix epoch.
pub const EPOCH_MS: u64 = 1_700_000_000_000;

/// How far a machine's clock is off at most.
pub const MOST_SKEW_MS: u64 = 200;

/// What a peer's answer is waited for with.
pub type Reply = oneshot::Sender<Result<Response<Bytes>, AskError>>;

/// What nodes did in a step, in order.
pub enum Did {
    /// A request to a peer was sent.
    Asked {
        from: usize,
        at_ms: u64,
        request: Request<Bytes>,
        reply: Reply,
    },
    /// A request to a machine in its `boot` was answered; `None` if the node died over it.
    Answered {
        ticket: u64,
        machine: usize,
        boot: u64,
        at_ms: u64,
        answer: Option<Response<Bytes>>,
    },
    /// A client's operation ended.
    Ended {
        operation: usize,
        at_ms: u64,
        end: super::client::End,
    },
    /// A node runs, or does not.
    Started {
        machine: usize,
        start: u64,
        member: Result<Box<Member>, String>,
    },
}

/// A node, what keeps its clients' leases, and what feeds those who watch.
#[derive(Clone)]
pub struct Member {
    pub node: Node,
    pub lessor: Lessor,
    pub hubs: Hubs,
}

/// Where nodes leave what they did.
pub type Outbox = Arc<Mutex<Vec<Did>>>;

/// Puts something into the outbox.
pub fn leave(outbox: &Outbox, did: Did) {
    outbox.lock().unwrap_or_else(PoisonError::into_inner).push(did);
}

/// A machine as its node sees it, from one boot or kill to the next.
pub struct Around {
    number: usize,
    disk: SimDisk,
    /// Which boot of the machine it is: a killed node is started again within the same.
    boot: u64,
    began_ms: u64,
    began: Instant,
    /// How far the wall clock is off.
    skew_ms: i64,
    rng: Mutex<Rng>,
    /// The log's writes take up to this long.
    slow_ms: Mutex<u64>,
    outbox: Outbox,
}

impl Around {
    /// The simulation's time; within the node's runtime only.
    pub fn at_ms(&self) -> u64 {
        self.began_ms + self.began.elapsed().as_millis() as u64
    }

    fn rng(&self) -> MutexGuard<'_, Rng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number in `from..to`, by chance.
    pub fn draw(&self, from: u64, to: u64) -> u64 {
        self.rng().range(from, to)
    }

    /// Has the log's writes take up to so long.
    pub fn set_slow(&self, slow_ms: u64) {
        *self.slow_ms.lock().unwrap_or_else(PoisonError::into_inner) = slow_ms;
    }
}

impl fmt::Debug for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{}", self.number)
    }
}

impl Simulated for Around {
    fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.disk.clone())
    }

    fn now_ms(&self) -> u64 {
        (EPOCH_MS + self.at_ms()).saturating_add_signed(self.skew_ms)
    }

    fn boot_id(&self) -> String {
        format!("boot-{}-{}", self.number, self.boot)
    }

    fn log_delay(&self) -> Duration {
        let slow_ms = *self.slow_ms.lock().unwrap_or_else(PoisonError::into_inner);
        Duration::from_millis(self.rng().range(0, slow_ms + 1))
    }

    fn carry(&self, request: Request<Bytes>) -> Carried {
        let (reply, answered) = oneshot::channel();
        let url = request.uri().to_string();
        let at_ms = self.at_ms();
        let from = self.number;
        leave(
            &self.outbox,
            Did::Asked {
                from,
                at_ms,
                request,
                reply,
            },
        );
        Box::pin(async move {
            let gone = |_| AskError::Broken {
                url,
                cause: "the run is over".to_owned(),
            };
            answered.await.map_err(gone)?
        })
    }
}

/// What a future gives at once, if it does.
pub fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(given) => Some(given),
        Poll::Pending => None,
    }
}

/// Why a node is of no use any more, if it is.
pub fn has_failed(node: &Node) -> Option<String> {
    now(node.failed())
}

/// A node and what it runs in.
pub struct Running {
    pub around: Arc<Around>,
    /// Counts starts, of all machines.
    pub start: u64,
    /// Before the runtime: what it holds goes first.
    pub member: Option<Member>,
    pub router: Option<Router>,
    runtime: Runtime,
}

/// What stays of a machine when its node dies.
pub struct Machine {
    pub number: usize,
    pub disk: SimDisk,
    pub config: Config,
    pub boot: u64,
    pub skew_ms: i64,
    pub slow_ms: u64,
    pub running: Option<Running>,
    /// It is not used until an operator adds it.
    pub is_spare: bool,
    /// It does not get to run until then.
    pub stalled_until_ms: u64,
}

impl Machine {
    /// Starts the node.
    pub fn start(&mut self, start: u64, now_ms: u64, rng: Rng, outbox: &Outbox) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without files needs nothing");
        let began = runtime.block_on(async { Instant::now() });
        let around = Arc::new(Around {
            number: self.number,
            disk: self.disk.clone(),
            boot: self.boot,
            began_ms: now_ms,
            began,
            skew_ms: self.skew_ms,
            rng: Mutex::new(rng),
            slow_ms: Mutex::new(self.slow_ms),
            outbox: Arc::clone(outbox),
        });
        let (config, machine, seen, left) = (
            self.config.clone(),
            self.number,
            Arc::clone(&around),
            Arc::clone(outbox),
        );
        runtime.spawn(async move {
            let node = Node::start_simulated(config, Arc::clone(&seen) as Arc<dyn Simulated>).await;
            let member = node.map_err(|e| e.to_string()).and_then(|node| {
                let (lessor, renewals) = Lessor::new(node.clone());
                tokio::spawn(lessor::run(lessor.clone(), renewals, || {}));
                let hubs = Hubs::begin(&node, &seen)?;
                Ok(Box::new(Member { node, lessor, hubs }))
            });
            leave(
                &left,
                Did::Started {
                    machine,
                    start,
                    member,
                },
            );
        });
        self.running = Some(Running {
            around,
            start,
            member: None,
            router: None,
            runtime,
        });
    }

    /// Ends the node as `kill -9` does.
    pub fn kill(&mut self) {
        self.running = None;
        self.disk.close();
    }

    /// Takes the power away: what was not synced may be lost, and of the state nothing can be trusted.
    pub fn cut_power(&mut self) {
        self.running = None;
        self.disk.lose_power();
        self.boot += 1;
        // It was never synced: whatever lies there must not be read.
        let data = self.state_file();
        if data.exists() {
            let _ = std::fs::write(data, b"what a power cut left of it");
        }
    }

    /// Takes the disk away, and puts an empty one in its place.
    pub fn lose_disk(&mut self, disk: SimDisk) {
        self.cut_power();
        self.disk = disk;
        let _ = std::fs::remove_dir_all(&self.config.data_dir); // it is made again
    }

    fn state_file(&self) -> PathBuf {
        self.config.data_dir.join("state/data.mdb")
    }

    /// Has the log's writes take up to so long.
    pub fn set_slow(&mut self, slow_ms: u64) {
        self.slow_ms = slow_ms;
        if let Some(running) = &self.running {
            running.around.set_slow(slow_ms);
        }
    }

    /// Lets the node run from `now_ms` until `upto_ms`. If it stood still before, it wakes up only now: all that became due
    /// meanwhile is late.
    pub fn step(&mut self, now_ms: u64, upto_ms: u64) {
        if let Some(running) = &self.running {
            let at = |ms: u64| running.around.began + Duration::from_millis(ms - running.around.began_ms);
            let (now, until) = (at(now_ms), at(upto_ms));
            running.runtime.block_on(async move {
                let stood_still = now.saturating_duration_since(Instant::now());
                if !stood_still.is_zero() {
                    tokio::time::advance(stood_still).await;
                }
                tokio::time::sleep_until(until).await;
            });
        }
    }

    /// Has the node do something, if it runs.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(running) = &self.running {
            running.runtime.spawn(task);
        }
    }

    /// The member, if it runs.
    pub fn member(&self) -> Option<&Member> {
        self.running.as_ref().and_then(|running| running.member.as_ref())
    }

    /// The node, if it runs.
    pub fn node(&self) -> Option<&Node> {
        self.member().map(|member| &member.node)
    }
}
