//! What a large cluster at rest costs its voters: heartbeats on real connections, and nothing in the log.
//!
//! ```text
//! just bench-heartbeats
//! ```
//! Three whole supervisors with real stores, in this process; the machines are clients in a thread of their own, whose
//! processor time is not counted.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use corten_raft::Node;
use corten_spec::fleet::{JobState, UnitState};
use corten_spec::machine::{Machine, MachineId};
use corten_spec::unit_file::UnitFile;
use corten_spec::unit_name::UnitName;
use corten_store::Command;
use corten_store::fleet;
use futures_util::{StreamExt, stream};
use nix::unistd::{SysconfVar, sysconf};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::heartbeat::{Beat, Heard, PATH};
use crate::testing::{self, head, within};

const MACHINES: usize = 10_000;
const UNITS: usize = 100_000;
/// Over each go the heartbeats of ten machines: ten thousand sockets are more than a process may have.
const CONNECTIONS: usize = 1_000;
/// The default of `agent-ttl`.
const TTL: Duration = Duration::from_secs(30);
/// For how long it is measured.
const MEASURED: Duration = Duration::from_secs(30);
/// So many proposals are under way at once while the cluster is made.
const AT_ONCE: usize = 256;
/// The thread of the machines.
const CLIENTS: &str = "machines";
const SESSION: u64 = 7;

/// None of those of the three supervisors, which are of digits.
fn id(machine: usize) -> MachineId {
    MachineId(format!("f{machine:031x}"))
}

#[test]
#[ignore = "a benchmark, which asserts nothing of speed: just bench-heartbeats"]
fn bench_heartbeats() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let machines = runtime.block_on(testing::cluster(3, TTL));
    let node = |machine: &testing::Machine| machine.supervisor.as_ref().unwrap().node.clone();
    let leads = |machine: &&testing::Machine| node(machine).led_ago().is_some();
    let leader = machines.iter().find(leads).unwrap();
    let (leader, address) = (node(leader), leader.peers());
    let told = Arc::new(Told::default());
    let (clients, telling) = (
        std::thread::Builder::new().name(CLIENTS.to_owned()),
        Arc::clone(&told),
    );
    let clients = clients.spawn(move || beat_all(address, &telling)).unwrap();
    let began = Instant::now();
    runtime.block_on(make(&leader));
    let made = began.elapsed().as_secs_f64();
    println!("{MACHINES} machines with {UNITS} units made in {made:.1} s");
    std::thread::sleep(TTL / 4); // until all have beaten since

    let standing = || (leader.status().raft_index, cpu(), told.known(), told.unknown());
    let before = standing();
    std::thread::sleep(MEASURED);
    let after = standing();
    told.over.store(true, Ordering::Relaxed);
    clients.join().unwrap();
    assert_eq!(after.3, before.3, "the leader has forgotten machines");
    let per_second = |number: f64| number / MEASURED.as_secs_f64();
    let (beats, entries) = ((after.2 - before.2) as f64, (after.0 - before.0) as f64);
    let busy = 100.0 * (after.1 - before.1).as_secs_f64();
    println!("heartbeats          {:>9.0} per second", per_second(beats));
    println!(
        "log entries         {:>9.1} per second (aim: below 100)",
        per_second(entries)
    );
    println!(
        "three voters' time  {:>9.1} % of a core (aim: below 10 %)",
        per_second(busy)
    );
    runtime.shutdown_timeout(Duration::from_secs(5));
}

/// What the machines were told.
#[derive(Default)]
struct Told {
    known: AtomicU64,
    unknown: AtomicU64,
    over: AtomicBool,
}

impl Told {
    fn known(&self) -> u64 {
        self.known.load(Ordering::Relaxed)
    }

    fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }
}

