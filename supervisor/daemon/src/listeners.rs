//! Every socket of the supervisor, or of the store alone, opened before anything else is done.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::http::{FleetListener, ListenError, Socket, bind_tcp, bind_unix, passed_by_systemd};
use crate::settings::tls::Tls;
use crate::settings::{Etcd, Listen, Settings};
use crate::tls::{self, Acceptor, TlsError};

/// The sockets, by what is served on them.
#[derive(Debug)]
pub struct Listeners {
    /// etcd's client API.
    pub clients: Vec<Socket>,
    /// The peers.
    pub peers: Vec<Socket>,
    /// /metrics and /health alone.
    pub metrics: Vec<Socket>,
    /// fleet's API; none for the store alone.
    pub fleet: Vec<FleetListener>,
}

/// Why they cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A socket cannot be.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Listeners {
    /// Opens them; the fleet API's are systemd's (fleet.socket) or, run by hand, the configured path.
    ///
    /// # Errors
    /// The first that cannot be opened.
    pub async fn open(settings: &Settings) -> Result<Listeners, OpenError> {
        let mut fleet = passed_by_systemd()?;
        if fleet.is_empty() {
            fleet.push(FleetListener::Unix(bind_unix(&settings.fleet.socket)?));
        }
        let store = Listeners::of_store(&settings.etcd).await?;
        Ok(Listeners { fleet, ..store })
    }

    /// Opens those of the store alone.
    ///
    /// # Errors
    /// The first that cannot be opened.
    pub async fn of_store(etcd: &Etcd) -> Result<Listeners, OpenError> {
        let peer_tls = acceptor(
            etcd,
            &etcd.listen_peer,
            &etcd.peer_tls,
            "peer",
            tls::PEER_PROTOCOLS,
        )?;
        let for_clients = [&etcd.listen_client[..], &etcd.listen_metrics[..]].concat();
        let client_tls = acceptor(
            etcd,
            &for_clients,
            &etcd.client_tls,
            "client",
            tls::CLIENT_PROTOCOLS,
        )?;
        let (peers, clients) = ("ETCD_LISTEN_PEER_URLS", "ETCD_LISTEN_CLIENT_URLS");
        let metrics = "ETCD_LISTEN_METRICS_URLS";
        Ok(Listeners {
            peers: bind(&etcd.listen_peer, peer_tls.as_ref(), "peers", peers).await?,
            clients: bind(&etcd.listen_client, client_tls.as_ref(), "clients", clients).await?,
            metrics: bind(&etcd.listen_metrics, client_tls.as_ref(), "metrics", metrics).await?,
            fleet: Vec::new(),
        })
    }
}

async fn bind(
    all: &[Listen],
    tls: Option<&Acceptor>,
    purpose: &'static str,
    variable: &'static str,
) -> Result<Vec<Socket>, ListenError> {
    let mut sockets = Vec::new();
    for listen in all {
        let tcp = bind_tcp(listen.address, purpose, variable).await?;
        sockets.push(Socket::new(tcp, tls.filter(|_| listen.tls).cloned()));
    }
    Ok(sockets)
}

/// What does the handshakes, if any of the sockets needs it.
fn acceptor(
    etcd: &Etcd,
    listen: &[Listen],
    tls: &Tls,
    side: &str,
    protocols: tls::Protocols,
) -> Result<Option<Acceptor>, TlsError> {
    if !listen.iter().any(|listen| listen.tls) {
        return Ok(None);
    }
    let tls = tls::with_generated(tls, &etcd.data_dir, side, &hosts(listen))?;
    tls::acceptor(&tls, protocols).map(Some)
}

/// The hosts a generated certificate is for.
pub(crate) fn hosts(listen: &[Listen]) -> Vec<String> {
    let named = listen.iter().map(|listen| listen.address.ip());
    let specific = named
        .filter(|ip| !ip.is_unspecified())
        .map(|ip: IpAddr| ip.to_string());
    let all: BTreeSet<String> = specific.chain(["localhost".to_owned()]).collect();
    all.into_iter().collect()
}
