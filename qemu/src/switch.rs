//! The doing half of the switch: unix sockets, frames, queues and timers; what happens to a frame is decided by
//! [`crate::fabric`]. It listens on unix sockets only.
//!
//! A frame on a port's socket (QEMU's `-netdev stream`): its length as a big-endian u32, then the frame.
//! The control socket takes one [`Request`] as a line of JSON and gives one line back; so a switch in a process of its
//! own is driven in the same way as one in a thread of ours.
//!
//! A port whose machine does not read drops frames when its queue is full, as a switch does.

use std::collections::BinaryHeap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use crate::fabric::{Fabric, Fault, Path as FaultPath};
use crate::short_path;

/// Frames that may wait for one port.
const QUEUE_FRAMES: usize = 4096;
/// The longest frame taken: what the guests' offloads can make, 64 KiB and headers.
const LONGEST_FRAME: usize = 70_000;

/// One port: a name for the control, and the socket its card connects to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub socket: PathBuf,
}

/// A switch to be started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SwitchConfig {
    /// Its ports.
    pub ports: Vec<Port>,
    /// Where it takes its orders.
    pub control: PathBuf,
    /// What losses and jitter are drawn from.
    pub seed: u64,
}

/// Why a switch did not start or obey.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// A socket could not be used.
    #[error("the switch's socket {path}: {source}")]
    Socket {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its thread could not be made.
    #[error("the switch's thread: {0}")]
    Thread(std::io::Error),
    /// It refused an order.
    #[error("the switch refused: {0}")]
    Refused(String),
}

/// An order to a switch.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Request {
    /// Set what the path between two ports suffers; a missing side stands for every port.
    Fault {
        from: Option<String>,
        to: Option<String>,
        fault: Fault,
    },
    /// Make every path sound.
    Heal,
    /// Count what was done.
    Counts,
    /// Name the faults in force.
    Faults,
}

/// A fault in force, and the path it lies on by its ports' names; `None` stands for every port.
pub type NamedFault = (Option<String>, Option<String>, Fault);

/// What a switch has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Frames that came in.
    pub received: u64,
    /// Frames queued for a port.
    pub forwarded: u64,
    /// Frames a full queue dropped.
    pub overflowed: u64,
}

/// A switch in a thread of ours; it ends when dropped.
#[derive(Debug)]
pub struct Switch {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    control: Control,
}

impl Switch {
    /// Starts it; its sockets listen when this returns.
    pub fn start(config: &SwitchConfig) -> Result<Switch, SwitchError> {
        let bound = Bound::new(config)?;
        let control = Control::new(&config.control);
        let (stop, stopped) = oneshot::channel();
        let runtime = runtime().map_err(SwitchError::Thread)?;
        let thread = std::thread::Builder::new()
            .name("switch".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! { () = bound.serve() => {}, _ = stopped => {} }
                });
            })
            .map_err(SwitchError::Thread)?;
        Ok(Switch {
            stop: Some(stop),
            thread: Some(thread),
            control,
        })
    }

    /// Runs a switch until the process is ended: for a process of its own.
    pub fn run(config: &SwitchConfig) -> Result<(), SwitchError> {
        let bound = Bound::new(config)?;
        runtime().map_err(SwitchError::Thread)?.block_on(bound.serve());
        Ok(())
    }

    /// Its control.
    pub fn control(&self) -> &Control {
        &self.control
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A switch that panicked has said so; the machines behind it fail in their own words.
            let _ = thread.join();
        }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Drives a switch, wherever it runs.
#[derive(Debug, Clone)]
pub struct Control {
    socket: PathBuf,
}

impl Control {
    /// The control at a socket.
    pub fn new(socket: &Path) -> Control {
        Control {
            socket: socket.to_owned(),
        }
    }

    /// Sets what the path from one port to another suffers; `None` stands for every port.
    pub fn set(&self, from: Option<&str>, to: Option<&str>, fault: Fault) -> Result<(), SwitchError> {
        let owned = |side: Option<&str>| side.map(str::to_owned);
        self.order(&Request::Fault {
            from: owned(from),
            to: owned(to),
            fault,
        })
        .map(drop)
    }

    /// Cuts a port off from all others, both ways.
    pub fn cut(&self, port: &str) -> Result<(), SwitchError> {
        let fault = Fault {
            cut: true,
            ..Fault::default()
        };
        self.set(Some(port), None, fault)?;
        self.set(None, Some(port), fault)
    }

