//! The cluster as a client sees it: a list of members, one of which answers.
//!
//! A call goes to the member that answered last; a member that cannot be reached, is too slow or answers 5xx is
//! passed over for the next. An answer of 501 counts: what one member cannot do none can.
//!
//! The danger, which etcd's own client has too: a write passed over for being slow may have
//! been carried out, and is then carried out twice.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::AUTHORIZATION;
use serde::Deserialize;
use tokio::time::timeout;

use super::fault::{BAD_CONNECTION, CallFault, EndpointFault, Failure, SERVER_ERROR};
use super::settings::{Endpoint, Settings};
use crate::http::{Dial, Link, Request, Response};
use crate::terminal::tell;

/// A connection that has not come about in this time will not.
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);

/// A member as `/v2/members` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Member {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default, rename = "peerURLs", deserialize_with = "null_is_empty")]
    pub(super) peer_urls: Vec<String>,
    #[serde(default, rename = "clientURLs", deserialize_with = "null_is_empty")]
    pub(super) client_urls: Vec<String>,
}

#[derive(Deserialize)]
struct MemberList {
    #[serde(default, deserialize_with = "null_is_empty")]
    members: Vec<Member>,
}

/// The members and the connections to them.
pub(super) struct Cluster {
    members: Vec<(Endpoint, Link)>,
    pinned: usize,
    settings: Settings,
}

impl Cluster {
    /// The members named on the command line.
    pub(super) fn named(settings: &Settings) -> Cluster {
        let mut cluster = Cluster {
            members: Vec::new(),
            pinned: 0,
            settings: settings.clone(),
        };
        cluster.use_endpoints(settings.endpoints.clone());
        cluster
    }

    /// The members the cluster itself names, unless `--no-sync` forbids to ask.
    pub(super) async fn synced(settings: &Settings) -> Result<Cluster, Failure> {
        let mut cluster = Cluster::named(settings);
        if settings.sync {
            cluster.debug(|c| format!("start to sync cluster using endpoints({})", c.urls(",")));
            cluster.sync().await?;
            cluster.debug(|c| format!("got endpoints({}) after sync", c.urls(",")));
        }
        cluster.announce();
        Ok(cluster)
    }

    /// Says with `--debug` who will be asked.
    pub(super) fn announce(&self) {
        self.debug(|c| format!("Cluster-Endpoints: {}", c.urls(", ")));
    }

    /// Calls within the time the whole command may take.
    pub(super) async fn call(&mut self, request: &Request) -> Result<Response, CallFault> {
        let total = self.settings.total_timeout;
        timeout(total, self.call_any(request, Some(self.settings.timeout)))
            .await
            .unwrap_or(Err(CallFault::Deadline))
    }

    /// Calls and waits for the answer as long as it takes: for watches.
    pub(super) async fn wait(&mut self, request: &Request) -> Result<Response, CallFault> {
        self.call_any(request, None).await
    }

    /// `/v2/members`.
    pub(super) async fn list_members(&mut self) -> Result<Vec<Member>, CallFault> {
        let answer = self
            .call(&Request::new(hyper::Method::GET, "/v2/members"))
            .await?;
        let list: MemberList = read_member_answer(&answer)?;
        Ok(list.members)
    }

    async fn sync(&mut self) -> Result<(), Failure> {
        let members = match self.list_members().await {
            Ok(members) => members,
            Err(fault) if fault.is_connection() => return Err(Failure::of(&fault, BAD_CONNECTION)),
            // A server without a members API may still have keys.
            Err(_) => return Ok(()),
        };
        let mut urls: Vec<String> = members
            .into_iter()
            .flat_map(|member| member.client_urls)
            .collect();
        urls.sort();
        if urls.is_empty() {
            let text = format!(
                "etcd cluster has no published client endpoints.\n\
                 Try '--no-sync' if you want to access non-published client endpoints({}).\n\
                 Error:  client: no endpoints available",
                self.urls(",")
            );
            return Err(Failure {
                text,
                code: SERVER_ERROR,
            });
        }
        let endpoints: Vec<Endpoint> = urls.iter().filter_map(|url| Endpoint::parse(url).ok()).collect();
        let known: Vec<&Endpoint> = self.members.iter().map(|(endpoint, _)| endpoint).collect();
        if !endpoints.is_empty() && known != endpoints.iter().collect::<Vec<_>>() {
            self.use_endpoints(endpoints);
        }
        Ok(())
    }

