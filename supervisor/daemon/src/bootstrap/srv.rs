//! Founding members from the DNS: `_etcd-server-ssl._tcp.DOMAIN` (https) and `_etcd-server._tcp.DOMAIN` (http).
//!
//! This member is the record whose host and port resolve to one of its own peer URLs; the others are numbered, for a
//! name is not in the DNS. Source: etcd 3.4, `pkg/srv`.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{RData, rdata::SRV};

use crate::settings::url::Url;

/// Why the DNS gave no cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SrvError {
    /// There is no resolver.
    #[error("/etc/resolv.conf cannot be used: {0}")]
    Resolver(String),
    /// No record of either service.
    #[error(
        "error querying DNS SRV records for _{service}-ssl._tcp.{domain} and _{service}._tcp.{domain}: {why}"
    )]
    NoRecords {
        /// The service.
        service: String,
        /// The domain.
        domain: String,
        /// What the last answer was.
        why: String,
    },
    /// A record is this member's, but not with its scheme.
    #[error(
        "bootstrap at {advertised} from DNS for {service} has scheme mismatch with expected peer {scheme}://{target}"
    )]
    Scheme {
        /// Our URL.
        advertised: String,
        /// The service.
        service: String,
        /// The service's scheme.
        scheme: &'static str,
        /// Host and port in the record.
        target: String,
    },
    /// No record is this member's.
    #[error(
        "none of the SRV records of {domain} resolves to {advertised}: this member is not in the cluster"
    )]
    NotFound {
        /// The domain.
        domain: String,
        /// Our URLs.
        advertised: String,
    },
}

/// The resolver of /etc/resolv.conf and /etc/hosts.
///
/// # Errors
/// When there is none.
fn system_resolver() -> Result<TokioResolver, SrvError> {
    let failed = |why: &dyn std::fmt::Display| SrvError::Resolver(why.to_string());
    let builder = TokioResolver::builder_tokio().map_err(|why| failed(&why))?;
    builder.build().map_err(|why| failed(&why))
}

impl SrvError {
    /// No record is this member's.
    pub fn not_found(domain: &str, advertised: &[String]) -> SrvError {
        SrvError::NotFound {
            domain: domain.to_owned(),
            advertised: advertised.join(","),
        }
    }
}

/// [`look_up`] with the system's resolver.
///
/// # Errors
/// See [`SrvError`].
pub async fn find(
    domain: &str,
    suffix: Option<&str>,
    name: &str,
    advertised: &[String],
) -> Result<Found, SrvError> {
    look_up(&system_resolver()?, domain, suffix, name, advertised).await
}

/// Looks the founding members up; `suffix` is appended to the service's name.
///
/// # Errors
/// See [`SrvError`].
pub async fn look_up(
    resolver: &TokioResolver,
    domain: &str,
    suffix: Option<&str>,
    name: &str,
    advertised: &[String],
) -> Result<Found, SrvError> {
    let suffix = suffix.map(|suffix| format!("-{suffix}")).unwrap_or_default();
    let own = Own::resolve(resolver, advertised).await;
    let mut found = Found::default();
    let services = [("etcd-server-ssl", "https"), ("etcd-server", "http")];
    let mut why = String::new();
    for (service, scheme) in services {
        let service = format!("{service}{suffix}");
        match resolver.srv_lookup(format!("_{service}._tcp.{domain}.")).await {
            Ok(answer) => {
                let mut records: Vec<SRV> = answer
                    .answers()
                    .iter()
                    .filter_map(|record| match &record.data {
                        RData::SRV(srv) => Some(srv.clone()),
                        _ => None,
                    })
                    .collect();
                records.sort_by_key(|srv| (srv.priority, srv.target.to_string(), srv.port));
                for record in &records {
                    found.take(resolver, &own, name, &service, scheme, record).await?;
                }
            }
            Err(error) => why = error.to_string(),
        }
    }
    if found.members.is_empty() {
        return Err(SrvError::NoRecords {
            service: format!("etcd-server{suffix}"),
            domain: domain.to_owned(),
            why,
        });
    }
    Ok(found)
}

/// This member's peer URLs with the addresses they stand for.
struct Own(Vec<(String, BTreeSet<SocketAddr>)>);

impl Own {
    async fn resolve(resolver: &TokioResolver, advertised: &[String]) -> Own {
        let mut all = Vec::new();
        for url in advertised {
            if let Ok(parsed) = Url::parse(url) {
                all.push((url.clone(), addresses(resolver, &parsed.host, parsed.port).await));
            }
        }
        Own(all)
    }

    fn url_at(&self, addresses: &BTreeSet<SocketAddr>) -> Option<&str> {
        let same = |(_, own): &&(String, BTreeSet<SocketAddr>)| !own.is_disjoint(addresses);
        self.0.iter().find(same).map(|(url, _)| url.as_str())
    }
}

/// What the DNS says.
#[derive(Debug, Default)]
pub struct Found {
    /// Name and peer URL.
    pub members: Vec<(String, String)>,
    /// Whether this member is among them.
    pub has_own: bool,
    others: u32,
}

impl Found {
    async fn take(
        &mut self,
        resolver: &TokioResolver,
        own: &Own,
        name: &str,
        service: &str,
        scheme: &'static str,
        record: &SRV,
    ) -> Result<(), SrvError> {
        let full = record.target.to_string();
        let host = full.trim_end_matches('.');
        let addresses = addresses(resolver, &full, record.port).await;
        if addresses.is_empty() {
            tracing::warn!("couldn't resolve host {host} during SRV discovery");
            return Ok(());
        }
        let target = format!("{host}:{}", record.port);
        let member = match own.url_at(&addresses) {
            Some(url) if !url.starts_with(&format!("{scheme}://")) => {
                return Err(SrvError::Scheme {
                    advertised: url.to_owned(),
                    service: service.to_owned(),
                    scheme,
                    target,
                });
            }
            Some(_) => {
                self.has_own = true;
                name.to_owned()
            }
            None => {
                self.others += 1;
                (self.others - 1).to_string()
            }
        };
        tracing::info!("got bootstrap from DNS for {service} at {member}={scheme}://{target}");
        self.members.push((member, format!("{scheme}://{target}")));
        Ok(())
    }
}

/// Where host and port lead; nowhere when the name is unknown.
async fn addresses(resolver: &TokioResolver, host: &str, port: u16) -> BTreeSet<SocketAddr> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return BTreeSet::from([SocketAddr::new(ip, port)]);
    }
    match resolver.lookup_ip(host).await {
        Ok(found) => found.iter().map(|ip| SocketAddr::new(ip, port)).collect(),
        Err(_) => BTreeSet::new(),
    }
}