    /// Undoes [`Control::cut`].
    pub fn heal(&self, port: &str) -> Result<(), SwitchError> {
        self.set(Some(port), None, Fault::default())?;
        self.set(None, Some(port), Fault::default())
    }

    /// Cuts the path between two ports, both ways.
    pub fn cut_between(&self, one: &str, other: &str) -> Result<(), SwitchError> {
        let fault = Fault {
            cut: true,
            ..Fault::default()
        };
        self.set(Some(one), Some(other), fault)?;
        self.set(Some(other), Some(one), fault)
    }

    /// Makes every path sound again.
    pub fn heal_all(&self) -> Result<(), SwitchError> {
        self.order(&Request::Heal).map(drop)
    }

    /// What the switch has done so far.
    pub fn counts(&self) -> Result<Counts, SwitchError> {
        let answer = self.order(&Request::Counts)?;
        serde_json::from_value(answer).map_err(|error| self.socket_error(error.into()))
    }

    /// The faults in force.
    pub fn faults(&self) -> Result<Vec<NamedFault>, SwitchError> {
        let answer = self.order(&Request::Faults)?;
        serde_json::from_value(answer).map_err(|error| self.socket_error(error.into()))
    }

    /// Whether a port is cut off from all others, as [`Control::cut`] leaves it.
    pub fn is_cut(&self, port: &str) -> Result<bool, SwitchError> {
        let one_sided = |(from, to, fault): &NamedFault| {
            fault.cut
                && matches!((from.as_deref(), to.as_deref()), (Some(name), None) | (None, Some(name)) if name == port)
        };
        Ok(self.faults()?.iter().any(one_sided))
    }

    fn order(&self, request: &Request) -> Result<serde_json::Value, SwitchError> {
        let answer: Result<serde_json::Value, String> = self
            .converse(request)
            .map_err(|source| self.socket_error(source))?;
        answer.map_err(SwitchError::Refused)
    }

    fn converse(&self, request: &Request) -> std::io::Result<Result<serde_json::Value, String>> {
        let mut stream = short_path::connect(&self.socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    fn socket_error(&self, source: std::io::Error) -> SwitchError {
        SwitchError::Socket {
            path: self.socket.clone(),
            source,
        }
    }
}

/// A frame on its way to a port; a heap of them gives the earliest first, and of equals the first that came.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    at_us: std::cmp::Reverse<u64>,
    number: std::cmp::Reverse<u64>,
    framed: Arc<[u8]>,
}

struct State {
    fabric: Fabric,
    names: Vec<String>,
    queues: Vec<Option<mpsc::Sender<Waiting>>>,
    counts: Counts,
}

#[derive(Clone)]
struct Shared {
    state: Arc<Mutex<State>>,
    start: Instant,
}

/// A switch whose sockets listen.
struct Bound {
    ports: Vec<std::os::unix::net::UnixListener>,
    control: std::os::unix::net::UnixListener,
    shared: Shared,
}

impl Bound {
    fn new(config: &SwitchConfig) -> Result<Bound, SwitchError> {
        let listen = |path: &PathBuf| {
            short_path::listen(path)
                .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
                .map_err(|source| SwitchError::Socket {
                    path: path.clone(),
                    source,
                })
        };
        let count = config.ports.len();
        let state = State {
            fabric: Fabric::new(count, config.seed),
            names: config.ports.iter().map(|port| port.name.clone()).collect(),
            queues: (0..count).map(|_| None).collect(),
            counts: Counts::default(),
        };
        Ok(Bound {
            ports: config
                .ports
                .iter()
                .map(|port| listen(&port.socket))
                .collect::<Result<_, _>>()?,
            control: listen(&config.control)?,
            shared: Shared {
                state: Arc::new(Mutex::new(state)),
                start: Instant::now(),
            },
        })
    }

