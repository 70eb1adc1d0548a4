//! fleet's API, version 1, over one connection.

use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, RetryableWithContext};
use hyper::Method;
use hyper::header::{HeaderValue, USER_AGENT};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::fault::ApiFault;
use super::wire::{Machine, MetadataChange, Page, State, Unit};
use crate::go;
use crate::http::{Link, Request, Response};
use crate::terminal::tell;

const BASE: &str = "/fleet/v1";
/// Between a server's word that it cannot make a change now and the next attempt: at first, and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(2)];
/// No further attempt after so long: a leader is elected in less, and who has none does not get one by waiting.
const ELECTION: Duration = Duration::from_secs(10);

/// The API of one server.
#[derive(Debug)]
pub(super) struct Api {
    link: Link,
    /// How the server is called in messages: `http://domain-sock`, `http://10.0.0.1:49153`.
    url: String,
    request_timeout: Duration,
    debug: bool,
    machines: Option<Vec<Machine>>,
    /// What to do about the last call, if it failed and there is a way.
    advice: Option<&'static str>,
}

impl Api {
    /// Nothing is sent before the first call.
    pub(super) fn new(link: Link, url: String, request_timeout: Duration, debug: bool) -> Api {
        Api {
            link,
            url,
            request_timeout,
            debug,
            machines: None,
            advice: None,
        }
    }

