//! What the node tells of its work while it works.

use std::fmt;
use std::time::Duration;

use corten_raft::{Observation, Observer};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge};

use super::done::{Done, Snapshots};
use super::{By, Made, Maker};

/// etcd calls an apply slow from here on.
const SLOW_APPLY: Duration = Duration::from_millis(100);
/// And a read index.
const SLOW_READ: Duration = Duration::from_secs(1);

/// Counted as it happens.
pub(super) struct Live {
    wal_fsync: Histogram,
    wal_bytes: IntGauge,
    commit: Histogram,
    apply: Histogram,
    slow_applies: IntCounter,
    proposals: Histogram,
    pending: IntGauge,
    failed: IntCounter,
    reads: Histogram,
    reads_failed: IntCounter,
    reads_slow: IntCounter,
    pub leader_changes: IntCounter,
    round_trip: HistogramVec,
    sent: IntCounterVec,
    received: IntCounterVec,
    send_failures: IntCounterVec,
    peers: By<u64, Peer>,
    pub done: Done,
    snapshots: Snapshots,
}

/// What is counted of one peer.
struct Peer {
    round_trip: Histogram,
    sent: IntCounter,
    received: IntCounter,
    send_failures: IntCounter,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}

impl Live {
    pub fn new(maker: &Maker<'_>) -> Made<Live> {
        Ok(Live {
            wal_fsync: maker.histogram(
                "etcd_disk_wal_fsync_duration_seconds",
                "The latency distributions of fsync called by WAL.",
                0.001,
                14,
            )?,
            // A gauge, as etcd has it.
            wal_bytes: maker.gauge(
                "etcd_disk_wal_write_bytes_total",
                "Total number of bytes written in WAL.",
            )?,
            commit: maker.histogram(
                "etcd_disk_backend_commit_duration_seconds",
                "The latency distributions of commit called by backend.",
                0.001,
                14,
            )?,
            apply: maker.histogram(
                "corten_store_apply_duration_seconds",
                "How long a batch of entries takes to get into the state, its commit included.",
                0.0001,
                16,
            )?,
            slow_applies: maker.counter(
                "etcd_server_slow_apply_total",
                "The total number of slow apply requests (likely overloaded from slow disk).",
            )?,
            proposals: maker.histogram(
                "corten_store_proposal_duration_seconds",
                "How long a write takes from the request to its answer, through log, peers and state.",
                0.0001,
                18,
            )?,
            pending: maker.gauge(
                "etcd_server_proposals_pending",
                "The current number of pending proposals to commit.",
            )?,
            failed: maker.counter(
                "etcd_server_proposals_failed_total",
                "The total number of failed proposals seen.",
            )?,
            reads: maker.histogram(
                "corten_store_linearize_duration_seconds",
                "How long a linearizable read waits until it may look at the state.",
                0.0001,
                18,
            )?,
            reads_failed: maker.counter(
                "etcd_server_read_indexes_failed_total",
                "The total number of failed read indexes seen.",
            )?,
            reads_slow: maker.counter(
                "etcd_server_slow_read_indexes_total",
                "The total number of pending read indexes not in sync with leader's or timed out read index requests.",
            )?,
            leader_changes: maker.counter(
                "etcd_server_leader_changes_seen_total",
                "The number of leader changes seen.",
            )?,
            round_trip: maker.histograms(
                "etcd_network_peer_round_trip_time_seconds",
                "Round-Trip-Time histogram between peers.",
                &["To"],
                0.0001,
                16,
            )?,
            sent: maker.counters(
                "etcd_network_peer_sent_bytes_total",
                "The total number of bytes sent to peers.",
                &["To"],
            )?,
            received: maker.counters(
                "etcd_network_peer_received_bytes_total",
                "The total number of bytes received from peers.",
                &["From"],
            )?,
            send_failures: maker.counters(
                "etcd_network_peer_sent_failures_total",
                "The total number of send failures from peers.",
                &["To"],
            )?,
            peers: By::new(),
            done: Done::new(maker)?,
            snapshots: Snapshots::new(maker)?,
        })
    }

    fn peer(&self, id: u64) -> std::sync::Arc<Peer> {
        self.peers.of(id, |id| {
            let id = format!("{id:x}");
            let id = &[id.as_str()];
            Peer {
                round_trip: self.round_trip.with_label_values(id),
                sent: self.sent.with_label_values(id),
                received: self.received.with_label_values(id),
                send_failures: self.send_failures.with_label_values(id),
            }
        })
    }
}

impl Observer for Live {
    fn observe(&self, seen: Observation) {
        match seen {
            Observation::LogWritten { bytes } => {
                self.wal_bytes.add(i64::try_from(bytes).unwrap_or(i64::MAX));
            }
            Observation::LogSynced { took } => self.wal_fsync.observe(took.as_secs_f64()),
            Observation::Applied { took, commit, work } => {
                self.done.count(&work);
                self.apply.observe(took.as_secs_f64());
                self.commit.observe(commit.as_secs_f64());
                if took > SLOW_APPLY {
                    self.slow_applies.inc();
                }
            }
            Observation::ProposalBegan => self.pending.inc(),
            Observation::ProposalEnded { took, done } => {
                self.pending.dec();
                self.proposals.observe(took.as_secs_f64());
                if !done {
                    self.failed.inc();
                }
            }
            Observation::ReadConfirmed { took, done } => {
                self.reads.observe(took.as_secs_f64());
                if !done {
                    self.reads_failed.inc();
                }
                if took > SLOW_READ {
                    self.reads_slow.inc();
                }
            }
            Observation::PeerAsked { to, bytes } => self.peer(to).sent.inc_by(bytes),
            Observation::PeerAnswered { to, took } => self.peer(to).round_trip.observe(took.as_secs_f64()),
            Observation::PeerFailed { to } => self.peer(to).send_failures.inc(),
            Observation::PeerHeard { from, bytes } => self.peer(from).received.inc_by(bytes),
            Observation::SnapshotBuilt { took, sync } => {
                self.snapshots.save.observe(took.as_secs_f64());
                self.snapshots.fsync.observe(sync.as_secs_f64());
            }
            Observation::SnapshotSynced { took } => {
                self.snapshots.received_fsync.observe(took.as_secs_f64());
            }
            Observation::SnapshotInstalls(now) => self.snapshots.installs.set(i64::from(now)),
        }
    }
}