/// Machines join, units are made and placed by the scheduler, and all are reported as active.
async fn make(leader: &Node) {
    let file = UnitFile::parse("[Service]\nExecStart=/bin/sleep infinity\n").unwrap();
    let joins = (0..MACHINES).map(|machine| fleet::Command::Join {
        machine: Machine {
            id: id(machine),
            primary_ip: "10.0.0.1".to_owned(),
            metadata: [("zone".to_owned(), (machine % 10).to_string())].into(),
            found: Default::default(),
        },
        session: SESSION,
    });
    propose(leader, joins).await;
    let name = |unit: usize| UnitName::parse(&format!("u{unit}.service")).unwrap();
    let units = (0..UNITS).map(|unit| fleet::Command::SetUnit {
        name: name(unit),
        file: file.clone(),
        desired: JobState::Launched,
    });
    propose(leader, units).await;
    let states = (0..MACHINES).map(|machine| fleet::Command::Report {
        machine: id(machine),
        states: (0..UNITS / MACHINES)
            .map(|unit| UnitState {
                name: name(machine * (UNITS / MACHINES) + unit),
                machine: id(machine),
                hash: file.hash(),
                load: "loaded".to_owned(),
                active: "active".to_owned(),
                sub: "running".to_owned(),
                launched: true,
                start_error: String::new(),
            })
            .collect(),
        gone: Vec::new(),
    });
    propose(leader, states).await;
    testing::until("all units are placed", async || {
        let units = leader.read(|tx| fleet::units(tx)).unwrap();
        units.iter().all(|unit| unit.assigned.is_some()).then_some(())
    })
    .await;
}

async fn propose(leader: &Node, commands: impl Iterator<Item = fleet::Command>) {
    let proposals = stream::iter(commands).for_each_concurrent(AT_ONCE, |command| async {
        leader.propose(Command::Fleet(command)).await.unwrap();
    });
    proposals.await;
}

/// Every machine beats four times in its TTL, as machines do.
fn beat_all(leader: SocketAddr, told: &Arc<Told>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let now = Instant::now();
        // Machines have begun at all times.
        let first = |connection: usize| now + TTL / 4 * connection as u32 / CONNECTIONS as u32;
        let connections: Vec<_> = (0..CONNECTIONS)
            .map(|connection| tokio::spawn(beats(leader, connection, first(connection), Arc::clone(told))))
            .collect();
        for connection in connections {
            connection.await.unwrap();
        }
    });
}

/// One connection's.
async fn beats(leader: SocketAddr, connection: usize, first: Instant, told: Arc<Told>) {
    let machines: Vec<usize> = (connection..MACHINES).step_by(CONNECTIONS).collect();
    let pause = TTL / 4 / machines.len() as u32;
    let mut stream = BufReader::new(TcpStream::connect(leader).await.unwrap());
    let mut next = first;
    for machine in machines.iter().cycle() {
        tokio::time::sleep_until(next.into()).await;
        if told.over.load(Ordering::Relaxed) {
            break;
        }
        let heard = beat(&mut stream, leader, id(*machine)).await;
        let count = if heard.known { &told.known } else { &told.unknown };
        count.fetch_add(1, Ordering::Relaxed);
        next += pause;
    }
}

async fn beat(stream: &mut BufReader<TcpStream>, leader: SocketAddr, machine: MachineId) -> Heard {
    let session = SESSION;
    let body = serde_json::to_string(&Beat { machine, session }).unwrap();
    let length = body.len();
    let request = format!("POST {PATH} HTTP/1.1\r\nHost: {leader}\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = head(stream).await;
    assert_eq!(answer.status, 200);
    let length = answer.header("Content-Length").unwrap().parse().unwrap();
    let mut body = vec![0; length];
    within("a body", stream.read_exact(&mut body)).await.unwrap();
    serde_json::from_slice(&body).unwrap()
}

/// The processor time of all threads but the clients': utime and stime of proc_pid_stat(5), behind the name in brackets.
fn cpu() -> Duration {
    let per_second = sysconf(SysconfVar::CLK_TCK).unwrap().unwrap() as u64;
    let mut ticks = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        // It may have ended.
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        let Some((head, rest)) = stat.rsplit_once(") ") else {
            continue;
        };
        if !head.ends_with(CLIENTS) {
            let times = rest.split(' ').skip(11).take(2);
            ticks += times.map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>();
        }
    }
    Duration::from_millis(1000 * ticks / per_second)
}
