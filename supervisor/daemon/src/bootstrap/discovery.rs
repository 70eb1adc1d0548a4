//! etcd's v2 discovery: founding members find each other through keys of another etcd.
//!
//! ```text
//! TOKEN/_config/size     how many members there will be; put there by the operator
//! TOKEN/ID               name=peer-URL[,name=peer-URL], made by each member for itself (prevExist=false)
//! ```
//!
//! The first `size` members by creation are the cluster; who comes later is told that it is full. TOKEN is the URL's whole
//! path, so any etcd's `http://HOST/v2/keys/...` serves. Source: etcd 3.4, `etcdserver/api/v2discovery`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

/// One exchange, but for waiting.
const ATTEMPT: Duration = Duration::from_secs(10);
/// How long one wait may hang; then it is asked anew.
const WAIT: Duration = Duration::from_secs(60);
/// The pause before an unreachable service is asked again: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(32));
/// Answers beyond this are none of ours, bytes.
const LONGEST: u64 = 4 << 20;

/// Why there is no cluster; the texts are etcd's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// It has all its members already.
    #[error("discovery: cluster is full")]
    Full,
    /// Nobody put a size.
    #[error("discovery: size key not found")]
    NoSize,
    /// The size is no number.
    #[error("discovery: size key is bad")]
    BadSize,
    /// This member, or one with the same URLs, has registered before.
    #[error("discovery: found duplicate id")]
    DuplicateId,
    /// Two members have one name, or one URL.
    #[error("discovery: found duplicate name")]
    DuplicateName,
    /// There is no etcd behind the URL.
    #[error("discovery: bad discovery endpoint")]
    BadEndpoint,
    /// The URL or the proxy is none.
    #[error("discovery: invalid URL: {0}")]
    InvalidUrl(String),
    /// The service refused.
    #[error("discovery: {0}")]
    Refused(String),
}

/// What a step meets that may pass.
enum Failure {
    /// It may.
    Passing(String),
    /// It will not.
    Final(DiscoveryError),
}

