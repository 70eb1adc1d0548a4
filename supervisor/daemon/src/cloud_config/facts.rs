//! The facts a plan needs, read from the machine. States them and concludes nothing.

use std::net::IpAddr;
use std::path::Path;

use corten_spec::cloud_config::metadata::{self, Metadata};
use corten_spec::cloud_config::network::{self, Network};
use corten_spec::cloud_config::plan::Facts;
use corten_spec::cloud_config::substitute::Addresses;

use super::accounts;
use super::files::{below, text};
use super::say::Say;
use super::sources::Source;

/// What the machine and the source say. The flag is false where a document of the source could not be read.
pub fn gather(root: &Path, source: &Source, late: bool, say: &Say) -> (Facts, bool) {
    let (metadata, metadata_good) = metadata(source, say);
    let (network, network_good) = network(source, say);
    let environment = std::fs::read_to_string(below(root, "/etc/environment")).ok();
    let recorded = Addresses::from_environment(environment.as_deref().unwrap_or_default());
    let live = if late {
        network::choose(&interface_addresses())
    } else {
        Addresses::default()
    };
    let facts = Facts {
        source: source.name.to_owned(),
        addresses: network.addresses.clone().or(live).or(recorded),
        metadata,
        network,
        accounts: accounts::read(root),
        hostname: text(&below(root, "/etc/hostname")).trim().to_owned(),
        update_conf: update_conf(root),
        environment,
        late,
    };
    (facts, metadata_good && network_good)
}

fn metadata(source: &Source, say: &Say) -> (Metadata, bool) {
    let Some(text) = &source.meta_data else {
        return (Metadata::default(), true);
    };
    match metadata::parse(text) {
        Ok(metadata) => (metadata, true),
        Err(e) => {
            say.error(format!(
                "{}: meta_data.json: line {}: {e}; nothing of it is used",
                source.place,
                e.line()
            ));
            (Metadata::default(), false)
        }
    }
}

fn network(source: &Source, say: &Say) -> (Network, bool) {
    let Some(text) = &source.network_data else {
        return (Network::default(), true);
    };
    match network::parse(text) {
        Ok(network) => {
            for note in &network.notes {
                say.error(format!("{}: network_data.json: {note}", source.place));
            }
            let good = network.notes.is_empty();
            (network, good)
        }
        Err(e) => {
            let place = &source.place;
            say.error(format!(
                "{place}: network_data.json: line {}: {e}; nothing of it is used",
                e.line()
            ));
            (Network::default(), false)
        }
    }
}

fn update_conf(root: &Path) -> String {
    let paths = ["/etc/coreos/update.conf", "/usr/share/coreos/update.conf"];
    let found = paths
        .iter()
        .find_map(|path| std::fs::read_to_string(below(root, path)).ok());
    found.unwrap_or_default()
}

/// The addresses this machine's interfaces have now.
fn interface_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    let address = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
    };
    interfaces.filter_map(address).collect()
}
