//! Several v3 watchers on one stream, fed by the node's real hub.

use bytes::Bytes;
use corten_raft::Node;
use corten_store::kv::{Action, Change};
use corten_watch::v3::inbox::Bounds;
use corten_watch::v3::interest::{Interest, Until};
use corten_watch::v3::watchers::{News, Past, Watchers};

use super::record::{Keys, Record, Values, Wants};
use super::{Fates, Pace};
use crate::cluster::checkers::history::History;
use crate::cluster::checkers::past::Compactions;
use crate::cluster::machine::{Member, now};
use crate::rng::Rng;

/// More turns than anybody needs who is behind.
const TURNS: usize = 10_000;
/// In so many of 1000 looks a watcher is cancelled, and created anew.
const CANCELS: u64 = 5;

/// What the watchers of each stream want: there is a key, the kinds of a range, and what is left out.
const WANTS: [Wants; 6] = [
    all(Keys::All),
    all(Keys::One("k0")),
    all(Keys::From("k1")),
    no_deletions(Keys::Between("k", "l")),
    no_deletions(Keys::One("k1")),
    no_puts(Keys::Between("k1", "l5")),
];

const fn all(keys: Keys) -> Wants {
    let (puts, deletions) = (true, true);
    Wants {
        keys,
        puts,
        deletions,
    }
}

const fn no_deletions(keys: Keys) -> Wants {
    Wants {
        deletions: false,
        ..all(keys)
    }
}

const fn no_puts(keys: Keys) -> Wants {
    Wants {
        puts: false,
        ..all(keys)
    }
}

/// The streams of a run: how often each looks, how many turns it makes then, and what may wait for it.
pub fn streams() -> Vec<(Pace, Stream)> {
    let bytes = Bounds::default().bytes;
    let bounds = |revisions, bytes, page| Bounds {
        revisions,
        bytes,
        page,
    };
    [
        (20, 2, Bounds::default()),
        (20, 2, bounds(4, bytes, 3)),
        (200, 8, bounds(100, 400, 8)),
        (2_500, 40, bounds(20, bytes, 16)),
    ]
    .into_iter()
    .map(|(every_ms, turns, bounds)| (Pace::new(every_ms), Stream::new(turns, bounds)))
    .collect()
}

/// A stream.
pub struct Stream {
    bounds: Bounds,
    turns: usize,
    /// By the watchers' ids.
    records: Vec<Record>,
    watchers: Option<Watchers<()>>,
    /// It has just joined a node, and not looked yet.
    is_new: bool,
    /// The revision up to which it was told last that everyone on it has everything.
    settled: u64,
    pub fates: Fates,
}

impl Stream {
    fn new(turns: usize, bounds: Bounds) -> Stream {
        Stream {
            bounds,
            turns,
            records: WANTS.map(Record::new).into(),
            watchers: None,
            is_new: false,
            settled: 0,
            fates: Fates::default(),
        }
    }

    /// Goes on at a member.
    pub fn join(&mut self, member: &Member) {
        let mut watchers = Watchers::new(member.hubs.v3.clone(), self.bounds);
        for (id, record) in (0..).zip(&self.records) {
            watchers.create(id, interest(&record.wants), record.next as i64, ());
        }
        self.watchers = Some(watchers);
        self.is_new = true;
    }

    /// Has the watcher of everything forget some of it.
    pub fn forget_every(&mut self, nth: u64) {
        self.records[0].forgets = Some(nth);
    }

    /// Takes what there is, if it was woken: a few turns, or as many as it takes.
    ///
    /// # Errors
    /// When something comes out of order.
    pub fn look(&mut self, node: &Node, rng: &mut Rng, to_the_end: bool) -> Result<(), String> {
        let Some(mut watchers) = self.watchers.take() else {
            return Ok(());
        };
        let is_woken = now(watchers.inbox().woken()).is_some();
        if is_woken || watchers.is_behind() || std::mem::take(&mut self.is_new) {
            for _ in 0..if to_the_end { TURNS } else { self.turns } {
                if !self.turn(&mut watchers, node)? {
                    break;
                }
            }
        }
        if rng.range(0, 1000) < CANCELS && !to_the_end {
            let id = rng.range(0, self.records.len() as u64) as usize;
            watchers.forget(id as i64);
            let record = &self.records[id];
            watchers.create(id as i64, interest(&record.wants), record.next as i64, ());
        }
        self.watchers = Some(watchers);
        Ok(())
    }

