//! The write half of `/v2/stats/store`. Replicated with the state, so that all members agree; reads and watchers are
//! counted by whoever serves them.

use serde::{Deserialize, Serialize};

/// How often each operation went well or failed since the cluster's birth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names say it, and are etcd's
pub struct Stats {
    pub sets_success: u64,
    pub sets_fail: u64,
    pub delete_success: u64,
    pub delete_fail: u64,
    pub update_success: u64,
    pub update_fail: u64,
    pub create_success: u64,
    pub create_fail: u64,
    pub compare_and_swap_success: u64,
    pub compare_and_swap_fail: u64,
    pub compare_and_delete_success: u64,
    pub compare_and_delete_fail: u64,
    pub expire_count: u64,
}

/// What the serving side counts itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ServingStats {
    pub gets_success: u64,
    pub gets_fail: u64,
    pub watchers: u64,
}

impl Stats {
    /// The body of `/v2/stats/store`, in etcd's order of fields, without a line end.
    pub fn to_json(&self, serving: ServingStats) -> String {
        let fields = [
            ("getsSuccess", serving.gets_success),
            ("getsFail", serving.gets_fail),
            ("setsSuccess", self.sets_success),
            ("setsFail", self.sets_fail),
            ("deleteSuccess", self.delete_success),
            ("deleteFail", self.delete_fail),
            ("updateSuccess", self.update_success),
            ("updateFail", self.update_fail),
            ("createSuccess", self.create_success),
            ("createFail", self.create_fail),
            ("compareAndSwapSuccess", self.compare_and_swap_success),
            ("compareAndSwapFail", self.compare_and_swap_fail),
            ("compareAndDeleteSuccess", self.compare_and_delete_success),
            ("compareAndDeleteFail", self.compare_and_delete_fail),
            ("expireCount", self.expire_count),
            ("watchers", serving.watchers),
        ];
        let body = fields
            .map(|(name, count)| format!("\"{name}\":{count}"))
            .join(",");
        format!("{{{body}}}")
    }
}
