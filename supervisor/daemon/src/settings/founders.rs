//! The variables that say who founds the cluster: named, found at another etcd, or in the DNS; or whether it runs already.

use std::collections::BTreeMap;

use super::Discovery;
use super::parse::Reader;
use super::url::Url;

/// The founding members, or those a proxy is for.
const INITIAL_CLUSTER: &str = "ETCD_INITIAL_CLUSTER";

impl Reader<'_> {
    pub(super) fn existing(&mut self) -> bool {
        let name = "ETCD_INITIAL_CLUSTER_STATE";
        match self.text(name) {
            None | Some("new") => false,
            Some("existing") => true,
            Some(_) => {
                self.problem(
                    name,
                    "it is neither new nor existing",
                    "write \"new\" or \"existing\"",
                );
                false
            }
        }
    }

    /// At most one of the three ways to find the founding members.
    pub(super) fn discovery(&mut self) -> Option<Discovery> {
        let names = ["ETCD_INITIAL_CLUSTER", "ETCD_DISCOVERY", "ETCD_DISCOVERY_SRV"];
        let given: Vec<&str> = names
            .into_iter()
            .filter(|name| self.text(name).is_some())
            .collect();
        if let [first, _, ..] = given[..] {
            self.problem(
                first,
                "multiple discovery or bootstrap flags are set",
                "choose one of \"initial-cluster\", \"discovery\" or \"discovery-srv\"",
            );
        }
        if let Some(url) = self.text("ETCD_DISCOVERY") {
            if !url.starts_with("http://") && !url.starts_with("https://") {
                self.problem(
                    "ETCD_DISCOVERY",
                    "discovery: invalid URL",
                    "write http://HOST/PATH/TOKEN",
                );
            }
            let proxy = self.text("ETCD_DISCOVERY_PROXY").map(str::to_owned);
            return Some(Discovery::Url {
                url: url.trim_end_matches('/').to_owned(),
                proxy,
            });
        }
        self.text("ETCD_DISCOVERY_SRV").map(|domain| Discovery::Srv {
            domain: domain.to_owned(),
            name: self.text("ETCD_DISCOVERY_SRV_NAME").map(str::to_owned),
        })
    }

    /// `name=url,name=url`: must name us, under the URLs we advertise; or nobody of that name and address, if we shall
    /// stand by in a cluster that runs.
    pub(super) fn initial_cluster(
        &mut self,
        name: &str,
        advertised: &[String],
        existing: bool,
    ) -> Vec<(String, String)> {
        let Some(text) = self.text(INITIAL_CLUSTER) else {
            return self.only(name, advertised);
        };
        let members = self.founding(text);
        let owner = members.values().flatten().find(|url| advertised.contains(url));
        match members.get(name) {
            None if existing && owner.is_none() && !members.is_empty() => {}
            None => self.problem(
                INITIAL_CLUSTER,
                format!("this member's name {name:?} is not in it"),
                "add it, or set ETCD_NAME to the name this machine has there",
            ),
            Some(own) if !own.iter().any(|url| advertised.contains(url)) => self.problem(
                INITIAL_CLUSTER,
                format!(
                    "{name} stands there with {}, but advertises {}",
                    own.join(" and "),
                    advertised.join(" and ")
                ),
                "make ETCD_INITIAL_ADVERTISE_PEER_URLS and ETCD_INITIAL_CLUSTER agree",
            ),
            Some(_) => {}
        }
        pairs(members)
    }

    /// The same for a proxy, which need not stand there.
    pub(super) fn cluster_of_others(&mut self, name: &str, advertised: &[String]) -> Vec<(String, String)> {
        match self.text(INITIAL_CLUSTER) {
            Some(text) => pairs(self.founding(text)),
            None => self.only(name, advertised),
        }
    }

    /// Where nobody is named.
    fn only(&self, name: &str, advertised: &[String]) -> Vec<(String, String)> {
        // Of the default URLs, the second is that of etcd 0.4, where nobody looks for a peer any more.
        let told = self.given.contains_key("ETCD_INITIAL_ADVERTISE_PEER_URLS");
        let urls = advertised.iter().take(if told { usize::MAX } else { 1 });
        urls.map(|url| (name.to_owned(), url.clone())).collect()
    }

    /// The members that `text` names, each with its URLs.
    fn founding<'t>(&mut self, text: &'t str) -> BTreeMap<&'t str, Vec<String>> {
        let members = self.members(INITIAL_CLUSTER, text);
        self.no_url_twice(INITIAL_CLUSTER, &members);
        members
    }

    fn members<'t>(&mut self, variable: &str, text: &'t str) -> BTreeMap<&'t str, Vec<String>> {
        let mut members: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let parsed = pair
                .split_once('=')
                .map(|(member, url)| (member.trim(), Url::parse(url.trim())));
            match parsed {
                Some((member, Ok(url))) if !member.is_empty() => {
                    members.entry(member).or_default().push(url.to_string());
                }
                Some((_, Err(error))) => {
                    self.problem(variable, error, "write NAME=http://ADDRESS:PORT with commas")
                }
                _ => self.problem(
                    variable,
                    format!("{pair:?} is no NAME=URL"),
                    "write NAME=http://ADDRESS:PORT",
                ),
            }
        }
        members
    }

    fn no_url_twice(&mut self, variable: &str, members: &BTreeMap<&str, Vec<String>>) {
        let mut owner: BTreeMap<&str, &str> = BTreeMap::new();
        for (member, urls) in members {
            for url in urls {
                match owner.insert(url, member) {
                    Some(other) if other != *member => {
                        let why = format!("{url} belongs to both {other} and {member}");
                        self.problem(variable, why, "give each member its own URL");
                    }
                    _ => {}
                }
            }
        }
    }
}

fn pairs(members: BTreeMap<&str, Vec<String>>) -> Vec<(String, String)> {
    let pairs = members
        .into_iter()
        .flat_map(|(member, urls)| urls.into_iter().map(move |url| (member.to_owned(), url)));
    pairs.collect()
}