impl From<DiscoveryError> for Failure {
    fn from(error: DiscoveryError) -> Failure {
        Failure::Final(error)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    node: Node,
    #[serde(rename = "errorCode")]
    error_code: Option<u32>,
    message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Node {
    key: String,
    value: String,
    nodes: Vec<Node>,
    created_index: u64,
}

/// The cluster as the service has it.
struct Standing {
    members: Vec<Node>,
    size: usize,
    index: u64,
}

struct Discovery {
    agent: ureq::Agent,
    url: String,
    /// This member's key, hexadecimal.
    id: String,
}

/// Registers this member at `url` and waits until the cluster is complete.
///
/// # Errors
/// See [`DiscoveryError`]; a service that cannot be reached is asked again for ever.
pub async fn join(
    url: &str,
    proxy: Option<&str>,
    name: &str,
    peer_urls: &[String],
) -> Result<Vec<(String, String)>, DiscoveryError> {
    let discovery = Discovery::new(url, proxy, corten_raft::member_id(peer_urls, url))?;
    let own: Vec<String> = peer_urls.iter().map(|url| format!("{name}={url}")).collect();
    let own = own.join(",");
    let asking = tokio::task::spawn_blocking(move || discovery.run(&own));
    asking
        .await
        .unwrap_or_else(|why| Err(DiscoveryError::Refused(why.to_string())))
}

/// The cluster at `url`, for one who is no member of it; waits, as etcd's proxy does, until it is complete.
///
/// # Errors
/// See [`DiscoveryError`].
pub async fn look(url: &str, proxy: Option<&str>) -> Result<Vec<(String, String)>, DiscoveryError> {
    let discovery = Discovery::new(url, proxy, 0)?;
    let asking = tokio::task::spawn_blocking(move || discovery.complete(Ok));
    asking
        .await
        .unwrap_or_else(|why| Err(DiscoveryError::Refused(why.to_string())))
}

impl Standing {
    /// An error if the cluster is complete without `id`.
    fn has_room_for(self, id: &str) -> Result<Standing, DiscoveryError> {
        let place = self.members.iter().position(|node| last_part(&node.key) == id);
        if self.members.len() >= self.size && place.is_none_or(|place| place >= self.size) {
            return Err(DiscoveryError::Full);
        }
        Ok(self)
    }
}

impl Discovery {
    fn new(url: &str, proxy: Option<&str>, id: u64) -> Result<Discovery, DiscoveryError> {
        let proxy = proxy.map(ureq::Proxy::new).transpose();
        let proxy = proxy.map_err(|why| DiscoveryError::InvalidUrl(why.to_string()))?;
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(ATTEMPT))
            .http_status_as_error(false)
            .proxy(proxy)
            .build()
            .into();
        Ok(Discovery {
            agent,
            url: url.to_owned(),
            id: format!("{id:x}"),
        })
    }

    fn run(&self, own: &str) -> Result<Vec<(String, String)>, DiscoveryError> {
        self.stubbornly(|| self.standing())?.has_room_for(&self.id)?;
        self.stubbornly(|| self.register(own))?;
        self.complete(|standing| standing.has_room_for(&self.id))
    }

    /// Waits until the cluster has all its members, as long as `check` has nothing against it.
    fn complete(
        &self,
        check: impl Fn(Standing) -> Result<Standing, DiscoveryError>,
    ) -> Result<Vec<(String, String)>, DiscoveryError> {
        let mut said = None;
        loop {
            let standing = check(self.stubbornly(|| self.standing())?)?;
            let found = standing.members.len().min(standing.size);
            if found == standing.size {
                tracing::info!("found {found} needed peer(s)");
                return cluster(&standing.members[..found]);
            }
            if said != Some(found) {
                said = Some(found);
                tracing::info!(
                    "found {found} peer(s), waiting for {} more",
                    standing.size - found
                );
            }
            self.stubbornly(|| self.wait(standing.index + 1))?;
        }
    }

    /// Tries again, with growing pauses, while the service cannot be reached.
    fn stubbornly<T>(&self, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, DiscoveryError> {
        let (mut pause, longest) = PAUSES;
        loop {
            match attempt() {
                Ok(done) => return Ok(done),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(why)) => {
                    tracing::warn!("error connecting to {}, retrying in {pause:?}: {why}", self.url);
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(longest);
                }
            }
        }
    }

    /// Size and members.
    fn standing(&self) -> Result<Standing, Failure> {
        let (answer, _) = self.get("/_config/size", ATTEMPT)?;
        let size = match answer.error_code {
            None => answer
                .node
                .value
                .trim()
                .parse()
                .map_err(|_| DiscoveryError::BadSize)?,
            Some(100) => return Err(DiscoveryError::NoSize.into()),
            Some(_) => return Err(DiscoveryError::Refused(answer.message).into()),
        };
        let (answer, index) = self.get("", ATTEMPT)?;
        let mut members = answer.node.nodes;
        members.retain(|node| last_part(&node.key) != "_config");
        members.sort_by_key(|node| node.created_index);
        Ok(Standing { members, size, index })
    }

    fn register(&self, own: &str) -> Result<(), Failure> {
        let url = format!("{}/{}?prevExist=false", self.url, self.id);
        let sent = self.agent.put(&url).send_form([("value", own)]);
        let (answer, _) = read(sent)?;
        match answer.error_code {
            None => Ok(()),
            Some(105) => Err(DiscoveryError::DuplicateId.into()),
            Some(_) => Err(DiscoveryError::Refused(answer.message).into()),
        }
    }

    /// Returns when something has changed, or might have.
    fn wait(&self, since: u64) -> Result<(), Failure> {
        let path = format!("?recursive=true&wait=true&waitIndex={since}");
        let url = format!("{}{path}", self.url);
        let request = self.agent.get(&url).config().timeout_global(Some(WAIT)).build();
        match request.call() {
            Err(ureq::Error::Timeout(_)) => Ok(()),
            answer => read(answer).map(|_| ()),
        }
    }

    fn get(&self, path: &str, timeout: Duration) -> Result<(Answer, u64), Failure> {
        let url = format!("{}{path}", self.url);
        read(
            self.agent
                .get(&url)
                .config()
                .timeout_global(Some(timeout))
                .build()
                .call(),
        )
    }
}

/// An answer and its index.
fn read(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<(Answer, u64), Failure> {
    let mut answer = answer.map_err(|error| match error {
        ureq::Error::BadUri(why) => DiscoveryError::InvalidUrl(why).into(),
        error => Failure::Passing(error.to_string()),
    })?;
    if answer.status().is_server_error() {
        return Err(Failure::Passing(answer.status().to_string()));
    }
    let index = answer.headers().get("x-etcd-index");
    let index = index
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .unwrap_or(0);
    let text = answer
        .body_mut()
        .with_config()
        .limit(LONGEST)
        .read_to_string()
        .map_err(|why| Failure::Passing(why.to_string()))?;
    let answer = serde_json::from_str(&text).map_err(|_| DiscoveryError::BadEndpoint)?;
    Ok((answer, index))
}

fn last_part(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// What the members registered, as an initial cluster.
fn cluster(members: &[Node]) -> Result<Vec<(String, String)>, DiscoveryError> {
    let mut owner: BTreeMap<&str, &str> = BTreeMap::new();
    let mut names: BTreeMap<&str, u64> = BTreeMap::new();
    let mut found = Vec::new();
    for member in members {
        for pair in member.value.split(',') {
            let (name, url) = pair.split_once('=').ok_or_else(|| {
                DiscoveryError::Refused(format!("{} holds {:?}, no NAME=URL", member.key, member.value))
            })?;
            let other = names.insert(name, member.created_index);
            if other.is_some_and(|other| other != member.created_index) || owner.insert(url, name).is_some() {
                return Err(DiscoveryError::DuplicateName);
            }
            found.push((name.to_owned(), url.to_owned()));
        }
    }
    Ok(found)
}
