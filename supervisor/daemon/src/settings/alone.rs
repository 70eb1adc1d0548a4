//! The variables that only the store by itself knows: proxy, browsers, where the log goes.

use std::time::Duration;

use super::parse::Reader;
use super::{Alone, Program, Proxy, ProxyMode};

/// Whether this is a proxy.
const PROXY: &str = "ETCD_PROXY";

impl Reader<'_> {
    /// Everything `corten etcd` takes.
    pub fn alone(&mut self) -> Alone {
        Alone {
            etcd: self.etcd(Program::Etcd),
            proxy: self.proxy(),
            fallback_to_proxy: self.fallback_to_proxy(),
            cors: self.list("ETCD_CORS"),
            host_whitelist: self.list("ETCD_HOST_WHITELIST"),
            log: self.etcd_log(),
            log_output: self.log_output(),
        }
    }

    /// What was asked for, if it is a mode.
    pub(super) fn proxy_mode(&self) -> ProxyMode {
        match self.text(PROXY) {
            Some("on") => ProxyMode::On,
            Some("readonly") => ProxyMode::Readonly,
            _ => ProxyMode::Off,
        }
    }

    fn proxy(&mut self) -> Proxy {
        let mode = self.proxy_mode();
        if mode == ProxyMode::Off && self.text(PROXY).is_some_and(|text| text != "off") {
            self.problem(PROXY, "it is no mode of a proxy", "write off, readonly or on");
        }
        let mut ms =
            |name, default| Duration::from_millis(self.number(name, default, 0, "write milliseconds"));
        Proxy {
            mode,
            failure_wait: ms("ETCD_PROXY_FAILURE_WAIT", 5_000),
            refresh_interval: ms("ETCD_PROXY_REFRESH_INTERVAL", 30_000),
            dial_timeout: ms("ETCD_PROXY_DIAL_TIMEOUT", 1_000),
        }
    }

    fn fallback_to_proxy(&mut self) -> bool {
        const NAME: &str = "ETCD_DISCOVERY_FALLBACK";
        match self.text(NAME) {
            None | Some("proxy") => true,
            Some("exit") => false,
            Some(_) => {
                self.problem(NAME, "it is neither proxy nor exit", "write proxy or exit");
                true
            }
        }
    }

    /// CORTEN_LOG, else the level of ETCD_LOG_LEVEL and ETCD_DEBUG.
    fn etcd_log(&mut self) -> String {
        const NAME: &str = "ETCD_LOG_LEVEL";
        let level = match self.text(NAME) {
            None | Some("info") => "info",
            Some("debug") => "debug",
            Some("warn") => "warn",
            Some("error" | "panic" | "fatal") => "error",
            Some(_) => {
                self.problem(
                    NAME,
                    "unrecognized log level",
                    "write debug, info, warn, error, panic or fatal",
                );
                "info"
            }
        };
        if let Some(filter) = self.text("CORTEN_LOG") {
            return filter.to_owned();
        }
        match (level, self.boolean("ETCD_DEBUG")) {
            ("debug", _) | ("info", true) => {
                "info,corten=debug,corten_daemon=debug,corten_raft=debug".to_owned()
            }
            (level, _) => format!("{level},openraft=error,openraft::replication=off,openraft::core=off"),
        }
    }

    /// etcd writes to several; here one is enough, the first that is given.
    fn log_output(&mut self) -> String {
        let given = self.list("ETCD_LOG_OUTPUTS");
        if given.len() > 1 {
            self.warnings.push(format!(
                "ETCD_LOG_OUTPUTS: only {} is written to, not {}",
                given[0],
                given[1..].join(", ")
            ));
        }
        given.into_iter().next().unwrap_or_else(|| "default".to_owned())
    }
}
