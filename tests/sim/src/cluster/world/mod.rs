//! The event loop. Time goes in steps of the network's shortest way: within one, the nodes cannot hear from each other, so
//! each is run by itself, one after the other; then what they sent is put on its way.

mod clients;
mod faults;
mod life;
mod operator;
mod state;
mod traffic;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use corten_raft::{AppliedBatch, Config};
use tempfile::TempDir;
use tokio::sync::broadcast::Receiver;

use super::checkers::Recorded;
use super::checkers::expiry::Lives;
use super::checkers::history::{History, Upto};
use super::checkers::leases::Leases;
use super::checkers::watch::{Watcher, watchers};
use super::client::Face;
use super::disk::SimDisk;
use super::logs;
use super::machine::{MOST_SKEW_MS, Machine, Outbox};
use super::net::{Arrival, FASTEST_MS, Net};
use super::panics;
use super::plot::{Fault, Plot};
use super::{CALM_MS, FAULTS_END_MS, HEAL_MS, Mutation};
use crate::Run;
use crate::rng::Rng;

/// Clients do nothing before that.
const FORMED_MS: u64 = 1_000;
/// How long a client waits for an answer before it goes on with something else.
const PATIENCE_MS: u64 = 2_000;
/// How many answers clients must get after the last fault.
const ANSWERS_IN_CALM: u64 = 10;

#[derive(Debug)]
enum Event {
    Start(usize),
    Fault(Fault),
    /// The power goes now, if the disk's operation did not come.
    PowerGoes {
        machine: usize,
        start: u64,
        for_ms: u64,
    },
    Arrives(Arrival),
    Ask(usize),
    /// The client has waited long enough.
    GivesUp {
        client: usize,
        operation: usize,
    },
    Heals(Heals),
    /// One half of the watchers come to a machine.
    Gather {
        machine: usize,
        half: usize,
    },
    Calm,
}

#[derive(Debug)]
enum Heals {
    Cut(Vec<(usize, usize)>),
    Weather,
    Full(usize),
    Slow(usize),
}

/// A node's stream of changes, as the checkers read it.
struct Stream {
    start: u64,
    events: Receiver<Arc<AppliedBatch>>,
    upto: Upto,
}

/// Everything there is.
pub struct World {
    now_ms: u64,
    machines: Vec<Machine>,
    streams: BTreeMap<usize, Stream>,
    watchers: Vec<Watcher>,
    net: Net,
    outbox: Outbox,
    queue: BTreeMap<(u64, u64), Event>,
    age: u64,
    starts: u64,
    plot: Plot,
    /// The founders' names and peer URLs.
    founders: Vec<(String, String)>,
    history: History,
    recorded: Vec<Recorded>,
    /// Which operation a client waits for.
    waits_for: Vec<Option<usize>>,
    /// How many operations have been answered that began after the last fault.
    answered_in_calm: u64,
    /// Clients ask nothing more.
    is_closing: bool,
    /// What a client last saw in a key.
    last_seen: BTreeMap<(Face, u64), u64>,
    lives: Lives,
    /// Which lease a client keeps alive.
    owned: Vec<Option<u64>>,
    leases: Leases,
    newest_term: u64,
    /// When somebody stood for election last.
    elected_ms: u64,
    next_value: u64,
    /// The highest index or revision any client was told.
    highest: BTreeMap<Face, u64>,
    rng: Rng,
    mutation: Option<Mutation>,
    trace: String,
    data: TempDir,
}

/// Where peers reach a machine.
pub fn url(machine: usize) -> String {
    format!("http://m{machine}:2380")
}

/// A directory for the states, which are never synced and need no disk.
fn a_place() -> std::io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir())
}

