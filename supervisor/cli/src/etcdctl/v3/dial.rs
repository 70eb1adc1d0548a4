//! Where a connection goes: to the first of the members that lets itself be reached, beginning behind the one it went to
//! last.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use thiserror::Error;

use super::connection::causes;
use super::settings::Settings;
use super::trace::{Trace, Traced};
use crate::etcdctl::settings::Endpoint;
use crate::http::{self, TlsSetup};

/// The members, and where to begin.
#[derive(Debug, Clone)]
pub(super) struct Dialler {
    endpoints: Arc<[Endpoint]>,
    tls: TlsSetup,
    /// For one member.
    timeout: Duration,
    next: Arc<AtomicUsize>,
    trace: Trace,
}

/// Which members could not be reached, and why.
#[derive(Debug, Error)]
#[error("{}", lines(.0))]
pub(super) struct Unreached(pub(super) Vec<(String, String)>);

impl Unreached {
    /// The one behind an error of the channel, whose own text says nothing.
    pub(super) fn of(error: &(dyn std::error::Error + 'static)) -> Unreached {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(Unreached(faults)) = error.downcast_ref() {
                return Unreached(faults.clone());
            }
            cause = error.source();
        }
        Unreached(vec![(String::new(), causes(error))])
    }

    /// The reasons without the members.
    pub(super) fn why(&self) -> String {
        let reasons: Vec<&str> = self.0.iter().map(|(_, why)| why.as_str()).collect();
        reasons.join("; ")
    }
}

fn lines(faults: &[(String, String)]) -> String {
    let lines: Vec<String> = faults.iter().map(|(url, why)| format!("{url}: {why}")).collect();
    lines.join("\n")
}

impl Dialler {
    pub(super) fn new(settings: &Settings, endpoints: &[Endpoint], trace: Trace) -> Dialler {
        Dialler {
            endpoints: endpoints.into(),
            tls: settings.tls.clone(),
            timeout: settings.dial_timeout,
            next: Arc::default(),
            trace,
        }
    }

    /// Connects.
    pub(super) async fn dial(self) -> Result<TokioIo<Traced>, Unreached> {
        let mut faults = Vec::new();
        let (first, count) = (self.next.load(Ordering::Relaxed), self.endpoints.len());
        for place in (first..first + count).map(|place| place % count) {
            let endpoint = &self.endpoints[place];
            let dialling = http::dial(&endpoint.target, Some(&self.tls));
            let why = match tokio::time::timeout(self.timeout, dialling).await {
                Ok(Ok(wire)) => {
                    self.next.store(place + 1, Ordering::Relaxed);
                    return Ok(TokioIo::new(self.trace.watch(&endpoint.url, wire)));
                }
                Ok(Err(error)) => causes(&error),
                Err(_) => "no connection within --dial-timeout".to_owned(),
            };
            faults.push((endpoint.url.clone(), why));
        }
        Err(Unreached(faults))
    }
}