    /// What to do about the last call, if it failed and there is a way.
    pub(super) fn advice(&self) -> Option<&'static str> {
        self.advice
    }

    /// All machines, in the server's order.
    pub(super) async fn machines(&mut self) -> Result<Vec<Machine>, ApiFault> {
        self.list("machines", "").await
    }

    /// The machine `id`; machines are asked for once in a run, and again when one is not among them. One that cannot
    /// be found is known by its id alone.
    pub(super) async fn machine(&mut self, id: &str) -> Machine {
        for fresh in [false, true] {
            if fresh || self.machines.is_none() {
                self.machines = self.machines().await.ok();
            }
            if let Some(machine) = self.machines.iter().flatten().find(|machine| machine.id == id) {
                return machine.clone();
            }
        }
        Machine {
            id: id.to_owned(),
            ..Machine::default()
        }
    }

    /// All units.
    pub(super) async fn units(&mut self) -> Result<Vec<Unit>, ApiFault> {
        self.list("units", "").await
    }

    /// All states.
    pub(super) async fn states(&mut self) -> Result<Vec<State>, ApiFault> {
        self.list("state", "").await
    }

    /// The states of one unit, one for each machine that knows it.
    pub(super) async fn states_of(&mut self, unit: &str) -> Result<Vec<State>, ApiFault> {
        let query = go::escape_query(&[("unitName", unit.to_owned())]);
        self.list("state", &format!("&{query}")).await
    }

    /// One unit, if it exists.
    pub(super) async fn unit(&mut self, name: &str) -> Result<Option<Unit>, ApiFault> {
        match self.get(&unit_path(name)).await {
            Ok(unit) => Ok(Some(unit)),
            Err(fault) if fault.is_not_found() => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Creates a unit, or replaces its content.
    pub(super) async fn put_unit(&mut self, unit: &Unit) -> Result<(), ApiFault> {
        let body = go::to_json(unit);
        let request = Request::new(Method::PUT, unit_path(&unit.name)).with_body("application/json", body);
        self.call(request).await.map(drop)
    }

    /// Asks for `inactive`, `loaded` or `launched`.
    pub(super) async fn set_desired(&mut self, name: &str, desired: &str) -> Result<(), ApiFault> {
        let unit = Unit {
            name: name.to_owned(),
            desired_state: desired.to_owned(),
            ..Unit::default()
        };
        self.put_unit(&unit).await
    }

    /// Removes a unit; false if there was none.
    pub(super) async fn destroy(&mut self, name: &str) -> Result<bool, ApiFault> {
        match self.call(Request::new(Method::DELETE, unit_path(name))).await {
            Ok(_) => Ok(true),
            Err(fault) if fault.is_not_found() => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Changes machines' metadata. Machines nobody knows are accepted, and nothing happens for them.
    pub(super) async fn change_metadata(&mut self, changes: &[MetadataChange]) -> Result<(), ApiFault> {
        let path = format!("{BASE}/machines?alt=json");
        let request = Request::new(Method::PATCH, path).with_body("application/json", go::to_json(&changes));
        self.call(request).await.map(drop)
    }

    async fn list<T: for<'de> Deserialize<'de>>(
        &mut self,
        what: &str,
        query: &str,
    ) -> Result<Vec<T>, ApiFault> {
        let mut items = Vec::new();
        let mut token = String::new();
        loop {
            let page: Page<T> = self.get(&format!("{BASE}/{what}?alt=json{query}{token}")).await?;
            items.extend(page.items.unwrap_or_default());
            match page.next.filter(|next| !next.is_empty()) {
                Some(next) => token = format!("&{}", go::escape_query(&[("nextPageToken", next)])),
                None => return Ok(items),
            }
        }
    }

    async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ApiFault> {
        let request = Request::new(Method::GET, path);
        let answer = self.call(request).await?;
        serde_json::from_slice(&answer.body).map_err(|error| ApiFault::NotFleet {
            request: format!("Get {}{path}", self.url),
            why: error.to_string(),
        })
    }

    /// Asks again for a change while no server can make it, as during an election. Whatever of it was done by then is done as
    /// well by doing it again. A look is not made again: it says how things stand.
    async fn call<'s>(&'s mut self, mut request: Request) -> Result<Response, ApiFault> {
        let agent = HeaderValue::from_static(concat!("fleetctl/", env!("CARGO_PKG_VERSION"), " (corten)"));
        request.headers.push((USER_AGENT, agent));
        let begun = Instant::now();
        let pauses = ExponentialBuilder::default()
            .with_min_delay(PAUSES[0])
            .with_max_delay(PAUSES[1])
            .without_max_times();
        let attempt = |api: &'s mut Api| async {
            let answer = api.call_once(&request).await;
            (api, answer)
        };
        let (_, answer) = attempt
            .retry(pauses)
            .sleep(tokio::time::sleep)
            .context(self)
            .when(|fault: &ApiFault| {
                !request.is_repeatable() && fault.is_unavailable() && begun.elapsed() < ELECTION
            })
            .await;
        answer
    }

    async fn call_once(&mut self, request: &Request) -> Result<Response, ApiFault> {
        let name = format!(
            "{} {}{}",
            capitalised(request.method.as_str()),
            self.url,
            request.path
        );
        let answer = match tokio::time::timeout(self.request_timeout, self.link.send(request)).await {
            Err(_) => Err(ApiFault::Timeout {
                request: name.clone(),
                seconds: self.request_timeout.as_secs(),
            }),
            Ok(Err(source)) => Err(ApiFault::Send {
                request: name.clone(),
                source,
            }),
            Ok(Ok(answer)) if answer.status.is_success() => Ok(answer),
            Ok(Ok(answer)) => Err(ApiFault::refused(&answer)),
        };
        self.advice = match &answer {
            Err(ApiFault::Send { source, .. }) => source.advice(),
            _ => None,
        };
        if self.debug {
            match &answer {
                Ok(answer) => tell(format!("DEBUG {name}: {}", answer.status)),
                Err(fault) => tell(format!("DEBUG {name}: {fault}")),
            }
        }
        answer
    }
}

/// fleet's client escapes everything but letters, digits and `-_.~`, `@` included.
fn unit_path(name: &str) -> String {
    format!("{BASE}/units/{}?alt=json", go::escape_segment(name))
}

fn capitalised(method: &str) -> String {
    let (first, rest) = method.split_at(1);
    format!("{first}{}", rest.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_in_paths() {
        assert_eq!(unit_path("a@1.service"), "/fleet/v1/units/a%401.service?alt=json");
        assert_eq!(
            unit_path("x\\x2dy.mount"),
            "/fleet/v1/units/x%5Cx2dy.mount?alt=json"
        );
    }
}