impl World {
    /// The beginning of a seed's run.
    pub fn new(seed: u64, mutation: Option<Mutation>) -> World {
        let mut rng = Rng::new(seed);
        let plot = Plot::new(&mut rng);
        let data = a_place().expect("a directory for the states can be made");
        let founders: Vec<(String, String)> = (0..plot.founders)
            .map(|number| (format!("m{number}"), url(number)))
            .collect();
        let machine = |number: usize, rng: &mut Rng| {
            let mut config = Config::new(format!("m{number}"), data.path().join(number.to_string()));
            config.initial_cluster = founders.clone();
            config.advertise_peer_urls = vec![url(number)];
            config.existing = number >= plot.founders;
            config.remove_delay_ms = Some(plot.remove_delay_ms);
            config.advertise_client_urls = vec![format!("http://m{number}:2379")];
            config.heartbeat_ms = plot.heartbeat_ms;
            config.snapshot_count = plot.snapshot_count;
            config.keep_entries = plot.keep_entries;
            config.segment_bytes = plot.segment_bytes;
            config.state_limit_bytes = 64 << 20;
            let disk = SimDisk::new(Rng::new(rng.number()));
            disk.set_lies(mutation == Some(Mutation::SyncLies));
            Machine {
                number,
                disk,
                config,
                boot: 0,
                skew_ms: match mutation == Some(Mutation::ClockAhead) && number == 0 {
                    true => 20_000,
                    false => rng.range(0, 2 * MOST_SKEW_MS) as i64 - MOST_SKEW_MS as i64,
                },
                slow_ms: 2,
                running: None,
                is_spare: number >= plot.founders + plot.standbys,
                stalled_until_ms: 0,
            }
        };
        let machines = (0..plot.machines)
            .map(|number| machine(number, &mut rng))
            .collect();
        let mut world = World {
            now_ms: 0,
            machines,
            founders,
            streams: BTreeMap::new(),
            watchers: watchers(&mut rng),
            net: Net::new(Rng::new(rng.number())),
            outbox: Outbox::default(),
            queue: BTreeMap::new(),
            age: 0,
            starts: 0,
            history: History::default(),
            recorded: Vec::new(),
            waits_for: vec![None; plot.clients],
            answered_in_calm: 0,
            is_closing: false,
            last_seen: BTreeMap::new(),
            lives: Lives::default(),
            owned: vec![None; plot.clients],
            leases: Leases::default(),
            newest_term: 0,
            elected_ms: 0,
            next_value: 0,
            highest: BTreeMap::new(),
            rng,
            mutation,
            trace: String::new(),
            plot,
            data,
        };
        for machine in 0..world.plot.founders + world.plot.standbys {
            let later = if machine < world.plot.founders { 1 } else { 1_500 };
            world.at(later + machine as u64, Event::Start(machine));
        }
        if mutation == Some(Mutation::WatchForgets) {
            world.watchers[0].forget_every(20);
        }
        for client in 0..world.plot.clients {
            world.at(FORMED_MS + 10 * client as u64, Event::Ask(client));
        }
        for (at, fault) in world.plot.faults.clone() {
            world.at(at, Event::Fault(fault));
        }
        world.at(FAULTS_END_MS, Event::Calm);
        world
    }

    fn at(&mut self, at_ms: u64, event: Event) {
        self.age += 1;
        self.queue.insert((at_ms, self.age), event);
    }

    fn say(&mut self, what: impl AsRef<str>) {
        let what = what.as_ref().replace(&*self.data.path().to_string_lossy(), "");
        tracing::info!("{what}");
        let _ = writeln!(self.trace, "{:>6} {what}", self.now_ms);
    }

    /// Runs to the end or to the first broken promise.
    pub fn run(mut self) -> Run {
        let broken = self.steps().err();
        for machine in &mut self.machines {
            machine.kill();
        }
        Run {
            trace: std::mem::take(&mut self.trace),
            broken,
        }
    }

    fn steps(&mut self) -> Result<(), String> {
        loop {
            while let Some(entry) = self
                .queue
                .first_entry()
                .filter(|entry| entry.key().0 <= self.now_ms)
            {
                let event = entry.remove();
                self.happen(event)?;
            }
            let upto_ms = self.now_ms + FASTEST_MS;
            for machine in &mut self.machines {
                if machine.stalled_until_ms <= self.now_ms {
                    let _span = tracing::info_span!("m", machine.number).entered();
                    machine.step(self.now_ms, upto_ms);
                }
            }
            self.collect()?;
            self.look()?;
            if let Some(panic) = panics::first() {
                return Err(panic);
            }
            if self.now_ms % 20 < FASTEST_MS {
                self.notice_terms();
                self.watch()?;
            }
            self.now_ms = upto_ms;
            logs::now_is(upto_ms);
            if self.now_ms >= FAULTS_END_MS + CALM_MS && self.answered_in_calm >= ANSWERS_IN_CALM {
                self.is_closing = true;
                if self.now_ms % 100 < FASTEST_MS && self.is_healed() {
                    return self.at_the_end();
                }
            }
            if self.now_ms >= FAULTS_END_MS + HEAL_MS {
                return Err(format!(
                    "not healed {HEAL_MS} ms after the last fault: {}",
                    self.standing()
                ));
            }
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Start(machine) => self.start(machine),
            Event::Fault(fault) => self.fault(fault),
            Event::PowerGoes {
                machine,
                start,
                for_ms,
            } => {
                let running = self.machines[machine].running.as_ref();
                if running.is_some_and(|running| running.start == start) {
                    self.power_goes(machine, for_ms);
                }
            }
            Event::Arrives(arrival) => self.arrives(arrival),
            Event::Ask(client) => self.ask(client),
            Event::GivesUp { client, operation } => {
                if self.waits_for[client] == Some(operation) {
                    self.say(format!("client {client} gives #{operation} up"));
                    self.waits_for[client] = None;
                    self.goes_on(client);
                }
            }
            Event::Heals(heals) => self.heals(heals),
            Event::Gather { machine, half } => self.gather(machine, half),
            Event::Calm => self.calm(),
        }
        Ok(())
    }
}
