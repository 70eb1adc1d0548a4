//! Every socket of the supervisor, opened before anything else is done.

use tokio::net::TcpListener;

use crate::http::{FleetListener, ListenError, bind_tcp, bind_unix, passed_by_systemd};
use crate::settings::Settings;

/// The sockets, by what is served on them.
#[derive(Debug)]
pub struct Listeners {
    /// etcd's client API.
    pub clients: Vec<TcpListener>,
    /// The peers.
    pub peers: Vec<TcpListener>,
    /// fleet's API.
    pub fleet: Vec<FleetListener>,
}

impl Listeners {
    /// Opens them; the fleet API's are systemd's (fleet.socket) or, run by hand, the configured path.
    ///
    /// # Errors
    /// The first that cannot be opened.
    pub async fn open(settings: &Settings) -> Result<Listeners, ListenError> {
        let mut fleet = passed_by_systemd()?;
        if fleet.is_empty() {
            fleet.push(FleetListener::Unix(bind_unix(&settings.fleet.socket)?));
        }
        let mut clients = Vec::new();
        for address in &settings.etcd.listen_client {
            clients.push(bind_tcp(*address, "clients", "ETCD_LISTEN_CLIENT_URLS").await?);
        }
        let mut peers = Vec::new();
        for address in &settings.etcd.listen_peer {
            peers.push(bind_tcp(*address, "peers", "ETCD_LISTEN_PEER_URLS").await?);
        }
        Ok(Listeners {
            clients,
            peers,
            fleet,
        })
    }
}