    fn use_endpoints(&mut self, endpoints: Vec<Endpoint>) {
        let dial_timeout = DIAL_TIMEOUT.min(self.settings.total_timeout);
        let link = |endpoint: &Endpoint| {
            Link::new(
                Dial::To(endpoint.target.clone(), Some(self.settings.tls.clone())),
                dial_timeout,
            )
        };
        self.members = endpoints
            .into_iter()
            .map(|endpoint| (endpoint.clone(), link(&endpoint)))
            .collect();
        self.pinned = 0;
    }

    async fn call_any(&mut self, request: &Request, limit: Option<Duration>) -> Result<Response, CallFault> {
        let mut faults = Vec::new();
        for turn in 0..self.members.len() {
            let at = (self.pinned + turn) % self.members.len();
            match self.call_one(at, request, limit).await {
                Ok(answer) => {
                    self.pinned = at;
                    return Ok(answer);
                }
                Err(fault) => faults.push(fault),
            }
        }
        Err(CallFault::Cluster(faults))
    }

    async fn call_one(
        &mut self,
        at: usize,
        request: &Request,
        limit: Option<Duration>,
    ) -> Result<Response, EndpointFault> {
        let debug = self.settings.debug;
        let (endpoint, link) = &mut self.members[at];
        if debug {
            tell(curl(request, &endpoint.url));
        }
        let mut request = request.clone();
        if let Some(value) = &self.settings.credentials {
            request.headers.push((AUTHORIZATION, value.clone()));
        }
        let sending = link.send(&request);
        let answer = match limit {
            Some(limit) if !limit.is_zero() => timeout(limit, sending)
                .await
                .map_err(|_| EndpointFault::Timeout(endpoint.url.clone()))??,
            _ => sending.await?,
        };
        match answer.status {
            StatusCode::INTERNAL_SERVER_ERROR | StatusCode::SERVICE_UNAVAILABLE => {
                Err(EndpointFault::NoLeader(endpoint.url.clone()))
            }
            status if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
                Err(EndpointFault::Server {
                    url: endpoint.url.clone(),
                    status: status.canonical_reason().unwrap_or_default().to_owned(),
                })
            }
            _ => Ok(answer),
        }
    }

    fn urls(&self, between: &str) -> String {
        self.members
            .iter()
            .map(|(endpoint, _)| endpoint.url.as_str())
            .collect::<Vec<_>>()
            .join(between)
    }

    fn debug(&self, text: impl Fn(&Cluster) -> String) {
        if self.settings.debug {
            tell(text(self));
        }
    }
}

/// Reads an answer of the members API: its JSON, or the message of its error.
pub(super) fn read_member_answer<T: for<'de> Deserialize<'de>>(answer: &Response) -> Result<T, CallFault> {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    if answer.status.is_success() {
        return serde_json::from_slice(&answer.body).map_err(|_| CallFault::NotEtcd);
    }
    let refusal: Refusal = serde_json::from_slice(&answer.body).map_err(|_| CallFault::NotEtcd)?;
    Err(CallFault::Members(refusal.message))
}

/// Whether an answer that says nothing more is a success.
pub(super) fn accepted(answer: &Response) -> Result<(), CallFault> {
    if answer.status.is_success() {
        Ok(())
    } else {
        read_member_answer::<()>(answer)
    }
}

fn curl(request: &Request, url: &str) -> String {
    let body = match request.body.as_slice() {
        [] => String::new(),
        body => format!(" -d {:?}", String::from_utf8_lossy(body)),
    };
    format!(
        "cURL Command: curl -X {} {url}{}{body}",
        request.method, request.path
    )
}

fn null_is_empty<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;
    use crate::etcdctl::arguments;

    /// The exit code of a command against a server that reads so much and closes. What is left unread resets the
    /// connection.
    fn code_after(read: usize) -> u8 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let _ = connection.unwrap().read(&mut vec![0; read]);
            }
        });
        exit_code(&url)
    }

    fn exit_code(url: &str) -> u8 {
        let matches = arguments::command().get_matches_from(["etcdctl", "--endpoints", url, "ls"]);
        let settings = Settings::read(&matches).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let Err(failure) = Cluster::synced(&settings).await else {
                return SERVER_ERROR; // what the command itself then ends with
            };
            failure.code
        })
    }

    #[test]
    fn exit_codes_of_a_cluster_that_cannot_be_asked() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(exit_code(&format!("http://{free}")), BAD_CONNECTION, "refused");
        assert_eq!(code_after(1), BAD_CONNECTION, "reset");
        assert_eq!(code_after(65536), SERVER_ERROR, "closed without an answer");
    }
}