    async fn serve(self) {
        for (port, listener) in self.ports.into_iter().enumerate() {
            tokio::spawn(serve_port(self.shared.clone(), port, listener));
        }
        let Ok(control) = UnixListener::from_std(self.control) else {
            return;
        };
        while let Ok((stream, _)) = control.accept().await {
            tokio::spawn(serve_control(self.shared.clone(), stream));
        }
    }
}

/// One card after the other: a machine that was cut from power connects anew.
async fn serve_port(shared: Shared, port: usize, listener: std::os::unix::net::UnixListener) {
    let Ok(listener) = UnixListener::from_std(listener) else {
        return;
    };
    while let Ok((stream, _)) = listener.accept().await {
        let (reader, writer) = stream.into_split();
        let (queue, waiting) = mpsc::channel(QUEUE_FRAMES);
        shared.with(|state| state.queues[port] = Some(queue));
        let writing = tokio::spawn(write_frames(shared.clone(), waiting, writer));
        // An error here is the machine's end; the next one connects to the same port.
        let _ = read_frames(&shared, port, reader).await;
        writing.abort();
        shared.with(|state| state.queues[port] = None);
    }
}

async fn read_frames(shared: &Shared, port: usize, reader: OwnedReadHalf) -> std::io::Result<()> {
    let mut reader = tokio::io::BufReader::with_capacity(1 << 17, reader);
    loop {
        let length = reader.read_u32().await? as usize;
        if length > LONGEST_FRAME {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        let mut framed = vec![0; length + 4];
        framed[..4].copy_from_slice(&(length as u32).to_be_bytes());
        reader.read_exact(&mut framed[4..]).await?;
        shared.forward(port, framed.into());
    }
}

async fn write_frames(shared: Shared, mut queue: mpsc::Receiver<Waiting>, mut writer: OwnedWriteHalf) {
    let mut heap = BinaryHeap::new();
    loop {
        let wait_us = heap
            .peek()
            .map(|next: &Waiting| next.at_us.0.saturating_sub(shared.now_us()));
        match wait_us {
            Some(0) => {
                let Some(next) = heap.pop() else { continue };
                if writer.write_all(&next.framed).await.is_err() {
                    return;
                }
            }
            _ => tokio::select! {
                arrived = queue.recv() => match arrived {
                    Some(waiting) => heap.push(waiting),
                    None => return,
                },
                () = tokio::time::sleep(Duration::from_micros(wait_us.unwrap_or(0))), if wait_us.is_some() => {}
            },
        }
    }
}

async fn serve_control(shared: Shared, stream: UnixStream) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = tokio::io::BufReader::new(reader).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = serde_json::from_str(&line)
            .map_err(|error| error.to_string())
            .and_then(|r| shared.obey(r));
        let Ok(text) = serde_json::to_string(&answer) else {
            return;
        };
        if writer.write_all(format!("{text}\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    fn forward(&self, from: usize, framed: Arc<[u8]>) {
        let now_us = self.now_us();
        self.with(|state| {
            state.counts.received += 1;
            for delivery in state.fabric.forward(now_us, from, &framed[4..]) {
                let Some(queue) = &state.queues[delivery.port] else {
                    continue;
                };
                let number = std::cmp::Reverse(state.counts.forwarded);
                let waiting = Waiting {
                    at_us: std::cmp::Reverse(delivery.at_us),
                    number,
                    framed: framed.clone(),
                };
                match queue.try_send(waiting) {
                    Ok(()) => state.counts.forwarded += 1,
                    Err(_) => state.counts.overflowed += 1,
                }
            }
        });
    }

    fn obey(&self, request: Request) -> Result<serde_json::Value, String> {
        self.with(|state| match request {
            Request::Fault { from, to, fault } => {
                let path: FaultPath = (state.port(from)?, state.port(to)?);
                state.fabric.set_fault(path, fault);
                Ok(serde_json::Value::Null)
            }
            Request::Heal => {
                state.fabric.heal_all();
                Ok(serde_json::Value::Null)
            }
            Request::Counts => serde_json::to_value(state.counts).map_err(|error| error.to_string()),
            Request::Faults => serde_json::to_value(state.faults()).map_err(|error| error.to_string()),
        })
    }
}

impl State {
    fn faults(&self) -> Vec<NamedFault> {
        let name = |port: Option<usize>| port.and_then(|port| self.names.get(port).cloned());
        let faults = self.fabric.faults();
        faults
            .map(|((from, to), fault)| (name(from), name(to), fault))
            .collect()
    }

    fn port(&self, name: Option<String>) -> Result<Option<usize>, String> {
        let Some(name) = name else { return Ok(None) };
        let found = self.names.iter().position(|known| *known == name);
        found
            .map(Some)
            .ok_or_else(|| format!("no port {name:?}; the ports are {}", self.names.join(", ")))
    }
}