    /// What the daemon does in one turn; whether there is more to do.
    fn turn(&mut self, watchers: &mut Watchers<()>, node: &Node) -> Result<bool, String> {
        let was_behind = watchers.is_behind();
        let news = watchers.take();
        self.hear(&news)?;
        self.fates.behind += u64::from(!was_behind && watchers.is_behind());
        match watchers
            .catch_up(node, |_, (), change| Ok(change.clone()))
            .map_err(|e| e.to_string())?
        {
            Past::Nobody => {}
            Past::Told { id, events, .. } => self.got(id, events.iter())?,
            Past::Compacted { id, compact_revision } => {
                let record = &mut self.records[id as usize];
                if compact_revision as u64 <= record.next {
                    let next = record.next;
                    return Err(format!(
                        "{id} waited for {next}, and is told of {compact_revision}"
                    ));
                }
                record.lost_before(compact_revision as u64);
                watchers.create(id, interest(&record.wants), compact_revision, ());
            }
        }
        let (news, settled) = watchers.settle();
        self.hear(&news)?;
        if let Some(revision) = settled {
            self.settled = revision as u64;
            self.records
                .iter_mut()
                .for_each(|record| record.has_all_upto(revision as u64));
        }
        Ok(watchers.is_behind())
    }

    fn hear(&mut self, news: &News) -> Result<(), String> {
        if news.closed {
            return Err("the hub has closed".to_owned());
        }
        news.told
            .iter()
            .try_for_each(|told| self.got(told.id, told.changes()))
    }

    /// Changes of some revisions for one watcher.
    fn got<'c>(&mut self, id: i64, changes: impl Iterator<Item = &'c Change>) -> Result<(), String> {
        let record = &mut self.records[id as usize];
        let mut got = |revision: i64, values: Values| {
            let got = record.got(revision as u64, values);
            got.map_err(|e| format!("{:?} {e}", record.wants))
        };
        let (mut revision, mut values) = (0, Values::new());
        for change in changes {
            if change.kv.mod_revision != revision && !values.is_empty() {
                got(revision, std::mem::take(&mut values))?;
            }
            revision = change.kv.mod_revision;
            values.push(value(change));
        }
        if values.is_empty() {
            return Ok(());
        }
        got(revision, values)
    }

    /// Compares all they got with the one history.
    ///
    /// # Errors
    /// The first difference, or a loss nobody asked for, or that it was not told that it has everything.
    pub fn at_the_end(&self, history: &History, compactions: &Compactions) -> Result<(), String> {
        for record in &self.records {
            let compared = record.compare(&history.v3);
            compared
                .and_then(|()| record.lost_rightly(compactions))
                .map_err(|e| format!("{:?} {e}", record.wants))?;
        }
        let last = history.v3.last_key_value().map_or(1, |(revision, _)| *revision);
        if self.settled != last {
            return Err(format!("it is settled at {}, and not at {last}", self.settled));
        }
        Ok(())
    }

    /// Whether anything was lost to a compaction.
    pub fn has_lost(&self) -> bool {
        self.records.iter().any(Record::has_lost)
    }
}

fn value(change: &Change) -> (String, Option<String>) {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let is_put = change.action == Action::Put;
    (text(&change.kv.key), is_put.then(|| text(&change.kv.value)))
}

fn interest(wants: &Wants) -> Interest {
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    let (key, until) = match wants.keys {
        Keys::All => (bytes("\0"), Until::Open),
        Keys::One(key) => (bytes(key), Until::Itself),
        Keys::Between(from, to) => (bytes(from), Until::Before(bytes(to))),
        Keys::From(from) => (bytes(from), Until::Open),
    };
    Interest {
        key,
        until,
        no_put: !wants.puts,
        no_delete: !wants.deletions,
    }
}
