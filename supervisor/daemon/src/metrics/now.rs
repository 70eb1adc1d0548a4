//! What is looked at when somebody asks: the node, its state, this process.

use corten_store::tables::Table;
use corten_store::{auth, kv, meta};
use procfs::process::{LimitValue, Process};
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{Made, Maker, Source};
use crate::etcd::stats::ETCD_VERSION;

/// Set at each scrape.
pub(super) struct Now {
    has_leader: IntGauge,
    is_leader: IntGauge,
    is_learner: IntGauge,
    id: IntGaugeVec,
    cluster_version: IntGaugeVec,
    committed: IntGauge,
    applied: IntGauge,
    db_size: [IntGauge; 2],
    db_in_use: IntGauge,
    keys: IntGauge,
    revision: IntGauge,
    compact_revision: IntGauge,
    auth_revision: IntGauge,
    watchers: IntGauge,
    v2_watchers: IntGauge,
    v2_index: IntGauge,
    v2_writes: IntCounterVec,
    v2_reads: IntCounterVec,
    v2_expired: IntCounter,
    process: OfProcess,
}

/// The process' own, as every Prometheus client library names them.
struct OfProcess {
    resident: IntGauge,
    virtual_size: IntGauge,
    cpu: Gauge,
    started: Gauge,
    open_files: [IntGauge; 2],
    file_limit: [IntGauge; 2],
    threads: IntGauge,
}

impl Now {
    #[rustfmt::skip] // A row per figure is a table.
    pub fn new(maker: &Maker<'_>, quota: i64) -> Made<Now> {
        maker.gauges("etcd_server_version", "Which version is running. 1 for 'server_version' label with current version.", &["server_version"])?
            .with_label_values(&[ETCD_VERSION]).set(1);
        maker.gauge("etcd_server_quota_backend_bytes", "Current backend storage quota size in bytes.")?.set(quota);
        Ok(Now {
            has_leader: maker.gauge("etcd_server_has_leader", "Whether or not a leader exists. 1 is existence, 0 is not.")?,
            is_leader: maker.gauge("etcd_server_is_leader", "Whether or not this member is a leader. 1 if is, 0 otherwise.")?,
            is_learner: maker.gauge("etcd_server_is_learner", "Whether or not this member is a learner. 1 if is, 0 otherwise.")?,
            id: maker.gauges("etcd_server_id", "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.", &["server_id"])?,
            cluster_version: maker.gauges("etcd_cluster_version", "Which version is running. 1 for 'cluster_version' label with current cluster version", &["cluster_version"])?,
            committed: maker.gauge("etcd_server_proposals_committed_total", "The total number of consensus proposals committed.")?,
            applied: maker.gauge("etcd_server_proposals_applied_total", "The total number of consensus proposals applied.")?,
            db_size: [
                maker.gauge("etcd_mvcc_db_total_size_in_bytes", "Total size of the underlying database physically allocated in bytes.")?,
                maker.gauge("etcd_debugging_mvcc_db_total_size_in_bytes", "Total size of the underlying database physically allocated in bytes.")?,
            ],
            db_in_use: maker.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Total size of the underlying database logically in use in bytes.")?,
            keys: maker.gauge("etcd_debugging_mvcc_keys_total", "Total number of keys.")?,
            revision: maker.gauge("etcd_debugging_mvcc_current_revision", "The current revision of store.")?,
            compact_revision: maker.gauge("etcd_debugging_mvcc_compact_revision", "The revision of the last compaction in store.")?,
            auth_revision: maker.gauge("etcd_debugging_auth_revision", "The current revision of auth store.")?,
            watchers: maker.gauge("etcd_debugging_mvcc_watcher_total", "Total number of watchers.")?,
            v2_watchers: maker.gauge("etcd_debugging_store_watchers", "Count of currently active watchers.")?,
            v2_index: maker.gauge("corten_store_v2_index", "The index of the v2 keys.")?,
            v2_writes: maker.counters("etcd_debugging_store_writes_total", "Total number of writes (e.g. set/compareAndDelete) seen by this member.", &["action"])?,
            v2_reads: maker.counters("etcd_debugging_store_reads_total", "Total number of reads action by (get/getRecursive), local to this member.", &["action"])?,
            v2_expired: maker.counter("etcd_debugging_store_expires_total", "Total number of expired keys.")?,
            process: OfProcess {
                resident: maker.gauge("process_resident_memory_bytes", "Resident memory size in bytes.")?,
                virtual_size: maker.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.")?,
                cpu: maker.float("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.")?,
                started: maker.float("process_start_time_seconds", "Start time of the process since unix epoch in seconds.")?,
                open_files: [
                    maker.gauge("process_open_fds", "Number of open file descriptors.")?,
                    maker.gauge("os_fd_used", "The number of used file descriptors.")?,
                ],
                file_limit: [
                    maker.gauge("process_max_fds", "Maximum number of open file descriptors.")?,
                    maker.gauge("os_fd_limit", "The file descriptor limit.")?,
                ],
                threads: maker.gauge("process_threads", "Number of OS threads.")?,
            },
        })
    }

