//! What was done to the v3 data, and how snapshots go, in etcd's counting.

use corten_store::kv::Work;
use prometheus::{Histogram, IntCounter, IntGauge};

use super::{Made, Maker};

/// A figure that etcd has under two names, one for debugging and one to rely on.
struct Twice([IntCounter; 2]);

impl Twice {
    fn new(maker: &Maker<'_>, what: &str, help: &str) -> Made<Twice> {
        Ok(Twice([
            maker.counter(&format!("etcd_mvcc_{what}_total"), help)?,
            maker.counter(&format!("etcd_debugging_mvcc_{what}_total"), help)?,
        ]))
    }

    fn add(&self, times: u64) {
        if times > 0 {
            self.0.iter().for_each(|counter| counter.inc_by(times));
        }
    }
}

/// Counted on this member, since its process began.
pub(super) struct Done {
    ranges: Twice,
    puts: Twice,
    put_bytes: IntGauge,
    deletes: Twice,
    txns: Twice,
    leases_granted: IntCounter,
    leases_revoked: IntCounter,
}

impl Done {
    #[rustfmt::skip] // A row per figure is a table.
    pub fn new(maker: &Maker<'_>) -> Made<Done> {
        Ok(Done {
            ranges: Twice::new(maker, "range", "Total number of ranges seen by this member.")?,
            puts: Twice::new(maker, "put", "Total number of puts seen by this member.")?,
            put_bytes: maker.gauge("etcd_debugging_mvcc_total_put_size_in_bytes", "The total size of put kv pairs seen by this member.")?,
            deletes: Twice::new(maker, "delete", "Total number of deletes seen by this member.")?,
            txns: Twice::new(maker, "txn", "Total number of txns seen by this member.")?,
            leases_granted: maker.counter("etcd_debugging_lease_granted_total", "The total number of granted leases.")?,
            leases_revoked: maker.counter("etcd_debugging_lease_revoked_total", "The total number of revoked leases.")?,
        })
    }

    pub fn count(&self, work: &Work) {
        self.ranges.add(work.ranges);
        self.puts.add(work.puts);
        self.put_bytes
            .add(i64::try_from(work.put_bytes).unwrap_or(i64::MAX));
        self.deletes.add(work.deletes);
        self.txns.add(work.txns);
        self.leases_granted.inc_by(work.leases_granted);
        self.leases_revoked.inc_by(work.leases_revoked);
    }
}

/// Snapshots of the state, made here or received.
pub(super) struct Snapshots {
    pub save: Histogram,
    pub fsync: Histogram,
    pub received_fsync: Histogram,
    pub installs: IntGauge,
}

impl Snapshots {
    #[rustfmt::skip] // A row per figure is a table.
    pub fn new(maker: &Maker<'_>) -> Made<Snapshots> {
        Ok(Snapshots {
            save: maker.histogram("etcd_debugging_snap_save_total_duration_seconds", "The total latency distributions of save called by snapshot.", 0.001, 14)?,
            fsync: maker.histogram("etcd_snap_fsync_duration_seconds", "The latency distributions of fsync called by snap.", 0.001, 14)?,
            received_fsync: maker.histogram("etcd_snap_db_fsync_duration_seconds", "The latency distributions of fsyncing .snap.db file", 0.001, 14)?,
            installs: maker.gauge("etcd_server_snapshot_apply_in_progress_total", "1 if the server is applying the incoming snapshot. 0 if none.")?,
        })
    }
}