    /// Sets all of them. What cannot be read keeps its last figure.
    pub fn look(&self, source: &Source<'_>) {
        let (node, status) = (source.node, source.node.status());
        self.has_leader.set(i64::from(status.leader_id != 0));
        self.is_leader
            .set(i64::from(status.leader_id == status.member_id));
        let learns = node
            .members()
            .iter()
            .any(|member| member.id == status.member_id && member.learner);
        self.is_learner.set(i64::from(learns));
        let id = format!("{:x}", status.member_id);
        self.id.with_label_values(&[id.as_str()]).set(1);
        self.committed.set(signed(status.committed_index));
        self.applied.set(signed(status.applied_index));
        self.v2_index.set(signed(status.etcd_index));
        self.watchers.set(count(source.v3_watchers));
        self.v2_watchers.set(count(source.v2_watchers));
        if let Ok(size) = node.state_size() {
            self.db_size
                .iter()
                .for_each(|gauge| gauge.set(signed(size.on_disk)));
            self.db_in_use.set(signed(size.in_use));
        }
        if let Ok(standing) = node.read(|tx| auth::standing(tx)) {
            self.auth_revision.set(signed(standing.revision));
        }
        if let Ok(keys) = node.rows(Table::KvLatest) {
            self.keys.set(signed(keys));
        }
        let looked = node.read(|tx| Ok((kv::revision(tx)?, kv::compact_revision(tx)?, meta::read(tx)?)));
        if let Ok((revision, compacted, meta)) = looked {
            self.revision.set(revision);
            self.compact_revision.set(compacted);
            self.v2(&meta, source.v2_reads);
        }
        self.process.look();
    }

    fn v2(&self, meta: &meta::Meta, reads: (u64, u64)) {
        self.cluster_version.reset();
        if let Some(version) = &meta.version {
            let short = version.rsplitn(2, '.').last().unwrap_or(version);
            self.cluster_version.with_label_values(&[short]).set(1);
        }
        let stats = &meta.stats;
        for (action, times) in [
            ("set", stats.sets_success),
            ("create", stats.create_success),
            ("update", stats.update_success),
            ("delete", stats.delete_success),
            ("compareAndSwap", stats.compare_and_swap_success),
            ("compareAndDelete", stats.compare_and_delete_success),
        ] {
            set(&self.v2_writes.with_label_values(&[action]), times);
        }
        set(&self.v2_reads.with_label_values(&["get"]), reads.0);
        set(&self.v2_expired, stats.expire_count);
    }
}

impl OfProcess {
    fn look(&self) {
        let Ok(process) = Process::myself() else { return };
        if let Ok(stat) = process.stat() {
            let ticks = procfs::ticks_per_second() as f64;
            self.resident
                .set(signed(stat.rss.saturating_mul(procfs::page_size())));
            self.virtual_size.set(signed(stat.vsize));
            self.cpu.set((stat.utime + stat.stime) as f64 / ticks);
            self.threads.set(stat.num_threads);
            if let Ok(boot) = procfs::boot_time_secs() {
                self.started.set(boot as f64 + stat.starttime as f64 / ticks);
            }
        }
        if let Ok(open) = process.fd_count() {
            self.open_files.iter().for_each(|gauge| gauge.set(count(open)));
        }
        if let Ok(limits) = process.limits()
            && let LimitValue::Value(most) = limits.max_open_files.soft_limit
        {
            self.file_limit.iter().for_each(|gauge| gauge.set(signed(most)));
        }
    }
}

/// Brings a counter to where its count stands elsewhere.
fn set(counter: &IntCounter, count: u64) {
    counter.inc_by(count.saturating_sub(counter.get()));
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn count(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
